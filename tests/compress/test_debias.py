"""Shift × Hessian against its derivation, in float64, and against the released formulas."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.compress import debias, gptq, pairs, sparsity
from ethical_compression.compress.hessian import inverse_factor
from ethical_compression.errors import InputError

ALPHAS = (0.1, 0.5, 2.0)


def layer(seed=0, rows=16, columns=32, count=40, length=6):
    """(weight (out, in), a layer's inputs from pairs of sentences, float64 (pairs, 2, length, in),
    and what is gathered of them)."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator)
    shared = torch.randn(count, 1, length, columns, generator=generator)
    own = 0.5 * torch.randn(count, 2, length, columns, generator=generator)
    weight = torch.randn(rows, columns, generator=generator)
    x = (shared + own) @ mixing
    return weight, x.double(), gathered(x)


def gathered(x, scaling="per-pair"):
    """What is gathered of a layer's inputs (pairs, 2, length, in), all positions compared."""
    count, _, length, _ = x.shape
    tokens = [([3] * length, [4] * length)] * count
    (batch,) = pairs.of_tokens(tokens, size=count, positions="start")
    return pairs.gatherer([batch], {"layer"}, scaling=scaling)(None, "layer", 0, x.float())


def flat(x):
    """(all inputs, all differences), a row a token."""
    return x.flatten(0, 2), (x[:, 0] - x[:, 1]).flatten(0, 1)


def terms(weight, changed, x):
    """‖(Ŵ−W)X‖² and ‖Ŵ(X₀−X₁)‖² a token, from the inputs themselves, float64."""
    inputs, difference = flat(x)
    kept = ((changed.double() - weight.double()) @ inputs.T).square().sum()
    return float(kept / len(inputs)), float(
        (changed.double() @ difference.T).square().sum() / len(inputs)
    )


def total(weight, changed, x, alpha):
    kept, contrast = terms(weight, changed, x)
    return kept + alpha * contrast


