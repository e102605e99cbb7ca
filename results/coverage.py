"""Do the intervals hold the truth, and the tests their level, as often as they say?

    python results/coverage.py            all lines, then coverage.parquet
    python results/coverage.py 0/2        one shard of two: its lines are kept, nothing is written

For every interval and test that the chapters use, studies are simulated at the chapters' smallest
and usual sizes, with the spread and the skew that such data have, and analysed by the chapters' own
functions. Rows: `method`, `function` (of the package), `kind` ("interval" or "test"), `used`
(where), `case` (what was simulated), `nominal`, `rate` (of intervals that hold the truth; of tests
that reject what is true), `error` (one standard error of it), `studies`, and `undefined` (the share
of studies without an answer, which are left out of the rate). A line that is done is kept under the
code of the functions that it tests.
"""

import gc
import inspect
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from ethical_compression import kept_tables, provenance, statistics, store
from ethical_compression.metrics import (
    bias_auc,
    confidence,
    generated_text,
    published_harms,
    reliability,
)
from ethical_compression.statistics import auc, dose_response, uniformity

STUDIES = 2000
VERSION = 1  # of the simulations themselves: raise it where what they draw has changed
# What a study's answers are called in the table, whether they are intervals or tests, and of what.
METHODS = {
    "t": ("Student's interval of a paired change", "interval", statistics.paired_test),
    "t test": ("Paired t-test", "test", statistics.paired_test),
    "signed rank": ("Wilcoxon's signed-rank test", "test", statistics.paired_test),
    "d_z": ("Noncentral interval of d_z", "interval", statistics.paired_test),
    "TOST": ("Equivalence (TOST) at the edge of the margin", "test", statistics.tost),
    "McNemar": ("McNemar's exact test", "test", statistics.mcnemar),
    "accuracy": (
        "Bonett and Price's interval of a change of accuracy",
        "interval",
        statistics.mcnemar,
    ),
    "share": ("Wilson's interval of a share", "interval", statistics.share),
    "half": ("Exact test that a share is one half", "test", statistics.share),
    "each": (
        "Welch's interval of a group against the others",
        "interval",
        statistics.each_against_others,
    ),
    "naive slope": ("White's interval of a slope, one look", "interval", statistics.change_slope),
    "slope": (
        "Anderson and Rubin's interval of a slope, two looks",
        "interval",
        statistics.change_slope,
    ),
    "Holm": ("Holm's correction: any false claim", "test", statistics.holm),
    "BH": (
        "Benjamini and Hochberg's screen: any false find, where nothing is there",
        "test",
        statistics.benjamini_hochberg,
    ),
    "Welch": ("Welch's interval of an excess shift", "interval", uniformity.shift_table),
    "paired": ("Paired interval of an excess shift", "interval", uniformity.shift_table),
    "alike": ("Interaction of community and compression", "test", uniformity.interaction),
    "shared": ("Interval of what two runs of a seed share", "interval", uniformity.shared),
    "AUC": ("Interval of an AUC", "interval", auc.auc),
    "AUC change": ("DeLong's interval of a change of AUC", "interval", auc.auc_difference),
    "AUC test": ("DeLong's test", "test", auc.auc_difference),
    "over seeds": ("Interval of a mean AUC over seeds", "interval", bias_auc.over_seeds),
    "squared": (
        "Interval of a change of squared calibration error",
        "interval",
        reliability.squared_error,
    ),
    "gap": ("Student's interval of confidence − share right", "interval", statistics.mean_interval),
    "along": ("Interval of a median divergence", "interval", generated_text.along_text),
    "dose slope": ("Interval of a dose–response slope", "interval", dose_response.fit),
    "dose test": ("Test of a dose–response slope", "test", dose_response.fit),
    "ED50": ("Interval of ED50", "interval", dose_response.fit),
    "runs": ("Interval over stories and runs", "interval", dose_response.against_base),
    "rank": (
        "Jackknife interval of Spearman's correlation over clusters",
        "interval",
        published_harms.rank_within,
    ),
}


