"""What the chapter on how compression works says of its measurements, computed from them.

Errors and losses come by window of held-out text: the window is the unit of every interval here.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression import statistics
from ethical_compression.errors import InputError
from ethical_compression.words import interval, listed, outcome, p_text, signed


def origin(table) -> str:
    """What four bits cost a model whose weights lay on a grid, beside one whose weights did not.

    table: of `one_layer.rounding_errors`, a column a model besides `bits`.
    """
    at_four = table.set_index("bits").loc[4]
    parts = [f"{name} {100 * value:.2f}%" for name, value in at_four.items()]
    return f"At 4 bits the weights change by {listed(parts)} (squared, relative)."


def relative(value: float, reference: float) -> str:
    """`value` beside `reference`, before "that of": "30% smaller than", "3.4 times", "as large as".

    What is not above zero cannot be a reference, and is said so.
    """
    if not (reference > 0 and value >= 0):
        return "not comparable with"
    ratio = value / reference
    if ratio >= 2:
        return f"{ratio:.1f} times"
    percents = f"{abs(ratio - 1):.0%}"
    if percents == "0%":
        return "as large as"
    return f"{percents} {'larger' if ratio > 1 else 'smaller'} than"


def times(ratio: float, low: float, high: float) -> str:
    """`0.41 times (95% interval 0.38 to 0.45)`; a large ratio needs no digits after its point."""
    digits = 0 if ratio >= 100 else 2

    def said(value: float) -> str:
        return f"{value:,.{digits if value >= 100 else 2}f}"

    if math.isnan(low) or math.isnan(high):
        return f"{said(ratio)} times (no interval)"
    return f"{said(ratio)} times (95% interval {said(low)} to {said(high)})"


def ratio(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """Geometric mean over windows of after ÷ before, both (n,) and above zero, with its test.

    A paired t-test of the logarithms: `ratio`, `low`, `high`, `p`, and `detectable`, the smallest
    ratio above one that such windows find four times in five. NaN where there is one window only.
    """
    before, after = (np.log(np.asarray(values, float)) for values in (before, after))
    if len(before) < 2:
        change, nan = float((after - before).mean()), math.nan
        return {"ratio": math.exp(change), "low": nan, "high": nan, "p": nan, "detectable": nan}
    test = statistics.paired_test(before, after)
    least = statistics.minimum_detectable(test.se, test.n - 1)
    values = {"ratio": test.difference, "low": test.ci_low, "high": test.ci_high}
    values = {name: math.exp(value) for name, value in values.items()}
    return values | {"p": test.p, "detectable": math.exp(min(least, 700))}


def feedback(rounded: Sequence[float], fed: Sequence[float], bits: int) -> str:
    """Whether GPTQ's output errors (a window each) are below round-to-nearest's, with interval."""
    found, windows = ratio(rounded, fed), f"{len(fed)} windows of unseen text"
    said = times(found["ratio"], found["low"], found["high"])
    start = f"At {bits} bits, error feedback (GPTQ) leaves"
    if found["low"] == found["high"]:
        return f"{start} exactly the output errors of rounding alone, on {windows}."
    match outcome(math.log(found["ratio"]), found["p"]):
        case "untestable":
            return f"{start} {said} the output error of rounding alone; one window tests nothing."
        case "open":
            return (
                f"{start} {said} the output error of rounding alone, so {windows} do not tell "
                f"whether it helps; they would have shown {found['detectable']:.2f} times, or "
                "its inverse, four times in five."
            )
        case which:
            less = "less than" if which == "lower" else "more than"
            return f"{start} {less} rounding alone: {said} its output error on {windows}."


def removals(losses: pd.DataFrame, full: str = "full") -> pd.DataFrame:
    """Perplexity without some blocks, as a ratio to the full model's, a row a choice of blocks.

    losses: negative log-likelihood a token, a row a window, a column a choice and one for the full
    model. Columns: `removed`, `ratio`, `low`, `high`, `p`, and Holm's `p_holm` over the choices.
    """
    rows = [
        {"removed": name} | ratio(np.exp(losses[full]), np.exp(losses[name]))
        for name in losses
        if name != full
    ]
    if not rows:
        raise InputError("No choice of blocks was removed: give one at least.")
    table = pd.DataFrame(rows)
    return table.assign(p_holm=_holm(table["p"]))


def _holm(p: Sequence[float]) -> np.ndarray:
    """Holm's correction, or NaN for all where windows are too few for any test."""
    return np.asarray(p, float) if np.isnan(p).any() else statistics.holm(p)


def removal_table(
    losses: pd.DataFrame,
    perplexity: Mapping[str, float],
    blocks: Mapping[str, Sequence[int]],
    full: str = "full",
) -> pd.DataFrame:
    """`removals` as a page shows them, the full model first: a row a choice of blocks.

    perplexity: of each column of `losses`; blocks: those that each choice removes. Columns:
    `removed`, `blocks`, `perplexity`, `ratio`, `interval` (of the ratio, as text), `p_holm`.
    """
    first = {"removed": "nothing", "blocks": "", "perplexity": perplexity[full], "ratio": 1.0}
    rows = [first | {"interval": "–"}]
    for row in removals(losses, full).to_dict("records"):
        name = row["removed"]
        interval = f"{brief(row['low'])} to {brief(row['high'])}"
        rows.append(
            {"removed": name, "blocks": ", ".join(map(str, blocks[name]))}
            | {"perplexity": perplexity[name], "ratio": row["ratio"], "interval": interval}
            | {"p_holm": row["p_holm"]}
        )
    return pd.DataFrame(rows)


