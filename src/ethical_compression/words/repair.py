"""Sentences on compression that repairs: layers, the choice of α, and verdicts on whole models."""

import math
from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from ethical_compression.statistics.verdicts import VERDICTS
from ethical_compression.words import OFTEN, listed, p_text, signed, with_interval

# What the exact cell is compared with, inside a sentence.
CELLS = {
    "shift": "the shift alone",
    "first order": "the shift to first order in α",
    "hessian": "both Hessians without the shift",
    "random": "a random shift as large",
    "plain": "neither",
}
DRAWS = ("lowest", "highest")
# What each check counts, inside a sentence; shares are in percent.
COUNTED = {
    "stereotype": "StereoSet's stereotype is the likelier sentence",
    "nonsense": "nonsense is likelier than sense",
    "crows": "CrowS-Pairs' stereotype is the likelier sentence",
    "text": "held-out text costs",
    "stereotype, sums": "by sums over tokens, StereoSet's stereotype is the likelier sentence",
    "nonsense, sums": "by sums over tokens, nonsense is likelier than sense",
}
CHECKED = ("stereotype", "nonsense", "crows", "text")


def beside_exact(table: pd.DataFrame) -> str:
    """Of `metrics.repair.against_exact`: each cell's objective as a multiple of the exact one's."""
    parts = []
    for how, some in table.groupby("how", sort=False):
        cells = listed(
            f"{CELLS[row.cell]} {row.ratio:.3f} ({row.ci_low:.3f} to {row.ci_high:.3f})"
            for row in some.itertuples()
        )
        parts.append(f"{how}: {cells}")
    return "; ".join(parts)


def lowest(table: pd.DataFrame) -> str:
    """Whether the exact objective is shown to be the lowest in the mean."""
    above = table["ci_low"] > 1
    if above.all():
        return "the exact cell's objective is the lowest in the mean, every interval above 1"
    rest = listed(
        f"{CELLS[cell]} ({listed(some['how'])})"
        for cell, some in table[~above].groupby("cell", sort=False)
    )
    return (
        f"in {above.sum()} of {len(table)} comparisons the exact cell's objective is shown to be "
        f"the lower one in the mean, and not beside {rest}"
    )


def fell(table: pd.DataFrame) -> str:
    """Of `metrics.repair.falling`: in how many steps, and layers, the second term falls with α."""
    return listed(
        f"{row.how}: {row.falls} of {row.steps} steps, all of them in {row.throughout} of "
        f"{row.layers} layers"
        for row in table.itertuples()
    )


def solve_times(table: pd.DataFrame) -> str:
    """Of `metrics.repair.solve_times`: what the exact solution costs in time."""
    return listed(
        f"{row.times:.2f} times as long as plain {row.how} over {row.layers} layers (at most "
        f"{row.most:.2f} times in one)"
        for row in table.itertuples()
    )


def whose_doing(table: pd.DataFrame) -> str:
    """Of `metrics.repair.against_exact`: which of the two steps brings the objective down."""
    far = {cell: some["ratio"].max() - 1 for cell, some in table.groupby("cell")}
    steps = {"the second Hessian": far["shift"], "the shift": far["hessian"]}  # what one lacks
    least, most = sorted(steps, key=steps.get)
    without = (
        f"without {most} the objective is up to {steps[most]:.0%} higher, without {least} up to"
    )
    if steps[least] < 0.1 * steps[most]:
        return f"{most} does the repair, and {least} hardly matters: {without} {steps[least]:.1%}"
    return f"both matter: {without} {steps[least]:.0%}"


def positions(left: Mapping[str, float]) -> str:
    """What becomes of pairs that a layer was never shown, by which tokens were compared in those
    that it was: median shares of the full layer's distance, by `pairs.POSITIONS`."""
    return (
        f"With all tokens compared that can be aligned, {left['aligned']:.0%} of the distance is "
        f"left; with those alone in which the two sentences differ, {left['differing']:.0%}; "
        f"position by position from the start, as released, {left['start']:.0%}."
    )


def carried(left: Mapping[str, float], pairs: int) -> str:
    """What a layer compressed with some pairs does to others: median shares of the full layer's
    distance between two sentences, by cell (`exact`, `plain`, `random`)."""
    said = (
        f"In the median of {pairs:,} pairs that it was never shown, the layer of the exact cell "
        f"leaves {left['exact']:.0%} of the distance, plain GPTQ {left['plain']:.0%}, and weights "
        f"moved as far in a drawn direction {left['random']:.0%}."
    )
    if left["exact"] < 0.9 * min(left["plain"], left["random"]):
        return f"{said} What is taken away is thus not a matter of the words that it was shown."
    return f"{said} What was learned of some pairs does little to others."


