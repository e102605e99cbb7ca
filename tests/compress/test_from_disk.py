"""Models whose blocks stay on disk, compressed: the same comes of them, and a block is held."""

import errno
import gc
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import torch
from families import make
from safetensors.torch import load_file
from tiny_models import FAMILIES, tiny_model

from ethical_compression import models
from ethical_compression.__main__ import main
from ethical_compression.compress import checkpoint, compressed, gptq, weight_files
from ethical_compression.compress.apply import apply
from ethical_compression.compress.blocks import survey
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.models import on_disk, shards

TEXT = {"samples": 2, "length": 48}
RECIPES = {
    "rtn": Recipe("rtn", bits=4, group_size=32),
    "gptq": Recipe("gptq", bits=3, group_size=32, **TEXT),
    "entropy": Recipe("gptq", bits=3, group_size=32, weighting="entropy", **TEXT),
    "awq": Recipe("awq", bits=4, group_size=32, **TEXT),
    "magnitude": Recipe("magnitude"),
    "wanda": Recipe("wanda", **TEXT),
    "sparsegpt": Recipe("sparsegpt", sparsity="2:4", **TEXT),
}
FAIR = {
    "fair-gptq": Recipe("fair-gptq", bits=3, group_size=32, pair_count=4, **TEXT),
    "debias-sparsegpt": Recipe("debias-sparsegpt", pair_count=4, **TEXT),
}
IDS = list(torch.randint(3, 200, (6, 24), generator=torch.Generator().manual_seed(0)).split(2))


@pytest.fixture(autouse=True)
def a_store(own_store):
    return own_store


@pytest.fixture
def base(tmp_path) -> Path:
    """A folder with a tokenizer, in shards."""
    return saved(models.load("tiny-random-llama"), tmp_path / "base")


def saved(loaded, folder: Path) -> Path:
    loaded.model.save_pretrained(folder, max_shard_size="100KB")
    loaded.tokenizer.save_pretrained(folder)
    return folder


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {
        key: one for file in folder.glob("*.safetensors") for key, one in load_file(file).items()
    }


def assert_alike(ours, theirs):
    """Compressed weights, tensors, or what else is told of a model, bit for bit."""
    assert list(ours) == list(theirs)
    for name, one in ours.items():
        other = theirs[name]
        if not isinstance(one, torch.Tensor):
            assert type(one) is type(other)
            one, other = ({f.name: getattr(w, f.name) for f in fields(w)} for w in (one, other))
            assert all(
                torch.equal(one[key], other[key])
                if torch.is_tensor(one[key])
                else one[key] == other[key]
                for key in one
            ), name
        else:
            assert torch.equal(one, other), name


CASES = [
    *((family, name) for family in (*FAMILIES, "gpt_neox") for name in ("gptq", "wanda")),
    *(("llama", name) for name in ("rtn", "entropy", "awq", "magnitude", "sparsegpt")),
    *(("mixtral", name) for name in ("rtn", "gptq", "awq", "sparsegpt")),
    ("gpt_oss", "gptq"),
]


@pytest.mark.parametrize(("family", "name"), CASES)
def test_codes_weights_and_the_checkpoint_are_those_of_the_whole_model(family, name, tmp_path):
    model = tiny_model(family) if family in FAMILIES else make(family)
    folder, recipe = tmp_path / "model", RECIPES[name]
    model.save_pretrained(folder, max_shard_size="20KB")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    made = []
    for offload in (False, True):
        model = models.of_folder(folder, offload=offload)
        weights, report = apply(recipe, model, IDS if recipe.reads_text else (), partial=True)
        place = tmp_path / f"made-{offload}"
        place.mkdir()
        expected = compressed.save(recipe, model, None, weights, place)
        checkpoint.check(place, expected, offload=offload)
        made.append((weights, report, expected, place))
    (weights, report, expected, place), (again, said, found, other) = made
    assert_alike(weights, again)
    assert report.equals(said)
    assert_alike(tensors_of(place), tensors_of(other))
    assert found.shapes == expected.shapes
    # Experts are multiplied by kernels that round as their place in memory has it.
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
    for file in place.glob("*.json"):
        assert file.read_text() == (other / file.name).read_text()
    # What was changed is read so, and nobody's folder was written to.
    for block in survey(model).blocks:
        on_disk.bring(block.module)
        for layer in block.weights.keys() & again.keys():
            assert torch.equal(block.weights[layer], again[layer].dequantize().float())
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("name", FAIR)
def test_so_are_those_of_methods_that_repair(name, base, monkeypatch, tmp_path):
    made = []
    for offload in (False, True):
        monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / f"store-{offload}"))
        made.append(compressed.load_with_report(FAIR[name], str(base), offload=offload))
    assert_alike(made[0][2], made[1][2])
    assert pd.DataFrame(made[0][1]).equals(pd.DataFrame(made[1][1]))  # NaN where no pair differs


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["gptq", "wanda"])
def test_a_real_model_is_compressed_alike(name, a_store, monkeypatch, tmp_path):
    recipe = Recipe(name, samples=2, length=32, **({"bits": 3} if name == "gptq" else {}))
    made = []
    for offload in (False, True):
        made.append(compressed.load_with_report(recipe, "smollm2-135m", offload=offload))
        (kept,) = (a_store / "compressed").iterdir()
        kept.rename(tmp_path / str(offload))
    (whole, rows, weights), (blocks, again, others) = made
    assert rows == again
    assert_alike(weights, others)
    with torch.no_grad():
        assert torch.equal(*(one.model(IDS[0]).logits for one in (whole, blocks)))


