"""What the chapter on how the numbers are made says of its measurements, computed from them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression import statistics
from ethical_compression.words import interval, scientific, span

# Nats: a difference of two log-likelihoods that no result of the book, given to a thousandth of a
# probability, could show. Named here, before anything is measured.
TOLERANCE = 0.001


def answers_in_tokens(
    item, pieces: Sequence[Sequence[str]], scored: Sequence[int], scores: pd.DataFrame
) -> pd.DataFrame:
    """A question's answers in tokens, a row an answer: `answer`, `tokens` and `logprob`.

    pieces: the text of each token, an answer after the other; scored: how many of the last ones are
    scored; scores: from `loglikelihood.score_items`. In `tokens` dots part them, and ‖ what is read
    from what is scored.
    """
    return pd.DataFrame(
        {
            "answer": option.strip() + (" (right)" if score.option == item.gold else ""),
            "tokens": f"{'·'.join(parts[:-count])} ‖ {'·'.join(parts[-count:])}",
            "logprob": score.logprob,
        }
        for option, parts, count, score in zip(
            item.options, pieces, scored, scores.itertuples(), strict=True
        )
    )


def agreement(gaps: Sequence[float], tolerance: float = TOLERANCE) -> str:
    """How many of some answers' log-likelihoods differ from a referee's by more than `tolerance`.

    gaps: absolute differences in nats, an answer each. The interval of their share is Wilson's.
    """
    gaps = np.asarray(gaps, float)
    if not len(gaps):
        return "No answer was scored a second time, so nothing is known of its precision."
    beyond = ~(gaps <= tolerance)  # what is not a number is no agreement
    found = statistics.share(beyond)
    largest = scientific(gaps.max()) + ("" if np.isnan(gaps).any() else " nats")
    said = "None" if not beyond.any() else f"{int(beyond.sum())}"
    return (
        f"{said} of {len(gaps):,} answers scored again in double precision "
        f"{'differ' if beyond.sum() > 1 else 'differs'} by more than {tolerance:g} nats (95% "
        f"interval of the share {found.ci_low:.0%} to {found.ci_high:.0%}); the largest difference "
        f"is {largest}."
    )


def saving(saved: Mapping[str, float]) -> str:
    """By which factors reading a shared question once cuts the tokens read, by benchmark."""
    (least, low), *_, (most, high) = sorted([*saved.items()] * 2, key=lambda pair: pair[1])
    if len(saved) == 1:
        return f"Reading a shared question once cuts the tokens read by {low:.1f} times on {least}."
    return (
        f"Reading a shared question once cuts the tokens read by {low:.1f} times on {least} to "
        f"{high:.1f} times on {most}."
    )


def beside_floor(rows: pd.DataFrame) -> str:
    """Our time beside the floor and beside other programs: rows of `kept_tables.benchmarks`."""
    if rows.empty:
        return "The repository's measurements are not at hand in this run."
    floor, ratio = rows["floor_ratio"], rows["ratio"]
    faster = int((ratio > 1).sum())
    return (
        f"In these measurements our time is {_span(floor)} times the floor, and the others' "
        f"{_span(ratio)} times ours: we are faster in {faster} of {len(rows)}."
    )


def backward(rows: pd.DataFrame) -> str:
    """What making the logits a second time costs and saves: rows of the kernels' benchmark."""
    rows = rows[rows["task"].str.contains("backward")] if len(rows) else rows
    if not len(rows):
        return "The backward pass has not been measured here."
    return " ".join(
        f"Beside PyTorch {row.peer}, the backward pass takes {1 / row.ratio:.2f} times as long and "
        f"{1 / row.peak_memory_ratio:.2f} times the memory."
        for row in rows.itertuples()
    )


def growth(exponents: pd.DataFrame) -> str:
    """How time grows with what is asked, of every curve: rows of `metrics.growth.exponents`."""
    if exponents.empty:
        return "How cost grows has not been measured here."
    time = exponents[exponents["cost"] == "seconds"]
    said = [
        f"{row.curve}, {interval(row.exponent, row.ci_low, row.ci_high, least=2, sign=False)}"
        for row in time.itertuples()
    ]
    return (
        "Time grows as a power of what is asked, 1 being in proportion. The exponents: "
        f"{'; '.join(said)}."
    )


def timed_on(*tables: pd.DataFrame) -> str:
    """On which machines something was measured, and whether a GPU is among them."""
    machines = dict.fromkeys(name for table in tables if len(table) for name in table["machine"])
    if not machines:
        return "Nothing has been timed."
    gpu = [name for name in machines if any(word in name for word in ("GPU", "NVIDIA", "Tesla"))]
    return f"Timed on: {'; '.join(machines)}." + ("" if gpu else " No GPU has been timed yet.")


def _span(values: pd.Series) -> str:
    return "an unknown number of" if math.isnan(values.min()) else span(values, 1)