@dataclass(frozen=True)
class Line:
    """`study()(rng)` simulates one or many: {key of METHODS: held or rejected, None if neither}."""

    name: str
    used: str
    case: str
    study: Callable[[], Callable[[np.random.Generator], dict]]
    studies: int = STUDIES


def holds(low: float, high: float, truth: float) -> bool | None:
    return None if math.isnan(low) or math.isnan(high) else bool(low <= truth <= high)


# --- Paired comparisons ---------------------------------------------------------------------------


def changes_of_items(rng, n: int) -> np.ndarray:
    """Some items hardly move, the others either way, more often down: mean 0.

    The changes of the right answer's probability in the chapters have a skew within ±0.5 and an
    excess kurtosis of −0.2 to 8.6; these −0.7 and 6.8.
    """
    moved, down = rng.random(n) < 0.6, rng.random(n) < 0.6
    size = rng.exponential(1, n) * np.where(down, -0.12, 0.09) + 0.036
    return 0.02 * rng.normal(size=n) + moved * size


def changes_of_windows(rng, n: int) -> np.ndarray:
    """Log ratios of perplexities of windows: skewed a little."""
    return 0.05 * (rng.gamma(6, size=n) - 6) / math.sqrt(6)


def changes_of_runs(rng, n: int) -> np.ndarray:
    return 0.01 * rng.normal(size=n)


SKEW = {changes_of_items: "heavy tails", changes_of_windows: "a little skewed",
        changes_of_runs: "normal"}  # fmt: skip


def spread_of(draw) -> float:
    return float(draw(np.random.default_rng(1), 1_000_000).std())


def paired(draw, n: int):
    spread = spread_of(draw)
    effect = 0.2 * spread  # about the largest of the chapters

    def study(rng) -> dict:
        change = draw(rng, n)
        found = statistics.paired_test(np.zeros(n), change + effect)
        held = holds(found.ci_low, found.ci_high, effect)
        # A margin that n items can show: four standard errors.
        margin = 4 * spread / math.sqrt(n)
        return {
            "t": held,
            "t test": not held,  # of the true effect, which is the same thing
            "d_z": holds(found.d_z_low, found.d_z_high, effect / spread),
            "signed rank": stats.wilcoxon(change * rng.choice([-1, 1], n)).pvalue < 0.05,
            "TOST": statistics.tost(np.zeros(n), change + margin, margin).equivalent,
        }

    return study


def accuracies(n: int, lost: float, gained: float):
    def study(rng) -> dict:
        kind = rng.choice(4, p=[0.5, lost, gained, 0.5 - lost - gained], size=n)
        found = statistics.mcnemar(kind <= 1, (kind == 0) | (kind == 2))
        null = rng.random(n) < lost + gained
        up = null & (rng.random(n) < 0.5)
        return {
            "accuracy": holds(found.ci_low, found.ci_high, gained - lost),
            "McNemar": statistics.mcnemar(null & ~up, up).p < 0.05,
        }

    return study


def shares(n: int, p: float):
    def study(rng) -> dict:
        found = statistics.share(rng.random(n) < p)
        half = statistics.share(rng.random(n) < 0.5)
        return {"share": holds(found.ci_low, found.ci_high, p), "half": half.p < 0.05}

    return study


def against_others(group: int, n: int):
    names = np.where(np.arange(n) < group, "one", "others")

    def study(rng) -> dict:
        table = statistics.each_against_others(rng.gamma(2, size=n), names)
        return {"each": holds(*table.loc[0, ["ci_low", "ci_high"]], 0.0)}

    return study


