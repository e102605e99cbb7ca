"""Quantized models in the format that others write and read."""

import errno
import json
from pathlib import Path

import families
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES

from ethical_compression import models
from ethical_compression.compress import checkpoint, gptq, weight_files
from ethical_compression.compress.apply import apply
from ethical_compression.compress.compressed import save
from ethical_compression.compress.recipe import Recipe
from ethical_compression.compress.rtn import round_to_nearest
from ethical_compression.errors import InputError
from ethical_compression.models import gptq_format
from ethical_compression.models.gptq_format import BITS, pack, unpack

INPUTS = list(torch.randint(3, 200, (4, 24), generator=torch.Generator().manual_seed(0)).split(2))


def tiny_model(family, **changes):
    # As many key heads as query heads: the format takes layers whose sides are multiples of 32.
    return tiny_models.tiny_model(family, num_key_value_heads=4, **changes)


def quantized(family="llama", **settings_):
    model = tiny_model(family)
    weights = gptq.quantize_model(model, INPUTS, **{"bits": 4, "group_size": 16} | settings_)
    return model, weights


@pytest.fixture(scope="module")
def tokenizer():
    return models.load("tiny-random-llama").tokenizer


def same(one, other):
    assert one.bits == other.bits
    for part in ("codes", "scale", "zero", "group"):
        ours, theirs = getattr(one, part), getattr(other, part)
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), part


# --- Packing --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(BITS), st.integers(1, 3), st.integers(1, 5), st.integers(0, 1000))
def test_a_column_is_one_stream_of_bits(bits, blocks, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 2**bits, (32 * blocks, columns), generator=generator).byte()
    words = pack(values, bits)
    assert words.dtype == torch.int32 and words.shape == (blocks * bits, columns)
    for column in range(columns):
        stream = sum(int(v) << (bits * k) for k, v in enumerate(values[:, column]))
        expected = [(stream >> (32 * i)) & 0xFFFFFFFF for i in range(len(words))]
        assert [int(w) & 0xFFFFFFFF for w in words[:, column]] == expected
    assert torch.equal(unpack(words, bits), values)


# --- AutoGPTQ's format ----------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_saved_and_loaded(family, tmp_path, tokenizer):
    model, weights = quantized(family)
    checkpoint.save_gptq(tmp_path / "model", model, tokenizer, weights)
    read, _ = gptq_format.load_gptq(tmp_path / "model")
    assert set(read) == set(weights)
    for name in weights:
        same(read[name], weights[name])
    loaded = models.load(str(tmp_path / "model"))
    assert loaded.source["kind"] == "folder"
    with torch.no_grad():
        assert torch.equal(loaded.model(INPUTS[0]).logits, model(INPUTS[0]).logits)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    "order",
    [{}, {"activation_order": True}, {"activation_order": True, "static_groups": True}],
    ids=["plain", "ordered", "static"],
)
def test_every_setting_is_read_back_bit_for_bit(tmp_path, bits, symmetric, order):
    model, weights = quantized(bits=bits, symmetric=symmetric, group_size=32, **order)
    lowest = min(int(weight.zero.min()) for weight in weights.values())
    chosen = "gptq" if lowest else "gptq_v2"
    checkpoint.save_gptq(tmp_path / "model", model, None, weights, checkpoint_format=chosen)
    read, others = gptq_format.load_gptq(tmp_path / "model")
    for name in weights:
        same(read[name], weights[name])
    assert "model.embed_tokens.weight" in others
    said = json.loads((tmp_path / "model" / "config.json").read_text())["quantization_config"]
    assert said == json.loads((tmp_path / "model" / "quantize_config.json").read_text())
    assert (said["bits"], said["group_size"], said["sym"]) == (bits, 32, symmetric)
    ungrouped = order and "static_groups" not in order
    assert said["desc_act"] == bool(ungrouped)
    assert said["checkpoint_format"] == chosen


