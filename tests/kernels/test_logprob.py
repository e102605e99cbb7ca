"""Every implementation against float64; Triton on the GPU, or interpreted where there is none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from ethical_compression.kernels import blocks_torch
from ethical_compression.kernels import logprob as kernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [(1, 1, 1), (3, 5, 7), (16, 32, 16), (40, 65, 33)]  # positions, V, D
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter, on −inf


@pytest.fixture
def impl(impl, monkeypatch):
    monkeypatch.setattr(
        kernels, "GRADIENT_CELLS", {"cpu": 600, "cuda": 600}
    )  # several blocks in the backward pass
    from ethical_compression.kernels import blocks_torch

    monkeypatch.setattr(blocks_torch, "spans", small_spans)
    return impl


def small_spans(hidden, weight):
    """Blocks small enough for these vocabularies to need several."""
    return [slice(start, start + 32) for start in range(0, len(weight), 32)]


def draw(positions, vocabulary, width, dtype=torch.float32, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, width, generator=generator) * scale
    weight = torch.randn(vocabulary, width, generator=generator)
    bias = torch.randn(vocabulary, generator=generator)
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    return *(t.to(DEVICE, dtype) for t in (hidden, weight, bias)), targets.to(DEVICE)


def logits_of(hidden, weight, bias=None, softcap=None):
    logits = hidden.double() @ weight.double().T
    if bias is not None:
        logits = logits + bias.double()
    return softcap * torch.tanh(logits / softcap) if softcap else logits


def reference(hidden, weight, targets, bias=None, softcap=None):
    """Log-probability, entropy and the logits, in float64 from the definitions."""
    logits = logits_of(hidden, weight, bias, softcap)
    entropy = torch.special.entr(logits.softmax(-1)).sum(-1)
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0], entropy, logits


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_forward(impl, shape, dtype, with_bias, softcap):
    hidden, weight, bias, targets = draw(*shape, dtype)
    options = {"bias": bias if with_bias else None, "softcap": softcap}
    found = kernels.linear_logprob(hidden, weight, targets, impl=impl, **options)
    logprob, entropy, logits = reference(hidden, weight, targets, **options)
    # Products of half-precision numbers are exact in float32, so that all dtypes agree closely.
    torch.testing.assert_close(found.logprob.double(), logprob, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(found.entropy.double(), entropy, atol=5e-5, rtol=1e-5)
    best = logits.gather(1, found.argmax[:, None])[:, 0]
    torch.testing.assert_close(best, logits.max(-1).values, atol=1e-5, rtol=1e-5)
    assert found.argmax.dtype == torch.int64
    torch.testing.assert_close(
        found.best.double(), logits.log_softmax(-1).max(-1).values, atol=5e-5, rtol=1e-5
    )
    assert torch.equal(found.best == found.logprob, found.argmax == targets)
    options |= {"argmax": False, "entropy": False}
    brief = kernels.linear_logprob(hidden, weight, targets, impl=impl, **options)
    assert brief.argmax is None and brief.entropy is None
    assert torch.equal(brief.best, found.best)
    torch.testing.assert_close(brief.logprob, found.logprob)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_backward(impl, shape, dtype, softcap):
    hidden, weight, bias, targets = draw(*shape, dtype)
    push = torch.randn(2, len(hidden), generator=torch.Generator().manual_seed(1)).to(DEVICE)

    ours = [t.clone().requires_grad_() for t in (hidden, weight, bias)]
    found = kernels.linear_logprob(*ours[:2], targets, bias=ours[2], softcap=softcap, impl=impl)
    (found.logprob * push[0] + found.entropy * push[1]).sum().backward()

    exact = [t.double().clone().requires_grad_() for t in (hidden, weight, bias)]
    logprob, entropy, _ = reference(*exact[:2], targets, exact[2], softcap)
    (logprob * push[0] + entropy * push[1]).sum().backward()
    for one, other in zip(ours, exact, strict=True):
        assert one.grad.dtype == dtype
        scale = other.grad.abs().max().clamp(min=1).item()
        torch.testing.assert_close(
            one.grad.double(), other.grad, atol=TOLERANCE[dtype] * scale, rtol=TOLERANCE[dtype]
        )


@pytest.mark.parametrize("learns", [False, True])
def test_several_tokens_wanted_at_one_position(impl, learns):
    hidden, weight, bias, targets = draw(40, 65, 33)
    place = torch.tensor([3, 0, 3, 39, 3, 17], device=DEVICE)
    wanted = targets[:6]
    hidden.requires_grad_(learns)
    found = kernels.linear_logprob(hidden, weight, wanted, place=place, bias=bias, impl=impl)
    apart = kernels.linear_logprob(hidden[place], weight, wanted, bias=bias, impl=impl)
    for name, one, other in zip(found._fields, found, apart, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5, msg=name)
    best = kernels.linear_logprob(hidden, weight, found.argmax, place=place, bias=bias, impl=impl)
    assert (best.logprob == best.best).all()  # the most probable is known by equality
    if learns:
        pulls = [torch.autograd.grad(one.logprob.sum(), hidden)[0] for one in (found, apart)]
        torch.testing.assert_close(*pulls)
    empty = place[:0]
    assert len(kernels.linear_logprob(hidden, weight, empty, place=empty, impl=impl).logprob) == 0


def test_logits_of_bfloat16_factors_are_those_of_float32():
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 64, generator=generator).bfloat16() for n in (32, 300))
    found = blocks_torch.block_logits(hidden, weight, None, None)
    exact = hidden.double() @ weight.double().T
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 1e-5 * exact.abs().max()
    # Factors of float32 are multiplied as float32 before and after.
    other = torch.randn(32, 64, generator=generator)
    plain = blocks_torch.block_logits(other, weight.float(), None, None)
    assert (plain - other.double() @ weight.double().T).abs().max() < 1e-5 * exact.abs().max()
    with pytest.raises(RuntimeError, match="shapes"):
        blocks_torch.block_logits(hidden, weight[:, :-1], None, None)
    again = blocks_torch.block_logits(other, weight.float(), None, None)
    assert torch.equal(again, plain)


@pytest.mark.parametrize("asked", [True, False])
def test_backward_without_the_entropy(impl, asked):
    hidden, weight, bias, targets = draw(*SHAPES[1], torch.float32)
    ours = [t.clone().requires_grad_() for t in (hidden, weight, bias)]
    kernels.linear_logprob(
        *ours[:2], targets, bias=ours[2], entropy=asked, impl=impl
    ).logprob.sum().backward()
    exact = [t.double().clone().requires_grad_() for t in (hidden, weight, bias)]
    reference(*exact[:2], targets, exact[2])[0].sum().backward()
    for one, other in zip(ours, exact, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, atol=5e-5, rtol=1e-4)


def test_backward_of_what_is_asked_only(impl):
    hidden, weight, bias, targets = draw(17, 65, 33)
    hidden.requires_grad_()
    kernels.linear_logprob(hidden, weight, targets, bias=bias, impl=impl).logprob.sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None and bias.grad is None


def test_tokens_ruled_out(impl):
    """Logits of −inf, a whole block of them too: no probability, no gradient, no NaN."""
    hidden, weight, bias, targets = draw(17, 100, 33)
    bias[:70] = -torch.inf
    targets[:] = 80
    targets[0] = 3
    hidden.requires_grad_()
    found = kernels.linear_logprob(hidden, weight, targets, bias=bias, impl=impl)
    logprob, entropy, _ = reference(hidden, weight, targets, bias)
    assert found.logprob[0] == -torch.inf
    torch.testing.assert_close(found.logprob.double(), logprob, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(found.entropy.double(), entropy, atol=5e-5, rtol=1e-5)
    (found.logprob[1:].sum() + found.entropy.sum()).backward()
    assert hidden.grad.isfinite().all()


def test_large_logits(impl):
    hidden, weight, bias, targets = draw(17, 65, 33, scale=1e3)
    found = kernels.linear_logprob(hidden, weight, targets, bias=bias, impl=impl)
    logprob, entropy, _ = reference(hidden, weight, targets, bias)
    torch.testing.assert_close(found.logprob.double(), logprob, atol=1e-2, rtol=1e-5)
    torch.testing.assert_close(found.entropy.double(), entropy, atol=1e-2, rtol=0)


def test_layout_in_memory(impl):
    """Views: rows picked from a larger tensor, a transposed weight, mixed dtypes."""
    hidden, weight, _, targets = draw(17, 65, 33)
    views = torch.cat([hidden, hidden], 1)[:, :33], weight.T.contiguous().T
    plain = kernels.linear_logprob(hidden, weight, targets, impl=impl)
    viewed = kernels.linear_logprob(*views, targets, impl=impl)
    torch.testing.assert_close(viewed.logprob, plain.logprob)
    mixed = kernels.linear_logprob(hidden.half(), weight, targets, impl=impl)
    torch.testing.assert_close(mixed.logprob, plain.logprob, atol=2e-2, rtol=1e-2)


def test_no_positions(impl):
    hidden, weight, _, targets = draw(3, 5, 7)
    found = kernels.linear_logprob(hidden[:0], weight, targets[:0], impl=impl)
    assert [len(column) for column in found] == [0, 0, 0, 0]
    pair = kernels.paired_divergence(hidden[:0], weight, hidden[:0], weight, impl=impl)
    assert len(pair.js) == 0


def test_unknown_implementation():
    hidden, weight, _, targets = draw(3, 5, 7)
    with pytest.raises(ValueError, match="choose auto, torch or triton"):
        kernels.linear_logprob(hidden, weight, targets, impl="numpy")
    assert kernels.pick("auto", torch.zeros(1)) == "torch"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), positions=st.integers(1, 40), chunk=st.integers(8, 5000))
def test_blocks_change_nothing(seed, positions, chunk):
    from ethical_compression.kernels import blocks_torch

    hidden, weight, bias, targets = draw(positions, 600, 8, seed=seed)
    whole = kernels.linear_logprob(hidden, weight, targets, bias=bias, impl="torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_torch, "CELLS", chunk)
        parts = kernels.linear_logprob(hidden, weight, targets, bias=bias, impl="torch")
    torch.testing.assert_close(parts.logprob, whole.logprob, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(parts.entropy, whole.entropy, atol=2e-5, rtol=1e-5)
    assert torch.equal(parts.argmax, whole.argmax)
    assert (parts.entropy >= -1e-5).all() and (parts.entropy <= np.log(600) + 1e-5).all()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_divergence(impl, shape, dtype, softcap):
    hidden_p, weight_p, bias_p, _ = draw(*shape, dtype)
    positions, vocabulary, width = shape
    hidden_q, weight_q, _, _ = draw(positions, vocabulary, width + 9, dtype, seed=5, scale=0.3)
    found = kernels.paired_divergence(
        hidden_p, weight_p, hidden_q, weight_q, bias_p=bias_p, softcap_q=softcap, impl=impl
    )
    log_p = logits_of(hidden_p, weight_p, bias_p).log_softmax(-1)
    log_q = logits_of(hidden_q, weight_q, None, softcap).log_softmax(-1)
    kl_pq = (log_p.exp() * (log_p - log_q)).sum(-1)
    kl_qp = (log_q.exp() * (log_q - log_p)).sum(-1)
    torch.testing.assert_close(found.kl_pq.double(), kl_pq, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.kl_qp.double(), kl_qp, atol=1e-4, rtol=1e-4)
    expected = distance.jensenshannon(
        log_p.exp().cpu().numpy(), log_q.exp().cpu().numpy(), base=2, axis=1
    )
    ours = kernels.js_distance(found.js).cpu().numpy()
    np.testing.assert_allclose(ours, np.nan_to_num(expected), atol=1e-4)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2])
def test_divergence_of_near_equals(impl, noise):
    """Small distances are not lost in rounding, and none is negative."""
    hidden, weight, _, _ = draw(17, 100, 33, scale=2.0)
    drawn = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    other = hidden + noise * drawn.to(DEVICE)
    found = kernels.paired_divergence(hidden, weight, other, weight, impl=impl)
    p, q = (logits_of(states, weight).softmax(-1) for states in (hidden, other))
    kl = (p * (p / q).log()).sum(-1)
    middle = (p + q) / 2
    js = ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)) / 2
    for one, exact in ((found.js, js), (found.kl_pq, kl)):
        assert (one >= 0).all()
        torch.testing.assert_close(one.double(), exact, atol=1e-11, rtol=5e-2)


def test_divergence_of_strangers(impl):
    """Distributions without a token in common: distance 1, infinite Kullback–Leibler."""
    hidden, weight, bias, _ = draw(17, 100, 33)
    left, right = bias.clone(), bias.clone()
    left[:60], right[60:] = -torch.inf, -torch.inf
    found = kernels.paired_divergence(
        hidden, weight, hidden, weight, bias_p=left, bias_q=right, impl=impl
    )
    torch.testing.assert_close(kernels.js_distance(found.js), torch.ones(17, device=DEVICE))
    assert (found.kl_pq == torch.inf).all() and (found.kl_qp == torch.inf).all()
    same = kernels.paired_divergence(
        hidden, weight, hidden, weight, bias_p=left, bias_q=left, impl=impl
    )
    assert (torch.stack(same) == 0).all()


def test_divergence_refuses_other_shapes():
    hidden, weight, _, _ = draw(3, 5, 7)
    with pytest.raises(ValueError, match="same positions"):
        kernels.paired_divergence(hidden, weight, hidden[:2], weight)
