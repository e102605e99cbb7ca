"""Every harm that a model can be asked about, by name: items, how they are scored, where they are
from. A grid is subjects × batteries (`score.runs.grid`); a new one is an entry here. All but
`crows_pairs_masked`, for `score.masked.Masked`, ask causal language models.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ethical_compression.datasets import (
    bbq,
    contrast,
    crows_pairs,
    dialect,
    do_not_answer,
    files,
    holistic_bias,
    honest,
    prompts,
    real_toxicity_prompts,
    reddit_bias,
    stereoset,
    unqover,
    winobias,
    winogender,
)
from ethical_compression.errors import InputError
from ethical_compression.score import continuations, harms, masked
from ethical_compression.score.loglikelihood import OTHER_ARITHMETIC
from ethical_compression.score.runs import Battery

Rows = list[dict[str, Any]]
OTHER_BATCH = {"batch": 7}
# Millions of questions, and hundreds of thousands of sentences, made of lists of words.
MADE = ("unqover", "holistic_bias")


@dataclass(frozen=True)
class Entry:
    """A battery before its items are drawn.

    form: "answers" (options of a question), "sentences" (whole texts compared), or "text"
    (continuations). items: (limit, seed, data_dir) -> items; records: (data_dir) -> where they come
    from. settings: of `score`, to begin with. again: the settings of other arithmetic (`Battery`).
    """

    title: str
    form: str
    items: Callable[..., Sequence]
    score: Callable[..., Any]
    records: Callable[..., Rows]
    settings: dict[str, Any] = field(default_factory=dict)
    paired: bool = False
    again: Mapping[str, Any] = field(default_factory=lambda: OTHER_ARITHMETIC)


def _bbq(limit, seed, data_dir):
    each = None if limit is None else max(4, limit // len(bbq.CATEGORIES))
    return [
        one
        for name in bbq.CATEGORIES
        for one in bbq.load(name, limit=each, seed=seed, data_dir=data_dir)
    ]


def _unqover(limit, seed, data_dir):
    each = None if limit is None else max(4, limit // len(unqover.CATEGORIES))
    return [
        one
        for name in unqover.CATEGORIES
        for one in unqover.load(name, limit=each, seed=seed, data_dir=data_dir)
    ]


def _stereoset(split: str, task: str):
    def items(limit, seed, data_dir):
        found = stereoset.load(split, task, data_dir=data_dir)
        return contrast.stratified(found, limit, seed, lambda one: one.bias_type)

    return items


def _guises(kind: str):
    def items(limit, seed, data_dir):
        pairs = dialect.load(limit=limit, seed=seed, data_dir=data_dir)
        return dialect.guises(pairs, kind, data_dir=data_dir)

    return items


def _bold(limit, seed, data_dir):
    names = [name for name in prompts.PROMPTS if name.startswith("bold")]
    found = [one for name in names for one in prompts.load(name)]
    return contrast.stratified(found, limit, seed, lambda one: (one.set, one.group))


def _of(module, *arguments):
    """Items of a data set whose `load` takes a limit, a seed and a folder."""
    return lambda limit, seed, data_dir: module.load(
        *arguments, limit=limit, seed=seed, data_dir=data_dir
    )


def _records(module, *arguments):
    return lambda data_dir: [module.source_record(*arguments, data_dir=data_dir)]


BATTERIES: dict[str, Entry] = {
    "bbq": Entry(
        "BBQ",
        "answers",
        _bbq,
        harms.bbq,
        lambda data_dir: [bbq.source_record(one, data_dir=data_dir) for one in bbq.CATEGORIES],
    ),
    "unqover": Entry(
        "UnQover",
        "answers",
        _unqover,
        harms.unqover,
        lambda data_dir: [
            unqover.source_record(one, data_dir=data_dir) for one in unqover.CATEGORIES
        ],
    ),
    "stereoset_within": Entry(
        "StereoSet, within sentences",
        "sentences",
        _stereoset("test", "within"),
        harms.stereoset,
        _records(stereoset, "test"),
    ),
    "stereoset_between": Entry(
        "StereoSet, between sentences",
        "sentences",
        _stereoset("test", "between"),
        harms.stereoset,
        _records(stereoset, "test"),
    ),
    "crows_pairs": Entry(
        "CrowS-Pairs", "sentences", _of(crows_pairs), harms.contrasts, _records(crows_pairs)
    ),
    "crows_pairs_masked": Entry(
        "CrowS-Pairs, masked models",
        "sentences",
        _of(crows_pairs),
        masked.masked_contrasts,
        _records(crows_pairs),
        again={"batch": 5},
    ),
    "winogender": Entry(
        "Winogender", "sentences", _of(winogender), harms.contrasts, _records(winogender)
    ),
    "winobias": Entry(
        "WinoBias", "sentences", _of(winobias, "test"), harms.contrasts, _records(winobias, "test")
    ),
    "reddit_bias": Entry(
        "RedditBias",
        "sentences",
        _of(reddit_bias, "test"),
        harms.contrasts,
        _records(reddit_bias, "test"),
    ),
    "habitual_be": Entry(
        "Dialect: habitual be", "sentences", _of(dialect), harms.contrasts, _records(dialect)
    ),
    **{
        f"guise_{kind}": Entry(
            f"Matched guise: {kind}",
            "answers",
            _guises(kind),
            harms.guises,
            lambda data_dir, kind=kind: [
                dialect.source_record(one, data_dir) for one in ("pairs", kind)
            ],
        )
        for kind in ("traits", "occupations", "verdicts")
    },
    "honest_en": Entry(
        "HONEST, English",
        "text",
        _of(honest, "en"),
        continuations.completions,
        _records(honest, "en"),
        again=OTHER_BATCH,
    ),
    "honest_fr": Entry(
        "HONEST, French",
        "text",
        _of(honest, "fr"),
        continuations.completions,
        _records(honest, "fr"),
        again=OTHER_BATCH,
    ),
    "real_toxicity_prompts": Entry(
        "RealToxicityPrompts",
        "text",
        _of(real_toxicity_prompts),
        continuations.continuations,
        _records(real_toxicity_prompts),
        again=OTHER_BATCH,
    ),
    "bold": Entry(
        "BOLD",
        "text",
        _bold,
        continuations.continuations,
        lambda data_dir: [
            prompts.source_record(one) for one in prompts.PROMPTS if one.startswith("bold")
        ],
        again=OTHER_BATCH,
    ),
    "holistic_bias": Entry(
        "HolisticBias",
        "text",
        _of(holistic_bias),
        continuations.continuations,
        _records(holistic_bias),
        again=OTHER_BATCH,
    ),
    "do_not_answer": Entry(
        "Do-Not-Answer",
        "text",
        _of(do_not_answer),
        continuations.continuations,
        _records(do_not_answer),
        settings={"samples": 1, "temperature": 0.0, "length": 30, "chat": True},
        again=OTHER_BATCH,
    ),
    "next_tokens": Entry(
        "Next tokens after BOLD's prompts",
        "text",
        _bold,
        continuations.continuation_distances,
        lambda data_dir: [
            prompts.source_record(one) for one in prompts.PROMPTS if one.startswith("bold")
        ],
        paired=True,
        again=OTHER_BATCH,
    ),
}


def battery(
    name: str, *, limit: int | None = None, seed: int = 0, data_dir=None, **settings
) -> Battery:
    """The battery of a name in `BATTERIES`, its items drawn.

    limit: about how many items, shared evenly by the groups of the data set; None for all (of
    UnQover and HolisticBias, millions and hundreds of thousands). Of a matched guise, pairs of
    texts, each in every prompt. settings: of its `score` (token_budget, samples, …), which count in
    the key. Raises InputError for an unknown name, and as the data set's `load`.
    """
    files.known("battery", name, BATTERIES)
    entry = BATTERIES[name]
    items = entry.items(limit, seed, data_dir)
    return Battery(
        name,
        items,
        entry.score,
        entry.settings | settings,
        paired=entry.paired,
        title=entry.title,
        again=entry.again,
    )


def source_records(names: Sequence[str], data_dir=None) -> Rows:
    """Where the items of batteries come from, each once: JSON-ready."""
    found = [record for name in names for record in BATTERIES[name].records(data_dir)]
    return [one for place, one in enumerate(found) if one not in found[:place]]


def source_table(data_dir=None):
    """Where all data sets are from, a row each: `title, citation, licence, package, files, rows,
    left_out, batteries`, a DataFrame.

    rows: of what is read; None where texts are made of word lists, or the data are not here, which
    `package` then says, and `title` is the battery's. left_out: how many rows say nothing, by
    reason, in words. batteries: the names of what is asked of the set.
    """
    import pandas as pd

    found: dict[str, dict[str, Any]] = {}
    for name, entry in BATTERIES.items():
        try:
            records = entry.records(data_dir)
        except InputError:
            title = entry.title.partition(":")[0]
            found.setdefault(title, {"title": title, "package": "not here", "batteries": []})
            found[title]["batteries"].append(name)
            continue
        first = records[0]
        title = first["title"].partition(",")[0]
        if first.get("benchmark") == "honest":
            title = first["title"]  # each language is a set of its own
        if title in found:
            found[title]["batteries"].append(name)
            continue  # another form of the same files
        rows = first.get("rows")
        if rows is None and name != "unqover":
            rows = len(entry.items(None, 0, data_dir))
        left = first.get("left_out", {})
        found[title] = {
            "title": title,
            "citation": first["citation"],
            "licence": first["licence"],
            "package": first.get("package", "a folder of one's own"),
            "files": len(records),
            "rows": rows,
            "left_out": ", ".join(f"{count} {reason}" for reason, count in left.items()),
            "batteries": [name],
        }
    # As they are: a number that is missing would make fractions of the others.
    table = pd.DataFrame(found.values(), dtype=object)
    return table.where(table.notna(), None)


def by_group(name: str, data_dir=None) -> dict[str, int]:
    """How many items of a battery are about whom, {group: items} in the order of their source; {}
    where texts are made of word lists, as many as are asked for.

    Raises InputError for an unknown name, and as the data set's `load`.
    """
    files.known("battery", name, BATTERIES)
    if name in MADE:
        return {}
    return dict(Counter(map(group_of, BATTERIES[name].items(None, 0, data_dir))))


def group_of(item) -> str:
    """Whom an item is about, as its data set names them."""
    said = (getattr(item, name, None) for name in ("group", "bias_type", "category"))
    return next((one for one in said if isinstance(one, str)), "all texts")


def some_of(battery: Battery, count: int, *, seed: int = 0) -> Battery:
    """The battery with `count` of its items, one drawn from each of so many stretches, so that all
    groups have their share whatever order they come in; with all of them where there are no more,
    or where they are no items each by themselves (the windows of a text)."""
    if battery.part is None or count >= len(battery.items):
        return battery
    ends = [place * len(battery.items) // count for place in range(count + 1)]
    draw = random.Random(seed)
    places = [draw.randrange(*ends[at : at + 2]) for at in range(count)]
    return replace(battery, items=[battery.items[place] for place in places])


def asked_again(battery: Battery, count: int, *, seed: int = 0) -> Battery:
    """`some_of` the battery, `in_other_arithmetic`."""
    return in_other_arithmetic(some_of(battery, count, seed=seed))


def in_other_arithmetic(battery: Battery) -> Battery:
    """The same battery, whose numbers differ by rounding alone: every text a row of its own, fewer
    of them at a time, or another batch. Asked of the full model, it gives the noise floor
    (`metrics.harm_values.floor`); the other kind of noise is a subject of another data type.

    Raises InputError for a battery without settings for it.
    """
    if battery.again is None:
        raise InputError(f"{battery.title or battery.name} cannot be asked in other arithmetic.")
    return replace(battery, settings={**battery.settings, **battery.again})
