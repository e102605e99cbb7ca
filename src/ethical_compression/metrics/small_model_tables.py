"""What the larger run's small models say together: means over seeds, and children's books against
adult text, by a hypothesis that was stated before."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics import power, tests
from ethical_compression.statistics.intervals import mean_interval

MARGIN = 0.05
# The six comparisons that judge the hypothesis (results/baby_models.py): battery, part, rule.
JUDGED = (
    ("ethics, probe", "ethics_virtue", "choice"),
    ("ethics, probe", "ethics_deontology", "pairs"),
    ("ethics, probe", "ethics_justice", "pairs"),
    ("ethics, text, gained", "ethics_virtue", "choice"),
    ("ethics, text, gained", "ethics_deontology", "pairs"),
    ("ethics, text, per_byte", "ethics_justice", "pairs"),
)
# By which the trap is avoided, and by which it is fallen into.
EXACT = (
    ("ethics, probe", "ethics_virtue", "exact"),
    ("ethics, question", "ethics_virtue", "exact"),
    ("ethics, question", "ethics_virtue", "accuracy"),
)
# Asked of the same models, with nothing predicted.
OTHERS = (
    ("blimp", "all", "accuracy"),
    ("questions", "arc_easy", "accuracy, by byte"),
    ("questions", "openbookqa", "accuracy, by byte"),
    ("questions", "piqa", "accuracy, by byte"),
    ("moral stories", "English", "moral action, by byte"),
    ("stereoset", "within", "stereotype"),
    ("stereoset", "within", "sensible"),
)
KEYS = ["battery", "part", "rule"]


def of(table: pd.DataFrame, *measures: Sequence[str]) -> pd.DataFrame:
    """Rows of the named measures (battery, part, rule), in that order."""
    wanted = pd.MultiIndex.from_tuples(measures, names=KEYS)
    here = table[pd.MultiIndex.from_frame(table[KEYS]).isin(wanted)]
    order = pd.MultiIndex.from_frame(here[KEYS]).map({m: k for k, m in enumerate(measures)})
    return here.assign(_order=order).sort_values("_order", kind="stable").drop(columns="_order")


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `JUDGED` and `EXACT` that are there."""
    return of(table, *JUDGED, *EXACT)


def parts(table: pd.DataFrame, battery: str) -> list[tuple[str, str, str]]:
    """The measures of a battery, in order of appearance."""
    here = table.loc[table["battery"] == battery, KEYS].drop_duplicates()
    return [tuple(row) for row in here.to_numpy()]