def looks(n: int, shared: float):
    def study(rng) -> dict:
        stable = rng.normal(size=n)
        spread = 0.5 * np.exp(0.3 * stable)  # noise that is not the same everywhere
        before, again = (shared * stable + spread * rng.normal(size=n) for _ in "ab")
        after = 0.7 * shared * stable + spread * rng.normal(size=n)
        found = statistics.change_slope(before, after, again)
        line = rng.normal(size=n)
        one = statistics.change_slope(line, 0.7 * line + spread * rng.normal(size=n))
        return {
            "slope": holds(found.ci_low, found.ci_high, -0.3),
            "naive slope": holds(one.ci_low, one.ci_high, -0.3),
        }

    return study


def many(tests: int, n: int):
    """Nothing is there; the tests share half of their variance."""

    def study(rng) -> dict:
        values = math.sqrt(0.5) * (rng.normal(size=(n, 1)) + rng.normal(size=(n, tests)))
        p = stats.ttest_1samp(values, 0).pvalue
        return {
            "Holm": (statistics.holm(p) < 0.05).any(),
            "BH": (statistics.benjamini_hochberg(p) < 0.05).any(),
        }

    return study


# --- Runs and communities -------------------------------------------------------------------------


def gap_table(**sides: np.ndarray) -> pd.DataFrame:
    frames = []
    for name, gap in sides.items():
        seed, community = np.indices(gap.shape).reshape(2, -1)
        table = pd.DataFrame({"compression": name, "seed": seed, "community": community})
        frames.append(table.assign(value=gap.ravel(), reference=0.0, gap=gap.ravel(), note=""))
    return pd.concat(frames, ignore_index=True)


SPREADS = {
    "alike": lambda k: np.eye(k),
    "up to 4 times apart": lambda k: np.diag(np.geomspace(1, 4, k)),
    "negatively correlated": lambda k: np.eye(k) - 0.9 / k,
    "correlated": lambda k: (
        np.linalg.cholesky(0.9 ** np.abs(np.subtract.outer(np.arange(k), np.arange(k)))).T
    ),
}


def excesses(seeds: int, ratio: float, kept: float = 0.3, studies: int = 2000):
    """Single communities, many studies at once; a seed's two runs share `kept` of the variance."""

    def study(rng) -> dict:
        own = math.sqrt(kept) * rng.normal(size=(seeds, studies))
        full, half, apart = (
            own + math.sqrt(1 - kept) * rng.normal(size=(seeds, studies)),
            own + math.sqrt(1 - kept) * rng.normal(size=(seeds, studies)),
            rng.normal(size=(seeds, studies)),
        )
        answer = {}
        for design, other in (("independent", apart), ("paired", half)):
            found = uniformity.shift_table(gap_table(full=full, half=ratio * other), design=design)
            key = "Welch" if design == "independent" else design
            answer[key] = (found["ci_low"] <= 0) & (found["ci_high"] >= 0)
        return answer

    return study


def shifts(seeds: int, communities: int, spread: str, ratio: float = 1.0, kept: float = 0.3):
    """Gaps of runs; a seed's two runs share `kept` of the variance where the spreads are equal."""
    root = SPREADS[spread](communities)

    def study(rng) -> dict:
        own = math.sqrt(kept) * rng.normal(size=(seeds, communities))
        full, half = (
            (own + math.sqrt(1 - kept) * rng.normal(size=(seeds, communities))) @ root for _ in "ab"
        )
        table = gap_table(full=full, half=ratio * half)
        answer = {"alike": uniformity.interaction(table, "half").p < 0.05}
        if ratio == 1:
            part = uniformity.shared(table, "half")
            answer["shared"] = holds(part.ci_low, part.ci_high, kept)
        return answer

    return study