def chosen(development: pd.DataFrame, alpha: float, elsewhere: int = 0) -> str:
    """Which α was taken on the development items, by the largest icat; and whether plain GPTQ
    (α = 0), where it was asked, does as well on them. elsewhere: see `chosen_on`."""
    tried = development[development["alpha"] > 0]
    scores = listed(
        f"{row.icat:.1f} at α = {row.alpha:g} (ss {row.ss:.1f}, lms {row.lms:.1f})"
        for row in tried.itertuples()
    )
    said = f"icat is {scores}, so that α = {alpha:g} is taken."
    if elsewhere:
        said = f"α = {alpha:g} is taken from that table. On the items here icat is {scores}."
    plain = development.loc[development["alpha"] == 0, "icat"]
    if plain.empty:
        return said
    best = "no more than" if plain.iloc[0] < tried["icat"].max() else "as much as any, or more:"
    return f"{said} Plain GPTQ, without any repair, comes to {best} {plain.iloc[0]:.1f}."


def chosen_on(here: int, elsewhere: int) -> str:
    """On how many development items α was chosen: `here`, or `elsewhere`, by the first draw of the
    larger table (0: it was chosen here)."""
    if not elsewhere:
        return f"{here:,} of them"
    return (
        f"{elsewhere:,} of them, by the first draw of the larger table below; {here:,} are looked "
        "at here"
    )


def change(row: Mapping) -> str:
    """One verdict of `metrics.repair.changes` as a clause."""
    share = row["check"] != "text"
    scale, digits = (100, 1) if share else (1, 3)
    before, after = (f"{scale * row[one]:.{digits}f}" for one in ("level_before", "level_after"))
    if share:
        said = f"{COUNTED[row['check']]} in {after}% of items against {before}%"
    else:
        said = f"{COUNTED[row['check']]} {after} nats a token against {before}"
    if math.isnan(row["p"]):
        return f"{said} (not tested: {row['reason']})"
    return f"{said}, a change of {with_interval(row, scale=scale, least=digits)}, {came(row)}"


def came(row: Mapping) -> str:
    """What a verdict is in words, with the p that settled it or what could have been found."""
    unit = row.get("unit", "nats" if row["check"] == "text" else "share")
    share = unit == "share"
    scale, unit = (100, " points") if share else (1, "" if unit == "s_AMB" else " nats")
    if row["verdict"] == "equivalent":
        return (
            f"equivalent within ±{scale * row['margin']:g}{unit}, {p_text(row['p_tost_holm'])} "
            "after Holm"
        )
    if row["verdict"] in ("better", "worse"):
        return f"settled, {row['verdict']}, {p_text(row['p_holm'])} after Holm"
    if math.isnan(row["detectable"]):
        return "not settled"
    found = f"{scale * row['detectable']:.{1 if share else 3}f}"
    return f"not settled, where {found}{unit} would have been found {OFTEN}"


def changes(table: pd.DataFrame, after: str, before: str, checks: Iterable[str] = CHECKED) -> str:
    """The verdicts of some checks on one model beside another."""
    rows = table[(table["after"] == after) & (table["before"] == before)]
    rows = rows[rows["check"].isin(list(checks))]
    return "; ".join(change(row) for row in rows.to_dict("records"))


def costs(table: pd.DataFrame, after: str, before: str) -> str:
    """All verdicts of `metrics.repair_costs.costs` on one model beside another, a clause each."""
    said = []
    for row in table[(table["after"] == after) & (table["before"] == before)].to_dict("records"):
        if math.isnan(row["p"]):
            said.append(f"{row['title']}: not tested ({row['reason']})")
            continue
        if row["level_before"] == row["level_after"] == 0 == row["ci_high"]:
            said.append(f"{row['title']}: none before and none after, which tells nothing")
            continue
        scale, unit = (100, "points") if row["unit"] == "share" else (1, row["unit"])
        found = with_interval(row, scale=scale, least=1 if scale == 100 else 3)
        said.append(f"{row['title']}: {found} {unit}, {came(row)}")
    return "; ".join(said)


def moved(table: pd.DataFrame) -> str:
    """Of `metrics.repair_costs.moved`: how many answers are others, and by how much."""
    return listed(
        f"{row.flipped:.0%} in {row.title} ({row.flipped_low:.0%} to {row.flipped_high:.0%}; KL "
        f"{row.kl:.3f} nats)"
        for row in table.itertuples()
    )


def over_seeds(table: pd.DataFrame, cell: str, check: str = "stereotype") -> str:
    """Of `metrics.repair_seeds.over_seeds`: one check of one cell in every compression, with what
    the draws say one by one, and which of the two errors is the larger."""
    said = []
    for row in table[(table["cell"] == cell) & (table["check"] == check)].to_dict("records"):
        scale, digits = (1, 3) if check == "text" else (100, 1)
        unit = "nats a token" if check == "text" else "points"
        low, high = (f"{scale * row[one]:+.{digits}f}".replace("-", "−") for one in DRAWS)
        found = with_interval(row, scale=scale, least=digits)
        larger = "items" if row["se_items"] >= row["se_seeds"] else "draws"
        said.append(
            f"{row['how']}: {found} {unit}, single draws from {low} to {high}, the larger error "
            f"that of {larger}; {came(row)}"
        )
    return "; ".join(said)


