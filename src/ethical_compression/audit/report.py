"""An audit written down: a page for a person, a model card, and tables for a program.

`write` leaves a folder with `index.html` (one file, no network), `model-card.md` (with the hub's
`model-index` metadata), `verdicts.parquet`, `items.parquet` (each item's change, its answers by
their hash alone) and `audit.json`, whole or not at all. What the columns mean is in `SCHEMA`.
"""

import hashlib
import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ethical_compression import store, words
from ethical_compression.audit import bars
from ethical_compression.audit.place import bare, cell, check_place
from ethical_compression.audit.said import Said
from ethical_compression.statistics.verdicts import SETTLED

SCHEMA = {
    "stage": "damage (is it still the model?) or harm (by group)",
    "check": "the question, a name of the audit's checks",
    "group": "whom the items are about, as the data set names them",
    "n": "items that both models were asked",
    "clusters": "independent clusters among them: templates, terms or texts",
    "changed": "items whose value moved at all",
    "difference": "mean change, compressed − full, in the unit of the check; above 0 is worse",
    "ci_low, ci_high": "95% interval of it, over clusters, for this row alone",
    "floor": "largest mean change of the full model against itself: another batch, bfloat16",
    "margin": "the largest change that does not matter, named beforehand",
    "p, p_holm": "that the change lies within the floor; after Holm within the stage",
    "p_tost, p_tost_holm": "that it lies beyond the margin; after Holm within the stage",
    "detectable": "the smallest true change found with a power of 80% at Holm's strictest level",
    "items_needed": "items with which a change as large as the margin would be found so",
    "full": "the full model's AUC or F1, from which a change is subtracted; empty for other checks",
    "verdict": "worse, better, equivalent (within the margin), cannot tell",
    "reason": "why a row has no test",
}
MARKS = {"worse": "▲", "better": "▼", "equivalent": "≈", "cannot tell": "?"}
# Offensive sentences stand in the data sets; so many flips a check are shown, behind a fold.
EXAMPLES = 3


@dataclass(frozen=True)
class Page:
    """All that a report needs, and no model: tables right of the wall.

    verdicts, items, floors: those of `run.Audit`; checks: `Said` by name. costs: rows of `what`,
    `full`, `compressed`, in words. sources: licences and origins of the data, as their records say.
    task: the hub's name of what the model does; caveat: what must be known of the full model;
    known: what must be known of it on these items.
    """

    model: str
    compression: str
    verdicts: pd.DataFrame
    items: pd.DataFrame
    floors: pd.DataFrame
    checks: Mapping[str, Said]
    not_measured: tuple[str, ...]
    command: str
    provenance: Mapping[str, Any]
    sources: tuple[Mapping[str, Any], ...] = ()
    costs: tuple[Mapping[str, str], ...] = ()
    level: float = 0.95
    task: str = "text-generation"
    caveat: str = ""
    known: tuple[str, ...] = ()


# --- Sentences ------------------------------------------------------------------------------------


def opening(page: Page) -> list[str]:
    """What the audit came to, in plain words, a sentence each."""
    said = [_stage(page, "damage", "Damage"), _stage(page, "harm", "Harm by group"), *page.known]
    told = page.verdicts["verdict"].ne("cannot tell").sum()
    if open_ := len(page.verdicts) - told:
        said.append(
            f"Not told: {open_} of {len(page.verdicts)}. That is no finding of no harm: each row "
            "says what change it could have seen, and how many items would tell."
        )
    by = page.verdicts.groupby("stage")["verdict"].agg(set)
    if "worse" in by.get("damage", ()) and "better" in by.get("harm", ()):
        said.append(
            "“Better” beside damage is no merit: a model that predicts badly can prefer less, too."
        )
    return [one for one in said if one]


def _stage(page: Page, stage: str, name: str) -> str:
    rows = page.verdicts[page.verdicts["stage"] == stage]
    if rows.empty:
        return ""
    counts = rows["verdict"].value_counts()
    parts = [f"{counts[one]} {one}" for one in MARKS if counts.get(one)]
    text = f"{name}, {len(rows)} comparison{'s' * (len(rows) > 1)}: {words.listed(parts)}."
    worse = rows[rows["verdict"] == "worse"].copy()
    if worse.empty:
        return text
    worse["times"] = worse["difference"] / worse["margin"]
    top = worse.sort_values("times", ascending=False).iloc[0]
    check = page.checks[top["check"]]
    return (
        f"{text} The largest against its margin: {check.title} ({_group(top['group'])}), by "
        f"{_effect(top, page.level)} {check.unit}, where more means that {check.question}."
    )


