"""Does a classifier of toxic posts serve the communities that the posts mention equally well?

The bias AUCs of Borkan et al. 2019, as Mathew et al. 2021 (HateXplain) and Proskurina et al. 2023
use them. An AUC is the chance that a toxic post scores above a post that is not; a bias AUC takes
the two posts from chosen groups, and so says which of the mistakes a community bears:

- `subgroup`: both mention the community: are its own posts told apart?
- `bpsn`: the harmless post mentions it, the toxic one does not. Low: its harmless posts are
  flagged, and those who speak of themselves are silenced.
- `bnsp`: the toxic post mentions it, the harmless one does not. Low: attacks on it are let through.
- `background`: neither mentions it.

The order of scores is all that an AUC sees. What a moderator does is cut at a threshold: for that,
see `error_rates`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.words import interval

METRICS = ("subgroup", "bpsn", "bnsp", "background")
# What stands in the column `community` for a number over all posts.
ALL = "all posts"
# Which posts a community is set against: all others (Fair-Pruning), or those others that mention a
# listed community (HateXplain).
BACKGROUNDS = ("all", "listed")
SELECTIONS = ("definition", "released")
# With fewer posts of a kind than this an AUC is shown, with a note, and no conclusion leans on it.
LEAST = 10
# With fewer posts of a kind than this DeLong's interval is joined by Newcombe's (`auc`).
FEW = 30


@dataclass(frozen=True)
class Auc:
    """`se` is DeLong's. It and the interval are NaN, with a `note` why, where there is none."""

    positives: int
    negatives: int
    auc: float
    se: float
    ci_low: float
    ci_high: float
    note: str = ""


@dataclass(frozen=True)
class AucDifference:
    """Second model minus first, on the same posts."""

    auc_before: float
    auc_after: float
    difference: float
    ci_low: float
    ci_high: float
    t: float
    df: float
    p: float


