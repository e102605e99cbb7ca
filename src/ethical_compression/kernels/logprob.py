"""Log-probabilities straight from hidden states: the output head, without keeping its logits.

The vocabulary is cut into blocks. Each block of logits exists for a moment only and leaves, for
every position, its maximum m, Σ exp(z − m), Σ exp(z − m)(z − m) and arg-max; these partial sums are
then put together (online log-sum-exp, Milakov and Gimelshein 2018). `impl` says who makes the
blocks: "torch" anywhere, "triton" on a GPU; everything else is shared.
"""

import math
from typing import NamedTuple

import torch

GRADIENT_CELLS = {"cpu": 2**20, "cuda": 2**25}  # gradients that a backward pass holds at a time


class LinearLogprob(NamedTuple):
    """What a next-token distribution says, (N,) each: log-probability of the target and of the most
    probable token, entropy (float32, nats), and which token that is (int64). None if not asked for.
    """

    logprob: torch.Tensor
    entropy: torch.Tensor | None
    best: torch.Tensor
    argmax: torch.Tensor | None


def linear_logprob(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    *,
    place: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    argmax: bool = True,
    entropy: bool = True,
    impl: str = "auto",
) -> LinearLogprob:
    """log softmax(scale · hidden · weightᵀ + bias)[target], entropy in nats, and arg-max, per
    position.

    hidden (N, D), weight (V, D), targets (N,) int64, bias (V,) or None; softcap c replaces each
    logit z by c·tanh(z/c) (Gemma 2). float32, bfloat16 or float16; sums are kept in float32.
    `logprob` and `entropy` are differentiable in hidden, weight and bias. A logit may be −inf (a
    token ruled out). argmax: whether to say which token is best, which costs a CPU a slow pass.
    place: (M,) int64, where several tokens are wanted at one position: targets are (M,) then, and
    so is all that is returned; the logits of a position are made once.
    impl: "torch", "triton", or "auto": Triton on a GPU of the Ampere generation or later.
    """
    if len(targets) == 0:
        empty = hidden.new_zeros(0, dtype=torch.float32)
        none = targets.new_zeros(0)
        return LinearLogprob(empty, empty if entropy else None, empty, none if argmax else None)
    wanted = (argmax, entropy)
    hidden = scaled(hidden, scale)
    impl = pick(impl, hidden)
    if place is not None:
        learns = torch.is_grad_enabled() and any(
            one is not None and one.requires_grad for one in (hidden, weight, bias)
        )
        if impl == "torch" and not learns:
            found = summarise(hidden, weight, bias, targets, softcap, wanted, impl, place)
            return answers(found, place)
        # A gradient, and a GPU's kernel, know one token a position.
        hidden = hidden[place]
    return LinearLogprob(*_Function.apply(hidden, weight, bias, targets, softcap, wanted, impl))


def scaled(hidden: torch.Tensor, scale: float) -> torch.Tensor:
    """The hidden states whose logits are `scale` times as large, before bias and soft-cap."""
    return hidden if scale == 1 else hidden * scale


def pick(impl: str, tensor: torch.Tensor) -> str:
    """The implementation that "auto" stands for."""
    if impl != "auto":
        return impl
    # Before Ampere (a T4, say) Triton multiplies without tensor cores.
    if not tensor.is_cuda or torch.cuda.get_device_capability(tensor.device)[0] < 8:
        return "torch"
    try:
        import triton  # noqa: F401
    except ImportError:
        return "torch"
    return "triton"


def backend(impl: str):
    """The module that makes the blocks: `partials`, `logit_gradient`, `divergence_sums`."""
    from ethical_compression.kernels import blocks_torch

    if impl == "torch":
        return blocks_torch
    if impl == "triton":
        from ethical_compression.kernels import blocks_triton

        return blocks_triton
    raise ValueError(f"There is no implementation {impl!r}: choose auto, torch or triton.")


class Summary(NamedTuple):
    """Per position: log Σ exp z, entropy (nats), logits of the target and of the best token, all
    float32; and which that is, int64. None if not asked for."""

    normaliser: torch.Tensor
    entropy: torch.Tensor | None
    wanted: torch.Tensor
    peak: torch.Tensor
    argmax: torch.Tensor | None


def summarise(hidden, weight, bias, targets, softcap, asked, impl, place=None) -> Summary:
    """Run all blocks and put their partial sums together. asked: (argmax, entropy). place: in
    plain torch only, the position (M,) of each target; `wanted` is of targets then."""
    places = {} if place is None else {"place": place}
    top, total, moment, best, wanted = backend(impl).partials(
        hidden, weight, bias, targets, softcap, *asked, **places
    )
    # A block of nothing but −inf has top −inf and adds nothing: exp(−inf) = 0.
    peak, block = top.max(0)
    shift = torch.where(top == -torch.inf, -torch.inf, top - peak)
    scale = shift.exp()
    whole = (total * scale).sum(0)
    entropy = None
    if asked[1]:
        moment = ((moment + total * torch.where(scale > 0, shift, 0)) * scale).sum(0)
        # H = log Z − E[z], both measured from the peak, where they are small.
        entropy = whole.log() - moment / whole
    best = best.gather(0, block[None])[0].long() if asked[0] else None
    return Summary(peak + whole.log(), entropy, wanted, peak, best)


