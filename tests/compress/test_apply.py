"""One recipe, every method, every family."""

import json

import pytest
import tiny_models
import torch
from tiny_models import FAMILIES

from ethical_compression import store
from ethical_compression.compress import apply as applied
from ethical_compression.compress import layerwise, methods, weight_files
from ethical_compression.compress.apply import apply
from ethical_compression.compress.blocks import linear_layers, weight_of
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks

TEXT = {"samples": 2, "length": 24}
RECIPES = [
    Recipe("rtn", bits=8, group_size=16),
    Recipe("gptq", bits=8, group_size=16, **TEXT),
    Recipe("gptq", bits=8, group_size=16, weighting="entropy", **TEXT),
    Recipe("awq", bits=8, group_size=16, **TEXT),
    Recipe("magnitude", sparsity=0.1),
    Recipe("magnitude", sparsity="2:4"),
    Recipe("wanda", sparsity=0.1, **TEXT),
    Recipe("wanda", sparsity="2:4", **TEXT),
    Recipe("sparsegpt", sparsity=0.1, **TEXT),
    Recipe("sparsegpt", sparsity="4:8", **TEXT),
    Recipe("layers", remove=1, position="bottom"),
    Recipe("layers", remove=1, position="contribution", **TEXT),
]


def tiny_model(family, **changes):
    # As many key heads as query heads: packed layers have sides that are multiples of 32.
    return tiny_models.tiny_model(family, **{"num_key_value_heads": 4} | changes)


def name_of(recipe):
    return recipe.label


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_takes_every_family_through_the_store(family, recipe, tmp_path):
    full, model, again = tiny_model(family), tiny_model(family), tiny_model(family)
    generator = torch.Generator().manual_seed(0)
    inputs = list(torch.randint(3, 200, (4, 24), generator=generator).split(2))
    weights, report = apply(recipe, model, inputs if recipe.reads_text else ())
    with torch.no_grad():
        before, after = full(inputs[0]).logits, model(inputs[0]).logits
    assert after.isfinite().all()
    assert not torch.equal(after, before)
    if recipe.method == "layers":
        assert len(transformer_blocks(model)) == 1 and report["removed"].sum() == 1
        return
    linears = sum(len(linear_layers(block)) for block in transformer_blocks(model))
    assert len(weights) == len(report) == linears > 0
    # Eight bits, or a tenth of the weights, hardly change a layer's output.
    if "output_error" in report and not isinstance(recipe.to_dict().get("sparsity"), str):
        assert report["output_error"].max() < 0.05
    if recipe.method in ("magnitude", "wanda", "sparsegpt"):
        wanted = 0.5 if isinstance(recipe.sparsity, str) else 0.1
        found = {n: float((weight_of(m) == 0).float().mean()) for n, m in layers_of(model).items()}
        assert report["sparsity"].tolist() == pytest.approx(list(found.values()))
        assert all(wanted - 1 / 32 <= share <= wanted + 1e-6 for share in found.values())
    weight_files.write(tmp_path / "kept", weights, {})
    weight_files.put(again, weight_files.read(tmp_path / "kept")[0])
    with torch.no_grad():
        assert torch.equal(again(inputs[0]).logits, after)


def layers_of(model):
    linear = [
        layer for block in transformer_blocks(model) for layer in linear_layers(block).values()
    ]
    return {name: module for name, module in model.named_modules() if module in linear}


@pytest.mark.parametrize("method", ["rtn", "magnitude", "wanda", "sparsegpt", "gptq", "awq", "nf4"])
def test_a_spoilt_weight_is_refused_in_one_sentence(method):
    model = tiny_model("llama", width=64)
    transformer_blocks(model)[1].mlp.up_proj.weight.data[0, 0] = float("nan")
    names = methods.find(method).settings.names()
    recipe = Recipe(method, **{n: one for n, one in ({"bits": 4} | TEXT).items() if n in names})
    inputs = [torch.randint(3, 200, (2, 24))] if recipe.reads_text else ()
    with pytest.raises(InputError, match="NaN or infinite"):
        apply(recipe, model, inputs)


def test_a_pattern_that_does_not_fit_changes_nothing():
    model, full = tiny_model("llama"), tiny_model("llama")
    with pytest.raises(InputError, match="that 5 divides"):
        apply(Recipe("magnitude", sparsity="2:5"), model)
    assert all(map(torch.equal, model.state_dict().values(), full.state_dict().values()))


def test_no_calibration_is_said_and_so_is_too_little_memory(monkeypatch):
    model = tiny_model("llama")
    with pytest.raises(InputError, match="needs calibration inputs"):
        apply(Recipe("wanda"), model)

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate …")

    monkeypatch.setattr(layerwise, "hessians", full)
    with pytest.raises(InputError, match="do not fit in memory"):
        apply(Recipe("wanda", **TEXT), model, [torch.randint(3, 200, (2, 24))])


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False),
        (torch.linalg.LinAlgError("linalg.cholesky: the input is not positive-definite"), False),
        (NotImplementedError("'addmm_' is not implemented for 'Half'"), False),
        (RecursionError("maximum recursion depth exceeded"), False),
        (RuntimeError("shapes cannot be multiplied"), False),
    ],
)
def test_only_what_is_of_memory_is_said_to_be_of_memory(error, is_it):
    with pytest.raises(InputError if is_it else type(error)), applied._memory_in_words():
        raise error


def test_a_layer_of_zeros_leaves_no_nan(tmp_path):
    model = tiny_model("llama")
    model.model.layers[1].self_attn.o_proj.weight.data.zero_()
    inputs = [torch.randint(3, 200, (2, 24))]
    _, report = apply(Recipe("wanda", **TEXT), model, inputs)
    rows = report.to_dict("records")
    store.write_json(tmp_path / "rows.json", {"layers": rows, "open": [float("nan"), 1.0]})
    said = json.loads((tmp_path / "rows.json").read_text(), parse_constant=pytest.fail)
    assert said["open"] == [None, 1.0]
    zero = next(row for row in said["layers"] if row["layer"].endswith("1.self_attn.o_proj"))
    assert zero["weight_error"] == zero["output_error"] == 0
