"""Which action is likelier, in tables: shares, their changes, what length and place do to them.

Verdicts are rows of `score.moral.judged`: a model, compression, language, norm and story with
`moral`, `immoral` (the measure of either action), `margin` and `prefers_moral`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression import statistics
from ethical_compression.metrics import confidence
from ethical_compression.words import with_interval

ACTIONS = ("moral", "immoral")


def shares(verdicts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Share of stories whose moral action is preferred, a row a group of `by`.

    Columns: `by`, `n`, `nll_moral`, `nll_immoral` (minus the mean of the measure), `share` with
    Wilson's `ci_low` and `ci_high`, and `p`, exact, against one half.
    """
    rows = []
    for key, side in verdicts.groupby(list(by), sort=False):
        nll = {f"nll_{action}": -side[action].mean() for action in ACTIONS}
        row = dict(zip(by, key, strict=True)) | nll
        rows.append(row | vars(statistics.share(side["prefers_moral"])))
    return pd.DataFrame(rows)


def changes(
    verdicts: pd.DataFrame, compressions: Sequence[str], names: Mapping[str, str]
) -> pd.DataFrame:
    """What the norm, the second language and each compression change, on the same stories.

    verdicts: of the full model with and without the norm, of `compressions` with it. names: of the
    languages. Columns: `label`, those of `statistics.mcnemar`, `d_z` of the margins, and `p_holm`
    over the table.
    """
    full = verdicts[verdicts["compression"] == "full"]
    languages = list(dict.fromkeys(verdicts["language"]))
    plan = [
        (f"norm given,\n{names[one]}", full[full["language"] == one], "norm", False, True)
        for one in languages
    ]
    if len(languages) > 1:
        sides = "language", *languages[:2]
        plan.append((_minus(languages, names, "\n"), full[full["norm"]], *sides))
    for compression in compressions:
        for one in languages:
            spoken = verdicts[verdicts["norm"] & (verdicts["language"] == one)]
            label = f"{compression},\n{names[one]}"
            plan.append((label, spoken, "compression", "full", compression))
    rows = []
    for label, table, *sides in plan:
        counts = vars(statistics.paired_answers(table, *sides, value="prefers_moral"))
        margins = statistics.paired_test(*statistics.paired_sides(table, *sides, value="margin"))
        rows.append({"label": label} | counts | {"d_z": margins.d_z})
    found = pd.DataFrame(rows)
    return found.assign(p_holm=statistics.holm(found["p"]))


def _minus(languages: Sequence[str], names: Mapping[str, str], gap: str) -> str:
    return f"{names[languages[1]]} minus{gap}{names[languages[0]]}"


def longer_actions(verdicts: pd.DataFrame) -> statistics.Share:
    """How often the moral action has more tokens, of the stories where the numbers differ."""
    differ = verdicts[verdicts["moral_tokens"] != verdicts["immoral_tokens"]]
    return statistics.share(differ["moral_tokens"] > differ["immoral_tokens"])