def auc(scores, toxic, *, level: float = 0.95) -> Auc:
    """Area under the ROC curve, ties counted half, with its interval for new posts.

    `scores`: (n,) finite; `toxic`: (n,) booleans. The variance is that of DeLong et al. 1988, found
    by midranks (Sun & Xu 2014). The interval is symmetric on the logit scale, so it cannot leave
    [0, 1], with Student's quantile at Satterthwaite's degrees of freedom: a handful of posts of a
    kind estimates its part of the variance badly. Where there are fewer than `FEW` of a kind that
    estimate is too small whenever the AUC comes out high, and the interval is the hull of this one
    and Newcombe's (2006, method 5), whose variance depends on the AUC and the counts alone.

    Without a toxic post, or without another, there is no AUC; with one of a kind, or where all
    scores are the same, no interval; with perfect separation it is Newcombe's: `note` says so.
    Raises InputError for unequal lengths and scores that are not finite.
    """
    scores, toxic = _checked(scores, toxic)
    positives, negatives = int(toxic.sum()), int((~toxic).sum())
    nothing = {"se": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    if not positives or not negatives:
        note = "no post" if not len(scores) else f"no {'non-' if positives else ''}toxic post"
        return Auc(positives, negatives, math.nan, **nothing, note=note)
    values, toxic_part, other_part = _components(scores[None], toxic)
    value = float(values[0])
    if min(positives, negatives) < 2:
        note = f"a single {'non-' if positives > 1 else ''}toxic post: no interval"
        return Auc(positives, negatives, value, **nothing, note=note)
    if value in (0, 1):
        low, high = _newcombe(value, positives, negatives, level=level)
        note = "no overlap of scores: the interval is Newcombe's"
        return Auc(positives, negatives, value, math.nan, low, high, note=note)
    se, df = _error(toxic_part[0], other_part[0])
    if not se:
        return Auc(positives, negatives, value, **nothing, note="all scores tied: no interval")
    low, high = _interval(value, se, df, positives, negatives, level=level)
    return Auc(positives, negatives, value, se, low, high)


def auc_difference(before, after, toxic, *, level: float = 0.95) -> AucDifference:
    """DeLong's test that two models rank the same posts equally well, with the change's interval.

    `before`, `after`: (n,) scores of one model and of the other, aligned by post; `toxic`: (n,)
    booleans. Student's quantiles with Satterthwaite's degrees of freedom (`df`), as in `auc`.
    Raises InputError as `auc`, and for fewer than two posts of either kind.
    Where the two AUCs differ by the same amount whichever posts are drawn, p is 1 (no difference)
    or 0 and the interval has no width.
    """
    from scipy import stats

    before, toxic = _checked(before, toxic)
    after, _ = _checked(after, toxic)
    if min(toxic.sum(), (~toxic).sum()) < 2:
        raise InputError("DeLong's test needs at least two toxic posts and two that are not.")
    values, toxic_part, other_part = _components(np.stack([before, after]), toxic)
    difference = float(values[1] - values[0])
    se, df = _error(toxic_part[1] - toxic_part[0], other_part[1] - other_part[0])
    # Equal up to rounding: the quotient below would be rounding error over rounding error.
    if se <= 1e-12:
        se, df = 0.0, math.nan
    t = difference / se if se else math.copysign(math.inf, difference) if difference else 0.0
    half = float(stats.t.ppf((1 + level) / 2, df)) * se if se else 0.0
    return AucDifference(
        *map(float, values),
        difference=difference,
        ci_low=difference - half,
        ci_high=difference + half,
        t=t,
        df=df,
        p=float(2 * stats.t.sf(abs(t), df)) if se else float(not difference),
    )


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
    scores, toxic = _checked(scores, toxic)
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
        outside = listed & ~inside
        groups = {
            "subgroup": inside,
            "bpsn": (inside & ~chosen_as_toxic) | (outside & chosen_as_toxic),
            "bnsp": (inside & chosen_as_toxic) | (outside & ~chosen_as_toxic),
            "background": outside,
        }
        for metric in METRICS:
            chosen = groups[metric]
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
            low, high = _interval(mean, se, df, *counts, more=of_seeds, level=level)
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


def lowest_sentence(table: pd.DataFrame, names: Mapping[str, str], *, least: int = LEAST) -> str:
    """The lowest bias AUC of a model in words, and whether its order is reversed.

    table: from `over_seeds`, of one model; names: the titles of the metrics that count. Rows with
    fewer than `least` posts of a kind are left out.
    """
    enough = table[["positives", "negatives"]].min(axis=1) >= least
    rows = table[enough & table["auc"].notna() & table["metric"].isin(list(names))]
    if rows.empty:
        return f"No community has {least} posts of either kind, so no bias AUC can be leaned on."
    row = rows.loc[rows["auc"].idxmin()]
    text = (
        f"The lowest bias AUC of the full model is the {names[row['metric']]} AUC of "
        f"{row['community']}, {interval(row['auc'], row['ci_low'], row['ci_high'], sign=False)}."
    )
    if row["ci_high"] < 0.5:
        return (
            f"{text} Below one half the order is reversed: of the two posts, the harmless one more "
            "often gets the higher score. Compression did not make that bias, and a test of what "
            "compression changes will not show it."
        )
    if row["auc"] < 0.5:
        return (
            f"{text} Whether it lies below one half, where the harmless post more often gets the "
            "higher score, is not settled."
        )
    return text


def generalised_mean(values, p: float = -5) -> float:
    """(mean of valueᵖ)^(1/p), p < 0, of values ≥ 0: with p = −5 the lowest weigh most.

    Borkan et al. 2019, eq. 5. It is 0 if any value is. Raises InputError for no values, values that
    are negative or missing, and p ≥ 0.
    """
    values = np.asarray(values, dtype=float)
    if not values.size or not (np.isfinite(values) & (values >= 0)).all():
        raise InputError("A generalised mean needs at least one value, and none below zero.")
    if p >= 0:
        raise InputError(f"The power of this generalised mean must be below zero, not {p}.")
    return float(np.mean(values**p) ** (1 / p)) if values.all() else 0.0


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


def error_rates(
    scores, toxic, members: pd.DataFrame, *, threshold: float = 0.5, least: int = LEAST
) -> pd.DataFrame:
    """Who is flagged wrongly, and whose attackers are let through, at one threshold for all.

    A post is flagged where its score ≥ `threshold`. A row per community, the last over all posts:
    `community`, `positives`, `negatives`, `fpr` (flagged posts among harmless ones), `fnr` (posts
    not flagged among toxic ones), each with Wilson's 95% interval (`_low`, `_high`), `note` as in
    `bias_aucs`. Arguments as there. A rate without posts is NaN, and the note says so.
    """
    from statsmodels.stats.proportion import proportion_confint

    scores, toxic = _checked(scores, toxic)
    if members.shape[0] != len(scores):
        raise InputError(
            f"There are {len(scores)} scores and {members.shape[0]} posts; give one score a post."
        )
    wrong = (scores >= threshold) != toxic
    everyone = members.assign(**{ALL: True})
    rows = []
    for community, inside in everyone.items():
        row, notes = {"community": community}, []
        for kind, rate, group, name in (
            ("positives", "fnr", toxic, "toxic"),
            ("negatives", "fpr", ~toxic, "non-toxic"),
        ):
            chosen = group & inside.to_numpy(dtype=bool)
            count, errors = int(chosen.sum()), int((wrong & chosen).sum())
            low = high = math.nan
            if count:
                low, high = proportion_confint(errors, count, method="wilson")
            row[kind] = count
            row |= {rate: errors / count if count else math.nan}
            row |= {f"{rate}_low": float(low), f"{rate}_high": float(high)}
            if count < least:
                notes.append(f"only {count} {name} posts" if count else f"no {name} post")
        rows.append(row | {"note": "; ".join(notes)})
    order = ["community", "positives", "negatives", "fpr", "fpr_low", "fpr_high"]
    return pd.DataFrame(rows)[[*order, "fnr", "fnr_low", "fnr_high", "note"]]


def _checked(scores, toxic) -> tuple[np.ndarray, np.ndarray]:
    scores, toxic = np.asarray(scores, dtype=float), np.asarray(toxic)
    if scores.ndim != 1 or scores.shape != toxic.shape:
        raise InputError("An AUC needs one score and one label per post: two equally long lists.")
    if not np.isfinite(scores).all():
        raise InputError("Some scores are missing or infinite; every post needs a finite score.")
    if not np.isin(toxic, [0, 1]).all():
        raise InputError("Labels must say toxic (1) or not (0); bring classes to that form first.")
    return scores, toxic.astype(bool)


def _components(scores: np.ndarray, toxic: np.ndarray):
    """AUCs (models,) and DeLong's structural components (models, positives), (models, negatives).

    `scores`: (models, n). A toxic post's component is the share of other posts that it outscores:
    its midrank among all minus that among the toxic, over the number of the others.
    """
    from scipy.stats import rankdata

    positives, negatives = toxic.sum(), (~toxic).sum()
    ranks = rankdata(scores, axis=1)
    toxic_part = (ranks[:, toxic] - rankdata(scores[:, toxic], axis=1)) / negatives
    other_part = 1 - (ranks[:, ~toxic] - rankdata(scores[:, ~toxic], axis=1)) / positives
    return toxic_part.mean(axis=1), toxic_part, other_part


def _error(toxic_part: np.ndarray, other_part: np.ndarray) -> tuple[float, float]:
    """DeLong's standard error from components (positives,), (negatives,), and Satterthwaite's df.

    The components may be differences of two models'. df is NaN where nothing varies.
    """
    parts = [(part.var(ddof=1) / len(part), len(part) - 1) for part in (toxic_part, other_part)]
    variance = sum(one for one, _ in parts)
    df = variance**2 / sum(one**2 / df for one, df in parts) if variance else math.nan
    return math.sqrt(variance), df


def _interval(
    value: float, se: float, df: float, positives: int, negatives: int, *, more=0.0, level: float
) -> tuple[float, float]:
    """The interval of an AUC strictly between 0 and 1, as `auc` describes it.

    more: a variance that `se` holds beside that of the posts.
    """
    from scipy import special, stats

    half = stats.t.ppf((1 + level) / 2, df) * se / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    if min(positives, negatives) < FEW:
        other = _newcombe(value, positives, negatives, more=more, level=level)
        low, high = min(low, other[0]), max(high, other[1])
    return float(low), float(high)


def _newcombe(
    value: float, positives: int, negatives: int, *, more: float = 0.0, level: float
) -> tuple[float, float]:
    """Newcombe's (2006) score interval of an AUC, method 5: the AUCs that `value` does not reject.

    The variance of an estimate where the truth is x is Hanley & McNeil's (1982) with the mean of
    the two counts in place of each; `more` is added to it.
    """
    from scipy import optimize, stats

    z, half = stats.norm.ppf((1 + level) / 2), (positives + negatives) / 2 - 1

    def beyond(x: float) -> float:
        variance = x * (1 - x) * (1 + half * ((1 - x) / (2 - x) + x / (1 + x)))
        return abs(value - x) - z * math.sqrt(variance / (positives * negatives) + more)

    inside = min(max(value, 1e-12), 1 - 1e-12)  # at 0 and 1 the variance vanishes
    low = optimize.brentq(beyond, 0, inside) if beyond(0) > 0 else 0.0
    high = optimize.brentq(beyond, inside, 1) if beyond(1) > 0 else 1.0
    return low, high
