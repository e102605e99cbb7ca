"""GPTQ: round one column at a time, and let the columns still to come make up for the error.

Frantar, Ashkboos, Hoefler, Alistarh 2023, Algorithm 1. For a linear layer y = Wx with calibration
inputs X, minimise ‖Ŵ X − W X‖² over Ŵ on an integer grid. Only the Hessian H = 2XXᵀ of that
objective is needed: `add_to_hessian` gathers it, `solve` uses it; both are pure of any model.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from ethical_compression.compress import store
from ethical_compression.compress.blocks import (
    Reached,
    first_calls,
    linear_layers,
    next_calls,
    run_block,
    run_in_step,
    shared_inputs,
    transformer_blocks,
    weight_of,
)
from ethical_compression.compress.integer import (
    QuantizedWeight,
    check_settings,
    column_groups,
    energy,
    fit_grid,
    split_rows,
)
from ethical_compression.errors import InputError
from ethical_compression.kernels import column_solve
from ethical_compression.memory import keep_freed_memory

# Width of a Hessian's stripes: wide enough for a fast product, many enough to spare a third of it.
STRIPE = 288


class Hessian(NamedTuple):
    """2/n · Σ x xᵀ over calibration vectors of total weight n: float32 (in, in), and n."""

    matrix: torch.Tensor
    count: float


def add_to_hessian(
    hessian: Hessian | None, inputs: torch.Tensor, weights: torch.Tensor | None = None
) -> Hessian:
    """Hessian after seeing `inputs` (…, in) as well; kept as a mean, so its size does not grow.

    weights (…): how much each vector counts, one each where left out.
    """
    rows = inputs.reshape(-1, inputs.shape[-1]).float()
    added = len(rows)
    if weights is not None:
        weights = weights.to(rows).reshape(-1, 1)
        rows, added = rows * weights.sqrt(), float(weights.sum())
    width = rows.shape[1]
    if hessian is None:
        hessian = Hessian(rows.new_zeros(width, width), 0)
    matrix, count = hessian.matrix, hessian.count + added
    matrix.mul_(hessian.count / count)
    # The product is symmetric: stripes above the diagonal are made, and mirrored.
    for begin in range(0, width, STRIPE):
        end = min(begin + STRIPE, width)
        matrix[begin:end, begin:].addmm_(rows[:, begin:end].T, rows[:, begin:], alpha=2 / count)
        matrix[end:, begin:end] = matrix[begin:end, end:].T
    return Hessian(matrix, count)


def inverse_factor(matrix: torch.Tensor, damping: float) -> torch.Tensor:
    """Upper-triangular U with UᵀU = (H + λI)⁻¹, λ = damping · mean diagonal (GPTQ §4, step 3).

    From H + λI = RRᵀ with R upper-triangular (Cholesky's factor from the last column to the first)
    follows U = R⁻¹: the inverse itself, which the paper's code factors, is never formed.
    Damping is multiplied by ten, at most three times, while H is not positive definite.
    """
    mean = matrix.diagonal().mean()
    for power in range(4):
        damped = matrix.flip(0, 1)
        damped.diagonal().add_(damping * 10**power * mean)
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
            upper = torch.linalg.solve_triangular(factor.flip(0, 1), eye, upper=True)
            if upper.isfinite().all():
                return upper
    raise InputError(
        f"The calibration Hessian stays singular at damping {damping * 1000:g}: use more "
        "calibration text, or a larger damping."
    )


def check_order(activation_order: bool | str) -> None:
    """Raise InputError for an order of columns that `solve` does not know."""
    if activation_order not in (False, True, "groups"):
        raise InputError(
            f"An activation order of {activation_order!r} is not known: give true (columns), "
            "'groups' or false."
        )


def solve(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    *,
    bits: int,
    group_size: int = 128,
    symmetric: bool = True,
    scale_dtype: str = "float16",
    damping: float = 0.01,
    activation_order: bool | str = False,
    static_groups: bool = False,
    clipping: bool = False,
    block: int = 128,
    impl: str = "auto",
) -> tuple[QuantizedWeight, torch.Tensor]:
    """Quantize one weight (out, in) against its Hessian (in, in).

    Layers that share their input can be stacked along `out`: rows do not touch each other.
    group_size: input columns that share a scale; −1 is a whole row, and a last group may be short.
    activation_order: columns of large Hessian diagonal first; groups then follow that order, or,
    with static_groups, are those of the plain order, their grids fitted before any column moves.
    "groups" keeps groups whole: that of the largest diagonal first, and so within each (Gafni et
    al. 2025; GPTQModel's `act_group_aware`, its default); a short last group stays last.
    clipping: whether a group's grid may leave its largest weights outside, where that lowers the
    loss below, as rounding in the group alone would have it (`fit_grid`; not in the paper).
    block: columns whose errors reach the rest of the weight, and the grids of the groups there,
    together. impl: `column_solve`'s.
    Returns the quantized weight and the loss of each row, float32 (out,): Σ (w − q)²/(2·U_ii²),
    which is what rounding adds to ‖(Ŵ−W)X‖²/n (plus the damping's share), GPTQ eq. 2.
    Raises InputError for NaN or infinite input, and for a Hessian that stays singular.
    """
    check_settings(bits, group_size, scale_dtype)
    check_order(activation_order)
    columns = weight.shape[1]
    if hessian.shape != (columns, columns):
        raise InputError(
            f"A weight with {columns} inputs needs a {columns} × {columns} Hessian, "
            f"not {tuple(hessian.shape)}."
        )
    if not (weight.isfinite().all() and hessian.isfinite().all()):
        raise InputError(
            "A weight or an activation is NaN or infinite: check the model in float32 before it "
            "is compressed."
        )
    # Transposed, so that a column of the weight lies in one piece.
    w, matrix = weight.float().T.clone(memory_format=torch.contiguous_format), hessian.float()
    # An input that is never active carries no information: its weight is set to zero.
    dead = matrix.diagonal() == 0
    matrix = matrix + dead.diag()
    w[dead] = 0.0

    size = columns if group_size == -1 else group_size
    group = column_groups(columns, group_size).to(w.device)
    scale, zero = w.new_empty(2, -(-columns // size), w.shape[1])

    order = torch.arange(columns, device=w.device)
    if activation_order:
        importance = matrix.diagonal()
        order = importance.argsort(descending=True, stable=True)
        if activation_order == "groups":
            whole = importance[: columns // size * size].view(-1, size).amax(1)
            rank = torch.arange(len(scale), device=w.device)
            rank[whole.argsort(descending=True, stable=True)] = rank[: len(whole)].clone()
            order = order[rank[group[order]].argsort(stable=True)]
        if static_groups or activation_order == "groups":
            group = group[order]
        w, matrix = w[order], matrix[order][:, order]
    back = order.argsort()
    upper = inverse_factor(matrix, damping)
    metric = upper.diagonal() ** -2 if clipping else None

    def fit(index, its):
        own = None if metric is None else metric[its]
        scale[index], zero[index] = fit_grid(w[its].T, bits, symmetric, scale_dtype, own)

    starts = range(0, columns, size)
    if static_groups:
        for index, its in enumerate(back.split(size)):
            fit(index, its)
        starts = range(0)

    # A block holds whole groups, whose grids are fitted before the corrections of the block itself
    # arrive, as in the released code: these widen a range more than they are worth.
    block = max(1, block // size) * size
    codes = torch.empty_like(w)
    loss = w.new_zeros(w.shape[1])
    width = column_solve.WIDTH[column_solve.pick(impl, w)]
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        errors = torch.empty_like(w[begin:end])
        for start in starts[begin // size : -(-end // size)]:
            fit(group[start], slice(start, start + size))
        for low in range(begin, end, width):
            high = min(low + width, end)
            its = group[low:high]
            codes[low:high], errors[low - begin : high - begin] = column_solve.column_solve(
                w[low:high], upper[low:high, low:high], scale[its], zero[its], bits, impl
            )
            passed_on = errors[low - begin : high - begin]
            w[high:end].addmm_(upper[low:high, high:end].T, passed_on, alpha=-1)
        loss += errors.square().sum(0) / 2
        w[end:].addmm_(upper[begin:end, end:].T, errors, alpha=-1)

    quantized = QuantizedWeight(
        codes[back].T.to(torch.uint8).contiguous(),
        scale.T.contiguous(),
        zero.T.to(torch.uint8).contiguous(),
        group[back],
        bits,
    )
    return quantized, loss


def hessians(
    block: torch.nn.Module,
    calls: Sequence[tuple],
    token_weights: Sequence[torch.Tensor] | None = None,
) -> dict[str, Hessian]:
    """Hessian of each linear layer of a block over recorded calls (`blocks.first_calls`).

    Layers fed with the same tensor (queries, keys and values, say) share one Hessian. A call ends
    where the last of them begins: only inputs are wanted.
    token_weights: of each call, (batch, length); see `add_to_hessian`.
    """
    layers, groups = linear_layers(block), shared_inputs(block, calls[0])
    found: dict[str, Hessian] = {}
    weights = None

    def watch(name):
        def hook(_, args):
            found[name] = add_to_hessian(found.get(name), args[0], weights)
            if name == groups[-1][0]:
                raise Reached

        return hook

    hooks = [layers[name].register_forward_pre_hook(watch(name)) for name, *_ in groups]
    try:
        for index, call in enumerate(calls):
            weights = token_weights[index] if token_weights else None
            with suppress(Reached):
                run_block(block, call)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: found[names[0]] for names in groups if names[0] in found for name in names}


def quantize_model(
    model: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    token_weights: Sequence[torch.Tensor] | None = None,
    note: Callable[[str, float], None] | None = None,
    parts: Path | None = None,
    progress: str | None = None,
    **settings,
) -> dict[str, QuantizedWeight]:
    """Quantize every linear layer of every block in place, in the order in which they compute.

    Each is fed by all those before it as they are then, quantized, also within its block: what
    AutoGPTQ calls `true_sequential`, its default, and here one pass through each block.
    inputs: calibration token ids, each (batch, length). settings: those of `solve`.
    token_weights: how much each token counts, shaped as `inputs`; equally where left out.
    note(name, error) is told each layer's relative output error ‖(Ŵ−W)X‖²/‖WX‖².
    parts: a folder in which each block's codes are kept as soon as they are solved; blocks found
    there are taken over. It must belong to this model, these inputs and these settings alone.
    Returns the quantized weights by full module name; the model then computes with their
    dequantised values. Raises InputError, naming the layer, where one cannot be solved.
    """
    from tqdm.auto import tqdm

    check_settings(settings["bits"], settings.get("group_size", 128))
    keep_freed_memory()
    names = {module: name for name, module in model.named_modules()}
    quantized: dict[str, QuantizedWeight] = {}
    blocks, calls = transformer_blocks(model), first_calls(model, inputs)
    bar = tqdm(total=len(blocks), unit="block", desc=progress, disable=progress is None)
    for index, block in enumerate(blocks):
        part = parts / f"block-{index:03}" if parts else None
        kept = store.read(part) if part else None
        if kept is None:
            done, errors = {}, {}
            settle = _settle_block(block, calls, token_weights, names, done, errors, settings)
            outputs = run_in_step(block, calls, settle)
            if part:
                store.write(part, done, {"output_error": errors})
        else:
            done, errors = kept[0], kept[1]["output_error"]
            store.put(model, done)
            outputs = [run_block(block, call) for call in calls]
        calls = next_calls(calls, outputs)
        quantized |= done
        for name, error in errors.items():
            if note:
                note(name, error)
        bar.update()
    bar.close()
    return quantized


def _settle_block(block, calls, token_weights, names, done, errors, settings):
    """What `run_in_step` does where each input of a block is known: solve the layers it feeds, as
    one stack, since the factor of their Hessian and every step over columns are the same for all.
    """
    layers = linear_layers(block)
    _check_room(layers, calls)

    def solve_together(group, inputs):
        hessian = None
        for index, states in sorted(inputs.items()):
            weights = token_weights[index] if token_weights else None
            hessian = add_to_hessian(hessian, states, weights)
        matrix, weights = hessian.matrix, [weight_of(layers[name]) for name in group]
        try:
            stack, _ = solve(torch.cat(weights), matrix, **settings)
        except InputError as error:
            raise InputError(f"{names[layers[group[0]]]}: {error}") from error
        for name, weight, own in zip(
            group, weights, split_rows(stack, [len(weight) for weight in weights]), strict=True
        ):
            restored, full_name = own.dequantize(), names[layers[name]]
            errors[full_name] = output_error(weight, restored, matrix)
            weight.copy_(restored)
            done[full_name] = own

    groups = shared_inputs(block, calls[0])
    return {layers[group[0]]: partial(solve_together, group) for group in groups}


def _check_room(layers: dict[str, torch.nn.Module], calls: Sequence[tuple]) -> None:
    """Raise InputError where a solve and what the calls hold would not fit in free memory."""
    shapes = {name: weight_of(layer).shape for name, layer in layers.items()}
    device = next(iter(layers.values())).weight.device
    name = max(shapes, key=lambda name: shapes[name][1])
    widths = [columns for _, columns in shapes.values()]
    # Four square matrices and four of the weight's size while the widest is solved; of every call
    # its input, its output, what is added to it, and what the widest layer is fed with.
    held = sum(
        states.nbytes // states.shape[-1] * (3 * states.shape[-1] + max(widths))
        for states, _ in calls
    )
    needed = 4 * (4 * max(widths) ** 2 + 4 * shapes[name].numel()) + held
    free = free_memory(device)
    if needed > free:
        raise InputError(
            f"The block around {name} needs up to {needed / 2**30:.1f} GiB to be solved and "
            f"{free / 2**30:.1f} GiB are free on {device}: use fewer or shorter calibration "
            "windows, or a machine or a GPU with more memory."
        )


def free_memory(device: torch.device) -> float:
    """Free bytes on a device; infinite where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(
        (int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable")), float("inf")
    )


def output_error(weight: torch.Tensor, other: torch.Tensor, hessian: torch.Tensor) -> float:
    """Relative squared output error ‖(Ŵ−W)X‖² / ‖WX‖², from the Hessian alone (X is not needed)."""
    lost = energy(other.float() - weight.float(), hessian).sum()
    return float(lost) / max(float(energy(weight.float(), hessian).sum()), 1e-30)