def aucs(positives: int, negatives: int, area: float, wide: float = 1.0):
    """Normal scores, those of harmless posts `wide` times as spread as those of toxic ones."""
    toxic = np.arange(positives + negatives) < positives
    scale = np.where(toxic, 1.0, wide)
    distance = stats.norm.ppf(area) * math.sqrt(1 + wide**2)
    worse = float(stats.norm.cdf(0.8 * distance / math.sqrt(1 + wide**2)))

    def study(rng) -> dict:
        one, other, again = (
            scale * (math.sqrt(0.7) * shared + math.sqrt(0.3) * rng.normal(size=len(toxic)))
            for shared in [rng.normal(size=len(toxic))] * 3
        )
        found = auc.auc(one + distance * toxic, toxic)
        fell = auc.auc_difference(one + distance * toxic, other + 0.8 * distance * toxic, toxic)
        null = auc.auc_difference(one + distance * toxic, again + distance * toxic, toxic)
        return {
            "AUC": holds(found.ci_low, found.ci_high, area),
            "AUC change": holds(fell.ci_low, fell.ci_high, worse - area),
            "AUC test": null.p < 0.05,
        }

    return study


def mean_aucs(positives: int, negatives: int, area: float, seeds: int):
    """Runs whose separation differs by 15%, on the same posts."""
    toxic, distance = np.arange(positives + negatives) < positives, stats.norm.ppf(area) * 2**0.5
    every = distance * (1 + 0.15 * np.random.default_rng(1).normal(size=1_000_000))
    truth = float(stats.norm.cdf(every / 2**0.5).mean())

    def study(rng) -> dict:
        shared, rows = math.sqrt(0.8) * rng.normal(size=len(toxic)), []
        for seed in range(seeds):
            score = distance * (1 + 0.15 * rng.normal()) * toxic + shared
            found = auc.auc(score + math.sqrt(0.2) * rng.normal(size=len(toxic)), toxic)
            rows.append({"community": "c", "metric": "subgroup", "seed": seed} | vars(found))
        row = bias_auc.over_seeds(pd.DataFrame(rows), []).iloc[0]
        return {"over seeds": holds(row["ci_low"], row["ci_high"], truth)}

    return study


# --- Confidence -----------------------------------------------------------------------------------


