"""A method in one file: whoever registers it has it in recipes, store, checkpoints and commands."""

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_model

from ethical_compression import provenance
from ethical_compression.__main__ import main
from ethical_compression.compress import compressed, methods
from ethical_compression.compress.apply import apply, check_touched
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError

TOY = """
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field

from ethical_compression.compress.layerwise import Compressed, each_layer, every_weight
from ethical_compression.compress.methods import Method, Settings, register
from ethical_compression.compress.weight_files import restorable


@restorable
@dataclass
class Signs:
    signs: torch.Tensor
    size: float

    def dequantize(self):
        return self.signs.float() * self.size


class ToySettings(Settings):
    factor: float = Field(1.0, gt=0, description="what the mean magnitude is multiplied by")
    rounds: Literal["up", "down"] = Field("up", description="where zeros go, up or down")


def signs_of(settings, model, inputs, *, progress=None, **_):
    done = Compressed()
    for layer, weight, _ in each_layer(model, progress=progress):
        up = weight >= 0 if settings.rounds == "up" else weight > 0
        size = settings.factor * float(weight.abs().mean())
        done.keep(layer, weight, Signs(up.to(torch.int8) * 2 - 1, size))
    return done


register(
    Method(
        name="signs",
        about="a weight's sign alone",
        settings=ToySettings,
        label=lambda settings: f"Signs, {settings.factor:g} times",
        apply=signs_of,
        touches=every_weight,
    )
)
"""

