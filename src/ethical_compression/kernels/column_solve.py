"""GPTQ's inner loop: round a block of columns one after another, passing each error on.

Columns lie along the first dimension here, so that one column is contiguous in memory. `impl` says
who does it: "torch" anywhere, "triton" on a GPU, where a launch takes many columns and every
program keeps its rows of them in registers from the first column to the last.
"""

import torch

from ethical_compression.kernels.logprob import pick
from ethical_compression.threads import one_thread

# Columns solved one after another, between which errors pass on as products of matrices: on a CPU
# as few as stay in its nearer cache, on a GPU as many as registers hold.
WIDTH = {"torch": 16, "triton": 128}


def column_solve(
    weight: torch.Tensor,
    upper: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor,
    group: torch.Tensor,
    bits: int,
    impl: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and errors, float32 (columns, rows), of a block of columns.

    weight: float32 (columns, rows); upper: float32 (columns, columns), the block of U on the
    diagonal; scale, zero: float32 (groups, rows), the grids; group: integers (columns,), which of
    them is a column's. For each column i in turn, q_i is the code nearest to w_i, e_i = (w_i −
    s_i(q_i − z_i)) / U_ii, and w_j −= U_ij e_i for all j > i (GPTQ, Algorithm 1). `weight` is left
    as it is, or holds the corrected columns: do not use it.
    """
    impl = pick(impl, weight)
    if impl == "torch":
        few = column_solve_torch
    elif impl == "triton":
        from ethical_compression.kernels import column_solve_triton

        few = column_solve_triton.column_solve
    else:
        raise ValueError(f"There is no implementation {impl!r}: choose auto, torch or triton.")
    codes, errors = torch.empty_like(weight), torch.zeros_like(weight)

    def solve(begin, end):
        # By halves, so that most of what errors do to later columns is done by large products.
        pieces = -(-(end - begin) // WIDTH[impl])
        if pieces == 1:
            its = slice(begin, end)
            few(
                weight[its], upper[its, its], scale, zero, group[its], bits, codes[its], errors[its]
            )
            return
        middle = begin + -(-pieces // 2) * WIDTH[impl]
        solve(begin, middle)
        passed_on = upper[begin:middle, middle:end].T
        weight[middle:end].addmm_(passed_on, errors[begin:middle], alpha=-1)
        solve(middle, end)

    with one_thread(weight.device):
        solve(0, len(weight))
    return codes, errors


def column_solve_torch(weight, upper, scale, zero, group, bits, codes, errors):
    """Fills `codes` and `errors`, which must be finite before."""
    # Before its turn a column takes all that is passed on to it at once. Errors wait for their
    # division by U_ii until the end: until then, U's rows are divided instead.
    diagonal = upper.diagonal()[:, None]
    passed_on = (upper / diagonal).triu_(1).unbind(1)
    grids = [grid.unbind() for grid in (scale, zero, -zero, 2**bits - 1 - zero)]
    grids = zip(*([its[g] for g in group.tolist()] for its in grids), strict=True)
    columns = zip(weight.unbind(), codes.unbind(), errors.unbind(), passed_on, grids, strict=True)
    before = errors.T
    for w, code, error, u, (s, z, low, high) in columns:
        w.addmv_(before, u, alpha=-1)
        torch.div(w, s, out=code).round_()
        torch.clamp(code, low, high, out=code)
        torch.addcmul(w, s, code, value=-1, out=error)
        code.add_(z)
    errors.div_(diagonal)
