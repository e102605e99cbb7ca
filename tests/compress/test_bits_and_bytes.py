"""bitsandbytes' layers in models of every family, and through transformers' own loader."""

import importlib.util
import logging
import sys

import families
import pytest
import torch
from tiny_models import FAMILIES, tiny_model

from ethical_compression import models
from ethical_compression.compress import bits_and_bytes, checkpoint, compressed
from ethical_compression.compress.apply import apply
from ethical_compression.compress.blocks import linear_layers, weight_of
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks
from ethical_compression.models.quantized import keep_unpacked

needed = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
# A published NF4 table and FP4's values (sign, two exponent bits, one of mantissa), of ±1.
NF4 = [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0]
NF4 += [0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]
FP4 = [s * v / 12 for s in (1, -1) for v in (0, 0.0625, 2, 3, 4, 6, 8, 12)]


@needed
@pytest.mark.parametrize(("kind", "bound"), [("int8", 0.03), ("nf4", 0.4), ("fp4", 0.5)])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_quantized(family, kind, bound):
    full, model = tiny_model(family, width=64), tiny_model(family, width=64)
    bits_and_bytes.quantize_model(model, kind)
    plain = dict(full.named_modules())
    layers = {n: m for n, m in model.named_modules() if bits_and_bytes.is_quantized(m)}
    assert len(layers) == sum(len(linear_layers(b)) for b in transformer_blocks(full)) > 0
    for name, layer in layers.items():
        weight, restored = weight_of(plain[name]), bits_and_bytes.dequantize(layer)
        assert restored.shape == weight.shape
        assert 0 < (restored - weight).norm() / weight.norm() < bound / 3
    ids = torch.randint(3, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = full(ids).logits, model(ids).logits
    assert 0 < (after - before).norm() / before.norm() < bound * 2


@needed
@pytest.mark.parametrize(("kind", "table"), [("nf4", NF4), ("fp4", FP4)])
def test_four_bit_values_are_those_of_the_published_tables(kind, table):
    layer = torch.nn.Linear(64, 8)
    restored = bits_and_bytes.dequantize(bits_and_bytes.quantized(layer, kind))
    # Each row is one block of 64 weights, scaled by its largest magnitude.
    relative = restored / layer.weight.data.abs().amax(1, keepdim=True)
    nearest = (relative[..., None] - torch.tensor(table)).abs().amin(-1)
    assert nearest.max() < 1e-3


@needed
def test_int8_layers_multiply_without_a_word(caplog, capfd):
    layer = bits_and_bytes.quantized(torch.nn.Linear(64, 8), "int8")
    layer(torch.ones(3, 64))
    assert not caplog.records and capfd.readouterr().err == ""
    # Whatever else that module has to say is still heard.
    for part in ("autograd._functions", "backends.cpu.ops"):
        logging.getLogger(f"bitsandbytes.{part}").warning("something else")
    assert {record.message for record in caplog.records} == {"something else"}


@needed
def test_int8_is_the_nearest_of_255_levels_a_row():
    layer = torch.nn.Linear(64, 8)
    restored = bits_and_bytes.dequantize(bits_and_bytes.quantized(layer, "int8"))
    step = layer.weight.data.abs().amax(1, keepdim=True) / 127
    # bitsandbytes goes through float16, whose own rounding adds up to 127/2¹² of a step.
    assert ((restored - layer.weight.data).abs() <= step * 0.5311).all()
    assert restored.div(step).sub(restored.div(step).round()).abs().max() < 127 / 2**11


@needed
@pytest.mark.parametrize("kind", bits_and_bytes.KINDS)
def test_what_is_saved_transformers_loads(kind, tmp_path):
    import transformers

    model = tiny_model("llama", width=128)
    bits_and_bytes.quantize_model(model, kind)
    ids = torch.randint(3, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(ids).logits
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, device_map="cpu")
    assert sum(map(bits_and_bytes.is_quantized, again.modules())) == 14
    keep_unpacked(again)
    with torch.no_grad():
        assert torch.allclose(again(ids).logits, before, atol=1e-4)


@needed
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_four_bit_layers_compute_with_the_weights_they_stand_for(kind):
    generator = torch.Generator().manual_seed(0)
    plain = torch.nn.Linear(192, 64)
    x = torch.randn(5, 192, generator=generator)
    layer = bits_and_bytes.quantized(plain, kind).eval()
    weight = bits_and_bytes.dequantize(layer)
    expected = x @ weight.T + plain.bias
    for _ in range(2):  # the first pass is where the library would repack them
        with torch.inference_mode():
            torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(bits_and_bytes.dequantize(layer), weight)
    # A layer that is packed, as where transformers has loaded it, is put in order.
    layer.support_avx512bf16_for_cpu = True
    with torch.inference_mode():
        layer(x)
    keep_unpacked(layer)
    kept = bits_and_bytes.dequantize(layer)
    torch.testing.assert_close(kept, weight, rtol=2**-8, atol=0)
    torch.testing.assert_close(layer(x), x @ kept.T + plain.bias, atol=1e-5, rtol=1e-5)


@needed
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_a_width_that_blocks_do_not_divide_stays_as_it_is_on_a_cpu(kind, tmp_path):
    model, full = tiny_model("llama"), tiny_model("llama")
    # Of 32 inputs all, but for those after the widening.
    names = [f"model.layers.{i}.mlp.down_proj" for i in range(2)]
    assert bits_and_bytes.replaced(model, kind) == names
    with pytest.raises(InputError, match=r"would touch 2\d\..% .* multiples of 64"):
        apply(Recipe(kind), model)
    bits_and_bytes.quantize_model(model, kind)
    changed = [name for name, m in model.named_modules() if bits_and_bytes.is_quantized(m)]
    assert changed == names
    same = model.model.layers[0].self_attn.q_proj.weight
    assert torch.equal(same, full.model.layers[0].self_attn.q_proj.weight)
    model.save_pretrained(tmp_path)
    checkpoint.check(tmp_path, checkpoint.said_by(model))


@needed
@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_folder_of_bitsandbytes_layers_is_dequantised_before_it_is_compressed(
    kind, family, tmp_path
):
    model = tiny_model(family, width=64)
    bits_and_bytes.quantize_model(model, kind)
    model.save_pretrained(tmp_path / "quantized")
    loaded = models.of_folder(tmp_path / "quantized")
    ids = torch.randint(3, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, again = model(ids).logits, loaded(ids).logits
        assert torch.equal(again, before)
        again = loaded(ids).logits  # the first pass is where the library would repack them
        assert torch.equal(again, before)
    compressed.full_weights(loaded, "it")
    assert not any(map(bits_and_bytes.is_quantized, loaded.modules()))
    with torch.no_grad():
        plain = loaded(ids).logits
    # The same weights; int8 also rounds what they are fed with.
    assert (plain - before).norm() / before.norm() < (1e-5 if kind == "nf4" else 0.05)
    weights, _ = apply(Recipe("rtn", bits=8, group_size=16), loaded)
    with torch.no_grad():
        assert (loaded(ids).logits - plain).norm() / plain.norm() < 0.05
    expected = compressed.save(Recipe("rtn", bits=8), loaded, None, weights, tmp_path / "again")
    checkpoint.check(tmp_path / "again", expected)


def test_a_model_quantized_by_other_means_is_refused():
    model = tiny_model("llama")
    model.config.quantization_config = {"quant_method": "fp8"}
    with pytest.raises(InputError, match="it is quantized already, by fp8"):
        compressed.full_weights(model, "it")


@needed
@pytest.mark.parametrize("kind", ["int8", "nf4"])
@pytest.mark.parametrize("family", ["opt_projected", "biogpt", "modernbert_decoder", "rwkv"])
def test_linear_layers_outside_the_blocks_stay_where_transformers_would_take_them(
    kind, family, tmp_path
):
    model = families.make(family)
    try:
        bits_and_bytes.quantize_model(model, kind)
        model.save_pretrained(tmp_path)
        checkpoint.check(tmp_path, checkpoint.said_by(model))
    except InputError as error:
        assert "another model" in str(error) and kind == "nf4" and family == "rwkv"


def test_a_missing_library_and_an_unknown_kind_are_one_sentence(monkeypatch):
    with pytest.raises(InputError, match="no kind 'nf3'"):
        bits_and_bytes.quantize_model(tiny_model("llama"), "nf3")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(InputError, match="pip install bitsandbytes"):
        bits_and_bytes.quantize_model(tiny_model("llama"), "nf4")


@needed
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_folder_of_the_full_model_is_one_of_plain_weights(kind, tmp_path):
    """A quantized folder, and the method none: saved as the floats that its layers stand for."""
    model = tiny_model("llama", width=64)
    bits_and_bytes.quantize_model(model, kind)
    model.save_pretrained(tmp_path / "quantized")
    models.load("tiny-random-llama").tokenizer.save_pretrained(tmp_path / "quantized")
    compressed.compress(Recipe("none"), str(tmp_path / "quantized"), tmp_path / "plain")
    plain = models.of_folder(tmp_path / "plain")
    assert not any(map(bits_and_bytes.is_quantized, plain.modules()))
