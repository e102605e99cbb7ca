"""Compression that repairs: a layer should answer a stereotype and its opposite alike, too.

Fair-GPTQ (Proskurina, Metzler, Velcin 2025, arXiv:2509.15206) adds to GPTQ's objective a second
term, over pairs of sentences that differ by a stereotype,

    ‖(Ŵ − W)X‖² + α ‖Ŵ(X₀ − X₁)‖²,

X₀ and X₁ being a layer's inputs from the two sentences of each pair, X those of both. With
H = 2XXᵀ and H₀₁ = 2α(X₀−X₁)(X₀−X₁)ᵀ, completing the square gives

    ½ (Ŵ − W*)(H + H₀₁)(Ŵ − W*)ᵀ + const,      W* = W − W H₀₁ (H + H₀₁)⁻¹.

Its minimum on a grid, or under a mask, is thus sought in two steps: move W to W*, then round
(`gptq.solve`) or prune (`sparsity.sparsegpt`) with H + H₀₁. Either step can be left out, which
makes the four `CELLS`: *exact* takes both; *shift* moves and rounds with H alone, as Fair-GPTQ was
released; *hessian* does not move and prunes with H + H₀₁, as Debias-SparseGPT was
(arXiv:2609.02496); *plain* is GPTQ, or SparseGPT, itself.

α is defined once: it weighs a pair's squared difference against the squared error of the pair's own
tokens, both summed; `pairs.SCALINGS` names what the released codes multiply it by.
"""

from typing import NamedTuple

import torch

from ethical_compression.compress import gptq, sparsity
from ethical_compression.compress.hessian import factors
from ethical_compression.compress.integer import energy
from ethical_compression.compress.pairs import Contrasted
from ethical_compression.datasets.files import known
from ethical_compression.errors import InputError
from ethical_compression.gptq_format import QuantizedWeight


class Cell(NamedTuple):
    """Whether weights are moved to W* first, and whether they are then rounded with H + H₀₁."""

    shift: bool
    joint: bool


CELLS = {
    "exact": Cell(True, True),
    "shift": Cell(True, False),
    "hessian": Cell(False, True),
    "plain": Cell(False, False),
}


def shifted(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    contrast: torch.Tensor,
    *,
    damping: float = 0.01,
    first_order: bool = False,
) -> torch.Tensor:
    """W* = W − W H₀₁ (H + H₀₁ + λI)⁻¹, float32 (out, in), λ as in `hessian.factors`.

    contrast: H₀₁, α included. λ is a third term λ‖Ŵ − W‖² of the objective, which keeps W where no
    input tells; it moves to W* exactly. first_order: with (H + λI)⁻¹ instead, W* to first order in
    α, which is what Fair-GPTQ's released code computes unless its `sum_hessians` is set; it
    overshoots where H₀₁ is not small beside H. Raises InputError where a Hessian stays singular.
    """
    matrix = hessian if first_order else hessian + contrast
    return _moved(weight, contrast, factors(matrix.float(), damping)[0])


def _moved(weight: torch.Tensor, contrast: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """W − W H₀₁ (RRᵀ)⁻¹, R being the upper-triangular `factor`."""
    weight = weight.float()
    shift = weight @ contrast.float()
    for half, upper in ((factor.T, False), (factor, True)):
        shift = torch.linalg.solve_triangular(half, shift, upper=upper, left=False)
    return weight - shift


class Problem(NamedTuple):
    """What a cell rounds or prunes: W or W* (out, in), H or H + H₀₁ (in, in), and, where it is
    known already, the `inverse_factor` of that Hessian."""

    weight: torch.Tensor
    hessian: torch.Tensor
    upper: torch.Tensor | None = None


def problem(
    weight: torch.Tensor,
    known_inputs: Contrasted,
    *,
    alpha: float,
    cell: str = "exact",
    damping: float = 0.01,
    first_order: bool = False,
) -> Problem:
    """What is left to a cell to round or prune, once it has moved the weights where it does.

    At α = 0, in the plain cell and where there is no contrast this is what is given, bit for bit.
    Raises InputError for an unknown cell and an α below 0.
    """
    known("cell of shift × Hessian", cell, CELLS)
    check_alpha(alpha)
    shift, joint = CELLS[cell]
    matrix = known_inputs.matrix
    if known_inputs.contrast is None or alpha == 0:
        return Problem(weight, matrix)
    contrast = alpha * known_inputs.h01
    whole = matrix + contrast
    upper = None
    if shift:
        factor, inverse = factors((matrix if first_order else whole).float(), damping)
        weight = _moved(weight, contrast, factor)
        # One factor serves both steps where they are of one Hessian.
        upper = inverse if joint != first_order else None
    return Problem(weight, whole if joint else matrix, upper)


def check_alpha(alpha: float) -> None:
    """Raise InputError for an α that is negative, infinite or no number."""
    if not 0 <= alpha < float("inf"):
        raise InputError(
            f"An alpha of {alpha} makes no sense: it weighs a pair's difference, and is 0 or more."
        )


def quantize(
    weight: torch.Tensor,
    known_inputs: Contrasted,
    *,
    alpha: float,
    cell: str = "exact",
    first_order: bool = False,
    damping: float = 0.01,
    **grid,
) -> QuantizedWeight:
    """One weight (out, in) on an integer grid, by a cell of shift × Hessian and `gptq.solve`.

    grid: the settings of `gptq.solve`. Errors are those of `problem` and `gptq.solve`.
    """
    target = problem(
        weight, known_inputs, alpha=alpha, cell=cell, damping=damping, first_order=first_order
    )
    return gptq.solve(target.weight, target.hessian, upper=target.upper, damping=damping, **grid)[0]


def prune(
    weight: torch.Tensor,
    known_inputs: Contrasted,
    *,
    alpha: float,
    cell: str = "exact",
    first_order: bool = False,
    damping: float = 0.01,
    **settings,
) -> torch.Tensor:
    """One weight (out, in) with zeros, float32, by a cell of shift × Hessian and SparseGPT.

    settings: those of `sparsity.sparsegpt`. Errors are those of `problem` and `sparsity.sparsegpt`.
    """
    target = problem(
        weight, known_inputs, alpha=alpha, cell=cell, damping=damping, first_order=first_order
    )
    return sparsity.sparsegpt(
        target.weight, target.hessian, upper=target.upper, damping=damping, **settings
    )


def objective(
    weight: torch.Tensor, changed: torch.Tensor, known_inputs: Contrasted
) -> tuple[float, float]:
    """The objective's two terms for `changed` in place of `weight`, both (out, in), in float64:
    ½(Ŵ−W)H(Ŵ−W)ᵀ and, without its α, ½ŴH₀₁Ŵᵀ/α, summed over rows; squared outputs a token.
    """
    kept = energy((changed - weight).double(), known_inputs.matrix.double()).sum() / 2
    if known_inputs.contrast is None:
        return float(kept), 0.0
    return float(kept), float(energy(changed.double(), known_inputs.h01.double()).sum() / 2)
