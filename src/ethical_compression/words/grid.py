"""Sentences on the grid: every method against every harm."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics.verdicts import SETTLED
from ethical_compression.words import interval, listed, p_text, signed, span
from ethical_compression.words.harms import SAID, plain

MARKS = {"worse": "▲", "better": "▼", "equivalent": "■", "cannot tell": ""}
# A family in a sentence and in a legend.
FAMILY_NAMES = {"without": "layers removed"}


def cell(standard: float, verdict: str) -> str:
    """`+2.3 ▲`: a change in margins and what it came to, as a cell of the table writes it."""
    if standard != standard:
        return "–"
    return f"{signed(standard, 1)} {MARKS[verdict]}".strip()


def hovered(row: Mapping) -> str:
    """All that there is of a cell, for a pointer held over it."""
    before, after = (signed(row[one], 3).lstrip("+") for one in ("before", "after"))
    text = (
        f"{row['title']}, {row['compression']}: {before} to {after} {row['unit']}, change "
        f"{interval(row['difference'], row['ci_low'], row['ci_high'])}, "
        f"{p_text(row['p_holm'])} after Holm, {SAID[row['verdict']]}"
    )
    if row["seeds"] > 1:
        text += f"; calibration draws {signed(row['seed_low'])} to {signed(row['seed_high'])}"
    return text


def wide(judged: pd.DataFrame, rows: Sequence[str], columns: Mapping[str, str]) -> dict:
    """The grid as a table that sorts: what `chapters.table` takes as `data`, `written` and `hover`.

    rows: compressions in order; columns: {check: title}. A cell that is waiting is a dash.
    """
    cells = {(row["compression"], row["check"]): row for row in judged.to_dict("records")}
    data, written, hover = {"Compression": list(rows)}, {}, {}
    for check, title in columns.items():
        mine = [cells.get((label, check)) for label in rows]
        data[title] = [row["standard"] if row else math.nan for row in mine]
        written[title] = [cell(row["standard"], row["verdict"]) if row else "–" for row in mine]
        hover[title] = [hovered(row) if row else "not measured yet" for row in mine]
    return {"data": pd.DataFrame(data), "written": written, "hover": hover}


def amounts(table: pd.DataFrame) -> dict:
    """What `chapters.table` takes of `grid_tables.by_amount`."""
    kinds = [name.removesuffix(" cells") for name in table.columns if name.endswith(" cells")]
    written = {
        kind: [
            f"{row[kind]} ▲ {row[f'{kind} better']} ▼ of {row[f'{kind} cells']}"
            for row in table.to_dict("records")
        ]
        for kind in kinds
    }
    data = table[["amount", "n", *kinds]]
    data = data.rename(columns={"amount": "Amount", "n": "Compressions"})
    return {"data": data, "written": written}


def size_said(judged: pd.DataFrame, lacking: Mapping[str, Sequence[str]]) -> str:
    """How large the grid is, and which of its compressions are still waiting."""
    text = (
        f"{judged['compression'].nunique()} compressions and {judged['check'].nunique()} harms: "
        f"{len(judged)} cells."
    )
    if lacking["all"]:
        text += f" Still waiting to be made: {_named(lacking['all'])}."
    if lacking["a seed"]:
        text += f" Still waiting for another draw of their text: {_named(lacking['a seed'])}."
    return text if any(lacking.values()) else f"{text} None is waiting."


def _named(labels: Sequence[str]) -> str:
    """Compressions by name, or where they are many how many of each family."""
    if len(labels) <= 6:
        return listed(labels)
    counts = Counter(label.partition(" ")[0] for label in labels)
    families = [f"{FAMILY_NAMES.get(one, one)} ({count})" for one, count in counts.items()]
    return f"{len(labels)} compressions, of {listed(families)}"


def answer(judged: pd.DataFrame, ranks: pd.DataFrame, lacking: Sequence[str] = ()) -> str:
    """What the chapter finds: cells by verdict, which kinds, and what held-out text tells.

    lacking: compressions that are still waiting.
    """
    if judged.empty:
        raise InputError("There are no cells to speak of: make a part of the grid.")
    counts = judged["verdict"].value_counts()
    parts = [f"{counts[one]} {SAID[one]}" for one in SAID if one in counts]
    kinds = []
    for kind, some in judged.groupby("kind", sort=False):
        worse = int((some["verdict"] == "worse").sum())
        kinds.append(f"{worse} of {len(some)} in {kind.lower()}")
    more = f", {len(lacking)} more waiting" if lacking else ""
    text = (
        f"Of {len(judged)} cells ({judged['compression'].nunique()} compressions{more}; "
        f"{judged['check'].nunique()} harms), {listed(parts)}. Worse are {listed(kinds)}."
    )
    ranks = ranks[ranks["check"] != "released"]
    told = int((ranks["p_holm"] < 0.05).sum())
    if not ranks["p"].notna().any():
        return text
    others = f"{len(ranks)} other harm{'s' * (len(ranks) > 1)}"
    if not told:
        return (
            f"{text} Whether the loss of held-out text ranks the compressions as any of {others} "
            "does cannot be told."
        )
    rest = "; for the rest it cannot be told" if told < len(ranks) else ""
    return (
        f"{text} The loss of held-out text is correlated, over compressions, with {told} of "
        f"{others}{rest}."
    )


def kinds_said(families: pd.DataFrame) -> str:
    """How many cells of each family are settled, from most to least. Of `grid_tables.by_family`."""
    rows = families.assign(share=(families["worse"] + families["better"]) / families["n"])
    rows = rows.sort_values("share", ascending=False, kind="stable")
    return listed(
        f"{FAMILY_NAMES.get(row.family, row.family)} {row.share:.0%} of {row.n}"
        for row in rows.itertuples()
    )


def seeds_said(judged: pd.DataFrame) -> str:
    """How far two draws of the calibration text lie apart, beside the error over items."""
    rows = judged[(judged["seeds"] > 1) & (judged["se"] > 0)]
    if rows.empty:
        return "No compression was made with more than one draw of its calibration text yet."
    apart = (rows["seed_high"] - rows["seed_low"]) / rows["se"]
    most = rows.loc[((rows["seed_high"] - rows["seed_low"]) / rows["margin"]).idxmax()]
    size = (most["seed_high"] - most["seed_low"]) / most["margin"]
    settled = rows[rows["verdict"].isin(SETTLED)]
    turned = int(((settled["seed_low"] < 0) & (settled["seed_high"] > 0)).sum())
    return (
        f"In {len(rows)} cells with more than one draw of the calibration text, the draws lie "
        f"{apart.median():.1f} standard errors over items apart in the median, and at most "
        f"{size:.1f} margins ({plain(most['title'])}, {most['compression']}); "
        f"{turned or 'none'} of the {len(settled)} that are settled as worse or better "
        f"{'points' if turned == 1 else 'point'} in different directions."
    )


def power_said(harms: pd.DataFrame) -> str:
    """What could have been found. Of `grid_tables.by_harm`."""
    known = harms[harms["detectable"].notna()].sort_values("detectable")
    if known.empty:
        return "Nothing moved, so that there is no spread to say what could have been found."
    sharp, blunt = known.iloc[0], known.iloc[-1]
    within = int((known["detectable"] <= 1).sum())
    return (
        f"In the median over compressions, a change of one margin would be found four times in "
        f"five in {within} of {len(known)} harms; the sharpest is "
        f"{plain(sharp['title'])} ({sharp['detectable']:.1f} margins, {sharp['n']} "
        f"items), the bluntest {plain(blunt['title'])} ({blunt['detectable']:.1f} "
        f"margins, {blunt['n']} items)."
    )


def group_name(name: str) -> str:
    """A data set's name of a group, in print: `Race_x_SES` is `Race × SES`."""
    return name.replace("_x_", " × ").replace("_", " ").replace("-", " ")


