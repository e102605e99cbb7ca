"""GPTQ against its own mathematics, in float64 and on tiny models of every family."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.compress import gptq
from ethical_compression.compress.blocks import (
    linear_layers,
    stream_blocks,
    weight_of,
)
from ethical_compression.compress.hessian import (
    add_to_hessian,
    hessians,
    output_error,
)
from ethical_compression.compress.integer import (
    encode,
    fit_grid,
    split_rows,
)
from ethical_compression.compress.rtn import round_to_nearest
from ethical_compression.errors import InputError


def layer(seed=0, rows=24, columns=48, samples=400):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator)
    inputs = torch.randn(samples, columns, generator=generator) @ mixing
    return torch.randn(rows, columns, generator=generator), inputs


def brute_force(
    weight,
    hessian,
    bits,
    group_size,
    symmetric,
    damping=0.01,
    *,
    order=None,
    static=False,
    clipping=False,
    block=128,
):
    """Optimal brain quantization as first written: after each column, the best update of all
    columns still free, from a fresh inverse of what is left of the Hessian (float64)."""
    order = torch.arange(weight.shape[1]) if order is None else order
    plain = weight.double()
    w, h = plain[:, order].clone(), hessian.double()[order][:, order]
    h += damping * h.diagonal().mean() * torch.eye(len(h), dtype=torch.float64)
    result = torch.zeros_like(w)
    # What an error in a column costs when all columns after it make up for it as well as they can.
    cost = torch.stack([1 / torch.linalg.inv(h[i:, i:])[0, 0] for i in range(len(h))])

    def fit(group, places):
        return fit_grid(group, bits, symmetric, metric=cost[places] if clipping else None)

    block = max(1, block // group_size) * group_size
    for i in range(w.shape[1]):
        first = i // group_size * group_size
        if i % block == 0:
            seen = w.clone()  # what grids are fitted to
        if static:
            first = int(order[i]) // group_size * group_size
            places = order.argsort()[first : first + group_size]
            scale, zero = fit(plain[:, first : first + group_size], places)
        else:
            places = slice(first, first + group_size)
            scale, zero = fit(seen[:, places], places)
        result[:, i] = scale * (encode(w[:, i], scale, zero, bits) - zero)
        inverse = torch.linalg.inv(h[i:, i:])
        error = (w[:, i] - result[:, i]) / inverse[0, 0]
        w[:, i:] -= error[:, None] * inverse[0]
    return result[:, order.argsort()]


@pytest.mark.parametrize(
    ("bits", "group_size", "symmetric"), list(itertools.product([2, 3, 4], [16, 48], [True, False]))
)
def test_solve_equals_brute_force(bits, group_size, symmetric):
    weight, inputs = layer()
    hessian = add_to_hessian(None, inputs).matrix.double()
    expected = brute_force(weight, hessian, bits, group_size, symmetric)
    quantized, _ = gptq.solve(
        weight, hessian, bits=bits, group_size=group_size, symmetric=symmetric, damping=0.01
    )
    same = (quantized.dequantize() - expected).abs() < 1e-4
    # A tie that float32 and float64 round apart changes what follows in its row, rarely.
    assert same.float().mean() > 0.97
    energy = [output_error(weight, w, hessian.float()) for w in (quantized.dequantize(), expected)]
    assert energy[0] == pytest.approx(energy[1], rel=0.02)


def whole_groups_first(importance, size):
    """The group with the largest first, and so within each; a short group stays last."""
    columns = range(len(importance))
    groups = [columns[start : start + size] for start in columns[::size]]
    groups.sort(key=lambda group: (len(group) < size, -max(importance[i] for i in group)))
    return torch.tensor([i for g in groups for i in sorted(g, key=lambda i: -importance[i])])


@pytest.mark.parametrize(
    ("activation_order", "static_groups"),
    [(a, s) for a in (False, True, "groups") for s in (False, True)],
)
@pytest.mark.parametrize("group_size", [16, 20, 48])
@pytest.mark.parametrize(("clipping", "block"), [(False, 128), (True, 128), (True, 16)])
def test_orders_and_group_schemes_equal_brute_force(
    activation_order, static_groups, group_size, clipping, block
):
    weight, inputs = layer(5)
    hessian = add_to_hessian(None, inputs).matrix.double()
    order = hessian.diagonal().argsort(descending=True) if activation_order else None
    if activation_order == "groups":
        order = whole_groups_first(hessian.diagonal().tolist(), group_size)
    how = {"order": order, "static": static_groups, "clipping": clipping, "block": block}
    expected = brute_force(weight, hessian, 3, group_size, False, **how)
    quantized, _ = gptq.solve(
        weight,
        hessian,
        bits=3,
        group_size=group_size,
        symmetric=False,
        activation_order=activation_order,
        static_groups=static_groups,
        clipping=clipping,
        block=block,
    )
    same = (quantized.dequantize() - expected).abs() < 1e-4
    assert same.float().mean() > 0.97
    if static_groups or activation_order == "groups":
        assert torch.equal(quantized.group, torch.arange(48, dtype=torch.int32) // group_size)


@pytest.mark.parametrize("group_size", [-1, 5, 16, 33, 200])
@pytest.mark.parametrize("static", [True, False])
def test_how_columns_are_cut_changes_nothing(group_size, static, monkeypatch):
    """The pieces of a block that are solved at a time, and with static groups the blocks, too, are
    for speed alone."""
    weight, inputs = layer(6, columns=130, samples=600)
    hessian = add_to_hessian(None, inputs).matrix
    found = []
    cuts = [(128, 32), (1, 1), (1000, 1000), (48, 7)] if static else [(128, 32), (128, 1), (128, 7)]
    for block, width in cuts:
        monkeypatch.setitem(gptq.column_solve.WIDTH, "torch", width)
        quantized, loss = gptq.solve(
            weight, hessian, bits=4, group_size=group_size, block=block, static_groups=static
        )
        found.append((quantized, loss))
    for quantized, loss in found[1:]:
        assert (quantized.codes == found[0][0].codes).float().mean() > 0.98  # rounding ties
        assert torch.allclose(loss.sum(), found[0][1].sum(), rtol=0.01)


def test_stacked_layers_get_the_codes_that_each_would_get_alone():
    weight, inputs = layer(7)
    hessian = add_to_hessian(None, inputs).matrix
    settings_ = {"bits": 4, "group_size": 16, "activation_order": True}
    stack, loss = gptq.solve(weight, hessian, **settings_)
    parts = split_rows(stack, [5, 12, 7])
    assert [len(part.codes) for part in parts] == [5, 12, 7]
    begin = 0
    for part in parts:
        rows = slice(begin, begin + len(part.codes))
        alone, own_loss = gptq.solve(weight[rows], hessian, **settings_)
        assert torch.equal(part.codes, alone.codes)
        assert torch.equal(part.dequantize(), alone.dequantize())
        assert torch.allclose(loss[rows], own_loss)
        begin = rows.stop


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 1000),
    st.sampled_from([2, 3, 4, 8]),
    st.sampled_from([-1, 7, 16, 64]),
    st.booleans(),
    st.sampled_from([False, True, "groups"]),
    st.booleans(),
    st.booleans(),
)
def test_loss_is_the_output_error_it_says(
    seed, bits, group_size, symmetric, activation_order, static_groups, clipping
):
    weight, inputs = layer(seed, samples=200)
    hessian = add_to_hessian(None, inputs).matrix
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))
    quantized, loss = gptq.solve(
        weight,
        hessian,
        bits=bits,
        group_size=group_size,
        symmetric=symmetric,
        activation_order=activation_order,
        static_groups=static_groups,
        clipping=clipping,
    )
    change = (quantized.dequantize() - weight).double()
    expected = ((change @ damped.double()) * change).sum(1) / 2
    assert torch.allclose(loss.double(), expected, rtol=5e-3, atol=1e-9)


def test_beats_round_to_nearest_and_survives_a_short_last_group():
    weight, inputs = layer(3)
    hessian = add_to_hessian(None, inputs).matrix
    for bits, group_size in itertools.product([2, 3, 4], [-1, 20, 48]):
        ours, _ = gptq.solve(weight, hessian, bits=bits, group_size=group_size)
        plain = round_to_nearest(weight, bits=bits, group_size=group_size)
        errors = [output_error(weight, q.dequantize(), hessian) for q in (ours, plain)]
        assert errors[0] < 0.75 * errors[1]


def test_dead_inputs_get_zero_weight_and_do_not_break_the_solve():
    weight, inputs = layer(2)
    inputs[:, [0, 17]] = 0
    quantized, _ = gptq.solve(weight, add_to_hessian(None, inputs).matrix, bits=4)
    assert (quantized.dequantize()[:, [0, 17]] == 0).all()


def test_damping_grows_until_a_rank_deficient_hessian_can_be_solved():
    weight, inputs = layer(4, samples=5)
    hessian = add_to_hessian(None, inputs).matrix
    quantized, _ = gptq.solve(weight, hessian, bits=4, damping=1e-9)
    assert quantized.dequantize().isfinite().all()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w, h: (w.index_fill(0, torch.tensor([0]), float("nan")), h), "NaN or infinite"),
        (lambda w, h: (w, h * float("inf")), "NaN or infinite"),
        (lambda w, h: (w, -h), "stays singular"),
        (lambda w, h: (w, h[:10, :10]), "needs a 48 × 48 Hessian"),
    ],
)
def test_bad_input_is_one_sentence(spoil, words):
    weight, inputs = layer()
    weight, hessian = spoil(weight, add_to_hessian(None, inputs).matrix)
    with pytest.raises(InputError, match=words):
        gptq.solve(weight, hessian, bits=4)


@pytest.mark.parametrize("bits", [3, 4])
def test_on_real_layers_gptq_loses_less_than_rounding_on_text_it_has_not_seen(smollm2, bits):
    from ethical_compression.compress.calibration import calibration_windows
    from ethical_compression.datasets import text

    def first_block(half):
        windows = calibration_windows(
            smollm2.tokenizer, text.load("xsum", half), samples=16, length=256
        )
        _, block, calls = next(stream_blocks(smollm2.model, windows))
        return linear_layers(block), hessians(block, calls)

    layers, seen = first_block("calibration")
    _, unseen = first_block("held_out")
    for name, layer_ in layers.items():
        weight = weight_of(layer_)
        clipped, _ = gptq.solve(weight, seen[name].matrix, bits=bits, group_size=64, clipping=True)
        ours, _ = gptq.solve(weight, seen[name].matrix, bits=bits, group_size=64)
        plain = round_to_nearest(weight, bits=bits, group_size=64)
        errors = [
            output_error(weight, quantized.dequantize(), unseen[name].matrix)
            for quantized in (clipped, ours, plain)
        ]
        assert 0 < errors[0] < 0.9 * errors[1] < 0.8 * errors[2], name
