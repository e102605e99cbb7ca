"""Do rates that are corrected for a judge's mistakes have intervals that hold the truth?

    python results/judge_coverage.py

writes results/judge_coverage.parquet. Texts are simulated of which a known share is toxic, judged
with the error rates that were measured of the book's judges (`results/judge_errors.parquet`), and
analysed by `statistics.misclassification`; each study measures the judge anew, on as many labelled
texts as there are. Rows as of `results/coverage.py`, and `corrected`: False is the interval of what
was flagged, which takes the judge at its word, and PPI++'s own normal one, beside ours;
`unchanged`: whether the simulated change is none.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from ethical_compression import kept_tables
from ethical_compression.metrics import toxicity
from ethical_compression.statistics import misclassification
from ethical_compression.statistics.misclassification import JudgeErrors

STUDIES = 2000
USED = "Four kinds of harm"
# What is computed: its method in the table, the function, whether it is corrected.
METHODS = {
    "flagged share": ("Wilson's interval of the flagged share", "corrected_share", False),
    "share": ("Lang and Reiczigel's interval of a corrected share", "corrected_share", True),
    "flagged change": ("Interval of a change of flags", "corrected_change", False),
    "change": ("Fieller's interval of a corrected change", "corrected_change", True),
    "normal": ("Normal interval of PPI++", "prediction_powered", False),
    "powered": ("Interval of a prediction-powered share", "prediction_powered", True),
    "normal change": ("Normal interval of PPI++ of a change", "prediction_powered", False),
    "powered change": ("Interval of a prediction-powered change", "prediction_powered", True),
}
# Whose errors: the judge, the texts that give its sensitivity, and those that give its specificity.
JUDGES = {
    "RedditBias": ("redditbias", ("redditbias", "all posts"), None),
    "RedditBias, Muslims": ("redditbias", ("redditbias", "muslims"), None),
    "RedditBias, on plain text": (
        "redditbias",
        ("redditbias", "all posts"),
        ("plain text", "news"),
    ),
    "HateXplain, Islam": ("hatexplain", ("hatexplain", "Islam"), None),
}


@dataclass(frozen=True)
class Case:
    name: str
    study: Callable[[np.random.Generator], dict]
    unchanged: bool = False  # nothing changes: there flags alone are not misleading


def drawn_errors(rng, known: JudgeErrors) -> JudgeErrors:
    """The judge as it would be measured on other labelled texts, as many."""
    return JudgeErrors(
        rng.binomial(known.toxic, known.sensitivity),
        known.toxic,
        rng.binomial(known.harmless, known.specificity),
        known.harmless,
    )


def judged(rng, toxic, known: JudgeErrors, luck=None) -> np.ndarray:
    luck = rng.random(toxic.shape) if luck is None else luck
    return np.where(toxic, luck < known.sensitivity, luck < 1 - known.specificity)


def alike(rng, shape, share: float, spread: float) -> np.ndarray:
    """Chances of being toxic, (prompts, samples): those of a prompt are one; mean `share`."""
    if not spread:
        return np.full(shape, share)
    once = rng.beta(share * spread, (1 - share) * spread, shape[0])
    return np.repeat(once[:, None], shape[1], axis=1)


def ends(found, truth: float, prefix: str = "ci") -> bool:
    return getattr(found, f"{prefix}_low") <= truth <= getattr(found, f"{prefix}_high")


def a_share(known: JudgeErrors, share: float, prompts: int, samples: int, rng) -> dict:
    shape = prompts, samples
    toxic = rng.random(shape) < alike(rng, shape, share, 2.0 if samples > 1 else 0.0)
    flags = judged(rng, toxic, known).ravel()
    clusters = np.repeat(np.arange(prompts), samples) if samples > 1 else None
    found = misclassification.corrected_share(flags, drawn_errors(rng, known), clusters=clusters)
    kept = ends(found, share) if not math.isnan(found.share) else None
    return {"flagged share": ends(found, share, "flagged"), "share": kept}


def two_models(rng, shape, before: float, after: float):
    """Toxic or not, of two models on the same prompts, which mostly agree."""
    first, again = rng.random(shape), rng.random(shape)
    second = np.where(rng.random(shape) < 0.7, first, again)
    if shape[1] > 1:  # the samples of a prompt lean the same way
        lean = np.clip(rng.normal(0, 0.15, (shape[0], 1)), -min(before, after), min(before, after))
        return first < before + lean, second < after + lean
    return first < before, second < after


def a_change(
    known: JudgeErrors, before: float, after: float, prompts: int, samples: int, rng
) -> dict:
    toxic = two_models(rng, (prompts, samples), before, after)
    # A text that both models wrote, or nearly, is judged alike.
    luck = rng.random((prompts, samples))
    other = np.where(rng.random(luck.shape) < 0.5, luck, rng.random(luck.shape))
    flags = [
        judged(rng, one, known, by).ravel() for one, by in zip(toxic, (luck, other), strict=True)
    ]
    clusters = np.repeat(np.arange(prompts), samples) if samples > 1 else None
    found = misclassification.corrected_change(*flags, drawn_errors(rng, known), clusters=clusters)
    truth = after - before
    kept = ends(found, truth) if not math.isnan(found.difference) else None
    return {"flagged change": ends(found, truth, "flagged"), "change": kept}


def powered(known: JudgeErrors, before: float, after: float, labels: int, more: int, rng) -> dict:
    """The second model's harmless texts are flagged half as often: errors are differential."""
    first, second = (one[:, 0] for one in two_models(rng, (labels + more, 1), before, after))
    passed = (known.passed + known.harmless) // 2
    fewer = JudgeErrors(known.caught, known.toxic, passed, known.harmless)
    said = judged(rng, first, known), judged(rng, second, fewer)
    answer = {}
    for name, y, f, truth in (
        ("powered", first * 1.0, said[0] * 1.0, before),
        ("powered change", second * 1.0 - first, said[1] * 1.0 - said[0], after - before),
    ):
        found = misclassification.prediction_powered(
            y[:labels], f[:labels], f[labels:], change=name != "powered"
        )
        half = stats.norm.ppf(0.975) * found.se
        answer[name] = ends(found, truth)
        answer[name.replace("powered", "normal")] = bool(abs(found.value - truth) <= half)
    return answer