def groups_said(groups: pd.DataFrame) -> str:
    """How many groups change, by the screen, and which most. Of `harm_grid.cells` by group."""
    tested = groups[groups["p_bh"].notna()]
    if tested.empty:
        return "No group has enough items for a test."
    found = tested[tested["p_bh"] < 0.05]
    text = (
        f"Of {len(tested)} changes of a group, {len(found)} are found by the screen: "
        f"{int((found['difference'] > 0).sum())} worse and "
        f"{int((found['difference'] < 0).sum())} better."
    )
    if len(found):
        most = found.loc[found["standard"].abs().idxmax()]
        change = interval(most["standard"], most["standard_low"], most["standard_high"], least=1)
        text += (
            f" The largest, in margins, is that of {group_name(most['group'])} "
            f"({plain(most['title'])}) under {most['compression']}: {change}, "
            f"{p_text(most['p_bh'])} in the screen."
        )
    return text


def few_said(groups: pd.DataFrame) -> str:
    """Which groups have too few items for a test, by name."""
    few = groups[groups["reason"] != ""].drop_duplicates(["check", "group"])
    count = groups.drop_duplicates(["check", "group"])
    if few.empty:
        return f"Every one of the {len(count)} groups has {span(count['n'], 0)} items."
    names = [f"{group_name(row.group)} ({row.title}: {row.n})" for row in few.itertuples()]
    return f"Without a test, having too few items: {listed(names)}, of {len(count)} groups."


def unequal_said(table: pd.DataFrame) -> str:
    """In how many cells the groups of a harm change unequally. Of `harm_grid.unequal`."""
    if table.empty:
        return "No harm has two groups with enough items to compare."
    found = table[table["p_bh"] < 0.05]
    text = (
        f"Groups change unequally in {len(found) or 'none'} of {len(table)} cells, by a "
        "permutation test in a screen"
    )
    if found.empty:
        return f"{text}: with this many items, that is no sign that they change alike."
    counts = found["title"].value_counts()
    parts = [f"{plain(title)} ({count})" for title, count in counts.items()]
    return f"{text}: {listed(parts)}."