def answers(found: Summary, place: torch.Tensor | None = None) -> LinearLogprob:
    """What a summary says of each target. place: as in `summarise`."""

    def there(one):
        return one if one is None or place is None else one[place]

    normaliser = there(found.normaliser)
    return LinearLogprob(
        found.wanted - normaliser,
        there(found.entropy),
        there(found.peak) - normaliser,
        there(found.argmax),
    )


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, softcap, asked, impl):
        found = summarise(hidden, weight, bias, targets, softcap, asked, impl)
        ctx.save_for_backward(hidden, weight, bias, targets, found.normaliser, found.entropy)
        ctx.softcap, ctx.impl = softcap, impl
        told = answers(found)
        ctx.mark_non_differentiable(told.best, *([told.argmax] if asked[0] else []))
        ctx.set_materialize_grads(False)  # an entropy that no loss uses costs nothing
        return tuple(told)

    @staticmethod
    def backward(ctx, by_logprob, by_entropy, *_):
        """∂/∂z_v: 1[v = target] − p_v for the log-probability, −p_v (log p_v + H) for the entropy.

        Logits are made again, a block of the vocabulary at a time, and multiplied out.
        """
        hidden, weight, bias, targets, normaliser, entropy = ctx.saved_tensors
        if by_logprob is None and by_entropy is None:
            return (None,) * 7
        if by_logprob is None:
            by_logprob = torch.zeros_like(normaliser)
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        of_hidden = torch.zeros_like(hidden, dtype=torch.float32) if wants_hidden else None
        of_weight = torch.empty_like(weight) if wants_weight else None
        of_bias = torch.empty_like(bias) if wants_bias else None
        step = max(32, GRADIENT_CELLS["cuda" if hidden.is_cuda else "cpu"] // len(hidden))
        for start in range(0, len(weight), step):
            block = slice(start, start + step)
            gradient = backend(ctx.impl).logit_gradient(
                hidden,
                weight[block],
                None if bias is None else bias[block],
                targets - start,
                ctx.softcap,
                normaliser,
                entropy,
                by_logprob.contiguous(),
                None if by_entropy is None else by_entropy.contiguous(),
            )
            if wants_hidden:
                of_hidden += gradient @ weight[block].to(gradient.dtype)
            if wants_weight:
                of_weight[block] = gradient.T @ hidden.to(gradient.dtype)
            if wants_bias:
                of_bias[block] = gradient.sum(0, dtype=torch.float32)
        if wants_hidden:
            of_hidden = of_hidden.to(hidden.dtype)
        return of_hidden, of_weight, of_bias, *[None] * 4


class PairedDivergence(NamedTuple):
    """Between two next-token distributions p and q, nats, float32 (N,) each."""

    js: torch.Tensor
    kl_pq: torch.Tensor
    kl_qp: torch.Tensor


def paired_divergence(
    hidden_p: torch.Tensor,
    weight_p: torch.Tensor,
    hidden_q: torch.Tensor,
    weight_q: torch.Tensor,
    *,
    bias_p: torch.Tensor | None = None,
    bias_q: torch.Tensor | None = None,
    scale_p: float = 1.0,
    scale_q: float = 1.0,
    softcap_p: float | None = None,
    softcap_q: float | None = None,
    impl: str = "auto",
) -> PairedDivergence:
    """Jensen–Shannon and both Kullback–Leibler divergences of two heads' distributions.

    hidden (N, D) and weight (V, D) of each model, over one vocabulary; D may differ. Two passes:
    the normalisers first, then the sums over blocks of the vocabulary; logits are never stored.
    All terms are summed in the forms that cannot be negative, so that near-equal distributions do
    not drown in rounding. KL is inf where q rules out what p does not. Not differentiable.
    """
    if len(hidden_p) != len(hidden_q) or len(weight_p) != len(weight_q):
        raise ValueError("Both models need the same positions and the same vocabulary.")
    if len(hidden_p) == 0:
        return PairedDivergence(*hidden_p.new_zeros((3, 0), dtype=torch.float32))
    impl = pick(impl, hidden_p)
    hidden_p, hidden_q = scaled(hidden_p, scale_p), scaled(hidden_q, scale_q)
    heads = [(hidden_p, weight_p, bias_p, softcap_p), (hidden_q, weight_q, bias_q, softcap_q)]
    with torch.no_grad():
        targets = torch.zeros(len(hidden_p), dtype=torch.int64, device=hidden_p.device)
        pair = [
            (h, w, b, cap, summarise(h, w, b, targets, cap, (False, False), impl).normaliser)
            for h, w, b, cap in heads
        ]
        return PairedDivergence(*backend(impl).divergence_sums(*pair))


def js_distance(divergence: torch.Tensor) -> torch.Tensor:
    """Jensen–Shannon distance in [0, 1]: the square root of the divergence, in bits, from nats."""
    return (divergence.clamp(min=0) / math.log(2)).sqrt()
