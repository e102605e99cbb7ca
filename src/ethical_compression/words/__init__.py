"""Numbers as a sentence says them: signs, intervals, p-values, and what a comparison came to.

A sentence that states an outcome is computed: it asks `outcome` what the numbers came to and has a
wording for each of `OUTCOMES`. Nothing here is Markdown, since glued text is shown as it stands.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from ethical_compression.errors import InputError

# What a comparison can come to. They exclude each other, so that counts of them add up.
OUTCOMES = ("lower", "higher", "equivalent", "open", "untestable")
SETTLED = ("lower", "higher")
OFTEN = "four times in five"  # the power with which a smallest detectable change is found


def outcome(
    difference: float, p: float, p_equivalent: float = math.nan, *, alpha: float = 0.05
) -> str:
    """One of `OUTCOMES`, by the p-values that count (corrected, where a table has many rows).

    difference: after − before; p: of its test, NaN where there was none; p_equivalent: of the test
    that it lies within a margin, NaN where none was made. A difference that is settled is not
    called equivalent, however small: say beside it that it lies within the margin.
    """
    if math.isnan(p) or math.isnan(difference):
        return "untestable"
    if p < alpha and difference:
        return "lower" if difference < 0 else "higher"
    return "equivalent" if p_equivalent < alpha else "open"


def outcomes(table: pd.DataFrame, prefix: str = "") -> pd.Series:
    """What each row of a table of comparisons came to: one of `OUTCOMES`, by the table's index.

    Read off `difference`, `p_holm` and, where equivalence within a margin was tested, `p_tost_holm`
    (each with `prefix` in front): p-values that count all rows of their table. A row without a
    difference or a p (NaN) is untestable. Raises InputError where one of the first two is missing.
    """
    difference, p, p_equivalent = (
        prefix + name for name in ("difference", "p_holm", "p_tost_holm")
    )
    if missing := [name for name in (difference, p) if name not in table.columns]:
        raise InputError(
            f"The table of comparisons lacks the column(s) {', '.join(missing)}: correct its "
            "p-values for the number of its rows before saying what they came to."
        )
    equivalent = table.get(p_equivalent, pd.Series(math.nan, table.index))
    numbers = zip(table[difference], table[p], equivalent, strict=True)
    return pd.Series([outcome(*row) for row in numbers], table.index, dtype=object)


def outcome_of(row: Mapping) -> str:
    """`outcomes` of one row of such a table."""
    (came,) = outcomes(pd.DataFrame([row]))
    return came


def settled(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of comparisons whose difference is settled, one way or the other."""
    return table[outcomes(table).isin(SETTLED)]


def largest(table: pd.DataFrame) -> pd.Series:
    """The row with the largest `difference`, whatever its sign."""
    return table.loc[table["difference"].abs().idxmax()]


def foremost(
    table: pd.DataFrame, what: str = "change", came: pd.Series | None = None
) -> tuple[pd.Series, str]:
    """The `largest` of the rows that are settled or, where none is, of those that were tested.

    With its name, "largest settled change" or "largest change, not settled,": what is settled is
    never passed over for a larger difference that is not. came: where not `outcomes` of the table.
    """
    came = outcomes(table) if came is None else came
    if came.isin(SETTLED).any():
        return largest(table[came.isin(SETTLED)]), f"largest settled {what}"
    return largest(table[came != "untestable"]), f"largest {what}, not settled,"


def settling_p(row: Mapping, came: str) -> str:
    """The p-value behind a row's outcome, after Holm: that of the equivalence where it is one."""
    if came == "equivalent":
        return f"equivalence {p_text(row['p_tost_holm'])} after Holm"
    return f"{p_text(row['p_holm'])} after Holm"