def by_rule(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The measures of ETHICS by every rule: asked with a question, and of the probe."""
    return [one for name in ("ethics, question", "ethics, probe") for one in parts(table, name)]


def curves(table: pd.DataFrame) -> pd.DataFrame:
    """Learning curves of the larger run, means over the seeds that are there: `by` (the mixture),
    `tokens` (read so far) and `development` (nats a token of texts of the mixture's own kind)."""
    here = table[table["battery"] == "curve"].rename(
        columns={"mixture": "by", "n": "tokens", "value": "development"}
    )
    return here.groupby(["by", "tokens"], as_index=False)["development"].mean()


def comparable(table: pd.DataFrame, measures: Sequence[Sequence[str]] = JUDGED) -> pd.DataFrame:
    """`compared`, or an empty table where not both mixtures have been raised yet."""
    both = {"children", "adults"} <= set(table.loc[table["battery"] == "ethics, probe", "mixture"])
    return compared(table, measures=measures) if both else pd.DataFrame(columns=[*KEYS, "p"])


def compared(
    table: pd.DataFrame,
    *,
    first: str = "adults",
    second: str = "children",
    measures: Sequence[Sequence[str]] = JUDGED,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """`second` − `first` of every measure, a row each, seeds as units and paired.

    table: of results/baby_models.py. Columns `KEYS`, `seeds` (those that both have), `before`,
    `after`, `chance`, `difference`, `ci_low`, `ci_high`, `p`, `p_tost` (within ±margin),
    `detectable` (four times in five, one test alone), `p_holm`, `p_tost_holm`. NaN where there are
    fewer than two seeds. Raises InputError where a measure is not there.
    """
    rows = []
    for measure in measures:
        here = of(table, measure)
        wide = here[here["mixture"].isin([first, second])].pivot(
            index="seed", columns="mixture", values="value"
        )
        if not {first, second} <= set(wide.columns):
            raise InputError(f"The table has no {', '.join(measure)} of {first} and {second}.")
        wide = wide.dropna()
        row = dict(zip(KEYS, measure, strict=True)) | {
            "seeds": len(wide),
            "before": wide[first].mean(),
            "after": wide[second].mean(),
            "chance": here["chance"].mean(),
            "difference": (wide[second] - wide[first]).mean(),
        }
        rows.append(row | _tested(wide[first], wide[second], margin))
    found = pd.DataFrame(rows)
    for name in ("p", "p_tost"):
        found[f"{name}_holm"] = tests.over_tests(found[name])
    return found


def _tested(before, after, margin: float) -> dict[str, float]:
    nothing = dict.fromkeys(("ci_low", "ci_high", "p", "p_tost", "detectable"), math.nan)
    if len(before) < 2 or (after - before).nunique() < 2:
        return nothing
    told = tests.paired_test(before, after)
    return {
        "ci_low": told.ci_low,
        "ci_high": told.ci_high,
        "p": told.p,
        "p_tost": tests.tost(before, after, margin).p,
        "detectable": power.minimum_detectable(told.se, len(before) - 1),
    }


def means(table: pd.DataFrame, *measures: Sequence[str]) -> pd.DataFrame:
    """Means over seeds of every kind of model, with Student's interval where there are two seeds:
    `KEYS`, `by` (the mixture, or the model where it has none), `seeds`, `value, low, high, chance`.

    A model of one seed keeps the interval over items that it has; that of a share ends at 0 and 1.
    """
    here = of(table, *measures)
    here = here.assign(by=here["mixture"].where(here["mixture"] != "none", here["model"]))
    rows = []
    for name, some in here.groupby([*KEYS, "by"], sort=False):
        row = dict(zip([*KEYS, "by"], name, strict=True)) | {"seeds": len(some)}
        row |= {"value": some["value"].mean(), "chance": some["chance"].mean()}
        ends = some[["low", "high"]].iloc[0].tolist()
        if some["value"].nunique() > 1:
            ends = mean_interval(some["value"])[1:]
            if some["chance"].notna().all():  # a share: bits have no chance
                ends = [min(max(end, 0.0), 1.0) for end in ends]
        rows.append(row | {"low": ends[0], "high": ends[1]})
    return pd.DataFrame(rows)


def price_of_bits(windows: Mapping[str, Mapping[str, pd.DataFrame]], size: int) -> pd.DataFrame:
    """What compression costs each model in bits a byte of one text, windows paired.

    windows: model → compression → `score_text`'s table; each model has "full". size: bytes of the
    text. Columns: `model, compression, n` (windows), `before, after` (bits a byte), `difference`
    with Student's interval over windows (`ci_low, ci_high`), `p`, `p_holm`, and `share`, the
    difference ÷ before. Raises InputError for a model without its full version.
    """
    rows = []
    scale = 1 / math.log(2) / size
    for model, some in windows.items():
        if "full" not in some:
            raise InputError(f"{model} has no full version to compare with.")
        full = -some["full"]["logprob"].to_numpy() * scale
        for name, table in some.items():
            if name == "full":
                continue
            here = -table["logprob"].to_numpy() * scale
            told = tests.paired_test(full, here)
            ends = {"ci_low": told.ci_low * len(full), "ci_high": told.ci_high * len(full)}
            rows.append(
                {"model": model, "compression": name, "n": len(full), "before": full.sum()}
                | {"after": here.sum(), "difference": here.sum() - full.sum(), **ends}
                | {"p": told.p, "share": here.sum() / full.sum() - 1}
            )
    found = pd.DataFrame(rows)
    return found.assign(p_holm=tests.over_tests(found["p"]))
