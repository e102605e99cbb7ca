"""The Hessian of a layer's squared output error: gathered from its inputs, and factored.

For y = Wx and calibration inputs X, ‖Ŵ X − W X‖² has the Hessian H = 2XXᵀ in each row of Ŵ. GPTQ,
SparseGPT, Wanda and AWQ need nothing else of the data.
"""

from typing import NamedTuple

import torch

from ethical_compression.errors import InputError

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

    weights (…): how much each vector counts, one each where left out. Raises InputError where they
    are not as many: an expert is fed with some of the tokens only.
    """
    rows = inputs.reshape(-1, inputs.shape[-1]).float()
    added = len(rows)
    if weights is not None:
        if weights.numel() != added:
            raise InputError(
                f"{added} inputs cannot be weighed by {weights.numel()} tokens, as in a mixture of "
                "experts, whose layers see some of the tokens only: choose the weighting none."
            )
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
    """Upper-triangular U with UᵀU = (H + λI)⁻¹, λ = damping · mean diagonal (GPTQ §4, step 3)."""
    return factors(matrix, damping)[1]


def factors(matrix: torch.Tensor, damping: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, U), both upper-triangular, with RRᵀ = H + λI and UᵀU its inverse; λ as above.

    R is Cholesky's factor from the last column to the first, and U = R⁻¹: the inverse itself, which
    the paper's code factors, is never formed.
    Damping is multiplied by ten, at most three times, while H is not positive definite.
    Raises InputError where that does not help.
    """
    mean = matrix.diagonal().mean()
    failed = torch.empty((), dtype=torch.int32, device=matrix.device)
    for power in range(4):
        # Laid out column by column, as LAPACK wants it, so that each step works in place: beside
        # the Hessian there are never more than two matrices.
        damped = torch.empty_like(matrix, memory_format=torch.contiguous_format).mT
        damped.copy_(matrix.flip(0, 1))
        damped.diagonal().add_(damping * 10**power * mean)
        torch.linalg.cholesky_ex(damped, out=(damped, failed))
        if not failed:
            factor = damped.flip(0, 1)
            del damped
            upper = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device).mT
            torch.linalg.solve_triangular(factor, upper, upper=True, out=upper)
            if upper.isfinite().all():
                return factor, upper
    raise InputError(
        f"The calibration Hessian stays singular at damping {damping * 1000:g}: use more "
        "calibration text, or a larger damping."
    )
