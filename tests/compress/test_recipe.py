"""A recipe as data: what it says, what decides its result, and what cannot be one."""

import copy
import json
import pickle

import pytest
import yaml

from ethical_compression import figures
from ethical_compression.compress import methods
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError

METHODS = methods.methods()
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


@pytest.mark.parametrize("recipe", [*RECIPES, *BITSANDBYTES], ids=lambda recipe: recipe.label)
def test_a_recipe_goes_through_json_and_yaml(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe.from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict()))) == recipe
    assert json.dumps(recipe.inputs())


def test_only_what_decides_the_result_counts():
    assert Recipe().inputs() == {"method": "none"}
    assert Recipe("rtn", bits=4, group_size=128) == Recipe("rtn", bits=4)
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
    # A pattern has a group of its own, and layers that are listed have their places.
    assert "comparison" not in Recipe("magnitude", sparsity="2:4").inputs()
    listed = Recipe("layers", remove=[3, 1])
    assert listed.to_dict() == {"method": "layers", "remove": [3, 1]}
    assert listed == Recipe("layers", remove=(3, 1)) and hash(listed)
    assert not listed.reads_text and Recipe("layers", position="contribution").reads_text


def test_settings_are_attributes_and_those_of_other_methods_are_not():
    recipe = Recipe("gptq", bits=3, seed=5)
    assert (recipe.bits, recipe.seed, recipe.group_size) == (3, 5, 128)
    with pytest.raises(AttributeError, match="sparsity"):
        _ = recipe.sparsity
    assert copy.deepcopy(recipe) == pickle.loads(pickle.dumps(recipe)) == recipe
    assert len({recipe, Recipe("gptq", seed=5, bits=3), Recipe("rtn", bits=3)}) == 2
    assert eval(repr(recipe)) == recipe


def test_every_method_has_a_label_and_a_look_of_its_own():
    labels = [
        Recipe(name, **({"bits": 4} if "bits" in one.settings.names() else {})).label
        for name, one in METHODS.items()
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
        ({"bits": 4}, "needs a method: give one of none, awq"),
        ({"method": "rtn"}, "needs bits: give one of 2, 3, 4, 8"),
        ({"method": ["rtn"]}, "no compression method"),
        ({"bit": 4}, "did you mean 'bits'"),
        ("gptq", "must map settings to values"),
        ({"method": "gptq", "bits": "4"}, "bits must be int, not '4'"),
        ({"method": "gptq", "bits": True}, "bits must be int, not True"),
        ({"method": "gptq", "bits": 4.0}, "bits must be int, not 4.0"),
        ({"method": "sparsegpt", "damping": True}, "damping must be float, not True"),
        ({"method": "rtn", "bits": 4, "symmetric": 1}, "symmetric must be bool, not 1"),
        ({"method": "wanda", "seed": "1"}, "seed must be int, not '1'"),
        ({"method": "magnitude", "sparsity": [0.5]}, r"A sparsity of \[0.5\] makes no sense"),
        ({"method": "magnitude", "sparsity": "2:4", "comparison": "row"}, "not use 'comparison'"),
        ({"method": "layers", "remove": [3, 1], "position": "upper"}, "not use 'position'"),
        ({"method": "layers", "remove": [1, True]}, r"remove must be int \| tuple\[int, ...\]"),
        ({"method": "rtn", "bits": 5}, "5 bits is not a width"),
        ({"method": "gptq", "bits": 4, "group_size": 0}, "group size of 0"),
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
    with pytest.raises(InputError, match=words) as told:
        Recipe.from_dict(settings)
    assert str(told.value).count("\n") == 0 and str(told.value).endswith(".")
    if isinstance(settings, dict) and "method" in settings:  # however it is written
        with pytest.raises(InputError, match=words):
            Recipe(**settings)
