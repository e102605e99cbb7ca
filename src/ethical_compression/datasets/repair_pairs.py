"""Pairs of sentences from which a compression learns what to answer alike (`compress.debias`).

StereoSet's development split, sentences that differ by a stereotyped word, is what the papers use;
no score of this project is read from it. *unrelated* and *shuffled* are controls, as in their
sanity checks: the same contexts without the stereotype, and the same sentences without the pairs.
HONEST's templates ask the same of a woman and of a man, in English and in French.
"""

import os
import re
from collections.abc import Sequence
from typing import Any

from ethical_compression.datasets import contrast, files, honest, stereoset
from ethical_compression.datasets.contrast import Contrast

# Who stands for whom in HONEST; who is not named as a woman or a man ("the child") has no place.
COUNTERPARTS = {
    "en": {
        **{"the woman": "the man", "she": "he", "the mother": "the father"},
        **{"the daughter": "the son", "the girl": "the boy", "the female": "the male"},
        **{"the sister": "the brother", "the aunt": "the uncle", "the wife": "the husband"},
        **{"the lady": "the gentleman", "the bride": "the groom", "the women": "the men"},
        **{"the mothers": "the fathers", "the females": "the males"},
        **{"the sisters": "the brothers", "the aunts": "the uncles"},
        **{"the wives": "the husbands", "the ladies": "the lords"},
        **{"the girlfriends": "the boyfriends"},
    },
    "fr": {
        **{"femme": "homme", "gamine": "gamin", "elle": "il", "mère": "père", "fille": "fils"},
        **{"nana": "garçon", "sœur": "frère", "tante": "oncle", "épouse": "mari"},
        **{"madame": "monsieur", "mariée": "marié", "copine": "copain", "compagne": "compagnon"},
        **{"femmes": "hommes", "gamines": "gamins", "mères": "pères", "nanas": "garçons"},
        **{"sœurs": "frères", "tantes": "oncles", "épouses": "maris", "dames": "messieurs"},
        **{"mariées": "mariés", "copines": "copains"},
    },
}
# Templates of an identity and a kind, numbered by the row that each stands in.
_FRAMES = 5


def load(
    name: str = "stereoset",
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Contrast]:
    """Pairs by name (`PAIRS`), in file order: of StereoSet's development split, within sentences.

    limit: at most so many, drawn evenly over groups. Raises InputError for an unknown name, a
    missing package or file, and an impossible limit.
    """
    files.known("set of pairs", name, PAIRS)
    found = PAIRS[name](source, data_dir, seed)
    return contrast.stratified(found, limit, seed, lambda one: one.group)


def fillers(texts: Sequence[str]) -> list[tuple[str, str, str]]:
    """(before, between, after) of each text: the words in which they differ, and what is around."""
    words = [re.findall(r"\w+|\W", text) for text in texts]
    begin, end = contrast.shared_ends(*words)
    cut = [(its[:begin], its[begin : len(its) - end], its[len(its) - end :]) for its in words]
    return [tuple(map("".join, parts)) for parts in cut]


def _stereoset(source, data_dir, seed) -> list[Contrast]:
    return stereoset.contrasts(stereoset.load("development", source=source, data_dir=data_dir))


def _unrelated(source, data_dir, seed) -> list[Contrast]:
    """An item's context with the word that makes no sense there, and with the next item's."""
    triplets = stereoset.load("development", source=source, data_dir=data_dir)
    parts = [fillers(one.texts)[2] for one in triplets]
    found = []
    for number, (one, (before, between, after)) in enumerate(zip(triplets, parts, strict=True)):
        other = next(
            word
            for _, word, _ in parts[number + 1 :] + parts[:number]
            if word.strip() and word != between
        )
        texts = (one.texts[2], before + other + after)
        found.append(_pair(one, "unrelated", ("unrelated", "unrelated"), texts))
    return found


def _shuffled(source, data_dir, seed) -> list[Contrast]:
    """An item's stereotype beside the anti-stereotype of another, drawn with the seed."""
    import numpy as np

    triplets = stereoset.load("development", source=source, data_dir=data_dir)
    order = np.random.default_rng(seed).permutation(len(triplets))
    # One circle through all items in a drawn order, so that none meets its own.
    partner = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [
        _pair(one, "shuffled", stereoset.LABELS[:2], (one.texts[0], triplets[partner[k]].texts[1]))
        for k, one in enumerate(triplets)
    ]


def _pair(one: stereoset.Triplet, kind: str, sides, texts) -> Contrast:
    return Contrast("stereoset", one.id, one.bias_type, kind, one.target, sides, texts)


def _honest(language: str):
    def pairs(source, data_dir, seed) -> list[Contrast]:
        templates = honest.load(language, source=source, data_dir=data_dir)
        men = {_frame(one): one for one in templates if one.group == "male"}
        found = []
        for one in templates:
            his = COUNTERPARTS[language].get(one.identity)
            other = men.get((his, *_frame(one)[1:])) if one.group == "female" else None
            if other is not None:
                texts = (one.before, other.before)
                sides = honest.CATEGORIES
                found.append(
                    Contrast("honest", one.id, one.kind, language, one.identity, sides, texts)
                )
        return found

    return pairs


def _frame(one: honest.Template) -> tuple[str, str, int]:
    return one.identity, one.kind, int(one.id) % _FRAMES


PAIRS = {
    "stereoset": _stereoset,
    "unrelated": _unrelated,
    "shuffled": _shuffled,
    "honest-en": _honest("en"),
    "honest-fr": _honest("fr"),
}


def source_record(
    name: str = "stereoset", source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where a set of pairs comes from: JSON-ready."""
    files.known("set of pairs", name, PAIRS)
    study, _, language = name.partition("-")
    if study == "honest":
        return honest.source_record(language, source, data_dir) | {"pairs": name}
    return stereoset.source_record("development", source, data_dir) | {"pairs": name}
