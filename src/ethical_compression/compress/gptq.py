"""GPTQ: round one column at a time, and let the columns still to come make up for the error.

Frantar, Ashkboos, Hoefler, Alistarh 2023, Algorithm 1. For a linear layer y = Wx with calibration
inputs X, minimise ‖Ŵ X − W X‖² over Ŵ on an integer grid. Only the Hessian H = 2XXᵀ of that
objective is needed: `add_to_hessian` gathers it, `solve` uses it; both are pure of any model.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import AfterValidator, Field, model_validator

from ethical_compression.compress import checkpoint, in_order, peers
from ethical_compression.compress.hessian import (
    Damping,
    Gather,
    Hessian,
    gather_hessian,
    inverse_factor,
)
from ethical_compression.compress.integer import (
    CLIPPING,
    Grid,
    check_settings,
    column_groups,
    fit_grid,
)
from ethical_compression.compress.layerwise import Compressed
from ethical_compression.compress.methods import Method, Text, register
from ethical_compression.compress.weighting import WEIGHTINGS, token_weights
from ethical_compression.errors import InputError
from ethical_compression.kernels import column_solve
from ethical_compression.models.finite import all_finite
from ethical_compression.models.gptq_format import QuantizedWeight


def check_order(activation_order: bool | str) -> bool | str:
    """An order of columns that `solve` knows, as it is. Raises InputError for others."""
    if activation_order not in (False, True, "groups"):
        raise InputError(
            f"An activation order of {activation_order!r} is not known: give true (columns), "
            "'groups' or false."
        )
    return activation_order


# long: the paper's algorithm from top to bottom, in its letters.
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
    upper: torch.Tensor | None = None,
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
    together. impl: `column_solve`'s. upper: `inverse_factor(hessian, damping)`, where it is known
    already and columns keep their order.
    Returns the quantized weight and the loss of each row, float32 (out,): Σ (w − q)²/(2·U_ii²),
    which is what rounding adds to ‖(Ŵ−W)X‖²/n (plus the damping's share), GPTQ eq. 2.
    Raises InputError for NaN or infinite input, and for a Hessian that stays singular.
    """
    check_settings(bits, group_size, scale_dtype)
    check_order(activation_order)
    _check_problem(weight, hessian)
    columns = weight.shape[1]
    # Transposed, so that a column of the weight lies in one piece.
    w, matrix = weight.float().T.clone(memory_format=torch.contiguous_format), hessian.float()
    # An input that is never active carries no information: its weight is set to zero.
    dead = matrix.diagonal() == 0
    if dead.any():
        matrix = matrix + dead.diag()
    w[dead] = 0.0

    size = columns if group_size == -1 else group_size
    group = column_groups(columns, group_size).to(w.device)
    scale, zero = w.new_empty(2, -(-columns // size), w.shape[1])

    order = torch.arange(columns, device=w.device)
    if activation_order:
        order = _by_activation(matrix.diagonal(), group, size, activation_order == "groups")
        if static_groups or activation_order == "groups":
            group = group[order]
        w, matrix = w[order], matrix[order][:, order]
    back = order.argsort()
    if upper is None or activation_order:
        upper = inverse_factor(matrix, damping)
    del matrix
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
    codes = torch.empty_like(w, dtype=torch.uint8)
    loss = w.new_zeros(w.shape[1])
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        for start in starts[begin // size : -(-end // size)]:
            fit(group[start], slice(start, start + size))
        here = slice(begin, end)
        codes[here], errors = column_solve.column_solve(
            w[here], upper[here, here], scale, zero, group[here], bits, impl
        )
        loss += errors.square().sum(0) / 2
        w[end:].addmm_(upper[here, end:].T, errors, alpha=-1)

    quantized = QuantizedWeight(
        (codes[back] if activation_order else codes).T.contiguous(),
        scale.T.contiguous(),
        zero.T.to(torch.uint8).contiguous(),
        group[back],
        bits,
    )
    return quantized, loss


def _check_problem(weight: torch.Tensor, hessian: torch.Tensor) -> None:
    columns = weight.shape[1]
    if hessian.shape != (columns, columns):
        raise InputError(
            f"A weight with {columns} inputs needs a {columns} × {columns} Hessian, "
            f"not {tuple(hessian.shape)}."
        )
    if not (all_finite(weight) and all_finite(hessian)):
        raise InputError(
            "A weight or an activation is NaN or infinite: check the model in float32 before it "
            "is compressed."
        )


def _by_activation(
    importance: torch.Tensor, group: torch.Tensor, size: int, whole_groups: bool
) -> torch.Tensor:
    """Columns by falling importance (columns,); or whole groups by that of their first."""
    order = importance.argsort(descending=True, stable=True)
    if not whole_groups:
        return order
    first = importance[: len(importance) // size * size].view(-1, size).amax(1)
    rank = torch.arange(-(-len(importance) // size), device=importance.device)
    rank[first.argsort(descending=True, stable=True)] = rank[: len(first)].clone()
    return order[rank[group[order]].argsort(stable=True)]


def quantize_model(
    model: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    token_weights: Sequence[torch.Tensor] | None = None,
    gather: Gather | None = None,
    solver: Callable[..., QuantizedWeight] | None = None,
    only: Callable[[torch.Tensor], bool] | None = None,
    note: Callable[[str, dict[str, Any]], None] | None = None,
    parts: Path | None = None,
    progress: str | None = None,
    **settings,
) -> dict[str, QuantizedWeight]:
    """Quantize every weight of every block in place, in one pass (`in_order.quantize`).

    inputs, only, note, parts, progress: as there. settings: those of `solve`.
    token_weights: how much each token counts, shaped as `inputs`; equally where left out.
    gather, solver: what is known of a weight's inputs, and solver(weight, known, **settings), the
    quantized weight made of it; by default its Hessian, token_weights counted in, and `solve`.
    Returns the quantized weights by name; the model then computes with their dequantised values.
    Raises InputError, naming the weight, where one cannot be solved.
    """
    check_settings(settings["bits"], settings.get("group_size", 128))
    solver = solver or _solved
    return in_order.quantize(
        model,
        inputs,
        gather=gather or gather_hessian(token_weights),
        solver=lambda weight, known: solver(weight, known, **settings),
        only=only,
        note=note,
        parts=parts,
        progress=progress,
    )


def _solved(weight: torch.Tensor, hessian: Hessian, **settings) -> QuantizedWeight:
    return solve(weight, hessian.matrix, **settings)[0]


# --- As a recipe's method -------------------------------------------------------------------------


class Settings(Text, Grid):
    """What a recipe can ask of GPTQ, and whose."""

    damping: Damping = 0.01
    activation_order: Annotated[bool | str, AfterValidator(check_order)] = Field(
        False,
        description="whether columns of large activations come first: true, or groups, whole ones",
    )
    static_groups: bool = Field(
        False, description="whether grids are fitted before any column moves, in the plain order"
    )
    clipping: bool = Field(False, description=CLIPPING)
    weighting: Literal[*WEIGHTINGS] = Field(
        "none",
        description="what a calibration token counts by: none, each the same, or entropy, the full "
        "model's uncertainty",
    )
    quantizer: Literal[*peers.QUANTIZERS] = Field(
        "native", description="whose GPTQ: native (ours), gptqmodel or auto-gptq (make peers)"
    )

    @model_validator(mode="after")
    def _suits_the_quantizer(self) -> Self:
        if self.quantizer != "native" and (self.weighting != "none" or self.clipping):
            raise InputError(
                f"{self.quantizer} lets all tokens count alike and clips nothing here: weigh "
                "and clip by the quantizer native."
            )
        return self


def _label(settings: Settings) -> str:
    name = "GPTQ" if settings.quantizer == "native" else f"GPTQ ({settings.quantizer})"
    clipped = ", clipped" if settings.clipping else ""
    weighted = "Entropy-weighted " if settings.weighting == "entropy" else ""
    return f"{weighted}{name} {settings.bits}-bit{clipped}"


def _apply(
    settings: Settings, model, inputs, *, progress=None, parts=None, tokenizer=None
) -> Compressed:
    names = ("damping", "activation_order", "static_groups")
    how = settings.grid() | {name: getattr(settings, name) for name in names}
    done = Compressed()
    if settings.quantizer != "native":
        done.weights |= peers.quantize_model(
            settings.quantizer, model, tokenizer, inputs, note=done.rows.append, **how
        )
    else:
        done.weights |= quantize_model(
            model,
            inputs,
            clipping=settings.clipping,
            token_weights=token_weights(settings.weighting, model, inputs),
            only=lambda weight: checkpoint.packs(*weight.shape),
            note=lambda layer, row: done.rows.append({"layer": layer} | row),
            parts=parts,
            progress=progress,
            **how,
        )
    return done


register(
    Method(
        name="gptq",
        about="rounded column by column, the others making up for it (Frantar et al. 2023)",
        settings=Settings,
        label=_label,
        apply=_apply,
        touches=checkpoint.packable,
        takes=checkpoint.TAKES,
        check=lambda settings, device: peers.check(settings.quantizer, device),
        by_block=lambda settings: settings.quantizer == "native",
        packed=True,
    )
)
