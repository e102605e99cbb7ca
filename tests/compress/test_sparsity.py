"""Pruning against the papers' formulas, worked out in float64 the slow way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.compress import sparsity
from ethical_compression.compress.hessian import add_to_hessian, hessians, output_error
from ethical_compression.errors import InputError


def problem(seed=0, rows=12, columns=32, samples=300):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator)
    inputs = torch.randn(samples, columns, generator=generator) @ mixing
    return torch.randn(rows, columns, generator=generator), inputs


def lowest(scores, count):
    """Indices of the `count` lowest scores, by sorting a list of pairs."""
    return {index for _, index in sorted((float(s), i) for i, s in enumerate(scores))[:count]}


def brute_force_sparsegpt(weight, hessian, amount, damping, block):
    """SparseGPT from its equations (4) to (7), in float64: a fresh inverse for every column.

    The score w²/[H⁻¹]_jj takes, for column j, the inverse of the Hessian of the columns from j on.
    """
    w, h = weight.double().clone(), hessian.double().clone()
    h += damping * h.diagonal().mean() * torch.eye(len(h), dtype=torch.float64)
    pivots = [float(torch.linalg.inv(h[j:, j:])[0, 0]) for j in range(len(h))]
    step = amount[1] if isinstance(amount, tuple) else block
    for j in range(len(h)):
        if j % step == 0:
            width = min(step, len(h) - j)
            score = w[:, j : j + width].square() / torch.tensor(pivots[j : j + width])
            if isinstance(amount, tuple):
                chosen = [{(r, c) for c in lowest(row, amount[0])} for r, row in enumerate(score)]
                pruned = set().union(*chosen)
            else:
                found = lowest(score.flatten(), int(score.numel() * amount))
                pruned = {divmod(index, width) for index in found}
        inverse = torch.linalg.inv(h[j:, j:])
        for row in range(len(w)):
            if (row, j % step) in pruned:
                w[row, j:] -= w[row, j] / inverse[0, 0] * inverse[0]
                w[row, j] = 0.0
    return w


@pytest.mark.parametrize("wanted", [0.5, 0.3, (2, 4), (4, 8), (1, 4)])
def test_sparsegpt_equals_brute_force(wanted):
    weight, inputs = problem()
    hessian = add_to_hessian(None, inputs).matrix
    given_as = ":".join(map(str, wanted)) if isinstance(wanted, tuple) else wanted
    ours = sparsity.sparsegpt(weight, hessian, sparsity=given_as, damping=0.01, block=16)
    expected = brute_force_sparsegpt(weight, hessian, wanted, 0.01, 16)
    assert torch.equal(ours == 0, expected == 0)
    assert torch.allclose(ours.double(), expected, atol=2e-4)


@pytest.mark.parametrize("comparison", ["row", "layer"])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.7])
def test_wanda_and_magnitude_masks_equal_their_formulas(ratio, comparison):
    weight, inputs = problem(1)
    hessian = add_to_hessian(None, inputs).matrix
    norms = inputs.double().square().sum(0).sqrt()
    found = {
        "wanda": sparsity.wanda(weight, hessian, sparsity=ratio, comparison=comparison),
        "magnitude": sparsity.magnitude(weight, sparsity=ratio, comparison=comparison),
    }
    scores = {"wanda": weight.double().abs() * norms, "magnitude": weight.double().abs()}
    for method, score in scores.items():
        groups = score if comparison == "row" else score.reshape(1, -1)
        expected = torch.zeros_like(groups, dtype=torch.bool)
        for row, values in enumerate(groups):
            expected[row, list(lowest(values, int(round(ratio * 100) * len(values) // 100)))] = True
        assert torch.equal(found[method] == 0, expected.view_as(weight)), method
        assert torch.equal(found[method], weight.where(~expected.view_as(weight), 0)), method


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["2:4", "4:8", "1:4", "3:4"]),
    st.sampled_from(["magnitude", "wanda", "sparsegpt"]),
)
def test_a_pattern_has_exactly_n_zeros_in_every_m(seed, pattern, method):
    weight, inputs = problem(seed, samples=64)
    hessian = add_to_hessian(None, inputs).matrix
    data = {} if method == "magnitude" else {"hessian": hessian}
    pruned = getattr(sparsity, method)(weight, sparsity=pattern, **data)
    zeros, of = map(int, pattern.split(":"))
    assert ((pruned == 0).view(-1, of).sum(1) == zeros).all()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(0, 99).map(lambda percent: percent / 100),
    st.sampled_from(["row", "layer"]),
)
def test_a_ratio_is_met_exactly_and_ties_are_broken(seed, ratio, comparison):
    # Few distinct values, so that nearly all scores are tied.
    score = torch.randint(1, 3, (7, 40), generator=torch.Generator().manual_seed(seed)).float()
    mask = sparsity.smallest(score, ratio, comparison)
    size = 40 if comparison == "row" else 280
    counts = mask.view(-1, size).sum(1)
    assert (counts == int(round(ratio * 100) * size // 100)).all()
    kept = score.view(-1, size).masked_fill(mask.view(-1, size), 9).amin(1)
    gone = score.view(-1, size).masked_fill(~mask.view(-1, size), 0).amax(1)
    assert (gone <= kept).all()


def test_nothing_is_pruned_at_zero():
    weight, inputs = problem(2)
    hessian = add_to_hessian(None, inputs).matrix
    assert torch.equal(sparsity.magnitude(weight, sparsity=0.0), weight)
    assert torch.equal(sparsity.wanda(weight, hessian, sparsity=0.0), weight)
    assert torch.equal(sparsity.sparsegpt(weight, hessian, sparsity=0.0), weight)


def test_dead_inputs_do_not_break_sparsegpt():
    weight, inputs = problem(3)
    inputs[:, [0, 9]] = 0
    hessian = add_to_hessian(None, inputs).matrix
    pruned = sparsity.sparsegpt(weight, hessian, sparsity=0.5)
    assert pruned.isfinite().all()
    assert (pruned[:, [0, 9]] == 0).all()


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.integers(1, 19),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_packing_is_undone_bit_for_bit(seed, rows, columns, dtype):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).to(dtype)
    weight[weight.abs() < 0.7] = 0
    packed = sparsity.SparseWeight.of(weight)
    assert packed.mask.numel() == -(-rows * columns // 8)
    assert packed.values.numel() == int((weight != 0).sum())
    assert packed.values.dtype == dtype
    assert torch.equal(packed.dequantize(), weight)


def test_mask_statistics_of_a_worked_weight():
    weight = torch.tensor([[0.0, 1, 0, 2, 0, 0, 3, 4], [1, 0, 1, 0, 1, 1, 1, 0]])
    found = sparsity.mask_statistics(weight)
    assert (found["zeros"], found["weights"], found["sparsity"]) == (7, 16, 7 / 16)
    assert (found["row_min"], found["row_max"]) == (3 / 8, 4 / 8)
    assert not found["pattern_2_4"]
    assert sparsity.mask_statistics(weight[:1])["pattern_2_4"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (1.0, "makes no sense"),
        (-0.1, "makes no sense"),
        (float("nan"), "makes no sense"),
        ("4:2", "makes no sense"),
        ("2of4", "makes no sense"),
        (124, "in quotes such as '2:4'"),  # what YAML makes of an unquoted 2:4
        ("2:5", "that 5 divides, and a layer has 32"),
    ],
)
def test_an_amount_that_cannot_be_is_one_sentence(wanted, words):
    weight, _ = problem()
    with pytest.raises(InputError, match=words):
        sparsity.magnitude(weight, sparsity=wanted)


def test_on_real_layers_sparsegpt_beats_wanda_beats_magnitude(smollm2):
    """All seven layers of the embedded model's first block, on real text."""
    from ethical_compression.compress.blocks import linear_layers, stream_blocks, weight_of
    from ethical_compression.compress.calibration import calibration_windows
    from ethical_compression.datasets import text

    windows = calibration_windows(
        smollm2.tokenizer, text.load("xsum", "calibration", limit=20), samples=6, length=256
    )
    _, block, calls = next(iter(stream_blocks(smollm2.model, windows)))
    found = hessians(block, calls)
    for name, layer in linear_layers(block).items():
        weight, hessian = weight_of(layer), found[name].matrix
        pruned = {
            "magnitude": sparsity.magnitude(weight, sparsity=0.5),
            "wanda": sparsity.wanda(weight, hessian, sparsity=0.5),
            "sparsegpt": sparsity.sparsegpt(weight, hessian, sparsity=0.5),
        }
        error = {method: output_error(weight, w, hessian) for method, w in pruned.items()}
        assert error["sparsegpt"] < error["wanda"] < error["magnitude"], (name, error)
        for method, w in pruned.items():
            assert sparsity.mask_statistics(w)["sparsity"] == pytest.approx(0.5, abs=1e-3), method