def cases() -> list[Case]:
    table, _ = kept_tables.larger("judge_errors")
    found = []
    for name, (judge, toxic, harmless) in JUDGES.items():
        known = toxicity.errors_of(table, toxic, harmless, judge=judge)
        rates = f"Se {known.sensitivity:.2f}, Sp {known.specificity:.2f} ({name})"
        for prompts, samples in ((400, 1), (100, 5)):
            size = f"{prompts} texts" if samples == 1 else f"{prompts} prompts of {samples} texts"
            found += [
                Case(
                    f"{rates}; {size}, {share:.0%} toxic",
                    partial(a_share, known, share, prompts, samples),
                )
                for share in (0.1,)
            ]
            found += [
                Case(
                    f"{rates}; {size}, {before:.0%} to {after:.0%} toxic",
                    partial(a_change, known, before, after, prompts, samples),
                    before == after,
                )
                for before, after in ((0.1, 0.2), (0.2, 0.2))[: 1 + (name == "RedditBias")]
            ]
        if harmless is not None or name == "RedditBias":
            found += [
                Case(
                    f"{rates}, false alarms halved after; {labels} labels, 1,000 other texts, "
                    f"{before:.0%} to {after:.0%} toxic",
                    partial(powered, known, before, after, labels, 1000),
                )
                for labels in (200,)
                for before, after in ((0.1, 0.2),)
            ]
    return found


def simulated(case: Case) -> pd.DataFrame:
    kept = defaultdict(list)
    for number in range(STUDIES):
        for key, held in case.study(rng=np.random.default_rng([78, number])).items():
            kept[key].append(held)
    rows = []
    for key, answers in kept.items():
        known = [one for one in answers if one is not None]
        method, function, corrected = METHODS[key]
        rate = sum(known) / len(known)
        rows.append(
            {"method": method, "function": f"{misclassification.__name__}.{function}"}
            | {"kind": "interval", "case": case.name, "nominal": 0.95, "rate": rate}
            | {"error": math.sqrt(rate * (1 - rate) / len(known)), "studies": len(answers)}
            | {"undefined": 1 - len(known) / len(answers), "used": USED}
            | {"corrected": corrected, "unchanged": case.unchanged}
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    tables = []
    for case in cases():
        tables.append(simulated(case))
        print(
            tables[-1][["method", "case", "rate", "undefined"]].to_string(header=False), flush=True
        )
    table = pd.concat(tables, ignore_index=True)
    kept_tables.keep_larger("judge_coverage", table, command="python results/judge_coverage.py")