def brief(ratio: float) -> str:
    """`1,250` or `1.25`: a large ratio needs no digits after its point."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2f}"


def removal_words(losses: pd.DataFrame, full: str = "full") -> str:
    """Which choice of blocks costs least and which most, and from which others that is settled.

    losses: as `removals` takes them. Each of the two ends is tested against every other choice on
    the same windows, with Holm's correction over all of these tests.
    """
    table = removals(losses, full).sort_values("ratio").set_index("removed")
    least, most = table.index[0], table.index[-1]
    cost = {name: times(*table.loc[name, ["ratio", "low", "high"]]) for name in (least, most)}
    if len(table) == 1:
        return f"Without the {least} blocks perplexity is {cost[least]} the full model's."
    text = (
        f"Of these choices, perplexity is lowest without the {least} blocks, {cost[least]} the "
        f"full model's, and highest without the {most} blocks, {cost[most]}."
    )
    pairs = [(least, name) for name in table.index[1:]]
    pairs += [(most, name) for name in table.index[1:-1]]
    p = _holm([ratio(np.exp(losses[a]), np.exp(losses[b]))["p"] for a, b in pairs])
    found = dict(zip(pairs, p, strict=True))
    for end, which in ((least, "lowest"), (most, "highest")):
        mine = {b if a == end else a: value for (a, b), value in found.items() if end in (a, b)}
        unsettled = [name for name, value in mine.items() if not value < 0.05]
        if np.isnan(list(mine.values())).any():
            return f"{text} One window cannot tell whether another text would order them so."
        text += (
            f" That the {end} choice is the {which} is settled against every other "
            f"(largest {p_text(max(mine.values()))} after Holm)."
            if not unsettled
            else f" These windows do not tell the {end} choice from {', '.join(unsettled)}."
        )
    return text


def against_rounding(rounded: Mapping[str, float], fed: Mapping[str, float], bits: int) -> str:
    """Both errors (`one_layer.errors`) of GPTQ beside those of round-to-nearest."""
    weight, output = ((fed[name], rounded[name]) for name in ("weight error", "output error"))
    return (
        f"At {bits} bits, GPTQ leaves a weight error {relative(*weight)} that of round-to-nearest "
        f"({weight[0]:.2%} against {weight[1]:.2%}), and an output error {relative(*output)} "
        f"round-to-nearest's ({output[0]:.2%} against {output[1]:.2%})."
    )


def half_pruned(errors: Mapping[str, float]) -> str:
    """Output errors with half of the weights at zero, by rule, and what the pattern 2:4 adds.

    errors: of Magnitude, Wanda, SparseGPT, and of SparseGPT under 2:4 as "2:4".
    """
    rules = [f"{errors[rule]:.1%} by {rule}" for rule in ("Magnitude", "Wanda", "SparseGPT")]
    rules[0] = rules[0].replace("Magnitude", "magnitude")
    return (
        f"With half of the weights at zero, the output error is {rules[0]}, {rules[1]} and "
        f"{rules[2]}; with the pattern 2:4 it is {errors['2:4']:.1%} by SparseGPT, "
        f"{relative(errors['2:4'], errors['SparseGPT'])} that without a pattern."
    )


def between(name: str, value: float, ends: Mapping[str, float]) -> str:
    """Where a value stands beside two others: "4:8: 2.1%, between 2.0% (half) and 2.5% (2:4)"."""
    (low_name, low), (high_name, high) = sorted(ends.items(), key=lambda end: end[1])
    said = f"{low:.2%} ({low_name}) and {high:.2%} ({high_name})"
    if value < low:
        place = f"below both {said}"
    elif value > high:
        place = f"above both {said}"
    else:
        place = f"between {said}"
    return f"{name}: {value:.2%}, {place}"


def mean_perplexities(measured: pd.DataFrame) -> pd.DataFrame:
    """`kept_tables.benchmarks("gptq")` with one perplexity each, over draws: the geometric mean."""
    whose = ("perplexity_peer", "perplexity_theirs", "perplexity_ours")
    return measured.assign(
        **{name: [math.exp(np.log(draws).mean()) for draws in measured[name]] for name in whose}
    )


def beside_peer(row: Mapping) -> str:
    """A task of `kept_tables.benchmarks("gptq")`: time, and perplexity beside another library's."""
    draws = len(row["perplexity_peer"])
    theirs = math.exp(np.log(row["perplexity_peer"]).mean())
    return (
        f"{row['task']}: GPTQModel took {row['peer_seconds']:.0f} s and we {row['seconds']:.0f} s, "
        f"a ratio of {row['ratio']:.1f}. Perplexity is {row['perplexity_full']:.2f} before and, "
        f"over {draws} draw{'s' if draws > 1 else ''} of the text, {theirs:.2f} with GPTQModel. "
        f"Beside that, ours is {_gap(row['above_peer_theirs'])} at its settings, and "
        f"{_gap(row['above_peer_ours'])} at our own."
    )


def _gap(gap: Sequence[float]) -> str:
    """A relative difference of perplexities, with its interval where there are several draws."""
    mean, *ends = (100 * value for value in gap)
    if not ends:
        return f"{signed(mean, 1)}% away, from one draw that gives no interval,"
    said = interval(mean, *ends, least=1, unit="%")
    if ends[0] <= 0 <= ends[1]:
        return f"not told apart, {said}"
    return f"{'above' if mean > 0 else 'below'} it, {said}"
