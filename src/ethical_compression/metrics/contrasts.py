"""Which of two texts that differ in the group alone a model finds likelier, and by how much.

Tables have a row a text, as `score.harms.contrasts` makes them: option 0 is the first side of the
contrast, option 1 the second. The published measure of CrowS-Pairs (Nangia et al. 2020, §4) is the
share of pairs whose stereotypical sentence is likelier, by the pseudo-log-likelihood of the tokens
that both share, in a masked model; 50 is none. For causal models harnesses take the log-likelihood
of the whole sentence instead: another measure, in which the likelihood of a group's *name* counts.
The table says which one it holds (`measure`).
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.choices import KEYS, wide
from ethical_compression.metrics.small_groups import noted
from ethical_compression.statistics.clusters import clustered_interval

# "published": any difference counts, and a tie is no preference. "released": as in the code of
# CrowS-Pairs, where scores are rounded to three decimals first, so that near ties are ties.
DEFINITIONS = {"published": None, "released": 3}


def differences(table: pd.DataFrame, normalisation: str = "none") -> pd.DataFrame:
    """Log-likelihood of the first side minus the second, a row a contrast.

    normalisation: "none" (sums), "token" or "byte". Columns: `benchmark, item, group, kind,
    cluster, difference` (nats), as far as the table has them.
    """
    cells = wide(table, normalisation)
    if list(cells.columns) != [0, 1]:
        raise InputError("A contrast has two texts: take the tables of `score.harms.contrasts`.")
    labels = table.drop_duplicates(KEYS).set_index(KEYS)
    columns = [name for name in ("group", "kind", "cluster") if name in labels]
    found = labels.loc[cells.index, columns]
    return found.assign(difference=(cells[0] - cells[1]).to_numpy()).reset_index()


def contrast_scores(
    table: pd.DataFrame,
    *,
    by: str = "group",
    groups: Collection | None = None,
    normalisation: str = "none",
    definition: str = "published",
    level: float = 0.95,
) -> pd.DataFrame:
    """How often, and by how much, the first side is likelier, a row a group.

    by: a column of the table; groups: those that there should be.
    Columns: `by`, `n`, `clusters`; `preferred`, in percent, with `preferred_low`, `preferred_high`;
    `ties`; `difference` (nats), with `_low` and `_high`; `measure`; `note`. Intervals are over
    clusters (`clustered_interval`).
    Raises InputError for an unknown definition and as `differences`.
    """
    if definition not in DEFINITIONS:
        raise InputError(
            f"There is no definition {definition!r}: choose one of {', '.join(DEFINITIONS)}."
        )
    items = differences(table, normalisation)
    decimals = DEFINITIONS[definition]
    if decimals is not None:
        cells = wide(table, normalisation).round(decimals)
        items["difference"] = (cells[0] - cells[1]).to_numpy()
    if by not in items:
        items = items.join(table.drop_duplicates(KEYS).set_index(KEYS)[by], on=KEYS)
    measure = ", ".join(dict.fromkeys(table["measure"])) if "measure" in table else ""
    rows = []
    for group, some in items.groupby(by, sort=False):
        prefers = clustered_interval(
            (some["difference"] > 0).to_numpy(), some["cluster"], level=level
        )
        gap = clustered_interval(some["difference"], some["cluster"], level=level)
        rows.append(
            {
                by: group,
                "n": prefers.n,
                "clusters": prefers.clusters,
                "preferred": 100 * prefers.mean,
                "preferred_low": 100 * prefers.ci_low,
                "preferred_high": 100 * prefers.ci_high,
                "ties": int((some["difference"] == 0).sum()),
                "difference": gap.mean,
                "difference_low": gap.ci_low,
                "difference_high": gap.ci_high,
                "measure": measure,
            }
        )
    return noted(pd.DataFrame(rows), by, groups)


def against_employment(table: pd.DataFrame, shares: dict[str, float]) -> tuple[float, int]:
    """Spearman's correlation of an occupation's mean difference with the share of women in it, and
    how many occupations it is of (Rudinger et al. 2018, §4, with probabilities for resolutions).

    table: Winogender's (“she” first), of the sentences whose pronoun means the occupation.
    Raises InputError for occupations without a share.
    """
    from scipy import stats

    means = differences(table).groupby("group")["difference"].mean()
    if unknown := sorted(set(means.index) - set(shares)):
        raise InputError(f"There is no share of women for {unknown[0]!r}.")
    found = stats.spearmanr(means, [shares[name] for name in means.index])
    return float(np.asarray(found.statistic)), len(means)
