"""Blocks of logits in plain torch: what `blocks_triton` must equal. See `logprob`."""

import contextlib
import math

import torch

CELLS = 2**19  # logits that are held at a time: two megabytes, that caches keep


@contextlib.contextmanager
def whole_products(*factors):
    """Of bfloat16 factors, turned into float32, a processor that can multiplies bfloat16 again.

    Nothing is lost, since they are such numbers, and sums are float32's, as they would be: it takes
    half the time. (A setting of the whole process: nothing else multiplies beside it.)
    """
    setting = getattr(torch.backends.mkldnn, "matmul", None)
    if setting is None or any(one.dtype != torch.bfloat16 or not one.is_cpu for one in factors):
        yield
        return
    kept, setting.fp32_precision = setting.fp32_precision, "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = kept


def block_logits(hidden, weight, bias, softcap):
    """float32 (N, block)."""
    with whole_products(hidden, weight):
        logits = hidden.float() @ weight.float().T
    if bias is not None:
        logits += bias.float()
    if softcap:
        logits = logits.div_(softcap).tanh_().mul_(softcap)
    return logits


def spans(hidden, weight):
    """Blocks of the vocabulary, as slices; of round width, at which products are fastest."""
    step = max(256, CELLS // len(hidden) // 256 * 256)
    return [slice(start, start + step) for start in range(0, len(weight), step)]


def part(bias, block):
    return None if bias is None else bias[block]


def partials(hidden, weight, bias, targets, softcap, argmax, entropy, place=None):
    """Per block and position (blocks, N): top, total, moment or 0, argmax or 0; and wanted, of each
    target: (N,), or (M,) where `place` says of each target at which position it is wanted."""
    wanted = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    place = torch.arange(len(hidden), device=hidden.device) if place is None else place
    none = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
    columns = []
    for block in spans(hidden, weight):
        logits = block_logits(hidden, weight[block], part(bias, block), softcap)
        local = targets - block.start
        here = (local >= 0) & (local < logits.shape[1])
        wanted[here] = logits[place[here], local[here]]
        # `max`, which says where too, takes many times as long as `amax`.
        top, best = logits.max(-1) if argmax else (logits.amax(-1), none)
        logits -= torch.where(top == -torch.inf, 0, top)[:, None]
        if entropy:
            share = logits.exp()
            moment = expected(share, logits)
        else:
            share, moment = logits.exp_(), torch.zeros_like(top)
        columns.append((top, share.sum(-1), moment, best + block.start))
    return *(torch.stack(column) for column in zip(*columns, strict=True)), wanted


def expected(share, logits):
    """Σ share · logits over the vocabulary, (N,), where 0 · −inf is 0."""
    moment = torch.linalg.vecdot(share, logits)
    if moment.isnan().any():
        moment = torch.linalg.vecdot(share, logits.masked_fill(share == 0, 0))
    return moment


def logit_gradient(
    hidden, weight, bias, targets, softcap, normaliser, entropy, by_logprob, by_entropy
):
    """Gradient (N, block), float32, with respect to one block's logits before the soft-cap."""
    logits = block_logits(hidden, weight, bias, softcap)
    log_p = logits - normaliser[:, None]
    p = log_p.exp()
    gradient = -by_logprob[:, None] * p
    if by_entropy is not None:
        gradient -= by_entropy[:, None] * torch.where(p > 0, p * (log_p + entropy[:, None]), 0)
    here = ((targets >= 0) & (targets < len(weight))).nonzero()[:, 0]
    gradient[here, targets[here]] += by_logprob[here]
    return gradient * (1 - (logits / softcap) ** 2) if softcap else gradient


def divergence_sums(first, second):
    """js, kl_pq, kl_qp (N,) of two (hidden, weight, bias, softcap, normaliser)."""
    js, kl_pq, kl_qp = torch.zeros((3, len(first[0])), device=first[0].device)
    for block in spans(first[0], first[1]):
        log_p, log_q = (
            block_logits(hidden, weight[block], part(bias, block), softcap) - normaliser[:, None]
            for hidden, weight, bias, softcap, normaliser in (first, second)
        )
        p, q = log_p.exp(), log_q.exp()
        gap = torch.where((p > 0) | (q > 0), log_p - log_q, 0)
        kl_pq += kl_term(p, q, gap).sum(-1)
        kl_qp += kl_term(q, p, -gap).sum(-1)
        js += js_term(p, q, log_p, log_q).sum(-1)
    return js, kl_pq, kl_qp


def kl_term(p, q, gap):
    """p log(p/q) − p + q, which is never negative and sums to the divergence, as Σ p = Σ q = 1;
    gap = log(p/q). A series, p·(e^−gap − 1 + gap), where the terms would cancel."""
    series = 1 / 2 - gap * (1 / 6 - gap * (1 / 24 - gap * (1 / 120 - gap / 720)))
    far = torch.where(p > 0, p * gap, 0) - p + q
    return torch.where(gap.abs() < 0.1, p * gap * gap * series, far)


def js_term(p, q, log_p, log_q):
    """½ p log(p/m) + ½ q log(q/m), m = (p+q)/2. With t = (p−q)/(p+q) that is
    m/2 · [(1+t) log(1+t) + (1−t) log(1−t)]: a series in t where the logarithms would cancel."""
    both = (p + q).clamp(min=1e-38)
    square = ((p - q) / both) ** 2
    near = both * square * (1 + square * (1 / 6 + square * (1 / 15 + square / 28))) / 4
    log_m = both.log() - math.log(2)
    far = torch.where(p > 0, p * (log_p - log_m), 0) + torch.where(q > 0, q * (log_q - log_m), 0)
    return torch.where(square < 0.04, near, far / 2)