def counted(
    outcomes: Iterable[str],
    margin: str = "the margin",
    names: Mapping[str, str] | None = None,
    called: Sequence[str] | None = None,
) -> str:
    """How many of each outcome: "2 of 7 lower, 1 shown to lie within ±0.02, 4 not settled".

    margin: how the margin is said; names: other words for outcomes; called: what each comparison is
    called, to name in brackets those that came to something. Outcomes that did not occur are left
    out; the parts add up to the whole.
    """
    outcomes = list(outcomes)
    words = {
        "lower": "lower",
        "higher": "higher",
        "equivalent": f"shown to lie within {margin}",
        "open": "not settled",
        "untestable": "not testable",
    } | dict(names or {})
    found = Counter(outcomes)
    total = found.total()
    if called is not None:
        for name in OUTCOMES[:3]:
            same = [one for one, came in zip(called, outcomes, strict=True) if came == name]
            words[name] += f" ({'; '.join(same)})"
    parts = [f"{found[name]} {words[name]}" for name in OUTCOMES if found[name]]
    if not parts:
        return "nothing was compared"
    first, _, rest = parts[0].partition(" ")
    return ", ".join([f"{first} of {total} {rest}", *parts[1:]])


def from_to(before: float, after: float, digits: int = 1) -> str:
    """`from 66.2 to 64.3`, or `at 33.0 before and after` where no digit that is shown differs."""
    first, second = (
        "nothing known" if math.isnan(one) else f"{one:.{digits}f}".replace("-", "−")
        for one in (before, after)
    )
    return f"at {first} before and after" if first == second else f"from {first} to {second}"


