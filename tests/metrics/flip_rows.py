"""Answers of a grid, made up: leads of the first of two options."""

import numpy as np
import pandas as pd


def grid(leads, compression="4-bit", *, battery="toy", groups=None, clusters=None, seed=0, **more):
    """Rows of answers of two options: `leads` (n, 3) of the first option in the full model, in
    float32, and under the compression."""
    leads = np.asarray(leads, dtype=float)
    before = (leads[:, 0] < 0).astype(int)
    sign = np.where(before, -1, 1)
    parts = []
    for place, name in enumerate(("full", "full, float32", compression)):
        parts.append(
            pd.DataFrame(
                {
                    "model": "m",
                    "compression": name,
                    "method": "rtn",
                    "seed": seed if place == 2 else 0,
                    "check": f"answers: {battery}",
                    "item": [f"i{k}" for k in range(len(leads))],
                    "group": groups if groups is not None else "all",
                    "cluster": clusters if clusters is not None else np.arange(len(leads)),
                    "before": before,
                    "after": (leads[:, place] < 0).astype(int),
                    "margin": np.abs(leads[:, 0]),
                    "margin_after": sign * leads[:, place],
                }
                | more
            )
        )
    return pd.concat(parts, ignore_index=True)


def drawn(n, seed, push, noise=0.02, look=0.02):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=n)
    return np.column_stack(
        [
            true + noise * rng.normal(size=n),
            true + look * rng.normal(size=n),
            true + noise * rng.normal(size=n) + push(true, rng),
        ]
    )


def blind(true, rng):
    return 0.5 * rng.normal(size=len(true))
