"""Are the words that a classifier went by those that people marked?

Token F1, span F1 and AUPRC of ERASER (DeYoung et al. 2020), as HateXplain (Mathew et al. 2021) and
Proskurina et al. 2023 report them, and with their code's spans beside it. A word's importance is
from `score.rationales`; a word that the model did not see has NaN and ranks last.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError


def plausibility(
    importance: Sequence[np.ndarray], rationales: Sequence[Sequence], *, top: int = 5
) -> pd.DataFrame:
    """How far the `top` most important words are those that annotators marked: a row per post.

    importance: one (words,) array a post; rationales: one (words,) list of 0/1 or booleans a post,
    or None. Columns: `post` (its place), `words`, `marked` (by annotators), `token_precision`,
    `token_recall`, `token_f1`, `spans_precision`, `spans_recall` (a span is a run of neighbouring
    words; it is found where its overlap ÷ union with a marked span is at least one half),
    `singles_precision`, `singles_recall` (the same with every important word as a span of its own,
    as HateXplain's and Fair-Pruning's code hand them to ERASER's; as there, a marked span of two
    words is found twice where both are important, so that recall can pass 1), `auprc` (area under
    the precision-recall curve of the importance itself, by trapezoids as in ERASER's code),
    `base_rate` (the share of marked words: what random importance gets in `auprc`), `note`.
    A post without a rationale has NaN in all scores, and the note says so. Of equally important
    words the first are taken. Raises InputError where importance and rationale differ in length.
    """
    if len(importance) != len(rationales):
        raise InputError(
            f"There are {len(importance)} posts with importance and {len(rationales)} rationales; "
            "give one rationale (or None) per post."
        )
    rows = []
    for place, (values, marks) in enumerate(zip(importance, rationales, strict=True)):
        values = np.asarray(values, dtype=float)
        marked = np.zeros(len(values), bool) if marks is None else np.asarray(marks, dtype=bool)
        if marked.shape != values.shape:
            raise InputError(
                f"Post {place} has {len(values)} words and a rationale over {len(marked)}; both "
                "must be over the same words."
            )
        row = {"post": place, "words": len(values), "marked": int(marked.sum())}
        unseen = int(np.isnan(values).sum())
        notes = [f"{unseen} of its words not seen by the model"] if unseen else []
        if not marked.any():
            notes.insert(0, "no rationale")
        else:
            row |= _agreement(values, marked, top)
        rows.append(row | {"note": "; ".join(notes)})
    return pd.DataFrame(rows, columns=_PLAUSIBILITY)


def plausibility_summary(table: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """ERASER's aggregates of `plausibility` rows: one row per `by` (columns that you added).

    `posts`, `scored` (those with a rationale), `token_f1` (the mean over posts), `iou_f1` (from the
    posts' mean span precision and mean span recall), `iou_f1_singles` (likewise, every important
    word a span of its own), `auprc`, `base_rate`, `note`.
    """
    rows = []
    for names, part in table.groupby(list(by), sort=False) if by else [((), table)]:
        scored = part[part["marked"] > 0]
        means = scored[[*_MEANS, "token_f1", "auprc", "base_rate"]].mean()
        missing = len(part) - len(scored)
        rows.append(
            dict(zip(by, names, strict=True))
            | {"posts": len(part), "scored": len(scored), "token_f1": means["token_f1"]}
            | {"iou_f1": _f1(means["spans_precision"], means["spans_recall"])}
            | {"iou_f1_singles": _f1(means["singles_precision"], means["singles_recall"])}
            | {"auprc": means["auprc"], "base_rate": means["base_rate"]}
            | {"note": f"{missing} posts without a rationale left out" if missing else ""}
        )
    return pd.DataFrame(rows)


_MEANS = ["spans_precision", "spans_recall", "singles_precision", "singles_recall"]
_PLAUSIBILITY = [
    "post",
    "words",
    "marked",
    "token_precision",
    "token_recall",
    "token_f1",
    *_MEANS,
    "auprc",
    "base_rate",
    "note",
]


def most_important(values: np.ndarray, top: int = 5) -> np.ndarray:
    """(words,) booleans: the `top` words of highest importance, NaN last, the first of equal ones.

    All words of a post that has no more than `top`.
    """
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:top]] = True
    return chosen


def spans(mask) -> list[tuple[int, int]]:
    """Runs of neighbouring true words as (start, end), the end left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, dtype=int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _agreement(values: np.ndarray, marked: np.ndarray, top: int) -> dict[str, float]:
    chosen = most_important(values, top)
    hits = (chosen & marked).sum()
    precision, recall = hits / chosen.sum(), hits / marked.sum()
    predicted, human = spans(chosen), spans(marked)
    singles = [(int(place), int(place) + 1) for place in np.flatnonzero(chosen)]
    found, alone = (
        sum(any(_overlap(one, other) >= 0.5 for other in human) for one in some)
        for some in (predicted, singles)
    )
    return {
        "token_precision": precision,
        "token_recall": recall,
        "token_f1": _f1(precision, recall),
        "spans_precision": found / len(predicted),
        # Two spans can share one marked span only by covering exactly half of it each.
        "spans_recall": min(1.0, found / len(human)),
        "singles_precision": alone / len(singles),
        "singles_recall": alone / len(human),
        "auprc": _auprc(values, marked),
        "base_rate": marked.mean(),
    }


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    both = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return both / (one[1] - one[0] + other[1] - other[0] - both)


def _f1(precision: float, recall: float) -> float:
    # NaN in, NaN out: only a true zero is one.
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _auprc(values: np.ndarray, marked: np.ndarray) -> float:
    from scipy.stats import rankdata
    from sklearn.metrics import auc, precision_recall_curve

    # Only the order counts, in which NaN is last; equal importance has equal ranks.
    ranks = rankdata(np.nan_to_num(values, nan=-np.inf), method="dense")
    precision, recall, _ = precision_recall_curve(marked, ranks)
    return float(auc(recall, precision))
