"""The Hessian of a layer's squared output error: gathered from its inputs, and factored.

For y = Wx and calibration inputs X, ‖Ŵ X − W X‖² has the Hessian H = 2XXᵀ in each row of Ŵ. GPTQ,
SparseGPT, Wanda and AWQ need nothing else of the data.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import AfterValidator, Field

from ethical_compression.compress.blocks import Reached, watch, where
from ethical_compression.compress.integer import energy
from ethical_compression.errors import InputError
from ethical_compression.models.finite import all_finite

# Width of a Hessian's stripes: wide enough for a fast product, many enough to spare a third of it.
STRIPE = 288


def _share(damping: float) -> float:
    if not 0 < damping < 1:
        raise InputError(f"A damping of {damping} makes no sense: it is a share, such as 0.01.")
    return damping


# As a setting of the methods that factor a Hessian.
Damping = Annotated[
    float,
    AfterValidator(_share),
    Field(description="added to the Hessian's diagonal, as a share of its mean"),
]


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


# What is known of a weight's inputs after one more call: gather(before, name, index, fed), with
# what was known before (None at first), the weight's name, the call's number and its inputs.
Gather = Callable[[Hessian | None, str, int, torch.Tensor], Hessian]


def gather_hessian(token_weights: Sequence[torch.Tensor] | None = None) -> Gather:
    """Gathers a weight's Hessian. token_weights: of each call, (batch, length), or one each; see
    `add_to_hessian`."""

    def gather(before, name, index, fed):
        return add_to_hessian(before, fed, token_weights[index] if token_weights else None)

    return gather


def hessians(
    block: torch.nn.Module, calls: Sequence[tuple], gather: Gather | None = None
) -> dict[str, Hessian]:
    """Hessian of each weight of a block over recorded calls (`blocks.stream_blocks`), by its name
    within the block; an expert's is that of the tokens it was given. Weights that no call reaches
    have none.

    Weights fed with the same tensor (queries, keys and values, say) share one Hessian.
    gather: what is kept of the inputs, by default their Hessian alone, all tokens alike.
    """
    gather = gather or gather_hessian()
    found: dict[str, Hessian] = {}
    leader: dict[str, str] = {}
    last = None  # of the weights that every call comes to: only inputs are wanted
    for index, call in enumerate(calls):
        here: dict[tuple, tuple[str, torch.Tensor]] = {}  # kept, so that none takes its place

        def see(name, fed, here=here, index=index, last=last):
            if not fed.numel():
                return
            if name not in leader:
                leader[name] = here.setdefault(where(fed), (name, fed))[0]
            if leader[name] == name:
                found[name] = gather(found.get(name), name, index, fed)
                if name == last:
                    raise Reached

        watch(block, call, see)
        if index == 0 and not any(p.dim() == 3 for p in block.parameters()):
            last = next(reversed(found), None)
    return {name: found[first] for name, first in leader.items()}


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
            if all_finite(upper):
                return factor, upper
    raise InputError(
        f"The calibration Hessian stays singular at damping {damping * 1000:g}: use more "
        "calibration text, or a larger damping."
    )


def output_error(weight: torch.Tensor, other: torch.Tensor, hessian: torch.Tensor) -> float:
    """Relative squared output error ‖(Ŵ−W)X‖² / ‖WX‖², from the Hessian alone (X is not needed)."""
    lost = energy(other.float() - weight.float(), hessian).sum()
    return float(lost) / max(float(energy(weight.float(), hessian).sum()), 1e-30)