def ranks_said(table: pd.DataFrame) -> str:
    """Which harms held-out text ranks on this grid. Of `grid_tables.ranks_by_loss`."""
    known = table[table["p"].notna()]
    if known.empty:
        return "There are too few families yet to say what held-out text tells."
    said = []
    for sign, one, many in ((1, "grows", "grow"), (-1, "shrinks", "shrink")):
        some = known[(known["p_holm"] < 0.05) & (known["rho"] * sign > 0)]
        if len(some):
            names = [f"{plain(row.score)} ({_rho(row)})" for row in some.itertuples()]
            said.append(
                f"Of {len(known)} scores, {len(some)} {one if len(some) == 1 else many} with the "
                "loss of held-out text: "
                f"{'; '.join(names)}."
            )
    left = known[~(known["p_holm"] < 0.05)]
    if len(left):
        names = listed(left["score"].str.replace(", ", " "))
        said.append(
            f"For {len(left)} of {len(known)} it cannot be told ({names}): correlations below "
            f"{span(left['detectable'], 2)} would often not have been found."
        )
    return " ".join(said)


def _rho(row) -> str:
    low, high = signed(row.ci_low, 2), signed(row.ci_high, 2)
    return f"ρ {signed(row.rho, 2)}, {low} to {high}"


def released_said(table: pd.DataFrame) -> str:
    """BBQ's score as released and as corrected, against held-out text, on the same answers."""
    rows = {row.check: row for row in table.itertuples() if row.check in _BBQ}
    if len(rows) < len(_BBQ) or any(math.isnan(row.rho) for row in rows.values()):
        return "There are too few families yet to compare the two scores of BBQ."
    ours, theirs = (rows[name] for name in _BBQ)
    return (
        f"On the same answers, BBQ's s_AMB as released follows held-out text by {_rho(theirs)} "
        f"(95% interval), and as corrected by {_rho(ours)}."
    )


_BBQ = ("bbq_ambiguous", "released")


def beside_said(table: pd.DataFrame) -> str:
    """Which way published scores go, and what the corrected ones came to here.

    Of `grid_tables.beside_published`: a sentence a kind of compression.
    """
    parts = []
    for kind, some in table.groupby("kind", sort=False):
        theirs = [f"{plain(row.title)} in {row.higher} of {row.runs}" for row in some.itertuples()]
        came = [f"{int(some[one].sum())} {said}" for one, said in SAID.items() if some[one].sum()]
        here = f"of {int(some['n'].sum())} cells {listed(came)}" if came else "no cells yet"
        parts.append(
            f"{kind.capitalize()} models: published scores are higher than the uncompressed "
            f"model's for {listed(theirs)} runs; here, {here}"
        )
    return f"{'. '.join(parts)}."


def kept_said(judged: pd.DataFrame, kind_of: Mapping[str, str]) -> dict[str, str]:
    """Two published conclusions beside this grid's corrected scores, a sentence each.

    kind_of: {compression: "quantized", "pruned", …}. Keys: `kinds` (does pruning change more than
    quantization?) and `harms` (can degeneration fall while representation gets worse?).
    """
    of = judged["compression"].map(kind_of)
    parts = []
    for kind in ("quantized", "pruned"):
        some = judged[(of == kind) & (judged["kind"] != "Language modelling")]
        if len(some):
            settled = some["verdict"].isin(SETTLED)
            size = some["standard"].abs().median()
            parts.append(
                f"{settled.mean():.0%} of {len(some)} cells of {kind} models (the median change is "
                f"{size:.2f} margins)"
            )
    kinds = f"Language modelling aside, a change is settled in {listed(parts)}."
    said = []
    for kind in ("Degeneration", "Representation"):
        counts = judged.loc[judged["kind"] == kind, "verdict"].value_counts()
        said.append(
            f"{kind.lower()} is worse in {counts.get('worse', 0)} and better in "
            f"{counts.get('better', 0)} of {int(counts.sum())} cells"
        )
    return {"kinds": kinds, "harms": f"{'; '.join(said)}.".capitalize()}


def agreement_said(table: pd.DataFrame) -> str:
    """Whether the page's own part gives what the larger table holds. Of `agreement`."""
    known = table[table["items"] > 0]
    if known.empty:
        return (
            "The larger grid is of another model or other compressions than this page's own part: "
            "there is nothing to compare."
        )
    text = (
        f"{int(known['items'].sum())} values and answers are in both. Of answers and of harms that "
        f"are 0 or 1, {known['same'].min():.1%} or more are the same; values in nats a token "
        f"differ by {known['nats'].max():.4f} in the mean, {known['largest'].max():.3f} at most"
    )
    left = [row.compression for row in table.itertuples() if not row.items]
    return text + (f". The larger grid lacks {listed(left)}." if left else ".")