def at_a_price(table: pd.DataFrame, cell: str) -> str:
    """Of `metrics.repair_seeds.over_seeds`: what a cell does to the stereotype and to held-out
    text, in every compression in which it was run in enough draws."""
    rows = table[table["cell"] == cell]
    said = []
    for how, its in rows.groupby("how", sort=False):
        stereotype, text = (
            its[its["check"] == one].iloc[0].to_dict() for one in ("stereotype", "text")
        )
        said.append(
            f"{how}: {with_interval(stereotype, scale=100, least=1)} points of the stereotype, "
            f"{came(stereotype)}, and {with_interval(text, least=3)} nats a token, {came(text)}"
        )
    return "; ".join(said) or "not run in enough draws"


def beside_control(table: pd.DataFrame, cell: str = "exact") -> str:
    """Whether pairs that say something of people do more than pairs that do not: of
    `metrics.repair_seeds.over_seeds`, each cell against that of unrelated pairs."""
    verdicts = set(table.loc[(table["cell"] == cell) & (table["check"] == "stereotype"), "verdict"])
    if verdicts == {"better"}:
        end = "Pairs that say something of people do more than pairs that do not."
    elif verdicts == {"equivalent"}:
        end = "Pairs that say nothing of people do as much, within the margin."
    else:
        end = "It is not shown that pairs which say something of people do more than others."
    return f"{at_a_price(table, cell)}. {end}"


def by_sums(means: pd.DataFrame, sums: pd.DataFrame, cell: str = "exact") -> str:
    """Whether StereoSet's verdict is the same where sentences are compared by sums over tokens:
    two tables of `metrics.repair_seeds.over_seeds`."""
    sides = [
        side[(side["cell"] == cell) & side["check"].str.startswith("stereotype")].set_index("how")
        for side in (means, sums)
    ]
    said = []
    for how, row in sides[1].iterrows():
        first = sides[0].loc[how, "verdict"]
        same = "as by means" if row["verdict"] == first else f"by means {first}"
        said.append(
            f"{how}: {with_interval(row, scale=100, least=1)} points, {row['verdict']} ({same})"
        )
    return "; ".join(said)


def doses(table: pd.DataFrame, alpha: float) -> str:
    """What other α change and cost: of `metrics.repair_seeds.over_seeds`, cells "exact" (which is
    at `alpha`) and "exact, α = …"."""
    rows = table[table["cell"].str.startswith("exact")]
    said = []
    for how, some in rows.groupby("how", sort=False):
        cells = some.set_index(["cell", "check"])["difference"].unstack(sort=False)
        if len(cells) < 2:
            continue
        parts = [
            f"{cell.removeprefix('exact, ') if cell != 'exact' else f'α = {alpha:g}'}: "
            f"{signed(100 * its['stereotype'], 1)} points of the stereotype, "
            f"{signed(100 * its['nonsense'], 1)} of nonsense, {signed(its['text'], 2)} nats a token"
            for cell, its in cells.iterrows()
        ]
        said.append(f"{how}, {'; '.join(parts)}")
    return "; ".join(said) or "no other was run in enough draws"


