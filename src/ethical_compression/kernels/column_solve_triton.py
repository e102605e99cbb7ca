"""The column solve in Triton: rows in parallel, columns in order, one launch a block.

A program loads its rows of the block once, walks the columns in registers, and stores codes and
errors. Picking column i out of registers is a masked sum: with the tile no wider than 128 columns
that costs as much as the update itself. On a CPU this runs under TRITON_INTERPRET=1 only, for
tests.
"""

import torch
import triton
import triton.language as tl

ROWS = 32  # of one program: with 128 columns and four warps, 32 numbers a thread


@triton.jit
def column_solve_kernel(
    weight,
    upper,
    scale,
    zero,
    group,
    codes,
    errors,
    columns,
    rows,
    stride_weight,
    stride_upper,
    stride_scale,
    stride_zero,
    top,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    here = row < rows
    tile = tl.load(
        weight + column.to(tl.int64)[:, None] * stride_weight + row[None, :],
        mask=(column < columns)[:, None] & here[None, :],
        other=0.0,
    )
    for i in range(columns):
        w = tl.sum(tl.where((column == i)[:, None], tile, 0.0), axis=0)
        g = tl.load(group + i)
        s = tl.load(scale + g * stride_scale + row, mask=here, other=1.0)
        z = tl.load(zero + g * stride_zero + row, mask=here, other=0.0)
        # Adding and taking away 1.5 · 2²³ rounds to the nearest integer, ties to even, as torch
        # does; IEEE division keeps the two versions' ties alike.
        nearest = (tl.math.div_rn(w, s) + 12582912.0) - 12582912.0
        q = tl.minimum(tl.maximum(nearest + z, 0.0), top)
        u = tl.load(upper + i * stride_upper + column, mask=column < columns, other=0.0)
        error = tl.math.div_rn(w - s * (q - z), tl.load(upper + i * stride_upper + i))
        tile -= tl.where(column > i, u, 0.0)[:, None] * error[None, :]
        tl.store(codes + i * rows + row, q, mask=here)
        tl.store(errors + i * rows + row, error, mask=here)


def column_solve(weight, upper, scale, zero, group, bits, codes, errors):
    """As `column_solve.column_solve_torch`, `codes` and `errors` being contiguous; `weight` is only
    read."""
    columns, rows = weight.shape
    weight, upper, scale, zero = (
        t if t.stride(1) == 1 else t.contiguous() for t in (weight, upper, scale, zero)
    )
    column_solve_kernel[(triton.cdiv(rows, ROWS),)](
        weight,
        upper,
        scale,
        zero,
        group.to(torch.int32),
        codes,
        errors,
        columns,
        rows,
        weight.stride(0),
        upper.stride(0),
        scale.stride(0),
        zero.stride(0),
        float(2**bits - 1),
        COLUMNS=max(16, triton.next_power_of_2(columns)),
        ROWS=ROWS,
        num_warps=4,
    )
