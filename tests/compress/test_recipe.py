"""One recipe, every method, every family; what is stored comes back bit for bit."""

import json

import pytest
import tiny_models
import torch
import yaml
from tiny_models import FAMILIES

from ethical_compression import figures, store
from ethical_compression.compress import recipe as recipes
from ethical_compression.compress import weight_files
from ethical_compression.compress.blocks import linear_layers, transformer_blocks, weight_of
from ethical_compression.compress.recipe import METHODS, Recipe
from ethical_compression.errors import InputError

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
BITSANDBYTES = [Recipe("int8"), Recipe("nf4"), Recipe("fp4")]


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
    weights, report = recipes.apply(recipe, model, inputs if recipe.reads_text else ())
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
    if "output_error" in report and not isinstance(recipe.sparsity, str):
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


@pytest.mark.parametrize("recipe", [*RECIPES, *BITSANDBYTES], ids=name_of)
def test_a_recipe_goes_through_json_and_yaml(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe.from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict()))) == recipe
    assert json.dumps(recipe.inputs())


def test_only_what_decides_the_result_counts():
    assert Recipe("none", bits=4, seed=3).inputs() == Recipe().inputs() == {"method": "none"}
    assert Recipe("rtn", bits=4, seed=3).inputs() == Recipe("rtn", bits=4).inputs()
    assert Recipe("nf4", group_size=1).inputs() == Recipe("nf4").inputs()
    assert Recipe("magnitude", seed=1).inputs() == Recipe("magnitude").inputs()
    assert Recipe("wanda", seed=1).inputs() != Recipe("wanda").inputs()
    assert "sha256" in Recipe("wanda").inputs()["text"]
    weighted = Recipe("gptq", bits=4, weighting="entropy")
    assert weighted.inputs() != Recipe("gptq", bits=4).inputs()
    assert weighted.label == "Entropy-weighted GPTQ 4-bit"
    # Grids clip where the method was released so, and another choice shows in the name.
    assert Recipe("awq", bits=4).clipping and not Recipe("gptq", bits=4).clipping
    assert Recipe("gptq", bits=3, clipping=True).label == "GPTQ 3-bit, clipped"
    assert Recipe("awq", bits=4, clipping=False).label == "AWQ 4-bit, not clipped"
    assert Recipe("gptq", bits=4, clipping=False) == Recipe("gptq", bits=4)
    # The comparison group is each paper's own, unless it is given.
    assert Recipe("wanda").comparison == "row" and Recipe("magnitude").comparison == "layer"
    # A pattern has a group of its own, so another setting must not make it another result.
    patterns = [Recipe("magnitude", sparsity="2:4", comparison=c) for c in ("row", "layer")]
    assert patterns[0].inputs() == patterns[1].inputs()
    listed = [Recipe("layers", remove=[3, 1], position=p) for p in ("upper", "contribution")]
    assert listed[0].inputs() == listed[1].inputs() == {"method": "layers", "remove": [3, 1]}


def test_every_method_has_a_label_and_a_look_of_its_own():
    labels = [
        Recipe(method, **({"bits": 4} if "bits" in used else {})).label
        for method, used in METHODS.items()
    ]
    assert len(set(labels)) == len(METHODS)
    assert len(set(figures.looks(labels).values())) == len(METHODS)
    assert Recipe("sparsegpt", sparsity="2:4").label == "SparseGPT 2:4"
    assert Recipe("wanda", sparsity=0.5).label == "Wanda 50%"
    assert Recipe("layers", remove=1).label == "without 1 upper layer"
    assert Recipe("layers", remove=(3, 4)).label == "without layers 3, 4"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "wandaa"}, "did you mean 'wanda'"),
        ({"method": "gptq", "bits": 4, "grup_size": 8}, "did you mean 'group_size'"),
        ({"method": "wanda", "bits": 4}, "does not use 'bits'"),
        ({"bits": 4}, "needs a method: give one of none, rtn"),
        ({"method": "rtn"}, "needs bits: give one of 2, 3, 4, 8"),
        ({"method": ["rtn"]}, "no compression method"),
        ({"bit": 4}, "did you mean 'bits'"),
        ("gptq", "must map settings to values"),
        ({"method": "gptq", "bits": "4"}, "bits must be int, not '4'"),
        ({"method": "gptq", "bits": True}, "bits must be int, not True"),
        ({"method": "rtn", "bits": 5}, "5 bits is not a width"),
        ({"method": "wanda", "sparsity": 50}, "A sparsity of 50 makes no sense"),
        ({"method": "wanda", "comparison": "block"}, "no comparison 'block'"),
        ({"method": "sparsegpt", "damping": 0.0}, "A damping of 0.0"),
        ({"method": "gptq", "bits": 4, "weighting": "entropie"}, "did you mean 'entropy'"),
        ({"method": "rtn", "bits": 4, "weighting": "entropy"}, "does not use 'weighting'"),
        (
            {"method": "gptq", "bits": 4, "clipping": True, "quantizer": "gptqmodel"},
            "clip by the quantizer native",
        ),
        ({"method": "layers", "position": "top"}, "no position of layers 'top'"),
        ({"method": "layers", "remove": ["a"]}, "remove must be"),
        ({"method": "layers", "remove": [1, 2, 1]}, "named twice"),
        ({"method": "gptq", "bits": 4, "samples": 0}, "at least one window"),
    ],
)
def test_a_recipe_that_cannot_be_is_one_sentence(settings, words):
    with pytest.raises(InputError, match=words):
        Recipe.from_dict(settings)


