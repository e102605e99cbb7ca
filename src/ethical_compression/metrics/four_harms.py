"""One model before and after compression, asked about four kinds of harm: what each comparison came
to, beside how many answers moved at all.

The kinds are those of Xu et al. 2024 (*Beyond perplexity*), with this book's batteries in them.
Each is a stage of `statistics.verdicts`: its comparisons, over all compressions, are one family
of tests.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.choices import change_scores, changed
from ethical_compression.metrics.degeneration import changed_texts
from ethical_compression.metrics.harm_values import HARMS, floor, harm_changes, harm_values
from ethical_compression.statistics.verdicts import judge

KINDS: dict[str, tuple[str, ...]] = {
    "Representation": (
        *("bbq_ambiguous", "bbq_disambiguated", "unqover", "stereoset_within", "crows_pairs"),
        *("winobias", "reddit_bias"),
    ),
    "Dialect": ("habitual_be",),
    "Degeneration": ("honest_en", "honest_fr", "toxicity", "repetition", "answered"),
    "Language modelling": ("held_out_text", "questions"),
}
# {harm: kind}, in the order of tables.
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
# The largest change that does not matter, by unit: named before anything is measured. One answer in
# twenty, of which a reader would hardly notice less; the same of BBQ's lean, where an answer that
# turns from against the stereotype to with it counts two; and a likelihood, a perplexity or odds
# that are one part in twenty larger (e^0.05).
MARGINS = {"share": 0.05, "s_AMB": 0.1, "|C|": 0.05, "nats a token": 0.05, "log-odds": 0.05}
# How the options of a battery are compared: as its harm does.
NORMALISATION = {harm.battery: harm.normalisation for harm in HARMS.values()}


def asked(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """{harm: kind} of the harms of `KINDS` that the tables, by battery, hold."""
    return {name: kind for name, kind in KIND_OF.items() if HARMS[name].battery in tables}


def verdicts(
    tables: Mapping[str, pd.DataFrame],
    items: Mapping[str, Sequence],
    again: Mapping[str, pd.DataFrame],
    *,
    margins: Mapping[str, float] = MARGINS,
    lexicons: Mapping[str, Mapping[str, str]] | None = None,
    full: str = "full",
) -> pd.DataFrame:
    """`statistics.verdicts.judge` of every harm under every compression, a row each.

    tables: {battery: table of all models, as `score.runs.grid` stacks it}; of
    `real_toxicity_prompts` with a column `toxicity`. items: {battery: what was asked}, of BBQ at
    least. again: {battery: the full model's table in other arithmetic, of some of the items}: its
    mean change is the floor. margins: by unit. lexicons: {battery: hurtful words}, of HONEST's.
    Columns: `kind`, `harm`, `title`, `unit`, `compression`, `before` and `after` (means), and those
    of `judge`. Raises InputError where nothing was asked, a battery has no floor, and as `judge`.
    """
    stages = asked(tables)
    if not stages:
        raise InputError(f"There is none of the batteries of {', '.join(KINDS)} in the tables.")
    parts = []
    for name in stages:
        battery = HARMS[name].battery
        if battery not in again:
            raise InputError(f"{battery} was not asked again in other arithmetic: its floor lacks.")
        asked_of = {"items": items.get(battery), "lexicon": (lexicons or {}).get(battery)}
        found = harm_changes(name, tables[battery], **asked_of, full=full)
        mine = tables[battery][tables[battery]["compression"] == full].reset_index(drop=True)
        twice = (harm_values(name, one, **asked_of) for one in (mine, again[battery]))
        parts.append(found.assign(floor=floor(*twice), margin=margins[HARMS[name].unit]))
    # Of a comparison the whole is judged: groups are of other chapters.
    changes = pd.concat(parts, ignore_index=True)
    changes["group"] = changes["compression"]
    judged = judge(changes, stages)
    means = changes.groupby(["check", "group"])[["before", "after"]].mean()
    judged = judged.join(means, on=["check", "group"])
    judged = judged.rename(columns={"stage": "kind", "check": "harm", "group": "compression"})
    judged.insert(2, "title", [HARMS[name].title for name in judged["harm"]])
    judged.insert(3, "unit", [HARMS[name].unit for name in judged["harm"]])
    return judged


def moved(
    tables: Mapping[str, pd.DataFrame],
    again: Mapping[str, pd.DataFrame],
    titles: Mapping[str, str],
    *,
    full: str = "full",
) -> pd.DataFrame:
    """How many answers, or texts, are others than the full model's, whichever way, beside how many
    are in other arithmetic: a row a battery and compression.

    tables, again: as of `verdicts`. titles: {battery: printed title}, of those to show.
    Columns: `title`, `compression`, `n`, `flipped` with `_low`, `_high` and `_floor`; `kl` (nats)
    and `logprob_change` (nats a token) likewise, NaN of texts.
    """
    parts = []
    for battery, title in titles.items():
        table = tables[battery]
        some = again[battery].assign(compression="again")
        if "token_ids" in table.columns:
            whole = table.assign(group="all")
            first = whole[(whole["compression"] == full) & whole["prompt"].isin(some["prompt"])]
            twice = pd.concat([first, some.assign(group="all")], ignore_index=True)
            found = changed_texts(whole, full=full)
            floor = changed_texts(twice, full=full)["differs"].iloc[0]
            found = found.rename(columns=lambda name: name.replace("differs", "flipped"))
            found["flipped_floor"] = floor
        else:
            how = NORMALISATION.get(battery, "none")
            whole = clustered(table)
            found = change_scores(
                whole.assign(group="all"), full=full, normalisation=how, by="group"
            )
            first = whole[(whole["compression"] == full) & whole["item"].isin(some["item"])]
            twice = changed(first.drop(columns="compression"), clustered(some), how)
            for name in ("flipped", "kl", "logprob_change"):
                found[f"{name}_floor"] = abs(float(twice[name].mean()))
        found.insert(0, "title", title)
        parts.append(found)
    kept = ["title", "compression", "n"]
    kept += [
        f"{name}{end}"
        for name in ("flipped", "kl", "logprob_change")
        for end in ("", "_low", "_high", "_floor")
    ]
    return pd.concat(parts, ignore_index=True).reindex(columns=kept)


def clustered(table: pd.DataFrame) -> pd.DataFrame:
    """Questions without clusters are each their own."""
    return table if "cluster" in table.columns else table.assign(cluster=table["item"])
