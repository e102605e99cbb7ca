"""Does a classifier of toxic posts serve the communities that the posts mention equally well?

The bias AUCs of Borkan et al. 2019, as Mathew et al. 2021 (HateXplain) and Proskurina et al. 2023
use them. An AUC is the chance that a toxic post scores above a post that is not; a bias AUC takes
the two posts from chosen groups, and so says which of the mistakes a community bears:

- `subgroup`: both mention the community: are its own posts told apart?
- `bpsn`: the harmless post mentions it, the toxic one does not. Low: its harmless posts are
  flagged, and those who speak of themselves are silenced.
- `bnsp`: the toxic post mentions it, the harmless one does not. Low: attacks on it are let through.
- `background`: neither mentions it.

The order of scores is all that an AUC sees; what a moderator does is cut at a threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics import holm
from ethical_compression.statistics.auc import auc, auc_difference, checked, interval

METRICS = ("subgroup", "bpsn", "bnsp", "background")
# What stands in the column `community` for a number over all posts.
ALL = "all posts"
# Which posts a community is set against: all others (Fair-Pruning), or those others that mention a
# listed community (HateXplain).
BACKGROUNDS = ("all", "listed")
SELECTIONS = ("definition", "released")
# With fewer posts of a kind than this an AUC is shown, with a note, and no conclusion leans on it.
LEAST = 10


def membership(posts: Sequence, communities: Sequence[str] | None = None, *, most: int = 10):
    """Which post mentions which community: a DataFrame of booleans, (posts, communities).

    posts: records with `id` and `communities`; the index is their `id`. communities: the columns;
    by default the `most` frequent in these posts, most frequent first. (A set fixed beforehand,
    such as HateXplain's ten, keeps tables of several splits comparable.)
    Raises InputError where two posts share an id.
    """
    index = pd.Index([post.id for post in posts], name="id")
    if index.has_duplicates:
        raise InputError(f"Post {index[index.duplicated()][0]!r} is there twice; keep one of it.")
    if communities is None:
        mentioned = pd.Series([name for post in posts for name in set(post.communities)])
        count = mentioned.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        communities = count.index[:most].tolist()
    rows = [[name in post.communities for name in communities] for post in posts]
    return pd.DataFrame(rows, index=index, columns=list(communities), dtype=bool)


def bias_aucs(
    scores,
    toxic,
    members: pd.DataFrame,
    *,
    background: str = "all",
    selection: str = "definition",
    least: int = LEAST,
    level: float = 0.95,
) -> pd.DataFrame:
    """The bias AUCs of every community, a row for each community and metric.

    `scores`, `toxic`: (n,), as for `auc`; `members`: (n, communities) of booleans, aligned with
    them (`membership`). Columns: `community`, `metric` (one of `METRICS`; the last row is the AUC
    over all posts, `overall`), then the fields of `Auc`. `note` is empty where the number can be
    leaned on; it names a class that is absent, and one with fewer than `least` posts.

    background: "all" sets a community against all posts that do not mention it, as Fair-Pruning
    does; "listed" leaves out the posts that mention no community of `members`, as HateXplain does.
    selection: "definition" (Borkan et al. 2019), or "released": the group selection of
    Fair-Pruning's code for three classes, which compares the label with `non-toxic`, a name that no
    three-class label has. Every post then counts as toxic when groups are chosen (not when the AUC
    is taken): `bnsp` becomes `subgroup`, and `bpsn` becomes `background`.
    """
    scores, toxic = checked(scores, toxic)
    if members.shape[0] != len(scores):
        raise InputError(
            f"There are {len(scores)} scores and {members.shape[0]} posts; give one score a post."
        )
    for name, value, known in (
        ("background", background, BACKGROUNDS),
        ("selection", selection, SELECTIONS),
    ):
        if value not in known:
            raise InputError(f"Unknown {name} {value!r}; choose one of {', '.join(known)}.")
    table = members.to_numpy(dtype=bool)
    listed = table.any(axis=1) if background == "listed" else np.ones(len(scores), dtype=bool)
    chosen_as_toxic = toxic if selection == "definition" else np.ones_like(toxic)
    rows = []
    for community, inside in zip(members.columns, table.T, strict=True):
        for metric, chosen in groups(inside, listed & ~inside, chosen_as_toxic).items():
            found = auc(scores[chosen], toxic[chosen], level=level)
            rows.append({"community": community, "metric": metric} | asdict(found))
    found = auc(scores[listed], toxic[listed], level=level)
    rows.append({"community": ALL, "metric": "overall"} | asdict(found))
    frame = pd.DataFrame(rows)
    for kind, name in (("positives", "toxic"), ("negatives", "non-toxic")):
        few = frame[kind].between(2, least - 1)
        said = "only " + frame[kind].astype(str) + f" {name} posts"
        frame.loc[few, "note"] = said + frame["note"].where(
            frame["note"] == "", "; " + frame["note"]
        )
    return frame


def groups(inside: np.ndarray, outside: np.ndarray, toxic: np.ndarray) -> dict[str, np.ndarray]:
    """Which posts each of `METRICS` is taken over: booleans (n,), as the arguments are.

    inside: posts that mention the community; outside: those that it is set against.
    """
    return {
        "subgroup": inside,
        "bpsn": (inside & ~toxic) | (outside & toxic),
        "bnsp": (inside & toxic) | (outside & ~toxic),
        "background": outside,
    }


def by_run(
    predictions: pd.DataFrame,
    members: pd.DataFrame,
    run: Sequence[str],
    *,
    score: str = "toxic_score",
    toxic: str = "toxic",
    **options,
) -> pd.DataFrame:
    """`bias_aucs` of each run, stacked, with the columns `run` in front.

    predictions: one row per run and post, with `id` and the columns that `score` and `toxic` name;
    members: indexed by post id; options: those of `bias_aucs`. Raises InputError for a missing
    column, a post that `members` lacks, and a run that scored a post twice or left one out that
    another run scored (runs on different posts cannot be compared).
    """
    if missing := [c for c in [*run, "id", score, toxic] if c not in predictions.columns]:
        raise InputError(f"The predictions lack the column(s) {', '.join(missing)}.")
    ids = predictions["id"].unique()
    if len(unknown := pd.Index(ids).difference(members.index)):
        raise InputError(
            f"{len(unknown)} posts, such as {unknown[0]!r}, are not in the membership table."
        )
    frames = []
    for names, part in predictions.groupby(list(run), sort=False, dropna=False):
        if part["id"].duplicated().any() or len(part) != len(ids):
            raise InputError(
                f"The run {dict(zip(run, names, strict=True))} did not score each of the "
                f"{len(ids)} posts exactly once."
            )
        found = bias_aucs(part[score], part[toxic], members.loc[part["id"]], **options)
        for place, (column, value) in enumerate(zip(run, names, strict=True)):
            found.insert(place, column, value)
        frames.append(found)
    return pd.concat(frames, ignore_index=True)


def over_seeds(
    table: pd.DataFrame, by: Sequence[str], *, seed: str = "seed", level: float = 0.95
) -> pd.DataFrame:
    """Mean bias AUC over seeds: a row per `by`, community and metric.

    `table`: from `by_run`. Columns: `seeds`, `positives`, `negatives`, `auc`, `sd` (between seeds),
    `ci_low`, `ci_high`, `note`. The interval answers for new posts and new seeds: its variance is
    the seeds' mean DeLong variance, which does not shrink with more seeds as they share their
    posts, plus the variance between seeds ÷ their number. It is made as that of `auc`; its degrees
    of freedom are Satterthwaite's of these two parts. With one seed only the posts count, and the
    note says so. Rows that lack a standard error for a seed have no interval here.
    """
    rows = []
    for names, part in table.groupby([*by, "community", "metric"], sort=False, dropna=False):
        seeds, first = part[seed].nunique(), part.iloc[0]
        between = float(part["auc"].std(ddof=1)) if seeds > 1 else math.nan
        of_posts = float((part["se"] ** 2).mean(skipna=False))
        of_seeds = between**2 / seeds if seeds > 1 else 0.0
        mean = float(part["auc"].mean(skipna=False))
        low = high = math.nan
        if of_posts > 0:
            fewest = min(first["positives"], first["negatives"])
            parts = of_posts**2 / (fewest - 1) + of_seeds**2 / max(seeds - 1, 1)
            df = (of_posts + of_seeds) ** 2 / parts
            se = math.sqrt(of_posts + of_seeds)
            counts = first["positives"], first["negatives"]
            low, high = interval(mean, se, df, *counts, more=of_seeds, level=level)
        # One seed's lack (say, perfect separation) is the whole row's.
        notes = [note for note in part["note"] if note]
        if not notes and seeds == 1:
            notes = ["one seed: the interval is that of the posts alone"]
        rows.append(
            dict(zip([*by, "community", "metric"], names, strict=True))
            | {"seeds": seeds, "positives": first["positives"], "negatives": first["negatives"]}
            | {"auc": mean, "sd": between, "ci_low": low, "ci_high": high}
            | {"note": notes[0] if notes else ""}
        )
    return pd.DataFrame(rows)


def changes_on_posts(
    predictions: pd.DataFrame,
    members: pd.DataFrame,
    before: str,
    after: str,
    *,
    least: int = LEAST,
) -> pd.DataFrame:
    """DeLong's test of every community's own posts: a row a community, the first over all posts.

    predictions: as for `by_run`, with `compression`, of which `before` and `after` are compared by
    the mean score of their seeds; members: as there. Columns: `community`, `posts`, the fields of
    `AucDifference`, `p_holm` over the rows. Left out are communities with fewer than `least` posts
    of a kind. These tests speak of new posts, and of these runs.
    """
    averaged = predictions.groupby(["compression", "id"], sort=False)["toxic_score"].mean()
    toxic = predictions.drop_duplicates("id").set_index("id")["toxic"]
    rows = []
    for community, inside in members.assign(**{ALL: True})[[ALL, *members]].items():
        some = toxic.loc[inside.index[inside]]
        if min(some.sum(), (~some).sum()) < least:
            continue
        scores = (averaged[name].loc[some.index] for name in (before, after))
        found = auc_difference(*scores, some)
        rows.append({"community": community, "posts": len(some)} | asdict(found))
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def by_selection(defined: pd.DataFrame, released: pd.DataFrame, compression: str) -> pd.DataFrame:
    """Bias AUCs of one compression under both selections of groups, means over seeds.

    defined, released: from `by_run`, with `compression`, of the same runs (`bias_aucs` has both
    selections). A row a community, a column a metric and one with the ending `_released`.
    """
    tables = []
    for found, ending in ((defined, ""), (released, "_released")):
        rows = found[(found["compression"] == compression) & (found["community"] != ALL)]
        means = over_seeds(rows, []).pivot(index="community", columns="metric", values="auc")
        tables.append(means.add_suffix(ending).loc[rows["community"].unique()])
    return pd.concat(tables, axis=1).reset_index()


def generalised_mean(values, p: float = -5) -> float:
    """(mean of valueᵖ)^(1/p), p < 0, of values ≥ 0: with p = −5 the lowest weigh most.

    Borkan et al. 2019, eq. 5. It is 0 if any value is. Raises InputError for no values, values that
    are negative or missing, and p ≥ 0.
    """
    from scipy.stats import pmean

    values = np.asarray(values, dtype=float)
    if not values.size or not (np.isfinite(values) & (values >= 0)).all():
        raise InputError("A generalised mean needs at least one value, and none below zero.")
    if p >= 0:
        raise InputError(f"The power of this generalised mean must be below zero, not {p}.")
    return float(pmean(values, p)) if values.all() else 0.0


def aggregate(
    table: pd.DataFrame,
    by: Sequence[str] = (),
    *,
    p: float = -5,
    least: int = LEAST,
    shared: bool = True,
) -> pd.DataFrame:
    """Generalised mean over communities: a row per `by` and metric.

    `table`: from `bias_aucs`, `by_run` or `over_seeds`. A metric of a community can be leaned on
    where it has an AUC from at least `least` posts of either kind. shared: one set of communities
    for all metrics of the table, those for which every metric can be leaned on, so that the means
    may be held against each other; False: each metric's own set, which is larger where a metric's
    posts are more, as those of BNSP are. Columns: `communities` (how many count), `auc`, `lowest`
    (the community with the lowest AUC, or None), `note` (those left out).
    """
    table = table[table["community"] != ALL]
    counts = table["auc"].notna() & (table[["positives", "negatives"]].min(axis=1) >= least)
    if shared:
        cells = [table[name] for name in (*by, "community")]
        counts = counts.groupby(cells, dropna=False).transform("all")
    table = table.assign(counts=counts)
    rows = []
    for names, part in table.groupby([*by, "metric"], sort=False, dropna=False):
        used, left = part[part["counts"]], part.loc[~part["counts"], "community"].unique()
        rows.append(
            dict(zip([*by, "metric"], names, strict=True))
            | {"communities": len(used)}
            | {"auc": generalised_mean(used["auc"], p) if len(used) else math.nan}
            | {"lowest": used.loc[used["auc"].idxmin(), "community"] if len(used) else None}
            | {"note": f"without {', '.join(left)}: too few posts" if len(left) else ""}
        )
    return pd.DataFrame(rows)
