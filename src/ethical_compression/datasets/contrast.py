"""A contrast: two texts that differ in the group alone, the one record of all paired studies.

CrowS-Pairs, StereoSet's sentences, Winogender, WinoBias, RedditBias and the habitual-be pairs each
say the same thing of two groups, or one thing in two dialects. What a language model makes of the
difference is a number a contrast, and contrasts of one `cluster` were written together.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ethical_compression.errors import InputError

Row = TypeVar("Row")


@dataclass(frozen=True)
class Contrast:
    """One pair of texts.

    sides: what each text is ("stereotype", "anti-stereotype"); a positive difference of
    log-probability is for the first. group: whom it is about, as the source names it. kind: what
    else sets items of the source apart. cluster: what its items share, the unit to resample.
    context: text before both, or "".
    """

    benchmark: str
    id: str
    group: str
    kind: str
    cluster: str
    sides: tuple[str, str]
    texts: tuple[str, str]
    context: str = ""


def shared_ends(first: Sequence, *others: Sequence) -> tuple[int, int]:
    """How many items sequences have in common at their beginnings, and at their ends besides."""
    shortest = min(map(len, (first, *others)))
    begin = end = 0
    while begin < shortest and all(one[begin] == first[begin] for one in others):
        begin += 1
    while end < shortest - begin and all(one[-1 - end] == first[-1 - end] for one in others):
        end += 1
    return begin, end


def stratified(
    rows: Sequence[Row], limit: int | None, seed: int, stratum: Callable[[Row], Hashable]
) -> list[Row]:
    """At most `limit` rows, as many of each stratum as of any other while there are more of it.

    Drawn without replacement and returned in their own order. With one seed, a smaller sample is
    part of every larger one. A limit below the number of strata leaves the last ones out.
    Raises InputError for a limit that is no positive whole number.
    """
    if limit is None:
        return list(rows)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise InputError(f"limit is {limit!r}: give a positive whole number, or None for all.")
    import numpy as np

    members = defaultdict(list)
    for place, row in enumerate(rows):
        members[stratum(row)].append(place)
    turns = []  # (how many of its stratum come before it, its stratum, the row's place)
    for number, places in enumerate(members.values()):
        order = np.random.default_rng([seed, number]).permutation(len(places))
        turns += [(turn, number, places[k]) for turn, k in enumerate(order)]
    return [rows[place] for *_, place in sorted(sorted(turns)[:limit], key=lambda one: one[2])]


def checked(contrasts: Sequence[Contrast], place: str) -> tuple[list[Contrast], dict[str, int]]:
    """The contrasts that say something, and how many were left out and why.

    Left out: a text that is empty, two texts that are one, and a pair that comes a second time.
    """
    kept, seen, out = [], set(), {"empty": 0, "equal texts": 0, "repeated": 0}
    for one in contrasts:
        what = (one.context, *one.texts)
        if not all(text.strip() for text in one.texts):
            out["empty"] += 1
        elif one.texts[0] == one.texts[1]:
            out["equal texts"] += 1
        elif what in seen:
            out["repeated"] += 1
        else:
            seen.add(what)
            kept.append(one)
    if not kept:
        raise InputError(f"{place} holds no pair of texts: fetch it again.")
    return kept, {reason: count for reason, count in out.items() if count}