@given(st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_objective_equals_its_definition_on_the_inputs(seed):
    weight, x, known = layer(seed)
    changed = weight + torch.randn_like(weight)
    found = debias.objective(weight, changed, known)
    assert found == pytest.approx(terms(weight, changed, x), rel=1e-4)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_shift_is_the_minimum_of_the_objective(alpha):
    """Found by least squares on the inputs, without any Hessian: rows ŵ with X and √α(X₀−X₁)."""
    weight, x, known = layer()
    inputs, difference = flat(x)
    a = torch.cat([inputs, alpha**0.5 * difference])
    b = torch.cat([inputs @ weight.double().T, torch.zeros(len(difference), len(weight))])
    expected = torch.linalg.lstsq(a, b).solution.T
    shifted = debias.shifted(weight, known.matrix, alpha * known.h01, damping=1e-9)
    assert torch.allclose(shifted.double(), expected, atol=2e-3)
    assert not torch.allclose(weight.double(), expected, atol=0.02)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_completing_the_square(alpha):
    """The objective is the distance to W* in H + H₀₁, up to a constant: for any Ŵ (float64)."""
    weight, x, known = layer(2)
    h, h01 = known.matrix.double(), alpha * known.h01.double()
    star = weight.double() @ h @ torch.linalg.inv(h + h01)
    constants = []
    for seed in range(5):
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
        changed = weight.double() + noise
        square = ((changed - star) @ (h + h01) * (changed - star)).sum() / 2
        constants.append(total(weight, changed, x, alpha) - float(square))
    assert max(constants) - min(constants) < 1e-4 * abs(constants[0])


@pytest.mark.parametrize("cell", debias.CELLS)
def test_without_alpha_the_codes_and_masks_are_gptqs_and_sparsegpts(cell):
    weight, _, known = layer(3)
    grid = {"bits": 3, "group_size": 16, "symmetric": False, "damping": 0.01}
    plain, _ = gptq.solve(weight, known.matrix, **grid)
    none = known._replace(contrast=None)
    for found in (
        debias.quantize(weight, known, alpha=0, cell=cell, **grid),
        debias.quantize(weight, none, alpha=1, cell=cell, **grid),
        debias.quantize(weight, known, alpha=1, cell="plain", **grid),
    ):
        assert torch.equal(found.codes, plain.codes) and torch.equal(found.scale, plain.scale)
    pruned = sparsity.sparsegpt(weight, known.matrix, sparsity=0.5, damping=0.01)
    assert torch.equal(debias.prune(weight, known, alpha=0, cell=cell, sparsity=0.5), pruned)
    changed = debias.quantize(weight, known, alpha=1, cell=cell, **grid)
    assert torch.equal(changed.codes, plain.codes) == (cell == "plain")


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("how", ["quantize", "prune"])
def test_the_exact_cell_has_the_lowest_objective_in_the_mean(how, alpha):
    given_as = {"quantize": {"bits": 3, "group_size": 32}, "prune": {"sparsity": 0.5}}[how]
    means = dict.fromkeys(debias.CELLS, 0.0)
    for seed in range(8):
        weight, x, known = layer(seed)
        for cell in means:
            changed = getattr(debias, how)(weight, known, alpha=alpha, cell=cell, **given_as)
            changed = changed if how == "prune" else changed.dequantize()
            means[cell] += total(weight, changed, x, alpha) / 8
    assert min(means, key=means.get) == "exact", means


# --- The released codes -------------------------------------------------------------------------


def released_fair_gptq(weight, x, alpha, *, sum_hessians, damping=0.01):
    """(weight that is rounded, Hessian that it is rounded with), from the released formulas.

    Over pairs n = 1, 2, …, each a batch of two sentences, with δ = X₀ − X₁:
    H ← H (n−1)/n + 2/(2n) Σ XXᵀ over both sentences; H₀₁ ← H₀₁ (n−1)/n + α·2/n δδᵀ.
    W ← W − W H₀₁ (M + λI)⁻¹ with M = H + H₀₁ where `sum_hessians` is set, else M = H, its default;
    λ is `damping` times M's mean diagonal; the rest is GPTQ with H.
    """
    columns = x.shape[-1]
    h, h01 = torch.zeros(2, columns, columns, dtype=torch.float64)
    for n, pair in enumerate(x, 1):
        inputs, delta = pair.flatten(0, 1), pair[0] - pair[1]
        h = h * (n - 1) / n + 2 / (2 * n) * inputs.T @ inputs
        h01 = h01 * (n - 1) / n + alpha * 2 / n * delta.T @ delta
    m = h + h01 if sum_hessians else h
    m = m + damping * m.diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    weight = weight.double()
    return weight - weight @ h01 @ torch.linalg.inv(m), h


def released_debias_sparsegpt(x, alpha):
    """The Hessian that Debias-SparseGPT prunes with, from the released formulas: over pairs n,
    H ← H (n−1)/n + 2/(2n) Σ XXᵀ + α·2δδᵀ, so that pair k counts k times (over n, at the end)."""
    columns = x.shape[-1]
    h = torch.zeros(columns, columns, dtype=torch.float64)
    for n, pair in enumerate(x, 1):
        inputs, delta = pair.flatten(0, 1), pair[0] - pair[1]
        h = h * (n - 1) / n + 2 / (2 * n) * inputs.T @ inputs + 2 * alpha * delta.T @ delta
    return h


def apart(one, other, x):
    """How far two weights' outputs on the inputs are from one another, relatively."""
    outputs = [x @ weight.double().T for weight in (one, other)]
    return float((outputs[0] - outputs[1]).square().sum() / outputs[1].square().sum())


@pytest.mark.parametrize(
    ("sum_hessians", "alpha"), list(itertools.product((False, True), (0.1, 0.5)))
)
def test_fair_gptq_as_released(sum_hessians, alpha):
    weight, x, _ = layer(4)
    expected, h = released_fair_gptq(weight, x, alpha, sum_hessians=sum_hessians)
    how = {"cell": "shift", "first_order": not sum_hessians}
    known = gathered(x, "fair-gptq")
    moved, hessian, _ = debias.problem(weight, known, alpha=alpha, **how)
    assert torch.allclose(moved.double(), expected, atol=1e-3)
    # Its Hessian is a mean over sentences, ours over tokens: one factor, which rounds alike.
    length = x.shape[2]
    assert torch.allclose(hessian.double() * length, h, atol=1e-4 * float(h.abs().max()))
    grid = {"bits": 4, "group_size": 16, "symmetric": True, "damping": 0.01}
    theirs, _ = gptq.solve(expected.float(), h.float(), **grid)
    ours = debias.quantize(weight, known, alpha=alpha, **how, **grid)
    assert (ours.codes == theirs.codes).float().mean() > 0.98
    assert apart(ours.dequantize(), theirs.dequantize(), x) < 1e-3
    # It is twice the α that is stated; once, it is another weight.
    plain = gathered(x)
    assert torch.allclose(
        debias.problem(weight, plain, alpha=2 * alpha, **how)[0], moved, atol=1e-4
    )
    once, *_ = debias.problem(weight, plain, alpha=alpha, **how)
    assert not torch.allclose(once, moved, atol=1e-2)
    # In another order of the pairs it is the same.
    turned, *_ = debias.problem(weight, gathered(x.flip(0), "fair-gptq"), alpha=alpha, **how)
    assert torch.allclose(turned, moved, atol=1e-3)


def test_debias_sparsegpt_as_released_and_its_order():
    weight, x, _ = layer(5)
    alpha, length = 0.1, x.shape[2]
    orders = (x, x.flip(0))
    for its in orders:
        h, known = released_debias_sparsegpt(its, alpha), gathered(its, "debias-sparsegpt")
        same, hessian, _ = debias.problem(weight, known, alpha=alpha, cell="hessian")
        assert torch.equal(same, weight)
        assert torch.allclose(hessian.double() * length, h, atol=1e-4 * float(h.abs().max()))
        theirs = sparsity.sparsegpt(weight, h.float(), sparsity=0.5)
        ours = debias.prune(weight, known, alpha=alpha, cell="hessian", sparsity=0.5)
        assert ((ours == 0) == (theirs == 0)).float().mean() > 0.98
        assert apart(ours, theirs, x) < 1e-3
    one, other = (released_debias_sparsegpt(its, alpha) for its in orders)
    assert float((one - other).abs().max()) > 0.05 * float(one.abs().max())
    one, other = (gathered(its).h01 for its in orders)
    assert torch.allclose(one, other, atol=1e-5 * float(one.abs().max()))


@pytest.mark.parametrize("cell", debias.CELLS)
@pytest.mark.parametrize("first_order", [False, True])
def test_a_factor_is_used_again_only_for_its_own_hessian(cell, first_order):
    weight, _, known = layer(7)
    target = debias.problem(weight, known, alpha=1, cell=cell, first_order=first_order)
    if target.upper is None:
        assert not (cell == "exact" and not first_order)
    else:
        expected = inverse_factor(target.hessian, 0.01)
        assert torch.allclose(target.upper, expected, atol=1e-6)


# --- Properties and errors ----------------------------------------------------------------------


@given(st.integers(0, 30), st.floats(0.01, 5))
@settings(max_examples=20, deadline=None)
def test_a_larger_alpha_lowers_the_second_term_of_the_shift_and_raises_the_first(seed, alpha):
    """Before rounding this holds without exception: the minimum of a sum, one part of it raised."""
    weight, _, known = layer(seed)
    low, high = (
        debias.objective(
            weight, debias.shifted(weight, known.matrix, a * known.h01, damping=1e-7), known
        )
        for a in (alpha, 2 * alpha)
    )
    assert high[1] <= low[1] * (1 + 1e-4) and high[0] >= low[0] * (1 - 1e-3)


def test_inputs_that_are_never_active_get_no_weight():
    weight, x, _ = layer(6)
    x[..., 3] = 0
    found = debias.prune(weight, gathered(x), alpha=1, sparsity=0.3)
    assert found.isfinite().all() and (found[:, 3] == 0).all()


@pytest.mark.parametrize("alpha", [-1, float("nan"), float("inf")])
def test_an_impossible_alpha_is_refused(alpha):
    weight, _, known = layer()
    with pytest.raises(InputError, match="alpha"):
        debias.problem(weight, known, alpha=alpha)
    with pytest.raises(InputError, match="cell of shift"):
        debias.problem(weight, known, alpha=1, cell="both")