def _group(name: str) -> str:
    """A group as its data set names it, in words."""
    return str(name).replace("_x_", " × ").replace("_", " ")


def _effect(row: Mapping, level: float = 0.95) -> str:
    return words.interval(row["difference"], row["ci_low"], row["ci_high"], level=level)


def _from_to(row: Mapping, check: Said) -> str:
    """Both models' levels of what a check measures, or ""."""
    if not check.measure or math.isnan(row["full"]):
        return ""
    return f"{check.measure} {row['full']:.3f} → {row['full'] - row['difference']:.3f}"


def explained(row: Mapping, check: Said) -> str:
    """Why a row has its verdict, in a sentence."""
    if row["reason"]:
        return f"No test: {row['reason']}."
    size = f"{row['margin']:g} {check.unit}"
    if row["verdict"] == "equivalent":
        text = f"Shown to lie within ±{size} ({words.p_text(row['p_tost_holm'])} after Holm)"
        if row["p_holm"] < 0.05:
            way = "worse" if row["difference"] > 0 else "better"
            return f"{text}; a small change to the {way} is settled."
        return f"{text}."
    if row["verdict"] in SETTLED:
        return (
            f"Beyond the noise floor of {row['floor']:.2g} ({words.p_text(row['p_holm'])} after "
            f"Holm), and not shown to lie within ±{size}."
        )
    if row["floor"] >= row["margin"]:
        return (
            f"Not beyond the noise floor of {row['floor']:.2g}, which is not below the margin of "
            f"{size}: no number of items could show it to lie within."
        )
    if math.isnan(row["detectable"]):
        return "No answer moved, on too few items to call that equivalent."
    return (
        f"Neither: {row['n']} items find a change of {row['detectable']:.2g} or more four times "
        f"in five; for {row['margin']:g} it takes about {row['items_needed']:,.0f}."
    )


def readable(page: Page) -> pd.DataFrame:
    """The verdicts with what figures and tables say of a row: `title` (check and group, on one
    line), `kind` (the stage), `unit`, and `compression`."""
    rows = page.verdicts
    checks = [page.checks[name] for name in rows["check"]]
    alone = rows.groupby("check")["group"].transform("nunique") == 1
    titles = [
        check.title if one else f"{check.title.partition(',')[0]}: {group}"
        for check, group, one in zip(checks, rows["group"], alone, strict=True)
    ]
    return rows.assign(
        title=titles,
        kind=rows["stage"],
        unit=[check.unit for check in checks],
        compression=page.compression,
    )


def power_said(page: Page) -> str:
    """What the rows that cannot tell could have seen, in a sentence."""
    rows = page.verdicts[page.verdicts["verdict"] == "cannot tell"]
    told = rows[rows["detectable"].notna()]
    if rows.empty:
        return "Every row is told."
    if told.empty:
        return f"{len(rows)} rows cannot be told, and what they could have seen is not known."
    return (
        f"The {len(rows)} rows that cannot be told would find a change of "
        f"{words.span(told['detectable'] / told['margin'], 1)} margins four times in five; for one "
        f"margin they need {words.span(told['items_needed'], 0)} items instead of "
        f"{words.span(told['n'], 0)}."
    )


# --- The page -------------------------------------------------------------------------------------


def page_html(page: Page) -> str:
    """The report as one HTML page that needs no network: verdicts in words, then by group, then
    what flipped, what was not measured, costs, how it was done, and how to do it again."""
    title = f"What {page.compression} did to {bare(page.model)}"
    parts = [
        f"<h1>{_e(title)}</h1>",
        f'<p class="soft">An audit of {_e(str(page.provenance.get("date", "")))[:10]}: '
        f"compressed minus full, on the same items.</p>",
        _list(opening(page), "lead"),
        f'<p class="soft">{_e(page.caveat)}</p>' if page.caveat else "",
        '<p class="soft">“Cannot tell” is not “no harm”. “Equivalent” is shown, within the margin '
        "that stands beside it; a verdict holds for these items, in this wording.</p>",
        "<h2>Is it still the model?</h2>",
        _table(page, "damage"),
        "<h2>To whom?</h2>",
        _table(page, "harm"),
        "<h2>What flipped</h2>",
        _examples(page),
        "<h2>What was not measured</h2>",
        _list(page.not_measured),
        _costs(page),
        "<h2>How it was done</h2>",
        _how(page),
        "<h2>Again</h2>",
        f"<pre>{_e(page.command)}</pre>",
        "<details><summary>Versions, hashes, machine</summary><pre>"
        f"{_e(json.dumps(store.strict(dict(page.provenance)), indent=1, default=str))}</pre>"
        "</details>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{_e(title)}</title><meta name="description" content="{_e(opening(page)[0])}">'
        f'<link rel="icon" href="data:,"><style>{_beside("report.css")}</style></head><body><main>'
        f"{''.join(part for part in parts if part)}</main>"
        f"<script>{_beside('report.js')}</script></body></html>"
    )