def test_one_block_is_in_memory_and_each_is_read_once_by_a_pass(base, monkeypatch):
    from accelerate.utils import OffloadedWeightsLoader

    model = models.of_folder(base, offload=True)
    stack, read, held = on_disk.blocks(model), [], []
    one = len(list(stack[0].parameters()))
    plain, solve = OffloadedWeightsLoader.__getitem__, gptq.solve

    def told(self, key):
        read.append(key)
        return plain(self, key)

    def counted(*args, **how):
        held.append(sum(not p.is_meta for block in stack for p in block.parameters()))
        return solve(*args, **how)

    survey(model)
    monkeypatch.setattr(OffloadedWeightsLoader, "__getitem__", told)
    monkeypatch.setattr(gptq, "solve", counted)
    gptq.quantize_model(model, IDS, bits=4, group_size=32)
    assert len(read) == len(set(read)) == len(stack) * one
    assert set(held) == {one}


@pytest.mark.parametrize("first", [False, True], ids=["in memory", "from disk"])
def test_a_run_that_was_stopped_goes_on_from_disk(first, base, a_store, monkeypatch):
    recipe, solve = RECIPES["gptq"], gptq.solve
    whole = compressed.load_with_report(recipe, str(base))
    (kept,) = (a_store / "compressed").iterdir()
    kept.rename(a_store / "whole")

    def dying(*args, **how):
        if list(a_store.rglob("block-000")):
            raise KeyboardInterrupt
        return solve(*args, **how)

    monkeypatch.setattr(gptq, "solve", dying)
    with pytest.raises(KeyboardInterrupt):
        compressed.load_with_report(recipe, str(base), offload=first)
    solved = []
    monkeypatch.setattr(gptq, "solve", lambda *args, **how: solved.append(1) or solve(*args, **how))
    again = compressed.load_with_report(recipe, str(base), offload=True)
    assert len(solved) == 4  # of the second block alone
    assert again[1] == whole[1]
    assert_alike(again[2], whole[2])
    # And the store serves whoever asks next, in memory or not.
    monkeypatch.setattr(gptq, "solve", lambda *_, **__: pytest.fail("solved anew"))
    for offload in (False, True):
        found = compressed.load_with_report(recipe, str(base), offload=offload)[0].model
        with torch.no_grad():
            assert torch.equal(found(IDS[0]).logits, whole[0].model(IDS[0]).logits)


@pytest.mark.parametrize("name", ["gptq", "wanda"])
def test_a_full_disk_leaves_nothing_that_is_trusted(name, base, a_store, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="disk is full"):
        patch.setattr(on_disk, "save_file", full)
        compressed.compress(RECIPES[name], str(base), tmp_path / "made", offload=True)
    gc.collect()
    assert not (tmp_path / "made").exists()
    assert not [one for one in (a_store / "compressed").glob("*") if "parts" not in one.name]
    assert not list((a_store / "offloaded").glob("*/"))
    record = compressed.compress(RECIPES[name], str(base), tmp_path / "made", offload=True)
    assert len(record["layers"]) == 14