@pytest.mark.parametrize("method", ["rtn", "magnitude", "wanda", "sparsegpt", "gptq", "awq", "nf4"])
def test_a_spoilt_weight_is_refused_in_one_sentence(method):
    model = tiny_model("llama", width=64)
    transformer_blocks(model)[1].mlp.up_proj.weight.data[0, 0] = float("nan")
    recipe = Recipe(method, **({"bits": 4} if "bits" in METHODS[method] else {}), **TEXT)
    inputs = [torch.randint(3, 200, (2, 24))] if recipe.reads_text else ()
    with pytest.raises(InputError, match="NaN or infinite"):
        recipes.apply(recipe, model, inputs)


def test_a_pattern_that_does_not_fit_changes_nothing():
    model, full = tiny_model("llama"), tiny_model("llama")
    with pytest.raises(InputError, match="that 5 divides"):
        recipes.apply(Recipe("magnitude", sparsity="2:5"), model)
    assert all(map(torch.equal, model.state_dict().values(), full.state_dict().values()))


def test_no_calibration_is_said_and_so_is_too_little_memory(monkeypatch):
    model = tiny_model("llama")
    with pytest.raises(InputError, match="needs calibration inputs"):
        recipes.apply(Recipe("wanda"), model)

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate …")

    monkeypatch.setattr(recipes.gptq, "hessians", full)
    with pytest.raises(InputError, match="do not fit in memory"):
        recipes.apply(Recipe("wanda", **TEXT), model, [torch.randint(3, 200, (2, 24))])


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
    with pytest.raises(InputError if is_it else type(error)), recipes._memory_in_words():
        raise error


def test_the_version_of_bitsandbytes_counts_where_it_computes_and_nowhere_else(monkeypatch):
    def stored():
        return {name: recipes.stored(Recipe(name, bits=4), "x").name for name in recipes.METHODS}

    monkeypatch.setattr(recipes.Recipe, "reads_text", False)  # no files are looked for
    before, version = stored(), recipes.provenance.version
    monkeypatch.setattr(
        recipes.provenance,
        "version",
        lambda package: "another" if package == "bitsandbytes" else version(package),
    )
    after = stored()
    assert {name for name in before if before[name] != after[name]} == {"int8", "nf4", "fp4"}


