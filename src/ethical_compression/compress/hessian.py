"""The Hessian of a layer's squared output error: gathered from its inputs, and factored.

For y = Wx and calibration inputs X, ‖Ŵ X − W X‖² has the Hessian H = 2XXᵀ in each row of Ŵ. GPTQ,
SparseGPT, Wanda and AWQ need nothing else of the data.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, Self

import torch
from pydantic import AfterValidator, Field

from ethical_compression.compress.blocks import Reached, watch, where
from ethical_compression.compress.integer import STRIPE, energy
from ethical_compression.errors import InputError
from ethical_compression.models.finite import all_finite

# Width of a triangular matrix that is inverted at once; wider ones are by halves.
NARROW = 96


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

    def whole(self) -> Self:
        """What `add_inputs` made, with what lies below the diagonal; in place."""
        for begin in range(STRIPE, len(self.matrix), STRIPE):
            own = slice(begin - STRIPE, begin)
            self.matrix[begin:, own] = self.matrix[own, begin:].T
        return self


def add_to_hessian(
    hessian: Hessian | None, inputs: torch.Tensor, weights: torch.Tensor | None = None
) -> Hessian:
    """Hessian after seeing `inputs` (…, in) as well, as `add_inputs`, and whole."""
    return add_inputs(hessian, inputs, weights).whole()


def add_inputs(
    hessian: Hessian | None, inputs: torch.Tensor, weights: torch.Tensor | None = None
) -> Hessian:
    """Hessian after seeing `inputs` (…, in) as well; kept as a mean, so its size does not grow.

    What is given is used up; of the result the stripes on and above the diagonal are made, and the
    rest by `Hessian.whole` once all inputs were seen.
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
        hessian = Hessian(rows.new_empty(width, width), 0)
    matrix, count = hessian.matrix, hessian.count + added
    for begin in range(0, width, STRIPE):
        end = min(begin + STRIPE, width)
        matrix[begin:end, begin:].addmm_(
            rows[:, begin:end].T, rows[:, begin:], beta=hessian.count / count, alpha=2 / count
        )
    return Hessian(matrix, count)


# What is known of a weight's inputs after one more call: gather(before, name, index, fed), with
# what was known before (None at first), the weight's name, the call's number and its inputs; after
# the last call, `.whole()` is asked of it.
Gather = Callable[[Hessian | None, str, int, torch.Tensor], Hessian]


def gather_hessian(token_weights: Sequence[torch.Tensor] | None = None) -> Gather:
    """Gathers a weight's Hessian. token_weights: of each call, (batch, length), or one each; see
    `add_inputs`."""

    def gather(before, name, index, fed):
        return add_inputs(before, fed, token_weights[index] if token_weights else None)

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
    whole = {name: known.whole() for name, known in found.items()}
    return {name: whole[first] for name, first in leader.items()}


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
        # Laid out column by column, as LAPACK wants it, so that it works in place: beside the
        # Hessian there are never more than two matrices.
        damped = matrix.flip(0, 1).mT
        damped.diagonal().add_(damping * 10**power * mean)
        torch.linalg.cholesky_ex(damped, out=(damped, failed))
        if not failed:
            factor = damped.flip(0, 1)
            del damped
            upper = torch.zeros_like(factor)
            _invert(factor, upper)
            if all_finite(upper):
                return factor, upper
    raise InputError(
        f"The calibration Hessian stays singular at damping {damping * 1000:g}: use more "
        "calibration text, or a larger damping."
    )


def _invert(factor: torch.Tensor, inverse: torch.Tensor) -> None:
    """Fill `inverse`, zeros before, with that of an upper-triangular matrix: each half's own, and
    the corner between them, a third of the operations of solving for the identity."""
    half = len(factor) // 2
    if half < NARROW // 2:
        one = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        inverse.copy_(torch.linalg.solve_triangular(factor, one, upper=True))
        return
    first, last = slice(half), slice(half, None)
    _invert(factor[first, first], inverse[first, first])
    _invert(factor[last, last], inverse[last, last])
    corner = inverse[first, first] @ factor[first, last]
    inverse[first, last].addmm_(corner, inverse[last, last], beta=0, alpha=-1)


def output_error(weight: torch.Tensor, other: torch.Tensor, hessian: torch.Tensor) -> float:
    """Relative squared output error ‖(Ŵ−W)X‖² / ‖WX‖², from the Hessian alone (X is not needed)."""
    return output_errors(weight, other, hessian, [len(weight)])[0]


def output_errors(
    weight: torch.Tensor, other: torch.Tensor, hessian: torch.Tensor, rows: Sequence[int]
) -> list[float]:
    """`output_error` of each of the layers of so many `rows` that are stacked in `weight`."""
    lost = energy(other.float() - weight.float(), hessian).split(list(rows))
    there = energy(weight.float(), hessian).split(list(rows))
    return [float(a.sum()) / max(float(b.sum()), 1e-30) for a, b in zip(lost, there, strict=True)]
