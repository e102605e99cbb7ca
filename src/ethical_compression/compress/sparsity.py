"""Pruning: which weights become zero, and how the others make up for them.

Three rules, from the plainest: *magnitude* (the smallest |w|), *Wanda* (the smallest |w|·‖x‖, Sun
et al. 2024) and *SparseGPT* (Frantar & Alistarh 2023), which also moves the weights it keeps. One
switch says how much: a ratio such as 0.5, or a pattern "N:M" (N zeros in every M consecutive
inputs, as in the released code of both papers).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from ethical_compression.compress.blocks import survey
from ethical_compression.compress.hessian import Damping, inverse_factor
from ethical_compression.compress.layerwise import Compressed, each_layer, every_weight
from ethical_compression.compress.methods import Method, Settings, Text, register
from ethical_compression.compress.weight_files import restorable
from ethical_compression.errors import InputError

COMPARISONS = ("row", "layer")


def amount(sparsity: float | str) -> float | tuple[int, int]:
    """`sparsity` as a ratio (0 ≤ ratio < 1) or as (N, M); InputError where it is neither."""
    if isinstance(sparsity, str):
        zeros, colon, of = sparsity.partition(":")
        if colon and zeros.isdecimal() and of.isdecimal() and 0 < int(zeros) < int(of):
            return int(zeros), int(of)
    elif isinstance(sparsity, int | float) and not isinstance(sparsity, bool) and 0 <= sparsity < 1:
        return float(sparsity)
    raise InputError(
        f"A sparsity of {sparsity!r} makes no sense: give the share of zeros, from 0 to below 1, "
        "or a pattern in quotes such as '2:4'."
    )


def in_words(sparsity: float | str) -> str:
    """An amount as a label has it: "50%" or "2:4"."""
    return sparsity if isinstance(sparsity, str) else f"{sparsity:.0%}"


def check_width(columns: int, sparsity: float | str) -> None:
    """Raise InputError where a pattern's M does not divide a layer's number of inputs."""
    wanted = amount(sparsity)
    if isinstance(wanted, tuple) and columns % wanted[1]:
        raise InputError(
            f"The pattern {sparsity} needs a number of inputs that {wanted[1]} divides, and a "
            f"layer has {columns}: choose another pattern, or a ratio."
        )


def smallest(score: torch.Tensor, sparsity: float | str, comparison: str = "row") -> torch.Tensor:
    """Where `score` (out, in) is smallest: bool, True at the weights that are to become zero.

    comparison: scores compete within each "row" (all inputs of one output) or over the whole
    "layer"; under a pattern they compete within its M inputs. The count is exact, rounded down:
    of equal scores, those of the later columns stay.
    """
    if comparison not in COMPARISONS:
        raise InputError(f"Weights are compared by row or by layer, not by {comparison!r}.")
    check_width(score.shape[1], sparsity)
    wanted = amount(sparsity)
    if isinstance(wanted, tuple):
        zeros, of = wanted
        groups = score.reshape(-1, of)
    else:
        groups = score if comparison == "row" else score.reshape(1, -1)
        # As a ratio written in decimals is meant: 0.7 of 10 are 7, though 0.7 · 10 may fall short.
        zeros = int(wanted * groups.shape[1] + 1e-9)
    if not zeros:
        return torch.zeros_like(score, dtype=torch.bool)
    # A selection, not a sort: only where several are the border do columns decide among them.
    border = groups.kthvalue(zeros, dim=1, keepdim=True).values
    found = groups < border
    equal = groups == border
    left = zeros - found.sum(1, keepdim=True)
    return (found | (equal & (equal.cumsum(1) <= left))).view(score.shape)


def magnitude(
    weight: torch.Tensor, *, sparsity: float | str, comparison: str = "layer"
) -> torch.Tensor:
    """`weight` (out, in) with its smallest entries at zero; float32, no data used."""
    weight = weight.float()
    return weight.masked_fill(smallest(weight.abs(), sparsity, comparison), 0.0)


def wanda(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    *,
    sparsity: float | str,
    comparison: str = "row",
) -> torch.Tensor:
    """`weight` (out, in) less the entries of the smallest |W_ij|·‖X_j‖₂ (Sun et al. 2024, eq. 1).

    hessian: that of `hessian.add_to_hessian` (in, in), whose diagonal is ‖X_j‖₂² up to one factor.
    """
    weight = weight.float()
    score = weight.abs() * hessian.float().diagonal().sqrt()
    return weight.masked_fill(smallest(score, sparsity, comparison), 0.0)


def sparsegpt(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    *,
    sparsity: float | str,
    damping: float = 0.01,
    block: int = 128,
    upper: torch.Tensor | None = None,
) -> torch.Tensor:
    """`weight` (out, in) pruned column by column, the columns to come absorbing the error.

    SparseGPT, Algorithm 1. The mask of a ratio is chosen for `block` columns at a time over all
    rows, that of a pattern for its M columns, by w²/[H⁻¹]_jj of the weights as they then are.
    upper: `inverse_factor(hessian, damping)`, where it is known already.
    Raises InputError for a Hessian that stays singular.
    """
    columns = weight.shape[1]
    check_width(columns, sparsity)
    wanted = amount(sparsity)
    if isinstance(wanted, tuple):
        # A pattern's weights compete when their first column is reached, not before.
        block = max(1, block // wanted[1]) * wanted[1]
    w, matrix = weight.float().clone(), hessian.float().clone()
    # An input that is never active carries no information: its weight is set to zero.
    dead = matrix.diagonal() == 0
    matrix.diagonal()[dead] = 1.0
    w[:, dead] = 0.0
    upper = inverse_factor(matrix, damping) if upper is None else upper
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        # Transposed, so that a column of the weight lies in one piece.
        part, u = w[:, begin:end].T.contiguous(), upper[begin:end, begin:end]
        step = wanted[1] if isinstance(wanted, tuple) else end - begin
        errors = torch.zeros_like(part)
        for i in range(end - begin):
            if i % step == 0:
                # U_jj² = [(H_{j:,j:})⁻¹]_jj: the inverse Hessian of the columns not yet settled.
                score = (part[i : i + step].T / u.diagonal()[i : i + step]).square()
                pruned = smallest(score, sparsity, "layer").T.contiguous()
            error = part[i].where(pruned[i % step], 0.0) / u[i, i]
            part[i].masked_fill_(pruned[i % step], 0.0)
            part[i + 1 :].addr_(u[i, i + 1 :], error, alpha=-1)
            errors[i] = error
        w[:, begin:end] = part.T
        w[:, end:].addmm_(errors.T, upper[begin:end, end:], alpha=-1)
    return w


def mask_statistics(weight: torch.Tensor) -> dict[str, Any]:
    """What the zeros of a weight (out, in) look like: counts, and the extremes over rows.

    `sparsity` is the share of zeros; `row_min` and `row_max` that of the rows with the fewest and
    the most; `pattern_2_4`: whether every 4 consecutive inputs hold at least two zeros.
    """
    zero = weight == 0
    rows = zero.float().mean(1)
    fours = zero[:, : zero.shape[1] // 4 * 4].reshape(-1, 4).sum(1)
    return {
        "zeros": int(zero.sum()),
        "weights": zero.numel(),
        "sparsity": float(zero.float().mean()),
        "row_min": float(rows.min()),
        "row_max": float(rows.max()),
        "pattern_2_4": bool((fours >= 2).all()),
    }


@restorable
@dataclass
class SparseWeight:
    """A weight as its zeros and the rest, exactly.

    mask uint8: a bit for each weight in reading order, eight a byte, the first in the lowest bit;
    values: the weights that are not zero, in reading order; shape: (out, in).
    """

    mask: torch.Tensor
    values: torch.Tensor
    shape: Sequence[int]

    @classmethod
    def of(cls, weight: torch.Tensor) -> "SparseWeight":
        """`weight` (out, in), packed."""
        kept = (weight != 0).flatten()
        bits = torch.nn.functional.pad(kept, (0, -len(kept) % 8)).view(-1, 8)
        powers = 2 ** torch.arange(8, device=weight.device)
        mask = (bits * powers).sum(1).to(torch.uint8)
        return cls(mask, weight.flatten()[kept], list(weight.shape))

    def dequantize(self) -> torch.Tensor:
        """The weight (out, in), bit for bit."""
        powers = 2 ** torch.arange(8, device=self.mask.device)
        bits = self.mask[:, None] // powers % 2
        kept = bits.flatten()[: math.prod(self.shape)].bool()
        weight = self.values.new_zeros(len(kept))
        weight[kept] = self.values
        return weight.view(*self.shape)


# --- As a recipe's methods ------------------------------------------------------------------------


def _an_amount(sparsity: float | str) -> float | str:
    amount(sparsity)
    return sparsity


class Amount(Settings):
    """How much becomes zero."""

    sparsity: Annotated[float | str, BeforeValidator(_an_amount)] = Field(
        0.5, description="share of zeros, or a pattern N:M, N zeros in every M inputs"
    )


class Compared(Amount):
    """What weights compete with each other; a pattern has groups of its own."""

    comparison: Literal[*COMPARISONS] = Field(
        "row",
        description="whether weights compete within a row or a layer; by default as in the "
        "method's paper",
    )

    def used(self) -> tuple[str, ...]:
        """All, but for the comparison where there is a pattern."""
        by_pattern = isinstance(self.sparsity, str)
        return tuple(n for n in self.names() if not (by_pattern and n == "comparison"))


class MagnitudeSettings(Compared):
    """What a recipe can ask of magnitude pruning."""

    comparison: Literal[*COMPARISONS] = Field(
        "layer", description=Compared.model_fields["comparison"].description
    )


class WandaSettings(Text, Compared):
    """What a recipe can ask of Wanda."""


class SparseGPTSettings(Text, Amount):
    """What a recipe can ask of SparseGPT."""

    damping: Damping = 0.01


def _method(name: str, said: str, settings: type[Amount], about: str, prune) -> None:
    """Register a pruning rule: prune(weight, Hessian or None, **settings) → the pruned weight."""

    def label(given: Amount) -> str:
        return f"{said} {in_words(given.sparsity)}"

    def apply(given: Amount, model, inputs, *, progress=None, **_) -> Compressed:
        for block in survey(model).blocks:
            for weight in block.weights.values():
                check_width(weight.shape[1], given.sparsity)
        own = set(settings.model_fields) - set(Text.model_fields)
        how = {name: getattr(given, name) for name in own}
        done = Compressed.of(model)
        for layer, weight, hessian in each_layer(model, inputs, progress=progress):
            matrix = None if hessian is None else hessian.matrix
            pruned = prune(weight, matrix, **how).to(weight.dtype)
            kept = SparseWeight.of(pruned)
            done.keep(layer, weight, kept, hessian, **mask_statistics(pruned))
        return done

    its = Method(name, about, settings, label, apply, touches=every_weight, by_block=lambda _: True)
    register(its)


_method(
    "magnitude",
    "Magnitude",
    MagnitudeSettings,
    "the smallest weights at zero",
    lambda weight, _, **how: magnitude(weight, **how),
)
_method(
    "wanda",
    "Wanda",
    WandaSettings,
    "the smallest products of weight and input at zero (Sun et al. 2024)",
    wanda,
)
_method(
    "sparsegpt",
    "SparseGPT",
    SparseGPTSettings,
    "pruned column by column, the others making up for it (Frantar & Alistarh 2023)",
    sparsegpt,
)