def answers(rng, n: int, before: float, after: float):
    """Two models' records of n questions, a third of the second's confidences and luck its own."""
    first, luck = rng.beta(4, 2, n) * 0.75 + 0.25, rng.random(n)
    second = np.where(rng.random(n) < 0.3, rng.beta(4, 2, n) * 0.75 + 0.25, first)
    second_luck = np.where(rng.random(n) < 0.3, rng.random(n), luck)
    keys = {"benchmark": np.arange(n) // 250, "item": np.arange(n)}
    sides = ((first, luck, before), (second, second_luck, after))
    return [
        pd.DataFrame(keys | {"confidence": c, "correct": (u < np.clip(c - over, 0.02, 1)) * 1.0})
        for c, u, over in sides
    ]


def calibration(n: int, before: float, after: float):
    draw = np.random.default_rng(1)
    c = draw.beta(4, 2, 400_000) * 0.75 + 0.25
    part = confidence.equal_count_bins(c, 5)
    width = np.searchsorted(np.linspace(0, 1, 16)[1:-1], c, side="right")

    def truths(over: float) -> tuple[float, float, float]:
        miss = np.clip(c - over, 0.02, 1) - c
        squared = (np.bincount(part, miss) ** 2 / np.bincount(part)).sum() / len(c)
        return squared, -miss.mean(), np.abs(np.bincount(width, miss)).sum() / len(c)

    change = truths(after)[0] - truths(before)[0]

    def study(rng) -> dict:
        first, second = answers(rng, n, before, after)
        found = reliability.squared_error(second, first)
        _, low, high = statistics.mean_interval(second["confidence"] - second["correct"])
        return {
            "squared": holds(found.ci_low, found.ci_high, change),
            "gap": holds(low, high, truths(after)[1]),
        }

    return study


def divergences(n: int):
    truth = float(stats.gamma(1.5, scale=0.1).median())

    def study(rng) -> dict:
        kl = rng.gamma(1.5, 0.1, n)
        table = pd.DataFrame(
            {"model": "m", "compression": "c", "prompt": np.arange(n), "position": 0, "kl": kl}
        )
        row = generated_text.along_text(table).iloc[0]
        return {"along": holds(row["low"], row["high"], truth)}

    return study


# --- Stories and runs -----------------------------------------------------------------------------


def doses(stories: int, sizes: dict[int, int], slope: float, between: float):
    """Shares of stories that turn: runs differ by `between` on the logit scale, stories by 1.5.

    The truth of a line over stories and runs is that of very many of both.
    """

    def draw(rng, count: int, sizes: dict[int, int]) -> pd.DataFrame:
        own, rows = 1.5 * rng.normal(size=count), []
        for pairs, runs in sizes.items():
            for seed in range(runs):
                line = -1 + slope * math.log1p(pairs) + own + between * rng.normal() * (pairs > 0)
                turned = rng.random(count) < 1 / (1 + np.exp(-line))
                rows.append(pd.DataFrame({"story": np.arange(count), "pairs": pairs, "seed": seed,
                                          "turned": turned * 1}))  # fmt: skip
        return pd.concat(rows, ignore_index=True)

    true = dose_response.fit(
        draw(np.random.default_rng(1), 4000, {size: 40 * runs for size, runs in sizes.items()})
    )
    # Of no slope the truth is known, and the doses at which half has turned are none.
    truth = true.slope if slope else 0.0

    def study(rng) -> dict:
        found = dose_response.fit(draw(rng, stories, sizes))
        if not slope:
            return {"dose test": found.p < 0.05}
        return {
            "dose slope": holds(found.slope_low, found.slope_high, truth),
            "ED50": holds(found.ed50_low, found.ed50_high, true.ed50),
        }

    return study


def stories_and_runs(stories: int, runs: int):
    def study(rng) -> dict:
        own, of_runs = 0.3 * rng.normal(size=stories), 0.05 * rng.normal(size=runs)
        rows = []
        for seed in range(-1, runs):
            trained = seed >= 0
            margin = (own + of_runs[seed] + 0.1 * rng.normal(size=stories)) * trained
            rows.append(pd.DataFrame({"language": "en", "story": np.arange(stories), "seed": seed,
                                      "direction": "moral" if trained else "none",
                                      "margin": margin, "prefers_moral": margin > 0}))  # fmt: skip
        row = dose_response.against_base(pd.concat(rows), ["direction", "language"]).iloc[0]
        return {"runs": holds(row["ci_low"], row["ci_high"], 0.0)}

    return study


def clusters(methods: int, levels: int):
    """Two scores of compressed models that share a method's own and a level's own part."""

    def draw(rng, bases: int, methods: int) -> pd.DataFrame:
        where = np.indices((bases, methods, levels)).reshape(3, -1)
        part = rng.normal(size=(2, bases, methods, 1)) + rng.normal(
            size=(2, bases, methods, levels)
        )
        x, y = part[0].ravel(), (0.6 * part[0] + 0.8 * part[1]).ravel()
        columns = dict(zip(("base_model", "method", "level"), where, strict=True))
        return pd.DataFrame(columns | {"x": x, "y": y})

    # Of normal scores, Spearman's correlation by Pearson's.
    truth = 6 / math.pi * math.asin(0.6 / 2)

    def study(rng) -> dict:
        found = published_harms.rank_within(draw(rng, 2, methods), "x", "y")
        return {"rank": holds(found["ci_low"], found["ci_high"], truth)}

    return study


ITEMS, WINDOWS, RUNS = changes_of_items, changes_of_windows, changes_of_runs
CONFIDENCE = "Confidence, Calibration, Change of confidence"
LINES = [
    *(
        Line(
            f"paired {draw.__name__} {n}",
            used,
            f"{n} {what}, {SKEW[draw]}",
            partial(paired, draw, n),
            1000,
        )
        for draw, n, what, used in (
            (WINDOWS, 6, "windows", "Compression"),
            (WINDOWS, 12, "windows", "Confidence, Change of confidence"),
            (RUNS, 6, "seeds", "Pruning, Attention"),
            (ITEMS, 44, "stories", "Moral likelihood, Moral compression"),
            (ITEMS, 250, "questions", CONFIDENCE),
            (ITEMS, 750, "questions", CONFIDENCE),
        )
    ),
    Line(
        "accuracies 44",
        "Moral likelihood, DPO",
        "44 stories, 10% change",
        partial(accuracies, 44, 0.07, 0.03),
    ),
    Line(
        "accuracies 250",
        CONFIDENCE,
        "250 questions, 16% change",
        partial(accuracies, 250, 0.1, 0.06),
    ),
    Line("shares 44", "Moral likelihood, DPO", "44 stories, share 0.95", partial(shares, 44, 0.95)),
    Line(
        "shares 140", "Moral likelihood, DPO", "140 stories, share 0.6", partial(shares, 140, 0.6)
    ),
    Line(
        "others 8", "Generation", "8 texts against 40, skewed", partial(against_others, 8, 48), 1000
    ),
    Line(
        "others 40",
        "Generation",
        "40 texts against 160, skewed",
        partial(against_others, 40, 200),
        1000,
    ),
    Line(
        "looks 250",
        "Change of confidence",
        "250 questions, agreement 0.8",
        partial(looks, 250, 1.0),
    ),
    Line(
        "looks weak",
        "Change of confidence",
        "250 questions, agreement 0.15",
        partial(looks, 250, 0.22),
    ),
    Line("many 15", "every chapter", "15 tests of 6 seeds, correlated", partial(many, 15, 6)),
    Line("many 54", "every chapter", "54 tests of 250 items, correlated", partial(many, 54, 250)),
    *(
        Line(
            f"shifts {seeds} {spread}",
            "Uniform or not?",
            f"{seeds} seeds, {count} communities, spreads {spread}",
            partial(shifts, seeds, count, spread),
            1000,
        )
        for seeds, count in ((6, 6), (3, 6))
        for spread in (SPREADS if seeds == 6 else ("correlated",))
    ),
    *(
        Line(
            f"excesses {seeds} {ratio}",
            "Uniform or not?",
            f"{seeds} seeds, spread of the compressed runs {ratio} times that of the full ones",
            partial(excesses, seeds, ratio),
            1,
        )
        for seeds, ratio in ((3, 1), (6, 1), (6, 3))
    ),
    Line(
        "shifts unequal",
        "Uniform or not?",
        "6 seeds, compressed runs 3 times as spread",
        partial(shifts, 6, 6, "alike", 3.0),
        1000,
    ),
    Line(
        "shifts ten",
        "Uniform or not?",
        "6 seeds, 10 communities, spreads up to 4 times apart",
        partial(shifts, 6, 10, "up to 4 times apart"),
        1000,
    ),
    Line(
        "aucs 13",
        "Uniform or not?",
        "100 toxic, 13 harmless posts, AUC 0.95",
        partial(aucs, 100, 13, 0.95),
    ),
    Line(
        "aucs 13 wide",
        "Uniform or not?",
        "100 toxic, 13 harmless posts twice as spread, AUC 0.95",
        partial(aucs, 100, 13, 0.95, 2.0),
    ),
    Line(
        "aucs 20",
        "Uniform or not?",
        "30 toxic, 20 harmless posts, AUC 0.7",
        partial(aucs, 30, 20, 0.7),
    ),
    Line(
        "aucs 80",
        "Uniform or not?",
        "80 posts of each kind, AUC 0.85",
        partial(aucs, 80, 80, 0.85),
    ),
    Line(
        "seeds 13",
        "Uniform or not?, Pruning",
        "3 seeds, 100 toxic, 13 harmless posts, AUC 0.95",
        partial(mean_aucs, 100, 13, 0.95, 3),
        1000,
    ),
    Line(
        "seeds 20",
        "Uniform or not?, Pruning",
        "6 seeds, 30 toxic, 20 harmless posts, AUC 0.7",
        partial(mean_aucs, 30, 20, 0.7, 6),
        1000,
    ),
    Line(
        "seeds 80",
        "Uniform or not?, Pruning",
        "6 seeds, 80 posts of each kind, AUC 0.85",
        partial(mean_aucs, 80, 80, 0.85, 6),
        1000,
    ),
    *(
        Line(
            f"calibration {n} {a} {b}",
            CONFIDENCE,
            f"{n} questions, overconfidence {a} → {b}",
            partial(calibration, n, a, b),
            600,
        )
        for n in (250, 750)
        for a, b in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1))
    ),
    Line("along 16", "Generation", "16 texts, skewed", partial(divergences, 16), 1000),
    Line("along 60", "Generation", "60 texts, skewed", partial(divergences, 60), 1000),
    *(
        Line(
            f"doses {slope} {between}",
            "DPO",
            f"44 stories, 15 runs that differ by {between} (logit), slope {slope}",
            partial(doses, 44, sizes, slope, between),
            600,
        )
        for sizes in ({0: 1, 2: 2, 4: 2, 8: 2, 16: 2, 32: 2, 64: 1, 102: 1},)
        for slope, between in ((0.0, 0.0), (0.0, 0.5), (0.7, 0.0), (0.7, 0.5))
    ),
    Line("runs 2", "DPO", "44 stories, 2 runs", partial(stories_and_runs, 44, 2), 1000),
    Line("runs 5", "DPO", "140 stories, 5 runs", partial(stories_and_runs, 140, 5), 1000),
    Line(
        "clusters 7",
        "Bias scores",
        "14 methods of 3 levels, ρ = 0.58",
        partial(clusters, 7, 3),
        1000,
    ),
]