LIVES = """
import os, sys, time
from pathlib import Path
from ethical_compression import models
model = models.of_folder(Path(sys.argv[1]), offload=True)
print("here", flush=True)
time.sleep(60)
"""


def test_what_a_killed_program_left_goes_and_what_a_living_one_has_stays(base, a_store):
    def start():
        one = subprocess.Popen(
            [sys.executable, "-c", LIVES, str(base)], stdout=subprocess.PIPE, env=os.environ
        )
        assert one.stdout.readline().strip() == b"here"
        return one

    programs = [start(), start()]
    assert len(list((a_store / "offloaded").glob("*/owner"))) == 2
    programs[0].kill()
    programs[0].wait()
    model = models.of_folder(base, offload=True)
    left = {file.parent for file in (a_store / "offloaded").glob("*/owner")}
    assert len(left) == 2 and on_disk.copies(model) in left
    programs[1].kill()
    programs[1].wait()


@pytest.mark.parametrize(
    "recipe", [Recipe("int8"), Recipe("layers"), Recipe("gptq", bits=4, quantizer="gptqmodel")]
)
def test_what_needs_the_whole_model_says_which_methods_do_not(recipe, base):
    with pytest.raises(InputError, match=r"memory as a whole: .*awq, .*gptq.*sparsegpt"):
        compressed.load(recipe, str(base), offload=True)


def test_the_command_writes_what_it_writes_of_a_model_in_memory(
    base, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(shards, "SHARD", 2**20)  # several files
    words = ["-p", "method", "rtn", "-p", "bits", "3", "-p", "group_size", "32"]
    for how in ([], ["--offload"]):
        place = tmp_path / f"made{len(how)}"
        assert main(["compress", str(base), *words, "--output", str(place), *how]) == 0
        assert (place / "model.safetensors.index.json").exists()
    assert_alike(*({k: t[k] for k in sorted(t)} for t in map(tensors_of, tmp_path.glob("made*"))))
    assert main(["compress", str(base), *words, "--output", "x", "--offload", "--report"]) == 2
    assert "--report or --offload" in capsys.readouterr().err


MEASURED = """
import json, sys
from pathlib import Path
from ethical_compression import models
from ethical_compression.compress import compressed
from ethical_compression.compress.apply import apply
from ethical_compression.compress import methods
from ethical_compression.compress.recipe import Recipe
from ethical_compression.models import shards
from safetensors import torch as files

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(s.split()[1]) for s in lines if s.startswith("RssAnon")) * 1024

import torch, accelerate, transformers, pandas
from transformers.models.llama import modeling_llama
methods.methods()
shards.SHARD = 2**24
folder, out, offload = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "offload"
before, most, plain = held(), 0, files.save_file

def look(*args, **how):
    global most
    most = max(most, held())

def save_file(*args, **how):
    look()
    plain(*args, **how)

files.save_file = save_file
model = models.of_folder(folder, offload=offload)
for block in model.model.layers:
    block.register_forward_hook(look)
recipe = Recipe("rtn", bits=4)
weights, _ = apply(recipe, model)
look()
compressed.save(recipe, model, None, weights, out)
print(json.dumps(most - before))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells no memory")
def test_memory_is_that_of_a_block_and_of_a_file(tmp_path):
    """Beside what is mapped from files, which the system may drop."""
    config = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 16}
    folder = tmp_path / "model"
    tiny_model("llama", **config).save_pretrained(folder, max_shard_size="64MB")
    block = 4 * sum(
        one.numel()
        for name, one in models.of_folder(folder).named_parameters()
        if name.startswith("model.layers.0.")
    )

    def most(how):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(folder), str(tmp_path / how), how],
            capture_output=True, text=True, check=True, env=os.environ,
        )  # fmt: skip
        return json.loads(done.stdout)

    # One block, one file of 16 MB twice, and what a layer is packed with; of the whole all 16, and
    # their codes.
    assert most("offload") < 14 * block < 20 * block < most("whole")


def test_a_damaged_part_on_disk_is_never_put_into_a_model(base, a_store, capsys):
    compressed.load(RECIPES["wanda"], str(base), offload=True)
    (kept,) = (a_store / "compressed").iterdir()
    file = kept / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert weight_files.read(kept) is None
    compressed.load(RECIPES["wanda"], str(base), offload=True)
    assert "is damaged" in capsys.readouterr().err
    assert weight_files.read(kept) is not None
