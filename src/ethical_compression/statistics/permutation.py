"""Do groups change unequally? A permutation test over clusters of items."""

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError


def p_unequal(values, groups, clusters=None, *, draws: int = 1999, seed: int = 0) -> np.ndarray:
    """p that which group an item is of has no part in its value, of each column of `values`.

    values: (n,) or (n, c), finite; groups, clusters: (n,) labels. What is compared is
    Σ_g n_g (mean_g − mean)², the spread between the groups' means; the labels of whole clusters
    (the items of one cluster in one group) are shuffled, the same way for all columns
    (Fisher 1935; Pitman 1937). p counts the table itself among the draws, so it is at least
    1 ÷ (draws + 1), and 1 where nothing varies. Returns (c,) p-values.
    Raises InputError for fewer than two groups, other lengths, and values that are not finite.
    """
    values = np.asarray(values, dtype=float)
    values = values.reshape(len(values), -1)
    group, names = pd.factorize(np.asarray(groups))
    cluster = np.arange(len(values)) if clusters is None else pd.factorize(np.asarray(clusters))[0]
    if not len(values) == len(group) == len(cluster):
        raise InputError("Every value needs its group and its cluster.")
    if len(names) < 2:
        raise InputError("Two groups or more can be unequal; there are fewer.")
    if not np.isfinite(values).all():
        raise InputError("The values of groups must be finite to be compared.")
    unit = pd.factorize(pd.MultiIndex.from_arrays([group, cluster]))[0]
    count = unit.max() + 1
    sizes = np.bincount(unit).astype(float)
    sums = np.stack([np.bincount(unit, column) for column in (values - values.mean(0)).T], axis=1)
    of = np.zeros((len(names), count))
    of[group[np.unique(unit, return_index=True)[1]], np.arange(count)] = 1

    def spread(order) -> np.ndarray:
        return ((of @ sums[order]) ** 2 / (of @ sizes[order])[:, None]).sum(0)

    rng = np.random.default_rng(seed)
    start = spread(slice(None))
    # Equal up to rounding counts as equal: where nothing varies, every draw is.
    least = start - 1e-9 * np.maximum(start, 1e-12)
    above = sum((spread(rng.permutation(count)) >= least).astype(int) for _ in range(draws))
    return (1 + above) / (1 + draws)