def test_zero_points_are_stored_less_one_or_as_they_are(tmp_path):
    model = tiny_model("llama")
    weight = model.model.layers[0].mlp.up_proj.weight.data
    weights = {
        "model.layers.0.mlp.up_proj": round_to_nearest(weight, bits=4, group_size=32),
    }
    checkpoint.save_gptq(tmp_path / "symmetric", model, None, weights)
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "symmetric" / "model.safetensors")
    assert (unpack(stored["model.layers.0.mlp.up_proj.qzeros"].T, 4) == 7).all()
    assert stored["model.layers.0.mlp.up_proj.scales"].dtype == torch.float16
    weight[:, :] = weight.abs()  # nothing below zero, so that zero points are zero
    weights = {
        "model.layers.0.mlp.up_proj": round_to_nearest(
            weight, bits=4, group_size=32, symmetric=False
        ),
    }
    with pytest.raises(InputError, match='"gptq" cannot say: give checkpoint_format="gptq_v2"'):
        checkpoint.save_gptq(tmp_path / "positive", model, None, weights)
    checkpoint.save_gptq(tmp_path / "positive", model, None, weights, checkpoint_format="gptq_v2")
    stored = load_file(tmp_path / "positive" / "model.safetensors")
    assert (unpack(stored["model.layers.0.mlp.up_proj.qzeros"].T, 4) == 0).all()
    same(
        gptq_format.load_gptq(tmp_path / "positive")[0]["model.layers.0.mlp.up_proj"],
        weights["model.layers.0.mlp.up_proj"],
    )


@pytest.mark.parametrize("bits", BITS)
def test_zero_points_that_were_borrowed_from_are_given_back(bits):
    """As GPTQModel stores them: one taken from every field by subtracting whole words."""
    zero = torch.randint(0, 2**bits, (64, 3), generator=torch.Generator().manual_seed(bits)).byte()
    assert (zero == 0).any() or bits == 8
    words = pack(zero, bits).T.contiguous()
    if bits == 3:
        stored = pack((zero.int() - 1) & 7, bits).T
    else:
        stored = (words.long() - gptq_format.ONES[bits]).to(torch.int32)
    assert torch.equal(gptq_format._zero_points(stored, bits, "gptq"), zero)
    assert torch.equal(gptq_format._zero_points(words, bits, "gptq_v2"), zero)


def test_shared_weights_are_written_under_both_names_and_shared_again(tmp_path):
    model, weights = quantized("opt")
    checkpoint.save_gptq(tmp_path / "model", model, None, weights)
    _, others = gptq_format.load_gptq(tmp_path / "model")
    assert torch.equal(others["lm_head.weight"], others["model.decoder.embed_tokens.weight"])


def test_old_rotary_and_dtype_names_are_written_too(tmp_path):
    model = tiny_model("llama", rope_parameters={"rope_type": "default", "rope_theta": 100000.0})
    weights = gptq.quantize_model(model, INPUTS, bits=4, group_size=16)
    checkpoint.save_gptq(tmp_path / "model", model, None, weights)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["rope_theta"] == 100000.0
    assert config["torch_dtype"] == config["dtype"] == "float32"


