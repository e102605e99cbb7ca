"""Compressed weights in the store: whole, small, and noticed where they are damaged."""

import json
from dataclasses import dataclass

import pytest
import torch
from tiny_models import tiny_model

from ethical_compression.compress import weight_files
from ethical_compression.compress.apply import apply
from ethical_compression.compress.blocks import linear_layers
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks


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


def test_a_kind_of_weight_is_read_back_by_its_name_which_is_taken_once(tmp_path, monkeypatch):
    @dataclass
    class Doubled:
        half: torch.Tensor
        note: str

        def dequantize(self):
            return 2 * self.half

    monkeypatch.setattr(weight_files, "_kinds", dict(weight_files._kinds))
    assert weight_files.restorable(Doubled) is Doubled
    half = torch.arange(6.0).view(2, 3)
    weight_files.write(tmp_path / "kept", {"layer": Doubled(half, "as told")}, {})
    found = weight_files.read(tmp_path / "kept")[0]["layer"]
    assert isinstance(found, Doubled) and found.note == "as told"
    assert torch.equal(found.dequantize(), 2 * half)
    weight_files.restorable(Doubled)  # as a notebook's cell that runs again
    Doubled.__module__ = "elsewhere"
    with pytest.raises(InputError, match="has a SparseWeight already: choose another name"):
        weight_files.restorable(type("SparseWeight", (Doubled,), {}))
