"""Models of every family, quantized by GPTQ in one pass: each weight fed by what came before it."""

from contextlib import nullcontext

import pytest
import torch
from tiny_models import FAMILIES, tiny_model

from ethical_compression.compress import gptq, in_order
from ethical_compression.compress.blocks import linear_layers, stream_blocks, survey, weight_of
from ethical_compression.compress.hessian import hessians
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks


def calibration(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randint(3, 200, (6, 24), generator=generator).split(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_walked_and_quantized_in_place(family):
    model = tiny_model(family)
    inputs = list(torch.randint(3, 200, (6, 24)).split(2))
    with torch.no_grad():
        before = model(inputs[0]).logits
    linears = sum(len(linear_layers(block)) for block in transformer_blocks(model))
    errors = {}
    weights = gptq.quantize_model(
        model,
        inputs,
        bits=8,
        group_size=16,
        note=lambda name, row: errors.update({name: row["output_error"]}),
    )
    modules = dict(model.named_modules())
    assert len(weights) == len(errors) == linears > 0
    assert all(torch.equal(weight_of(modules[n]), q.dequantize()) for n, q in weights.items())
    with torch.no_grad():
        after = model(inputs[0]).logits
    assert 0 < (after - before).abs().max() < 0.1 * before.abs().max()
    assert max(errors.values()) < 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_each_layer_is_fed_by_quantized_ones_as_if_the_block_ran_anew_for_it(family):
    found = gptq.quantize_model(tiny_model(family), calibration(), bits=3, group_size=16)
    model = tiny_model(family)
    names = {module: name for name, module in model.named_modules()}
    steps = [block.steps for block in survey(model).blocks]
    solved = 0
    for index, block, calls in stream_blocks(model, calibration()):
        layers = {names[layer]: layer for layer in linear_layers(block).values()}
        for group in (group for step in steps[index] for group in step):
            found_now = hessians(block, calls)
            hessian = found_now[group[0].removeprefix(f"{names[block]}.")].matrix
            for name in group:
                own, _ = gptq.solve(weight_of(layers[name]), hessian, bits=3, group_size=16)
                weight_of(layers[name]).copy_(own.dequantize())
                assert torch.equal(found[name].codes, own.codes)
                solved += 1
    assert solved == len(found)


@pytest.mark.parametrize("blocks_done", [0, 1, 2])
def test_a_killed_run_takes_solved_blocks_over(tmp_path, monkeypatch, blocks_done):
    settings_ = {"bits": 3, "group_size": 16}
    errors, again, solved = {}, {}, []
    whole = gptq.quantize_model(
        tiny_model("opt"), calibration(), note=errors.__setitem__, **settings_
    )
    solve = gptq.solve

    def dying(*args, **kwargs):
        if len(list(tmp_path.glob("block-*"))) == blocks_done:
            raise KeyboardInterrupt
        return solve(*args, **kwargs)

    monkeypatch.setattr(gptq, "solve", dying)
    with pytest.raises(KeyboardInterrupt) if blocks_done < 2 else nullcontext():
        gptq.quantize_model(tiny_model("opt"), calibration(), parts=tmp_path, **settings_)

    def counted(*args, **kwargs):
        solved.append(1)
        return solve(*args, **kwargs)

    monkeypatch.setattr(gptq, "solve", counted)
    model = tiny_model("opt")
    resumed = gptq.quantize_model(
        model, calibration(), parts=tmp_path, note=again.__setitem__, **settings_
    )
    assert len(solved) == (2 - blocks_done) * 4  # OPT: q k v together, out, and two more
    assert again == errors
    assert list(resumed) == list(whole)
    modules = dict(model.named_modules())
    for name, weight in whole.items():
        assert torch.equal(resumed[name].codes, weight.codes)
        assert torch.equal(weight_of(modules[name]), weight.dequantize())


def test_a_damaged_part_is_solved_again(tmp_path, capsys):
    whole = gptq.quantize_model(tiny_model("llama"), calibration(), parts=tmp_path, bits=4)
    file = tmp_path / "block-001" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    again = gptq.quantize_model(tiny_model("llama"), calibration(), parts=tmp_path, bits=4)
    assert "block-001 is damaged" in capsys.readouterr().err
    assert all(torch.equal(again[name].codes, whole[name].codes) for name in whole)


def test_what_cannot_be_solved_is_named(monkeypatch):
    model = tiny_model("llama")
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = torch.inf
    with pytest.raises(InputError, match=r"model\.layers\.1\.mlp\.down_proj: .* infinite"):
        gptq.quantize_model(model, calibration(), bits=4)
    monkeypatch.setattr(in_order, "free_memory", lambda device: 1000.0)
    with pytest.raises(InputError, match=r"needs up to .* GiB .* are free on cpu"):
        gptq.quantize_model(tiny_model("llama"), calibration(), bits=4)


def test_token_weights_reach_every_hessian():
    inputs = calibration()
    weights = [torch.ones(2, 24), torch.zeros(2, 24), torch.zeros(2, 24)]
    weighted = gptq.quantize_model(
        tiny_model("llama"), inputs, bits=3, group_size=16, token_weights=weights
    )
    first_only = gptq.quantize_model(tiny_model("llama"), inputs[:1], bits=3, group_size=16)
    everything = gptq.quantize_model(tiny_model("llama"), inputs, bits=3, group_size=16)

    def agreement(other):
        pairs = [(weighted[name].codes == other[name].codes).float().mean() for name in weighted]
        return float(torch.stack(pairs).mean())

    assert agreement(first_only) > 0.99 > agreement(everything)