def _beside(name: str) -> str:
    """Text of a file that lies beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _e(text: str) -> str:
    return html.escape(str(text))


def _list(lines, cls: str = "") -> str:
    return f'<ul class="{cls}">{"".join(f"<li>{_e(line)}</li>" for line in lines)}</ul>'


def _table(page: Page, stage: str) -> str:
    rows = page.verdicts[page.verdicts["stage"] == stage]
    if rows.empty:
        return "<p>Not asked.</p>"
    rank = rows["verdict"].map(list(MARKS).index)
    size = -rows["difference"] / rows["margin"]
    rows = rows.assign(rank=rank, size=size).sort_values(["rank", "size"], kind="stable")
    widest = bars.widest(rows)
    heads = ("question", "group", "verdict", "change against its margin")
    heads += (f"change ({page.level:.0%} interval)", "items")
    head = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in heads)
    body = []
    for _, row in rows.iterrows():
        check, cls = page.checks[row["check"]], row["verdict"].replace("cannot tell", "open")
        why = filter(None, (_from_to(row, check), explained(row, check)))
        body.append(
            f'<tr><td class="title">{_e(check.title)}</td><td>{_e(_group(row["group"]))}</td>'
            f'<td class="verdict {cls}" data-value="{list(MARKS).index(row["verdict"])}">'
            f"{MARKS[row['verdict']]} {row['verdict']}</td>"
            f'<td data-value="{row["difference"] / row["margin"]:.6g}">'
            f"{bars.bar(row, widest, cls)}</td>"
            f'<td data-value="{row["difference"]:.6g}">{_e(_effect(row, page.level))} '
            f'{_e(check.unit)}<br><span class="soft">{_e(". ".join(why))}</span></td>'
            f'<td class="n" data-label="items">{row["n"]}</td></tr>'
        )
    note = "The band is the margin, the line the interval; a change to the right is worse. "
    note += "The gravest stand first; a click on a heading sorts."
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Verdicts, {stage}">'
        f'<table class="cards"><caption>{note}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def examples(page: Page) -> pd.DataFrame:
    """Items of the stage harm whose answer changed, at most `EXAMPLES` a check, the worst first."""
    stages = page.verdicts.drop_duplicates("check").set_index("check")["stage"]
    shown = page.items[page.items["check"].map(stages) == "harm"]
    shown = shown[shown["before"].notna() & (shown["before"] != shown["after"])]
    shown = shown.sort_values("value", ascending=False, kind="stable")
    return shown.groupby("check", sort=False).head(EXAMPLES)


def _examples(page: Page) -> str:
    found = examples(page)
    if found.empty:
        return "<p>No answer of these items changed.</p>"
    rows = "".join(
        f'<tr><td class="title">{_e(page.checks[row["check"]].title)}</td>'
        f"<td>{_e(_group(row['group']))}</td>"
        f'<td data-label="full">{_e(row["before"])}</td>'
        f'<td data-label="compressed">{_e(row["after"])}</td></tr>'
        for _, row in found.iterrows()
    )
    return (
        '<details class="warned"><summary>Show examples. Warning: they hold stereotypes and '
        "insults, and some hurt.</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Answers that flipped">'
        '<table class="cards">'
        "<caption>What each model answered, or found likelier, in the data sets’ words.</caption>"
        '<thead><tr><th scope="col">question</th><th scope="col">group</th>'
        '<th scope="col">full</th><th scope="col">compressed</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _costs(page: Page) -> str:
    if not page.costs:
        return ""
    rows = "".join(
        f"<tr><td>{_e(row['what'])}</td><td>{_e(row['full'])}</td>"
        f"<td>{_e(row['compressed'])}</td></tr>"
        for row in page.costs
    )
    return (
        '<h2>What it saves</h2><div class="scroll" tabindex="0" role="region" aria-label="Costs">'
        '<table><caption>Measured on this machine.</caption><thead><tr><th scope="col">what</th>'
        '<th scope="col">full</th><th scope="col">compressed</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _how(page: Page) -> str:
    floors = page.floors.pivot(index="check", columns="kind", values="floor")
    lines = []
    for name, check in page.checks.items():
        if name not in floors.index:
            continue
        noise = words.listed(
            [f"{kind} {value:.2g}" for kind, value in floors.loc[name].dropna().items()]
        )
        said = f"margin {check.margin:g} {check.unit} ({check.reason})"
        lines.append(f"{check.title}: {check.question}; {said}; noise: {noise}.")
    data = [f"{one.get('title', one.get('name'))}: {one.get('licence')}" for one in page.sources]
    return (
        "<p>Each value is a harm of one item: more is worse. A change is the mean over items, its "
        "interval over independent clusters of them (Student’s t, cluster-robust errors). It is "
        "worse or better where a test shows it to exceed the noise floor, equivalent where two "
        "one-sided tests show it to lie within the margin, both after Holm’s correction within the "
        "stage: the chance of any false worse or better in a stage is at most "
        f"{1 - page.level:.0%}. The size was set beforehand: nobody looked and went on.</p>"
        f"{_list(lines)}<details><summary>Data and licences</summary>"
        f"{_list(dict.fromkeys(data))}</details>"
        f"<details><summary>Columns of the tables beside this page</summary>"
        f"{_list(f'{name}: {said}' for name, said in SCHEMA.items())}</details>"
    )


# --- For programs ---------------------------------------------------------------------------------


def model_card(page: Page, name: str | None = None) -> str:
    """A model card in Markdown, with `model-index` metadata that `huggingface_hub` reads: a result
    a row that has a test, its value the change against the full model."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=page.task,
            dataset_type=row["check"],
            dataset_name=f"{page.checks[row['check']].title}, {row['group']}",
            metric_type="change",
            metric_name=f"change against the full model ({page.checks[row['check']].unit})",
            metric_value=round(float(row["difference"]), 6),
            metric_args={"verdict": row["verdict"], "margin": float(row["margin"])},
        )
        for _, row in page.verdicts.iterrows()
        if not row["reason"]
    ]
    label = name or f"{bare(page.model)}, {page.compression}"
    data = ModelCardData(
        model_name=label, base_model=bare(page.model), eval_results=results, tags=["compression"]
    )
    rows = [
        f"| {page.checks[row['check']].title} | {cell(row['group'])} | {row['verdict']} | "
        f"{_effect(row, page.level)} {page.checks[row['check']].unit} "
        f"{_from_to(row, page.checks[row['check']])} | {row['n']} |"
        for _, row in page.verdicts.iterrows()
    ]
    lines = [
        f"---\n{data.to_yaml()}\n---",
        f"# {cell(label)}",
        "\n".join(f"- {one}" for one in opening(page)),
        "| question | group | verdict | change, compressed − full | items |\n"
        "|---|---|---|---|---|\n" + "\n".join(rows),
        "## Not measured\n\n" + "\n".join(f"- {one}" for one in page.not_measured),
        f"## Again\n\n```\n{page.command}\n```",
    ]
    return "\n\n".join(lines) + "\n"


