"""Do intervals of a change of calibration error hold the truth as often as they say?

Two models answer the same simulated questions. Confidence is drawn from 0.25 to 1; an answer is
right with the probability that confidence says, less a model's overconfidence. Compared are ways to
say how far apart two models' calibration errors are, with a 95% interval, over `STUDIES` studies of
each kind (those that resample: over the first `RESAMPLED`). The truth of each measure is that of
400,000 questions, in the same bins.

    python results/calibration_intervals.py

writes results/calibration_intervals.parquet, whose rows are measure × case × n: `coverage` with its
simulation `error` (one standard error), `bias` and `half_width`.
"""

import numpy as np
import pandas as pd

from ethical_compression import kept_tables
from ethical_compression.metrics.confidence import calibration_error, equal_count_bins
from ethical_compression.metrics.reliability import squared_error
from ethical_compression.statistics import mean_interval

STUDIES, RESAMPLED, RESAMPLES, LEVEL = 1500, 300, 100, 0.95
# Overconfidence of the two models; whether the second has confidences of its own.
CASES = {
    "0.10 → 0": (0.10, 0.0, False),
    "0.05 → 0": (0.05, 0.0, False),
    "0.30 → 0": (0.30, 0.0, False),
    "equal, 0.02, other confidences": (0.02, 0.02, True),
    "equal, 0, other confidences": (0.0, 0.0, True),
    "equal, 0.10, other confidences": (0.10, 0.10, True),
    "equal, 0.30, other confidences": (0.30, 0.30, True),
    "0.10 → 0, other confidences": (0.10, 0.0, True),
}
BINS = 5


def confidences(rng, n: int) -> np.ndarray:
    return rng.beta(4, 2, n) * 0.75 + 0.25


def right(confidence, luck, over: float) -> np.ndarray:
    return (luck < np.clip(confidence - over, 0.02, 1)).astype(float)


def study(rng, n: int, before: float, after: float, other: bool):
    """Both models' records of n questions, in benchmarks of 250; they share most of their luck."""
    first, luck = confidences(rng, n), rng.random(n)
    second, second_luck = first, luck
    if other:
        redrawn = rng.random(n) < 0.3
        second = np.where(redrawn, confidences(rng, n), first)
        second_luck = np.where(rng.random(n) < 0.3, rng.random(n), luck)
    keys = {"benchmark": np.arange(n) // 250, "item": np.arange(n)}
    return (
        pd.DataFrame(keys | {"confidence": first, "correct": right(first, luck, before)}),
        pd.DataFrame(keys | {"confidence": second, "correct": right(second, second_luck, after)}),
    )


def truth(over: float) -> dict[str, float]:
    confidence = confidences(np.random.default_rng(9), 400_000)
    miss = np.clip(confidence - over, 0.02, 1) - confidence
    width = np.searchsorted(np.linspace(0, 1, 16)[1:-1], confidence, side="right")
    count = equal_count_bins(confidence, BINS)
    return {
        "ece": np.abs(np.bincount(width, miss)).sum() / len(miss),
        "squared": (np.bincount(count, miss) ** 2 / np.bincount(count)).sum() / len(miss),
        "gap": -miss.mean(),
    }


def resampled(before: pd.DataFrame, after: pd.DataFrame, rng):
    """(measure, estimate, low, high) of the change of an ECE, for each kind of interval."""
    from scipy import stats

    c = [table["confidence"].to_numpy() for table in (before, after)]
    y = [table["correct"].to_numpy() for table in (before, after)]
    n = len(before)
    # An ECE in bins of equal width is the sum over bins of |Σ (right − confidence)| ÷ n.
    bins = [np.floor((one + 1e-7) * 15).astype(int).clip(max=14) for one in c]
    misses = [np.eye(15)[bins[k]] * (y[k] - c[k])[:, None] for k in (0, 1)]

    def change(weights) -> np.ndarray:
        errors = [np.abs(weights @ miss).sum(axis=1) for miss in misses]
        return (errors[1] - errors[0]) / weights.sum(axis=1)

    value = change(np.ones((1, n)))[0]
    assert np.isclose(value, calibration_error(c[1], y[1]) - calibration_error(c[0], y[0]))
    drawn = change(rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float))
    tails = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.quantile(drawn, tails)
    yield "ECE, percentile bootstrap", value, low, high
    yield "ECE, basic bootstrap", value, 2 * value - high, 2 * value - low
    shift = stats.norm.ppf(np.clip((drawn < value).mean(), 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    low, high = np.quantile(drawn, stats.norm.cdf(2 * shift + stats.norm.ppf(tails)))
    yield "ECE, bias-corrected bootstrap", value, low, high
    size = int(n**0.7)  # the m of subsampling m out of n
    drawn = change((rng.random((RESAMPLES, n)).argsort(axis=1) < size).astype(float))
    low, high = np.quantile((drawn - value) * np.sqrt(size), tails) / np.sqrt(n)
    yield "ECE, subsampling", value, value - high, value - low


def computed(before: pd.DataFrame, after: pd.DataFrame):
    """The same of the two measures whose interval is a formula."""
    found = squared_error(after, before, bins=BINS, level=LEVEL)
    yield "squared error, jackknife", found.value, found.ci_low, found.ci_high
    gap = (after["confidence"] - after["correct"]) - (before["confidence"] - before["correct"])
    yield "confidence − share right, Student", *mean_interval(gap, level=LEVEL)


def main() -> None:
    rows = []
    for number, (case, (before, after, other)) in enumerate(CASES.items()):
        true = {name: truth(after)[name] - truth(before)[name] for name in truth(0)}
        for n in (250, 750):
            rng = np.random.default_rng([number, n])
            found = []
            for number_of in range(STUDIES):
                pair = study(rng, n, before, after, other)
                found += list(computed(*pair))
                if number_of < RESAMPLED:
                    found += list(resampled(*pair, rng))
            table = pd.DataFrame(found, columns=["measure", "value", "low", "high"])
            for measure, part in table.groupby("measure", sort=False):
                kind = {"E": "ece", "s": "squared", "c": "gap"}[measure[0]]
                held = part["low"].le(true[kind]) & part["high"].ge(true[kind])
                rows.append(
                    {"measure": measure, "case": case, "n": n, "studies": len(part)}
                    | {"truth": true[kind]}
                    | {"bias": part["value"].mean() - true[kind], "coverage": held.mean()}
                    | {"error": np.sqrt(held.mean() * (1 - held.mean()) / len(held))}
                    | {"half_width": (part["high"] - part["low"]).mean() / 2}
                )
            print(pd.DataFrame(rows[-6:]).round(4).to_string(index=False), flush=True)
    said = {"resamples": RESAMPLES, "level": LEVEL, "bins": BINS}
    kept_tables.keep_larger("calibration_intervals", pd.DataFrame(rows), **said)


if __name__ == "__main__":
    main()
