"""Blocks of logits in Triton: each program makes one tile, reduces it, and forgets it.

Tiles go through `tl.dot` in the inputs' own dtype and accumulate in float32. Programs are numbered
so that neighbours share a stripe of positions and a few blocks of the vocabulary, which the L2
cache then holds (grouped order, as in Triton's matrix multiplication tutorial). On a CPU this runs
under TRITON_INTERPRET=1 only, for tests.
"""

import torch
import triton
import triton.language as tl


@triton.jit
def tile_of(program, tiles_n, tiles_v, GROUP: tl.constexpr):
    """Which (positions, vocabulary) tile a program makes."""
    stripe = program // (GROUP * tiles_v)
    first = stripe * GROUP
    height = min(tiles_n - first, GROUP)
    inside = program % (GROUP * tiles_v)
    return first + inside % height, inside // height


@triton.jit
def logit_tile(
    hidden,
    weight,
    bias,
    row,
    column,
    width,
    stride_hidden,
    stride_weight,
    cap,
    HAS_BIAS: tl.constexpr,
    HAS_CAP: tl.constexpr,
    EVEN: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """float32 (BLOCK_N, BLOCK_V); `row` and `column` are within bounds (repeated at the edges)."""
    k = tl.arange(0, BLOCK_D)
    left = hidden + row.to(tl.int64)[:, None] * stride_hidden + k[None, :]
    right = weight + column.to(tl.int64)[None, :] * stride_weight + k[:, None]
    logits = tl.zeros((BLOCK_N, BLOCK_V), dtype=tl.float32)
    for start in range(0, width, BLOCK_D):
        if EVEN:
            a, b = tl.load(left), tl.load(right)
        else:
            inside = k < width - start
            a = tl.load(left, mask=inside[None, :], other=0.0)
            b = tl.load(right, mask=inside[:, None], other=0.0)
        if WIDEN:
            a, b = a.to(tl.float32), b.to(tl.float32)
        logits = tl.dot(a, b, logits, input_precision="ieee")
        left += BLOCK_D
        right += BLOCK_D
    if HAS_BIAS:
        logits += tl.load(bias + column).to(tl.float32)[None, :]
    if HAS_CAP:
        logits = cap * (2 * tl.sigmoid(2 * logits / cap) - 1)  # c · tanh(z / c)
    return logits


# long: a kernel keeps its tiles in registers from the first line to the last.
@triton.jit
def partials_kernel(
    hidden,
    weight,
    bias,
    targets,
    top,
    total,
    moment,
    best,
    wanted,
    positions,
    vocabulary,
    width,
    stride_hidden,
    stride_weight,
    cap,
    HAS_BIAS: tl.constexpr,
    HAS_CAP: tl.constexpr,
    EVEN: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
    GROUP: tl.constexpr,
):
    tiles_n, tiles_v = tl.cdiv(positions, BLOCK_N), tl.cdiv(vocabulary, BLOCK_V)
    n, v = tile_of(tl.program_id(0), tiles_n, tiles_v, GROUP)
    row, column = n * BLOCK_N + tl.arange(0, BLOCK_N), v * BLOCK_V + tl.arange(0, BLOCK_V)
    logits = logit_tile(
        hidden,
        weight,
        bias,
        tl.minimum(row, positions - 1),
        tl.minimum(column, vocabulary - 1),
        width,
        stride_hidden,
        stride_weight,
        cap,
        HAS_BIAS,
        HAS_CAP,
        EVEN,
        WIDEN,
        BLOCK_N,
        BLOCK_V,
        BLOCK_D,
    )
    here = row < positions
    target = tl.load(targets + row, mask=here, other=-1)
    hit = target[:, None] == column[None, :]
    chosen = tl.sum(tl.where(hit, logits, 0.0), axis=1)
    tl.store(wanted + row, chosen, mask=here & (target // BLOCK_V == v))

    logits = tl.where(column[None, :] < vocabulary, logits, float("-inf"))
    peak, place = tl.max(logits, axis=1, return_indices=True)
    shifted = logits - tl.where(peak == float("-inf"), 0.0, peak)[:, None]
    share = tl.exp(shifted)
    out = v.to(tl.int64) * positions + row
    tl.store(top + out, peak, mask=here)
    tl.store(best + out, v * BLOCK_V + place, mask=here)
    tl.store(total + out, tl.sum(share, axis=1), mask=here)
    tl.store(moment + out, tl.sum(tl.where(share > 0, share * shifted, 0.0), axis=1), mask=here)


# long: a kernel keeps its tiles in registers from the first line to the last.
@triton.jit
def gradient_kernel(
    hidden,
    weight,
    bias,
    targets,
    normaliser,
    entropy,
    by_logprob,
    by_entropy,
    gradient,
    positions,
    vocabulary,
    width,
    stride_hidden,
    stride_weight,
    cap,
    HAS_BIAS: tl.constexpr,
    HAS_CAP: tl.constexpr,
    EVEN: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
    GROUP: tl.constexpr,
):
    tiles_n, tiles_v = tl.cdiv(positions, BLOCK_N), tl.cdiv(vocabulary, BLOCK_V)
    n, v = tile_of(tl.program_id(0), tiles_n, tiles_v, GROUP)
    row, column = n * BLOCK_N + tl.arange(0, BLOCK_N), v * BLOCK_V + tl.arange(0, BLOCK_V)
    logits = logit_tile(
        hidden,
        weight,
        bias,
        tl.minimum(row, positions - 1),
        tl.minimum(column, vocabulary - 1),
        width,
        stride_hidden,
        stride_weight,
        cap,
        HAS_BIAS,
        HAS_CAP,
        EVEN,
        WIDEN,
        BLOCK_N,
        BLOCK_V,
        BLOCK_D,
    )
    here = row < positions
    target = tl.load(targets + row, mask=here, other=-1)
    from_logprob = tl.load(by_logprob + row, mask=here, other=0.0)
    from_entropy = tl.load(by_entropy + row, mask=here, other=0.0)
    log_p = logits - tl.load(normaliser + row, mask=here, other=0.0)[:, None]
    p = tl.exp(log_p)
    surprise = log_p + tl.load(entropy + row, mask=here, other=0.0)[:, None]
    hit = tl.where(target[:, None] == column[None, :], 1.0, 0.0)
    value = from_logprob[:, None] * (hit - p)
    value -= from_entropy[:, None] * tl.where(p > 0, p * surprise, 0.0)
    if HAS_CAP:
        value *= 1 - (logits / cap) * (logits / cap)
    out = gradient + row.to(tl.int64)[:, None] * vocabulary + column[None, :]
    inside = here[:, None] & (column[None, :] < vocabulary)
    tl.store(out, value.to(gradient.dtype.element_ty), mask=inside)


# long: a kernel keeps its tiles in registers from the first line to the last.
@triton.jit
def divergence_kernel(
    hidden_p,
    weight_p,
    bias_p,
    normaliser_p,
    hidden_q,
    weight_q,
    bias_q,
    normaliser_q,
    js,
    kl_pq,
    kl_qp,
    positions,
    vocabulary,
    width_p,
    width_q,
    stride_hidden_p,
    stride_hidden_q,
    stride_weight_p,
    stride_weight_q,
    cap_p,
    cap_q,
    HAS_BIAS_P: tl.constexpr,
    HAS_BIAS_Q: tl.constexpr,
    HAS_CAP_P: tl.constexpr,
    HAS_CAP_Q: tl.constexpr,
    EVEN_P: tl.constexpr,
    EVEN_Q: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
    GROUP: tl.constexpr,
):
    tiles_n, tiles_v = tl.cdiv(positions, BLOCK_N), tl.cdiv(vocabulary, BLOCK_V)
    n, v = tile_of(tl.program_id(0), tiles_n, tiles_v, GROUP)
    row, column = n * BLOCK_N + tl.arange(0, BLOCK_N), v * BLOCK_V + tl.arange(0, BLOCK_V)
    kept_row, kept_column = tl.minimum(row, positions - 1), tl.minimum(column, vocabulary - 1)
    log_p = logit_tile(
        hidden_p,
        weight_p,
        bias_p,
        kept_row,
        kept_column,
        width_p,
        stride_hidden_p,
        stride_weight_p,
        cap_p,
        HAS_BIAS_P,
        HAS_CAP_P,
        EVEN_P,
        WIDEN,
        BLOCK_N,
        BLOCK_V,
        BLOCK_D,
    )
    log_q = logit_tile(
        hidden_q,
        weight_q,
        bias_q,
        kept_row,
        kept_column,
        width_q,
        stride_hidden_q,
        stride_weight_q,
        cap_q,
        HAS_BIAS_Q,
        HAS_CAP_Q,
        EVEN_Q,
        WIDEN,
        BLOCK_N,
        BLOCK_V,
        BLOCK_D,
    )
    outside = column[None, :] >= vocabulary
    log_p = tl.where(outside, float("-inf"), log_p - tl.load(normaliser_p + kept_row)[:, None])
    log_q = tl.where(outside, float("-inf"), log_q - tl.load(normaliser_q + kept_row)[:, None])
    p, q = tl.exp(log_p), tl.exp(log_q)
    # The same forms as in `blocks_torch.divergence_sums`.
    gap = tl.where((p > 0) | (q > 0), log_p - log_q, 0.0)
    both = tl.maximum(p + q, 1e-38)
    square = (p - q) / both * ((p - q) / both)
    near_js = both * square * (1 + square * (1 / 6 + square * (1 / 15 + square / 28))) / 4
    log_m = tl.log(both) - 0.6931471805599453
    far_js = tl.where(p > 0, p * (log_p - log_m), 0.0) + tl.where(q > 0, q * (log_q - log_m), 0.0)
    near_pq = p * gap * gap * (1 / 2 - gap * (1 / 6 - gap * (1 / 24 - gap * (1 / 120 - gap / 720))))
    near_qp = q * gap * gap * (1 / 2 + gap * (1 / 6 + gap * (1 / 24 + gap * (1 / 120 + gap / 720))))
    far_pq = tl.where(p > 0, p * gap, 0.0) - p + q
    far_qp = tl.where(q > 0, -q * gap, 0.0) - q + p
    near = tl.abs(gap) < 0.1
    out, here = v.to(tl.int64) * positions + row, row < positions
    tl.store(js + out, tl.sum(tl.where(square < 0.04, near_js, far_js / 2), axis=1), mask=here)
    tl.store(kl_pq + out, tl.sum(tl.where(near, near_pq, far_pq), axis=1), mask=here)
    tl.store(kl_qp + out, tl.sum(tl.where(near, near_qp, far_qp), axis=1), mask=here)


def tiles(tensor: torch.Tensor, pair: bool = False) -> dict:
    """Tile sizes for a dtype and device; smaller for a pair of tiles in one program.

    Half precision fills the shared memory of Hopper and Ampere (three stages of 48 KB); float32,
    never rounded to TF32, takes tiles that its registers hold.
    """
    if not tensor.is_cuda:  # the interpreter: small, so that tests meet many tiles and their edges
        # (its `dot` cannot read bfloat16)
        return {"BLOCK_N": 16, "BLOCK_V": 32, "BLOCK_D": 16, "GROUP": 2, "WIDEN": True}
    shared = torch.cuda.get_device_properties(tensor.device).shared_memory_per_block_optin
    if tensor.dtype != torch.float32 and shared >= 160 * 1024:
        sizes = {"BLOCK_N": 128, "BLOCK_V": 64 if pair else 256, "BLOCK_D": 64, "GROUP": 16}
        return sizes | {"WIDEN": False, "num_warps": 8, "num_stages": 3}
    sizes = {"BLOCK_N": 32 if pair else 64, "BLOCK_V": 64, "BLOCK_D": 32, "GROUP": 8}
    return sizes | {"WIDEN": False, "num_warps": 4, "num_stages": 2}


def operands(hidden, weight, bias, softcap):
    """One dtype, rows contiguous; what is absent stands as a pointer never read."""
    dtype = torch.promote_types(hidden.dtype, weight.dtype)
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    bias = weight if bias is None else bias.contiguous()
    return hidden, weight, bias, float(softcap or 1.0)


def shape(size, hidden, weight):
    """Number of programs; and of vocabulary blocks."""
    blocks = triton.cdiv(len(weight), size["BLOCK_V"])
    return (triton.cdiv(len(hidden), size["BLOCK_N"]) * blocks,), blocks


def partials(hidden, weight, bias, targets, softcap, argmax, entropy):
    """As `blocks_torch.partials`; arg-max and entropy cost nothing here and are always found."""
    has_bias = bias is not None
    hidden, weight, bias, cap = operands(hidden, weight, bias, softcap)
    size = tiles(hidden)
    grid, blocks = shape(size, hidden, weight)
    top, total, moment = torch.empty(
        (3, blocks, len(hidden)), dtype=torch.float32, device=hidden.device
    )
    best = torch.empty((blocks, len(hidden)), dtype=torch.int32, device=hidden.device)
    wanted = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
    partials_kernel[grid](
        hidden,
        weight,
        bias,
        targets.contiguous(),
        top,
        total,
        moment,
        best,
        wanted,
        len(hidden),
        len(weight),
        hidden.shape[1],
        hidden.stride(0),
        weight.stride(0),
        cap,
        HAS_BIAS=has_bias,
        HAS_CAP=bool(softcap),
        EVEN=hidden.shape[1] % size["BLOCK_D"] == 0,
        **size,
    )
    return top, total, moment, best, wanted


def logit_gradient(
    hidden, weight, bias, targets, softcap, normaliser, entropy, by_logprob, by_entropy
):
    """As `blocks_torch.logit_gradient`, in the inputs' dtype: the matrix products that follow run
    at its speed."""
    has_bias = bias is not None
    if by_entropy is None:
        entropy = by_entropy = torch.zeros_like(normaliser)
    hidden, weight, bias, cap = operands(hidden, weight, bias, softcap)
    size = tiles(hidden)
    gradient = hidden.new_empty(len(hidden), len(weight))
    gradient_kernel[shape(size, hidden, weight)[0]](
        hidden,
        weight,
        bias,
        targets.contiguous(),
        normaliser,
        entropy,
        by_logprob,
        by_entropy,
        gradient,
        len(hidden),
        len(weight),
        hidden.shape[1],
        hidden.stride(0),
        weight.stride(0),
        cap,
        HAS_BIAS=has_bias,
        HAS_CAP=bool(softcap),
        EVEN=hidden.shape[1] % size["BLOCK_D"] == 0,
        **size,
    )
    return gradient


def divergence_sums(first, second):
    """As `blocks_torch.divergence_sums`."""
    (hidden_p, weight_p, bias_p, cap_p), (hidden_q, weight_q, bias_q, cap_q) = (
        operands(*one[:4]) for one in (first, second)
    )
    size = tiles(hidden_p, pair=True)
    grid, blocks = shape(size, hidden_p, weight_p)
    sums = torch.empty((3, blocks, len(hidden_p)), dtype=torch.float32, device=hidden_p.device)
    divergence_kernel[grid](
        hidden_p,
        weight_p,
        bias_p,
        first[4],
        hidden_q,
        weight_q,
        bias_q,
        second[4],
        *sums,
        len(hidden_p),
        len(weight_p),
        hidden_p.shape[1],
        hidden_q.shape[1],
        hidden_p.stride(0),
        hidden_q.stride(0),
        weight_p.stride(0),
        weight_q.stride(0),
        cap_p,
        cap_q,
        HAS_BIAS_P=first[2] is not None,
        HAS_BIAS_Q=second[2] is not None,
        HAS_CAP_P=bool(first[3]),
        HAS_CAP_Q=bool(second[3]),
        EVEN_P=hidden_p.shape[1] % size["BLOCK_D"] == 0,
        EVEN_Q=hidden_q.shape[1] % size["BLOCK_D"] == 0,
        **size,
    )
    return sums.sum(1)