@pytest.mark.parametrize("damage", ["weights", "note cut", "note changed", "note of another"])
def test_a_damaged_store_is_noticed(tmp_path, capsys, damage):
    model = tiny_model("gpt2")
    weights, _ = recipes.apply(Recipe("magnitude"), model)
    folder = tmp_path / "kept"
    assert weight_files.read(folder) is None and not capsys.readouterr().err
    weight_files.write(folder, weights, {"recipe": {}})
    assert weight_files.read(folder)[1]["recipe"] == {}
    note = folder / "notes.json"
    said = note.read_text()
    if damage == "weights":
        with open(folder / "weights.safetensors", "r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x7f")
    elif damage == "note cut":
        note.write_text(said[: len(said) // 2])
    elif damage == "note changed":
        note.write_text(said.replace('"recipe": {}', '"recipe": []'))
    else:
        known = json.loads(said)
        note.write_text(json.dumps({"sha256": known["files"]["weights.safetensors"]}))
    assert weight_files.read(folder) is None
    assert "is damaged; it is made again" in capsys.readouterr().err
    other = tiny_model("llama")
    with pytest.raises(InputError, match="which LlamaForCausalLM lacks"):
        weight_files.put(other, weights)


def test_a_sparse_model_in_the_store_is_smaller_than_its_weights(tmp_path):
    model = tiny_model("llama")
    weights, _ = recipes.apply(Recipe("magnitude", sparsity=0.75, comparison="row"), model)
    weight_files.write(tmp_path / "kept", weights, {})
    full = sum(4 * weight_of(layer).numel() for layer in layers_of(model).values())
    # A quarter of the values and a bit for each weight; the rest is the file's header.
    tensors = sum(w.mask.numel() + 4 * w.values.numel() for w in weights.values())
    assert tensors == full * (1 / 4 + 1 / 32)
    assert (tmp_path / "kept" / "weights.safetensors").stat().st_size < tensors + 8000


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("awq", bits=3, group_size=16, samples=2, length=48),
        Recipe("wanda", sparsity=0.5, samples=2, length=48),
        Recipe("layers", remove=1, position="contribution", samples=2, length=48),
        Recipe("nf4"),
    ],
    ids=name_of,
)
def test_a_model_loaded_twice_scores_the_same(recipe, tmp_path, monkeypatch):
    from ethical_compression.datasets import multiple_choice
    from ethical_compression.score.evaluate import evaluate

    converted = store.cache_dir() / "models"
    (tmp_path / "models").symlink_to(converted)
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))
    first = recipes.load(recipe, "tiny-random-llama")
    second = recipes.load(recipe, "tiny-random-llama")
    assert second.source["recipe"] == recipe.inputs()
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        logits = [one.model(ids).logits for one in (first, second)]
    assert torch.equal(*logits)
    items = {"piqa": multiple_choice.load("piqa", limit=3)}
    scores, _ = evaluate("tiny-random-llama", recipe, items, progress=False)
    full, _ = evaluate("tiny-random-llama", Recipe(), items, progress=False)
    assert set(scores["model"]) == {recipe.label}
    assert scores["logprob"].notna().all()
    assert (scores["logprob"] != full["logprob"]).any()


# --- Whose GPTQ -----------------------------------------------------------------------------------

PEER = {"bits": 4, "group_size": 32, "samples": 2, "length": 48}


def test_auto_gptq_says_that_it_only_loads_here():
    with pytest.raises(InputError, match=r"auto-gptq quantizes on CUDA only.*only load"):
        recipes.load(Recipe("gptq", quantizer="auto-gptq", **PEER), "tiny-random-llama")
    with pytest.raises(InputError, match="quantizer 'gtpqmodel'"):
        Recipe("gptq", quantizer="gtpqmodel", **PEER)
    with pytest.raises(InputError, match="lets all tokens count alike"):
        Recipe("gptq", quantizer="gptqmodel", weighting="entropy", **PEER)
    with pytest.raises(InputError, match="activation order of 'rows'"):
        Recipe("gptq", activation_order="rows", **PEER)


@pytest.mark.parametrize("words", ["", "ValueError: no such grid"])
def test_a_peer_that_is_missing_or_fails_leaves_nothing(tmp_path, monkeypatch, words):
    recipe = Recipe("gptq", quantizer="gptqmodel", **PEER)
    models_there = store.cache_dir() / "models"
    store_here = tmp_path / "store"
    store_here.mkdir()
    (store_here / "models").symlink_to(models_there)
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(store_here))
    monkeypatch.setenv("ETHICAL_COMPRESSION_PEERS", str(tmp_path / "peers"))
    python = tmp_path / "peers" / "gptqmodel" / "bin" / "python"
    if words:
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\nmkdir made\necho 'Traceback …\n{words}' >&2\nexit 1\n")
        python.chmod(0o755)
    expected = f"stopped without a checkpoint: {words}" if words else "run `make peers`"
    with pytest.raises(InputError, match=expected):
        recipes.load(recipe, "tiny-random-llama")
    assert [path.name for path in store_here.iterdir()] == ["models"]


def test_a_layer_of_zeros_leaves_no_nan(tmp_path):
    model = tiny_model("llama")
    model.model.layers[1].self_attn.o_proj.weight.data.zero_()
    inputs = [torch.randint(3, 200, (2, 24))]
    _, report = recipes.apply(Recipe("wanda", **TEXT), model, inputs)
    rows = report.to_dict("records")
    store.write_json(tmp_path / "rows.json", {"layers": rows, "open": [float("nan"), 1.0]})
    said = json.loads((tmp_path / "rows.json").read_text(), parse_constant=pytest.fail)
    assert said["open"] == [None, 1.0]
    zero = next(row for row in said["layers"] if row["layer"].endswith("1.self_attn.o_proj"))
    assert zero["weight_error"] == zero["output_error"] == 0


def test_windows_longer_than_the_positions_are_one_sentence():
    model = tiny_model("gpt2")
    with pytest.raises(InputError, match="of 512 tokens exceed the 64 positions"):
        recipes.calibration_inputs(Recipe("wanda"), model, None)