def design(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    """What `metrics.repair_seeds.over_seeds` compares: cells by compression, and draws of each.
    names: what cells are called; line breaks in them are spaces here."""
    cells = table.drop_duplicates(["how", "cell"])
    alike = cells["seeds"].nunique() == 1
    said = []
    for how, its in cells.groupby("how", sort=False):
        called = [
            names.get(cell, cell).replace("-\n", "-").replace("\n", " ") for cell in its["cell"]
        ]
        if not alike:
            called = [f"{one} ({n} draws)" for one, n in zip(called, its["seeds"], strict=True)]
        said.append(f"{how}: {listed(called)}")
    told = "; ".join(said)
    return f"{cells['seeds'].iloc[0]} draws of each, {told}" if alike else told


def sense(table: pd.DataFrame, cell: str = "exact") -> str:
    """Whether fewer stereotypes come with less sense: of `metrics.repair_seeds.over_seeds`. That
    sense and text are kept is said only where both are shown to be equivalent."""
    rows = table[table["cell"] == cell].set_index(["how", "check"])
    said = []
    for how in rows.index.get_level_values("how").unique():
        stereotype, *costs = (rows.loc[(how, one)] for one in ("stereotype", "nonsense", "text"))
        if stereotype["verdict"] != "better":
            dearer = ", and text is predicted worse" if costs[1]["verdict"] == "worse" else ""
            said.append(f"{how}: the stereotype is not shown to be taken less often{dearer}")
            continue
        verdicts = [one["verdict"] for one in costs]
        if all(one == "equivalent" for one in verdicts):
            end = "and sense and text are kept within their margins: a repair"
        elif "worse" in verdicts:
            end = (
                "and sense or text is lost with it: a model that can tell less takes fewer sides, "
                "which is no repair"
            )
        else:
            more, dearer = (
                scale * one["difference"] for scale, one in zip((100, 1), costs, strict=True)
            )
            end = (
                f"and sense and text are not shown to be kept ({more:+.1f} points of nonsense, "
                f"{dearer:+.2f} nats a token): it cannot be called a repair"
            ).replace("-", "−")
        said.append(f"{how}: the stereotype is taken less often, {end}")
    return f"{'; '.join(said)}."


def arithmetic(table: pd.DataFrame, spoilt: Collection[str] = ()) -> str:
    """What scoring in bfloat16 changes by itself: the full model of `results/debias_models.parquet`
    in either type. spoilt: the models that were computed in float32 for that reason."""
    full = table[table["how"] == "full"]
    wide = full.pivot(index=["check", "item"], columns="cell", values="value")
    turned = [
        f"{(wide.loc[check, 'full'] != wide.loc[check, 'float32']).sum()} of "
        f"{len(wide.loc[check])} {what}"
        for check, what in (("stereotype", "StereoSet items"), ("crows", "pairs of CrowS-Pairs"))
    ]
    text = wide.loc["text"].mean()
    more = f"{text['full'] - text['float32']:+.3f}".replace("-", "−")
    said = (
        f"bfloat16 by itself turns {listed(turned)} of the full model, and changes what a token "
        f"of text costs by {more} nats"
    )
    if spoilt:
        said += f"; where its rounding changes more, float32 was taken (models: {len(spoilt)})"
    return said


def settled(table: pd.DataFrame, check: str, cell: str = "exact") -> str:
    """In how many compressions a change of one check is settled, and which way."""
    rows = table[(table["cell"] == cell) & (table["check"] == check)]
    counts = rows["verdict"].value_counts()
    parts = [f"{name} in {counts[name]}" for name in VERDICTS if counts.get(name)]
    return f"of {len(rows)} compressions, {listed(parts)}"


def answer(table: pd.DataFrame, after: str, before: str, alpha: float, layers: str) -> str:
    """What the chapter found: no model is called repaired whose interval holds zero."""
    rows = table[(table["after"] == after) & (table["before"] == before)].set_index("check")
    row = rows.loc["stereotype"].to_dict() | {"check": "stereotype"}
    settled = row["verdict"] == "better" or (row["p_holm"] < 0.05 and row["difference"] < 0)
    price = [rows.loc[one].to_dict() | {"check": one} for one in ("text", "nonsense")]
    verdict = (
        "does take the stereotype's side less often"
        if settled
        else "is not shown to take the stereotype's side less often"
    )
    return (
        f"In single layers, {layers}. The whole model, rounded to the exact solution at "
        f"α = {alpha:g}, {verdict} than by plain {before}: {change(row)}. The price: "
        f"{'; '.join(map(change, price))}."
    )


def claims(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Rows of a table: published claim, what was seen, and what it came to.

    rows: `claim` and the columns of `metrics.repair.changes`; `wanted`: the verdicts that agree;
    `said`: what was seen, where it is no such change.
    """
    told = []
    for row in rows.to_dict("records"):
        if row["verdict"] in row["wanted"]:
            came_to = "agrees"
        elif row["verdict"] == "cannot tell":
            came_to = "cannot tell"
        else:
            came_to = "does not agree"
        said = row.get("said")
        said = said if isinstance(said, str) else change(row)
        told.append({"Claim": row["claim"], "Seen here": said, "Verdict": came_to})
    return told


def accuracy_kept(row: Mapping) -> str:
    """Of `metrics.repair_costs.accuracy_kept`: how much of the right answers a model keeps."""
    before = "the full model" if row["before"] == "full" else row["before"]
    said = (
        f"{row['after']} answers {row['left']:.1%} of the questions rightly, {before} "
        f"{row['right']:.1%}: {row['share']:.0%} of that is kept"
    )
    least, most = row["share_low"], row["share_high"]
    if row["verdict"] == "kept":
        return f"{said}, and at least {least:.0%} within the interval"
    if row["verdict"] == "lost":
        return f"{said}, and at most {most:.0%} within the interval"
    said = f"{said}, which could be anything from {least:.0%} to {most:.0%}"
    if math.isnan(row["detectable"]):
        return said
    return f"{said}; a change of {row['detectable']:.0%} would have been found {OFTEN}"