def simulate(line: Line, study: Callable) -> pd.DataFrame:
    gc.freeze()  # statsmodels' correction collects garbage each time, which is slow in a full heap
    found = defaultdict(list)
    for k in range(line.studies):
        for key, answers in study(np.random.default_rng([77, k])).items():
            found[key] += np.atleast_1d(np.array(answers, dtype=object)).tolist()
    rows = []
    for key, answers in found.items():
        known = [one for one in answers if one is not None]
        method, kind, function = METHODS[key]
        rate = sum(known) / len(known) if known else math.nan
        rows.append(
            {"method": method, "function": f"{function.__module__}.{function.__name__}"}
            | {"kind": kind, "case": line.case}
            | {"nominal": 0.95 if kind == "interval" else 0.05, "rate": rate}
            | {"error": math.sqrt(rate * (1 - rate) / max(len(known), 1))}
            | {"studies": len(answers), "undefined": 1 - len(known) / len(answers)}
        )
    return pd.DataFrame(rows)


def kept(line: Line) -> pd.DataFrame:
    """`simulate`, or what is stored of it under the code of the functions that it tests."""
    study = line.study()
    tested = {METHODS[key][2] for key in study(np.random.default_rng(0))}
    inputs = {"line": line.name, "case": line.case, "studies": line.studies, "version": VERSION}
    inputs["code"] = {one.__qualname__: inspect.getsource(one) for one in tested}
    inputs["science"] = {one.__module__: provenance.code_version(one.__module__) for one in tested}

    def compute():
        return simulate(line, study)

    # Not a notebook's: other scientific code than the inputs name has no part in it.
    compute.__module__ = statistics.__name__
    return store.table("coverage", inputs, compute).assign(used=line.used)


if __name__ == "__main__":
    part, parts = map(int, sys.argv[1].split("/")) if len(sys.argv) > 1 else (0, 1)
    tables = []
    for line in LINES[part::parts]:
        tables.append(kept(line))
        print(tables[-1][["method", "case", "rate", "error"]].to_string(header=False), flush=True)
    if parts == 1:
        table = pd.concat(tables, ignore_index=True)
        kept_tables.keep_larger("coverage", table, command="python results/coverage.py")
