"""Compressed weights in the store: whole, small, and noticed where they are damaged."""

import json

import pytest
from tiny_models import tiny_model

from ethical_compression.compress import weight_files
from ethical_compression.compress.apply import apply
from ethical_compression.compress.blocks import linear_layers, transformer_blocks
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError


@pytest.mark.parametrize("damage", ["weights", "note cut", "note changed", "note of another"])
def test_a_damaged_store_is_noticed(tmp_path, capsys, damage):
    model = tiny_model("gpt2")
    weights, _ = apply(Recipe("magnitude"), model)
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
    weights, _ = apply(Recipe("magnitude", sparsity=0.75, comparison="row"), model)
    weight_files.write(tmp_path / "kept", weights, {})
    blocks = transformer_blocks(model)
    linear = [layer for block in blocks for layer in linear_layers(block).values()]
    full = sum(4 * layer.weight.numel() for layer in linear)
    # A quarter of the values and a bit for each weight; the rest is the file's header.
    tensors = sum(w.mask.numel() + 4 * w.values.numel() for w in weights.values())
    assert tensors == full * (1 / 4 + 1 / 32)
    assert (tmp_path / "kept" / "weights.safetensors").stat().st_size < tensors + 8000
