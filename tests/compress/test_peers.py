"""Our codes and checkpoints beside GPTQModel's and AutoGPTQ's, each in its own environment.

`make peers` builds the environments; without them these tests are skipped.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from ethical_compression import models
from ethical_compression.compress import checkpoint, compressed, gptq, peers
from ethical_compression.compress.blocks import (
    linear_layers,
    stream_blocks,
    survey,
    weight_of,
)
from ethical_compression.compress.calibration import calibration_inputs
from ethical_compression.compress.hessian import add_to_hessian, hessians, output_error
from ethical_compression.compress.recipe import Recipe

CASES = [
    {"bits": 4, "group_size": 128, "sym": True},
    {"bits": 3, "group_size": 128, "sym": False},
    {"bits": 8, "group_size": -1, "sym": True},
    {"bits": 2, "group_size": 128, "sym": True},
    # Two groups in a block: their grids are fitted before the block's own errors arrive.
    {"bits": 4, "group_size": 64, "sym": True},
    {"bits": 4, "group_size": 128, "sym": True, "desc_act": True},
    {"bits": 4, "group_size": 64, "sym": True, "desc_act": True, "static_groups": True},
    # Its default: whole groups in the order of their activations.
    {"bits": 4, "group_size": 128, "sym": True, "act_group_aware": True},
    {"bits": 3, "group_size": 64, "sym": True, "act_group_aware": True},
]
CHECKPOINTS = {
    "llama-4": ("llama", {"bits": 4, "group_size": 32}),
    "llama-3": ("llama", {"bits": 3, "group_size": 32}),
    "llama-8-row": ("llama", {"bits": 8, "group_size": -1}),
    "llama-2": ("llama", {"bits": 2, "group_size": 32}),
    "opt-4-ordered": ("opt", {"bits": 4, "group_size": 32, "activation_order": True}),
    "gpt2-4": ("gpt2", {"bits": 4, "group_size": 32}),
    "bloom-4": ("bloom", {"bits": 4, "group_size": 32}),
}
# Uneven grids, each in the format that its reader takes.
UNEVEN = {"gptqmodel": "gptq_v2", "auto-gptq": "gptq"}


def tiny_model(family):
    return tiny_models.tiny_model(family, num_key_value_heads=4, rope_parameters=ROPE[family])


# Other than what a reader that overlooked it would take.
ROPE = dict.fromkeys(tiny_models.FAMILIES) | {
    "llama": {"rope_type": "default", "rope_theta": 500.0}
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Problems for the peers, and our own answers."""
    folder = tmp_path_factory.mktemp("peers")
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2000, 256, generator=generator)
    inputs = inputs @ torch.randn(256, 256, generator=generator)
    weight = torch.randn(192, 256, generator=generator) * 0.05
    save_file({"weight": weight, "inputs": inputs}, folder / "layer.safetensors")
    (folder / "cases.json").write_text(json.dumps([{"block": 128} | case for case in CASES]))
    seen = torch.randint(3, 200, (6, 48), generator=generator)
    save_file({"seen": seen}, folder / "tokens.safetensors")
    tokenizer = models.load("tiny-random-llama").tokenizer
    for name, (family, settings) in CHECKPOINTS.items():
        model = tiny_model(family)
        weights = gptq.quantize_model(model, list(seen.split(2)), **settings)
        checkpoint.save_gptq(folder / "ours" / name, model, tokenizer, weights)
        with torch.no_grad():
            save_file({"logits": model(seen).logits}, folder / f"{name}.safetensors")
    for peer, layout in UNEVEN.items():
        model = tiny_model("llama")
        uneven = {"bits": 4, "group_size": 32, "symmetric": False}
        weights = gptq.quantize_model(model, list(seen.split(2)), **uneven)
        checkpoint.save_gptq(
            folder / f"for-{peer}" / "uneven", model, tokenizer, weights, checkpoint_format=layout
        )
        with torch.no_grad():
            save_file({"logits": model(seen).logits}, folder / "uneven.safetensors")
    tiny_model("llama").save_pretrained(folder / "plain")
    tokenizer.save_pretrained(folder / "plain")
    return folder