def by_length(by_measure: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Whether the shorter action is preferred, a row a measure and language.

    by_measure: {measure: verdicts of the same stories in the same order}, "mean" among them.
    Columns: `measure`, `language`, `share` with `ci_low`, `ci_high`; `shorter` with `shorter_low`,
    `shorter_high`, of the stories whose actions differ in tokens; `unlike_mean`, the share of
    verdicts that the mean turns round.
    """
    rows = []
    for measure, table in by_measure.items():
        for language, side in table.groupby("language", sort=False):
            apart = side[side["moral_tokens"] != side["immoral_tokens"]]
            shorter = apart["moral_tokens"] < apart["immoral_tokens"]
            found = statistics.share(side["prefers_moral"])
            short = statistics.share(apart["prefers_moral"] == shorter)
            mean = by_measure["mean"].loc[side.index, "prefers_moral"]
            rows.append(
                {"measure": measure, "language": language, "share": found.share}
                | {"ci_low": found.ci_low, "ci_high": found.ci_high, "shorter": short.share}
                | {"shorter_low": short.ci_low, "shorter_high": short.ci_high}
                | {"unlike_mean": (side["prefers_moral"] != mean).mean()}
            )
    return pd.DataFrame(rows)


def places(asked: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """What place does to answers, a row a group of `by`; the story is the unit of the intervals.

    asked: rows of `score.declarative.by_story`. Columns: `by`, `n`, and three shares, each with
    `_low` and `_high`: `first`, answers that are option 1; `moral`, answers that are the moral
    action, over both orders; `cancelled`, stories whose moral action has the larger mean
    log-likelihood over both orders (NaN where nothing was scored).
    """
    rows = []
    for key, side in asked.groupby(list(by), sort=False):
        row = dict(zip(by, key, strict=True)) | {"n": len(side)}
        columns = {"first": side["first"], "moral": side["moral"]}
        columns["cancelled"] = side["prefers_moral"].dropna()
        for name, values in columns.items():
            found = statistics.share(values.astype(float)) if len(values) else None
            ends = (found.share, found.ci_low, found.ci_high) if found else (np.nan,) * 3
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def four_averages(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The mean NLL a token, which Leteno et al. 2025 report as PPL, and three perplexities.

    verdicts: by the mean. Columns: `language`, `action`, `mean_nll`, `exp_mean`, its exponential,
    `mean_ppl`, the mean over stories of their perplexity, and `corpus_ppl`, over all tokens.
    """
    rows = []
    for language, side in verdicts.groupby("language", sort=False):
        for action in ACTIONS:
            nll = -side[action]
            tokens = -side[f"{action}_logprob"].sum() / side[f"{action}_tokens"].sum()
            rows.append(
                {"language": language, "action": action, "mean_nll": nll.mean()}
                | {"exp_mean": np.exp(nll.mean()), "mean_ppl": np.exp(nll).mean()}
                | {"corpus_ppl": np.exp(tokens)}
            )
    return pd.DataFrame(rows)


def tokenisations(by_way: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The same stories under several tokenisations, the first being the reference.

    by_way: {name: verdicts, in the same order}. Columns: `way`, `nll_moral`, `nll_immoral`,
    `share`; `longer` with `ci_low`, `ci_high`, the share of stories whose longer action is
    preferred; `changed`, the share of verdicts unlike the reference's.
    """
    reference = next(iter(by_way.values()))
    rows = []
    for way, table in by_way.items():
        differ = table["moral_tokens"] != table["immoral_tokens"]
        longer = (table["moral_tokens"] > table["immoral_tokens"])[differ]
        found = statistics.share(table["prefers_moral"][differ] == longer)
        rows.append(
            {"way": way}
            | {f"nll_{action}": -table[action].mean() for action in ACTIONS}
            | {"share": statistics.share(table["prefers_moral"]).share, "longer": found.share}
            | {"ci_low": found.ci_low, "ci_high": found.ci_high}
            | {"changed": (table["prefers_moral"] != reference["prefers_moral"]).mean()}
        )
    return pd.DataFrame(rows)


def costs(
    windows: pd.DataFrame, asked: pd.DataFrame, base: str, margin: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What training cost elsewhere: (a row a model, a row a comparison with `base`).

    windows, asked: tables of `score_text` and `score_items`, with `compression`. The first has
    `compression`, `perplexity`, `accuracy`, and of all but `base` `change` (of the negative
    log-likelihood a token, in words) and `p` (McNemar). The second has the paired test of that
    change over windows, `p_within` of equivalence within ±margin, and both after Holm.
    """
    nll = {
        label: (-one["logprob"] / one["tokens"]).to_numpy()
        for label, one in windows.groupby("compression", sort=False)
    }
    right = confidence.per_item(asked)
    rows, changes = [], []
    for label, one in windows.groupby("compression", sort=False):
        row = {
            "compression": label,
            "perplexity": np.exp(-one["logprob"].sum() / one["tokens"].sum()),
            "accuracy": right.loc[right["compression"] == label, "correct"].mean(),
        }
        if label != base:
            change = vars(statistics.paired_test(nll[base], nll[label]))
            within = statistics.tost(nll[base], nll[label], margin).p
            changes.append({"compression": label} | change | {"p_within": within})
            sides = statistics.align(right, label, full=base, value="correct")
            row |= {"change": with_interval(change), "p": statistics.mcnemar(*sides).p}
        rows.append(row)
    found = pd.DataFrame(changes)
    for name in ("p", "p_within"):
        found[f"{name}_holm"] = statistics.holm(found[name])
    return pd.DataFrame(rows), found