def test_what_the_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path):
    target = tmp_path / "model"
    model, weights = quantized(scale_dtype="float32")
    with pytest.raises(InputError, match="more digits than float16 stores"):
        checkpoint.save_gptq(target, model, None, weights)
    model, weights = quantized()
    name = next(iter(weights))
    mixed = weights | {name: round_to_nearest(weights[name].dequantize(), bits=3, group_size=16)}
    with pytest.raises(InputError, match="holds one width"):
        checkpoint.save_gptq(target, model, None, mixed)
    mixed = weights | {name: round_to_nearest(weights[name].dequantize(), bits=4, group_size=8)}
    with pytest.raises(InputError, match="holds one size"):
        checkpoint.save_gptq(target, model, None, mixed)
    with pytest.raises(InputError, match="no format 'marlin'"):
        checkpoint.save_gptq(target, model, None, weights, checkpoint_format="marlin")
    with pytest.raises(InputError, match="no layer"):
        checkpoint.save_gptq(target, tiny_model("opt"), None, weights)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="already holds something"):
        checkpoint.save_gptq(tmp_path, model, None, weights)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, number):
    import safetensors.torch
    from safetensors import SafetensorError

    model, weights = quantized()

    def full(tensors, path, *_, **__):
        Path(path).write_bytes(b"half of it")
        raise SafetensorError(f"Error while serializing: I/O error: no room (os error {number})")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(InputError, match="The disk is full"):
        checkpoint.save_gptq(tmp_path / "model", model, None, weights)
    with pytest.raises(InputError, match="The disk is full"):
        weight_files.write(tmp_path / "kept", weights, {})
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_damaged_or_foreign_is_refused_in_words(tmp_path):
    from safetensors.torch import load_file, save_file

    model, weights = quantized()
    folder = tmp_path / "model"
    checkpoint.save_gptq(folder, model, None, weights)
    whole = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    save_file(
        {k: v for k, v in whole.items() if k != f"{name}.scales"}, folder / "model.safetensors"
    )
    with pytest.raises(InputError, match=r"lacks .*\.scales: fetch"):
        gptq_format.load_gptq(folder)
    short = {f"{name}.g_idx": whole[f"{name}.g_idx"][:-1].contiguous()}
    save_file(whole | short, folder / "model.safetensors")
    with pytest.raises(InputError, match="do not fit 4 bits"):
        gptq_format.load_gptq(folder)
    save_file(whole, folder / "model.safetensors")
    with pytest.raises(InputError, match="OPTForCausalLM lacks"):
        gptq_format.dequantised_state(folder, tiny_model("opt"))
    with pytest.raises(InputError, match="configuration belongs to another model"):
        gptq_format.dequantised_state(folder, tiny_model("llama", intermediate_size=32))
    for file in ("config.json", "quantize_config.json"):
        content = json.loads((folder / file).read_text())
        (content.get("quantization_config") or content)["checkpoint_format"] = "marlin"
        (folder / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match="in the format marlin with 4 bits"):
        gptq_format.load_gptq(folder)
    plain = tmp_path / "plain"
    tiny_model("llama").save_pretrained(plain)
    assert gptq_format.gptq_settings(plain) is None
    with pytest.raises(InputError, match="has no GPTQ checkpoint"):
        gptq_format.load_gptq(plain)


# --- Folders as others expect them ----------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt_neox", "mixtral", "qwen3_moe", "gpt_oss", "gpt2", "opt"])
def test_tensors_have_the_names_that_save_pretrained_gives_them(family, tmp_path):
    from safetensors import safe_open

    model = families.make(family)
    model.save_pretrained(tmp_path / "full")
    recipe = Recipe("rtn", bits=4, group_size=32)
    weights, _ = apply(recipe, model)
    expected = save(recipe, model, None, weights, tmp_path / "packed")
    checkpoint.check(tmp_path / "packed", expected)
    names = []
    for folder in ("full", "packed"):
        with safe_open(tmp_path / folder / "model.safetensors", "pt") as file:
            names.append(set(file.keys()))
    parts = {f"{n.removesuffix('.qweight')}.weight" for n in names[1] if n.endswith(".qweight")}
    plain = {n for n in names[1] if n.rpartition(".")[2] not in gptq_format.PACKED}
    # Weights that two names share are there under both.
    assert names[0] <= parts | plain <= names[0] | {"lm_head.weight"}
    # An expert has a layer of its own where the family is saved so.
    assert any("experts.3." in name for name in parts) == (family in ("mixtral", "qwen3_moe"))


def test_a_folder_that_holds_another_model_is_not_left(tmp_path):
    model = tiny_model("llama")
    expected = checkpoint.said_by(model)
    model.model.layers[1].mlp.down_proj.weight.data[0] += 1.0
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"another model \(its logits are \d+% off\)"):
        checkpoint.check(tmp_path / "other", expected)
    tiny_model("llama", num_hidden_layers=1).save_pretrained(tmp_path / "short")
    with pytest.raises(InputError, match="is None in place of"):
        checkpoint.check(tmp_path / "short", expected)


def test_zero_points_that_contradict_the_configuration_are_noticed(tmp_path):
    model, weights = quantized(symmetric=False)
    lowest = min(int(weight.zero.min()) for weight in weights.values())
    chosen = "gptq" if lowest else "gptq_v2"
    checkpoint.save_gptq(tmp_path / "model", model, None, weights, checkpoint_format=chosen)
    for file in ("config.json", "quantize_config.json"):
        content = json.loads((tmp_path / "model" / file).read_text())
        (content.get("quantization_config") or content)["sym"] = True
        (tmp_path / "model" / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match="calls its grids symmetric, but zero points of model"):
        gptq_format.load_gptq(tmp_path / "model")