ELSEWHERE = {"__name__": "elsewhere"}  # where no file is


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The file of a method outside the package, imported, and forgotten afterwards."""
    file = tmp_path / "toy_method.py"
    file.write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    methods.methods()  # those of the package stay
    monkeypatch.setattr(methods, "_methods", dict(methods._methods))
    importlib.import_module("toy_method")
    yield file
    del sys.modules["toy_method"]


def test_a_registered_method_is_a_recipe_like_any_other(toy):
    recipe = Recipe("signs", factor=2)
    assert recipe.label == "Signs, 2 times" and recipe.factor == 2 and not recipe.reads_text
    assert recipe.to_dict() == {"method": "signs", "factor": 2, "rounds": "up"}
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    model, full = tiny_model("llama"), tiny_model("llama")
    weights, report = apply(recipe, model)
    name = "model.layers.0.mlp.up_proj"
    weight = full.get_submodule(name).weight
    assert torch.equal(model.get_submodule(name).weight, weight.sign() * 2 * weight.abs().mean())
    assert len(weights) == len(report) == 14 and (report["weight_error"] > 0).all()
    assert check_touched(recipe, full) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"factr": 1}, "no recipe setting 'factr' .did you mean 'factor'"),
        ({"bits": 4}, "The method signs does not use 'bits': leave it out"),
        ({"factor": True}, "The recipe's factor must be float, not True."),
        ({"factor": "2"}, "The recipe's factor must be float, not '2'."),
        ({"factor": -1}, "The recipe's factor must be greater than 0, not -1."),
        ({"rounds": "upp"}, "no rounds 'upp' .did you mean 'up'.*choose one of down, up"),
    ],
)
def test_what_it_cannot_be_given_is_one_sentence(toy, settings, words):
    with pytest.raises(InputError, match=words):
        Recipe("signs", **settings)
    with pytest.raises(InputError, match=words):
        Recipe.from_dict({"method": "signs"} | settings)


def test_the_command_line_lists_it_and_leaves_a_folder_of_it(toy, own_store, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["compress", "--help"])
    said = capsys.readouterr().out
    assert "  signs      a weight's sign alone\n             factor, rounds\n" in said
    assert "  factor = 1.0: what the mean magnitude is multiplied by\n" in said
    out = tmp_path / "out"
    command = ["compress", "tiny-random-llama", "-p", "method", "signs", "--output", str(out)]
    # YAML alone would read `no` as a truth value: what is a text is told by the method.
    assert main([*command, "-p", "rounds", "no"]) == 2
    assert "There is no rounds 'no'" in capsys.readouterr().err
    assert main([*command, "-p", "factor", "0.5"]) == 0
    assert "Signs, 0.5 times" in capsys.readouterr().err
    record = json.loads((out / "compression.json").read_text())
    assert record["recipe"]["factor"] == 0.5 and record["touched"] == 1
    from ethical_compression import models

    read = models.load(str(out)).model.state_dict()
    made = compressed.load(Recipe("signs", factor=0.5), "tiny-random-llama").model.state_dict()
    assert all(torch.equal(read[name], made[name]) for name in made)


def test_the_store_gives_it_back_until_its_code_changes(toy, own_store, monkeypatch):
    made = compressed.load(Recipe("signs"), "tiny-random-llama")
    module = sys.modules["toy_method"]
    before = Recipe("signs").inputs()

    def again(*_, **__):
        raise AssertionError("it was made a second time")

    with monkeypatch.context() as changed:
        changed.setattr(torch.Tensor, "abs", again)
        read = compressed.load(Recipe("signs"), "tiny-random-llama")
    assert read.source == made.source and read.source["recipe"] == before
    tensors = read.model.state_dict()
    assert all(torch.equal(tensors[name], one) for name, one in made.model.state_dict().items())
    toy.write_text(TOY.replace("weight >= 0", "weight >= 1e-9"))
    importlib.reload(module)
    assert Recipe("signs").inputs() != before


def test_a_name_is_taken_once(toy):
    taken = methods.find("rtn")
    with pytest.raises(InputError, match=r"a method 'rtn' already, of .*compress\.rtn"):
        exec(TOY.replace('"signs"', '"rtn"').replace("class Signs", "class Other"), ELSEWHERE)
    assert methods.find("rtn") is taken
    importlib.reload(sys.modules["toy_method"])  # as a notebook's cell that runs again


def test_a_method_without_a_source_to_read_is_told(toy):
    exec(TOY.replace('"signs"', '"typed"').replace("class Signs", "class Typed"), ELSEWHERE)
    with pytest.raises(InputError, match=r"source of signs_of cannot be read.* in a notebook"):
        Recipe("typed").inputs()


def test_a_file_in_the_folder_is_enough(tmp_path):
    package = Path(methods.__file__).parents[1]
    copied = tmp_path / "src" / package.name
    shutil.copytree(package, copied, ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "compress" / "signs.py").write_text(TOY)
    code = "from ethical_compression.compress.recipe import Recipe, described; "
    code += "print(described()); print(Recipe('signs').label, Recipe('signs').inputs()['code'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(copied.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert "  signs      a weight's sign alone" in done.stdout
    assert "Signs, 1 times" in done.stdout.splitlines()[-1]


# --- What code counts -----------------------------------------------------------------------------


# What a method makes use of is part of it.
USES = {"awq": {"rtn"}, "debias": {"gptq", "sparsity"}}


def test_a_methods_key_holds_its_own_code_and_no_other_methods():
    root = Path(provenance.__file__).parent
    homes = {one.apply.__module__ for one in methods.methods().values() if one.apply is not None}
    assert len(homes) >= 6
    files = {home: root.joinpath(*home.split(".")[1:]).with_suffix(".py") for home in homes}
    for home in homes:
        reached = provenance._reached(home, root)
        assert files[home] in reached and root / "compress" / "blocks.py" in reached
        others = {other for other in homes - {home} if files[other] in reached}
        assert {other.rpartition(".")[2] for other in others} <= USES.get(
            home.rpartition(".")[2], set()
        )
    codes = {Recipe(**given).inputs()["code"] for given in ({"method": "int8"}, {"method": "nf4"})}
    assert len(codes) == 1
    assert Recipe("magnitude").inputs()["code"] not in codes


def test_recipes_know_no_method_by_name():
    folder = Path(methods.__file__).parent
    names = set(methods.methods()) - {"none"}
    for file in ("recipe", "apply", "compressed", "calibration", "layerwise"):
        for node in ast.walk(ast.parse((folder / f"{file}.py").read_text())):
            if isinstance(node, ast.Compare):  # "layers" alone is also a report's
                told = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
                assert not told & names, f"{file}, line {node.lineno}"
        reached = provenance._reached(f"{methods.__package__}.{file}", folder.parent)
        homes = {one.apply.__module__ for one in methods.methods().values() if one.apply}
        files = {folder / f"{home.rpartition('.')[2]}.py" for home in homes}
        # Models that came quantized are dequantized by whose layers they hold.
        assert reached & files <= {folder / "bits_and_bytes.py"}, file