def listed(parts: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`; nothing for no parts."""
    *most, last = [*parts] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def span(
    values: Iterable[float],
    digits: int = 3,
    to: str = " to ",
    said: Callable[[float], str] | None = None,
) -> str:
    """`0.012 to 0.034`: the least and the largest of some numbers, or the one that they all are.

    said: how a number is written, where not with so many digits, as by "{:.0%}".format. What is not
    a number is left out.
    """
    said = said or (lambda end: f"{end:,.{digits}f}".replace("-", "−"))
    known = pd.Series(values, dtype=float)
    ends = [said(known.min()), said(known.max())]
    return ends[0] if ends[0] == ends[1] else to.join(ends)


def between(values: pd.Series, digits: int = 3) -> str:
    """`between 0.012 and 0.034`, or the one number that they all are."""
    ends = span(values, digits, " and ")
    return f"between {ends}" if " and " in ends else ends


def signed(value: float, digits: int = 3) -> str:
    """`value` with its sign and a true minus; what rounds to nothing has no sign."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def minutes(seconds: float) -> str:
    """A time as a reader plans with it: "under a minute", "1 minute", "12 minutes"."""
    whole = round(seconds / 60)
    if seconds < 60:
        return "under a minute"
    return "1 minute" if whole == 1 else f"{whole} minutes"


def interval(
    value: float,
    low: float,
    high: float,
    *,
    level: float = 0.95,
    least: int = 3,
    sign: bool = True,
    unit: str = "",
) -> str:
    """`−0.031 (95% interval −0.041 to −0.021)`, with the digits that the interval's width earns.

    least: the fewest digits; sign: write a plus; unit: follows each number, as in "%" or " nats".
    An end that is infinite is said in words; a value that could not be computed, too.
    """
    if math.isnan(value):
        return "could not be computed"
    digits = interval_digits(low, high, least)

    def said(number: float) -> str:
        if math.isinf(number):
            return "more than can be told" if number > 0 else "less than can be told"
        text = signed(number, digits) if sign else f"{number:.{digits}f}".replace("-", "−")
        return f"{text}{unit}"

    if math.isnan(low) or math.isnan(high):
        return f"{said(value)} (no interval)"
    return f"{said(value)} ({100 * level:g}% interval {said(low)} to {said(high)})"


def interval_digits(low: float, high: float, least: int = 3) -> int:
    """The digits after the point that an interval's width earns, `least` at least.

    Where it leaves out zero, as many more (three at most) as keep the nearer end from showing as 0.
    """
    half = (high - low) / 2
    digits = max(least, -math.floor(math.log10(half))) if 0 < half < math.inf else least
    nearer = min(abs(low), abs(high)) if low * high > 0 else 0
    enough = (more for more in range(digits, digits + 4) if round(nearer, more))
    return next(enough, digits)


def with_interval(row: Mapping, level: float = 0.95, *, scale: float = 1, least: int = 3) -> str:
    """`interval` of a row of a table of comparisons: its `difference`, `ci_low` and `ci_high`.

    Where the interval leaves out zero and the row's `p_holm` settles nothing, the two seem to
    contradict each other: it is then said that the interval counts this test alone.
    scale: what the three numbers are multiplied by; least: the fewest digits.
    """
    numbers = (scale * row[name] for name in ("difference", "ci_low", "ci_high"))
    text = interval(*numbers, level=level, least=least)
    clear = row["ci_low"] > 0 or row["ci_high"] < 0
    if clear and row.get("p_holm", 0) >= 1 - level:
        return f"{text[:-1]}, for this test alone)"
    return text


def p_value(p: float) -> str:
    """`0.012`, `4.2 × 10⁻²⁸`, or `< 10⁻³⁰⁰` where a float can hold no less: never a bare 0.000.

    For the cell of a table; `p_text` is for a sentence. A p that is not a number is a dash.
    """
    if math.isnan(p):
        return "–"
    if p < 1e-300:
        return "< 10⁻³⁰⁰"
    if p >= 0.001:
        return f"{p:.3f}" if p < 0.9995 else "1"
    return scientific(p)


def scientific(value: float) -> str:
    """`2.7 × 10⁻⁵`."""
    if not math.isfinite(value):
        return "not a number"
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.replace("-", "−")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{power}" if value else "0"


def p_text(p: float) -> str:
    """`p = 0.012`, `p = 4.2 × 10⁻²⁸`, or `p < 10⁻³⁰⁰`: `p_value` in a sentence.

    A p that is not a number, of a test that has no answer, is said to be so.
    """
    if math.isnan(p):
        return "p not defined"
    return f"p {'' if p < 1e-300 else '= '}{p_value(p)}"


def sentence(
    row: Mapping,
    *,
    measure: str = "mean probability of the right answer",
    names: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> str:
    """One row of `paired_table` in plain English, with what its interval does and does not show.

    `names` maps benchmark names to the titles to print; `level` must be that of the table.
    """
    row = dict(row)
    title = (names or {}).get(row["benchmark"], row["benchmark"])
    start = f"On the {row['n']:,} items of {title}, {row['compression']}"
    if math.isnan(row["d_z_low"]):
        return f"{start} leaves the {measure} of every item exactly as it was."
    digits = interval_digits(row["ci_low"], row["ci_high"])
    change = interval(row["difference"], row["ci_low"], row["ci_high"], level=level)
    text = (
        f"{start} takes the {measure} from {row['mean_full']:.{digits}f} to "
        f"{row['mean_compressed']:.{digits}f}, "
        f"a change of {change}: d_z {signed(row['d_z'], 2)} "
        f"({signed(row['d_z_low'], 2)} to {signed(row['d_z_high'], 2)}), paired t-test "
        f"{p_text(row['p'])}, {p_text(row['p_holm'])} after Holm."
    )
    if row["ci_low"] <= 0 <= row["ci_high"]:
        text += " The interval includes zero: the data do not settle the change's direction."
    elif row["p_holm"] > 1 - level:
        text += " The interval excludes zero, but not once all tests are counted (Holm)."
    return text + ranks_disagree(row, level)


def ranks_disagree(row: Mapping, level: float = 0.95) -> str:
    """A sentence where a paired t-test and Wilcoxon's differ in their verdict; else nothing."""
    if not (row["p"] < 1 - level) ^ (row["p_wilcoxon"] < 1 - level):
        return ""
    if row["p_wilcoxon"] < row["p"]:
        return (
            f" Wilcoxon's signed-rank test finds a change ({p_text(row['p_wilcoxon'])}) where the "
            "t-test does not: where most items move one way, a few that move far the other way can "
            "hide it in the mean."
        )
    return (
        f" Wilcoxon's signed-rank test does not find it ({p_text(row['p_wilcoxon'])}): a few items "
        "that move far can carry a mean."
    )