def run(peer, folder):
    python = peers.home() / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{peer} is not installed: `make peers` builds its environment")
    script = Path(__file__).parent / "peers" / f"run_{peer.replace('-', '_')}.py"
    quiet = {"GPTQMODEL_CPU_WORKERS": "2", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [python, script, folder],
        cwd=folder,  # GPTQModel writes a log where it stands
        capture_output=True,
        text=True,
        env=os.environ | quiet,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def gptqmodel(folder):
    return run("gptqmodel", folder)


@pytest.fixture(scope="module")
def auto_gptq(folder):
    return run("auto-gptq", folder)


def assert_same_logits(folder, name, peer):
    ours = load_file(folder / f"{name}.safetensors")["logits"]
    theirs = load_file(folder / f"{name}.{peer}.safetensors")["logits"]
    assert (theirs - ours).norm() <= 1e-3 * ours.norm()


@pytest.mark.parametrize("number", range(len(CASES)), ids=str)
def test_codes_agree_with_gptqmodel(gptqmodel, number):
    case = CASES[number]
    problem = load_file(gptqmodel / "layer.safetensors")
    theirs = load_file(gptqmodel / f"case-{number}.safetensors")
    hessian = add_to_hessian(None, problem["inputs"]).matrix
    ours, _ = gptq.solve(
        problem["weight"],
        hessian,
        bits=case["bits"],
        group_size=case["group_size"],
        symmetric=case["sym"],
        activation_order=case.get("desc_act") or ("groups" if "act_group_aware" in case else False),
        static_groups=case.get("static_groups", False),
        scale_dtype="float32",
    )
    group = theirs["group"].long()
    codes = torch.round(theirs["weight"] / theirs["scale"][:, group] + theirs["zero"][:, group])
    assert (codes == ours.codes).float().mean() >= 0.99
    assert torch.equal(ours.group.long(), group)
    errors = [
        output_error(problem["weight"], weight, hessian)
        for weight in (ours.dequantize(), theirs["weight"])
    ]
    assert errors[0] <= 1.001 * errors[1]


@pytest.mark.parametrize("name", [*CHECKPOINTS, "uneven"])
def test_gptqmodel_computes_with_our_checkpoints(gptqmodel, name):
    assert_same_logits(gptqmodel, name, "gptqmodel")


@pytest.mark.parametrize("name", [*CHECKPOINTS, "uneven"])
def test_auto_gptq_computes_with_our_checkpoints(auto_gptq, name):
    assert_same_logits(auto_gptq, name, "auto-gptq")


def test_a_checkpoint_made_by_gptqmodel_computes_the_same_here(gptqmodel):
    loaded = models.load(str(gptqmodel / "theirs"))
    theirs = load_file(gptqmodel / "theirs.gptqmodel.safetensors")["logits"]
    with torch.no_grad():
        ours = loaded.model(load_file(gptqmodel / "tokens.safetensors")["seen"]).logits
        plain = tiny_model("llama")(load_file(gptqmodel / "tokens.safetensors")["seen"]).logits
    assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
    assert (plain - theirs).norm() > 1e-2 * theirs.norm()


def test_a_recipe_by_gptqmodel_is_read_back_and_solved_in_our_order(
    own_store, tmp_path, monkeypatch
):
    if not (peers.home() / "gptqmodel" / "bin" / "python").exists():
        pytest.skip("gptqmodel is not installed: `make peers` builds its environment")
    grid = {"bits": 4, "group_size": -1, "activation_order": True}
    theirs = Recipe("gptq", quantizer="gptqmodel", samples=8, length=64, **grid)
    loaded, rows, found = compressed.load_with_report(theirs, "tiny-random-llama")
    assert all(0 < row["weight_error"] < 0.05 for row in rows)
    # Fed by their layers before it, also of its block, each layer gets their codes.
    full = models.load("tiny-random-llama")
    names = {module: name for name, module in full.model.named_modules()}
    inputs = calibration_inputs(theirs, full.model, full.tokenizer)
    steps = [block.steps for block in survey(full.model).blocks]
    solved = 0
    for index, block, calls in stream_blocks(full.model, inputs):
        layers = {names[layer]: layer for layer in linear_layers(block).values()}
        for group in (group for step in steps[index] for group in step):
            here = hessians(block, calls)
            hessian = here[group[0].removeprefix(f"{names[block]}.")].matrix
            for name in group:
                ours, _ = gptq.solve(weight_of(layers[name]), hessian, **grid)
                codes = found[name].codes
                assert (ours.codes == codes).float().mean() > 0.93
                weight_of(layers[name]).copy_(found[name].dequantize())
                solved += 1
    assert solved == len(found)
    # What was made is kept: the environment is not asked again.
    monkeypatch.setenv("ETHICAL_COMPRESSION_PEERS", str(tmp_path / "nowhere"))
    again = compressed.load(theirs, "tiny-random-llama")
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, again.model(ids).logits)
