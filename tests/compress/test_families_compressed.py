"""Every method on every family that people bring: right, or refused in one sentence.

A part of the families runs always, all of them with `pytest -m sweep`.
"""

import families
import pytest
import torch

from ethical_compression import models
from ethical_compression.compress import checkpoint
from ethical_compression.compress.apply import apply
from ethical_compression.compress.compressed import save
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError

TEXT = {"samples": 4, "length": 24}
RECIPES = {
    "rtn": Recipe("rtn", bits=4, group_size=32),
    "gptq": Recipe("gptq", bits=4, group_size=32, **TEXT),
    "awq": Recipe("awq", bits=4, group_size=32, **TEXT),
    "int8": Recipe("int8"),
    "nf4": Recipe("nf4"),
    "magnitude": Recipe("magnitude", sparsity=0.5),
    "wanda": Recipe("wanda", sparsity=0.5, **TEXT),
    "sparsegpt": Recipe("sparsegpt", sparsity=0.5, **TEXT),
    "layers": Recipe("layers", remove=(1,)),
    "first layer": Recipe("layers", remove=(0,)),
}
IDS = torch.randint(3, 200, (4, 24), generator=torch.Generator().manual_seed(0))
OTHERS = torch.randint(3, 200, (2, 20), generator=torch.Generator().manual_seed(1))
# One of each kind: dense, transposed, windows by layer, other names in files, experts stored in
# either direction or multiplied at once, and no attention.
SOME = ("gpt2", "gpt_neo", "gpt_neox", "gemma3", "mixtral", "gpt_oss", "llama4", "mamba", "rwkv")


def logits(model, ids=OTHERS):
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits.float()


def generated(model, use_cache):
    out = model.generate(
        OTHERS,
        attention_mask=torch.ones_like(OTHERS),
        max_new_tokens=3,
        do_sample=False,
        use_cache=use_cache,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.stack(out.logits).float()


def apart(one, other):
    return float((one - other).norm() / one.norm())


def carried(family: str, recipe: Recipe, folder) -> str:
    """What becomes of a family's tiny model under a recipe, saved and loaded again: "right", or the
    sentence that refuses it. AssertionError where it is neither."""
    model = families.make(family)
    full = logits(model)
    try:
        whole = apart(generated(model, True), generated(model, False)) < 1e-3
    except Exception:  # it does not generate, compressed or not
        whole = False
    inputs = list(IDS.split(2)) if recipe.reads_text else ()
    try:
        weights, report = apply(recipe, model, inputs)
        expected = save(recipe, model, None, weights, folder)
        checkpoint.check(folder, expected)
    except InputError as error:
        assert str(error).count(". ") == 0 and str(error).endswith((".", ")")), error
        return str(error)
    again = models.of_folder(folder)
    found, kept = logits(model), logits(again)
    assert found.isfinite().all() and apart(found, kept) < 1e-4
    assert apart(full, found) > 1e-4
    if recipe.method == "layers":
        if whole:
            assert apart(generated(again, True), generated(again, False)) < 1e-3
    elif "output_error" in report:
        assert report["output_error"].max() < 1.5
    return "right"


@pytest.mark.parametrize("method", RECIPES)
@pytest.mark.parametrize("family", SOME)
def test_a_part_of_the_families(family, method, tmp_path):
    carried(family, RECIPES[method], tmp_path / "folder")


@pytest.mark.sweep
@pytest.mark.parametrize("method", RECIPES)
@pytest.mark.parametrize("family", [one for one in families.CONFIGS if one not in SOME])
def test_all_families(family, method, tmp_path):
    carried(family, RECIPES[method], tmp_path / "folder")
