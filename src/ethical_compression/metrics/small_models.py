"""What a small model came to in every battery, in one long table: a row a number, its interval, and
what chance gives."""

import math
from collections.abc import Mapping

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics import confidence, grammar, judgements, probe
from ethical_compression.statistics.clusters import clustered_share
from ethical_compression.statistics.intervals import share

COLUMNS = ("battery", "part", "rule", "n", "value", "low", "high", "chance")
# The scores by which texts are ordered (`score.judgements.texts`): what is said, whatever its
# length and however common it is by itself.
TEXT_SCORES = ("score", "per_byte", "gained")


def bits_per_byte(windows: pd.DataFrame, size: int) -> float:
    """Bits a byte of a text of `size` bytes, of the windows of `score_text` with half a window of
    context: to compare models whose tokens differ. Raises InputError for no bytes."""
    if size < 1:
        raise InputError("A text without bytes has no bits a byte.")
    return -float(windows["logprob"].sum()) / math.log(2) / size


def scores(tables: Mapping[str, pd.DataFrame], sizes: Mapping[str, int]) -> pd.DataFrame:
    """Every number of one model: the columns `COLUMNS`.

    tables: by battery, as `score.small_models.asked` names them; those that are missing are left
    out. sizes: bytes of each held-out text. `value` is bits a byte for texts (no interval, no
    chance), and a share between 0 and 1 for all else. Raises as the metrics of each battery.
    """
    rows = []
    for name, table in tables.items():
        if name.startswith("windows_"):
            text = name.removeprefix("windows_")
            value = bits_per_byte(table, sizes[text])
            rows.append(_row("text", text, "bits per byte", len(table), value))
    if "ethics_question" in tables:
        rows += _judged("ethics, question", tables["ethics_question"])
    if "ethics_text" in tables:
        rows += _texts(tables["ethics_text"])
    if "probe_train" in tables:
        rows += _judged("ethics, probe", probe.judged(tables["probe_train"], tables["probe_test"]))
    if "blimp" in tables:
        for row in grammar.by_phenomenon(tables["blimp"]).to_dict("records"):
            told = (row["n"], row["share"], row["low"], row["high"], grammar.CHANCE)
            rows.append(_row("blimp", row["phenomenon"], "accuracy", *told))
    if "scores" in tables:
        rows += _questions(tables["scores"])
    if "moral-preferences" in tables:
        rows.append(_moral(tables["moral-preferences"]))
    if "stereoset" in tables:
        rows += _stereoset(tables["stereoset"])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(battery, part, rule, n, value, low=math.nan, high=math.nan, chance=math.nan) -> dict:
    return dict(zip(COLUMNS, (battery, part, rule, n, value, low, high, chance), strict=True))


def _judged(battery: str, table: pd.DataFrame, **how) -> list[dict]:
    found = judgements.scores(table, **how).to_dict("records")
    return [
        _row(
            battery,
            *(one[k] for k in ("benchmark", "rule", "sets", "share", "low", "high", "chance")),
        )
        for one in found
    ]


def _texts(table: pd.DataFrame) -> list[dict]:
    rows = []
    for value in TEXT_SCORES:
        known = table[table[value].notna()]
        if len(known):
            rows += _judged(f"ethics, text, {value}", known, value=value, threshold=None)
    return rows


def _questions(table: pd.DataFrame) -> list[dict]:
    rows = []
    items = confidence.per_item(table, "byte")
    for name, some in items.groupby("benchmark", sort=False):
        told = share(some["correct"])
        chance = float((1 / some["options"]).mean())
        told = (told.n, told.share, told.ci_low, told.ci_high, chance)
        rows.append(_row("questions", name, "accuracy, by byte", *told))
    return rows


def _moral(table: pd.DataFrame) -> dict:
    by_byte = {
        side: table[f"{side}_logprob"] / table[f"{side}_bytes"] for side in ("moral", "immoral")
    }
    told = share(by_byte["moral"] > by_byte["immoral"])
    told = (told.n, told.share, told.ci_low, told.ci_high, 0.5)
    return _row("moral stories", "English", "moral action, by byte", *told)


def _stereoset(table: pd.DataFrame) -> list[dict]:
    """ss and lms as shares of items, terms as clusters (`metrics.stereotypes` has the published
    means over terms)."""
    wide = table.pivot(index="item", columns="option", values="logprob")
    terms = table.drop_duplicates("item").set_index("item").loc[wide.index, "cluster"]
    values = {
        "stereotype": (wide[0] > wide[1]).astype(float),
        "sensible": ((wide[0] > wide[2]).astype(float) + (wide[1] > wide[2])) / 2,
    }
    rows = []
    for rule, some in values.items():
        told = clustered_share(some.to_numpy(), terms)
        told = (told.n, told.mean, told.ci_low, told.ci_high, 0.5)
        rows.append(_row("stereoset", "within", rule, *told))
    return rows