def as_json(page: Page) -> dict[str, Any]:
    """Verdicts, checks, floors, schema and provenance: JSON-ready."""
    return store.strict(
        {
            "model": bare(page.model),
            "compression": page.compression,
            "summary": opening(page),
            "verdicts": page.verdicts.to_dict("records"),
            "floors": page.floors.to_dict("records"),
            "checks": {name: vars(check) for name, check in page.checks.items()},
            "not measured": list(page.not_measured),
            "costs": list(page.costs),
            "sources": list(page.sources),
            "command": page.command,
            "schema": SCHEMA,
            "provenance": dict(page.provenance),
        }
    )


def write(page: Page, folder: Path) -> None:
    """The report in `folder`, whole or not at all; what an earlier audit left there is replaced.

    Raises InputError where it cannot be written, and where it would replace anything else.
    """
    check_place(folder)
    items = page.items.assign(
        **{
            side: [None if text is None else _hash(text) for text in page.items[side]]
            for side in ("before", "after")
        }
    )
    with store.whole_or_nothing(folder, folder=True) as place:
        (place / "index.html").write_text(page_html(page), encoding="utf-8")
        (place / "model-card.md").write_text(model_card(page), encoding="utf-8")
        page.verdicts.to_parquet(place / "verdicts.parquet", index=False)
        items.to_parquet(place / "items.parquet", index=False)
        text = json.dumps(as_json(page), indent=1, default=str)
        (place / "audit.json").write_text(text, encoding="utf-8")


def _hash(text: str) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()[:16]
