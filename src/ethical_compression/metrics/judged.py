"""Judged answers of two models, compared pair by pair, and what the judge does by itself.

Where both models answered in the same words, a change of score is not the models': it shows how far
the judge agrees with itself.
"""

from dataclasses import asdict

import pandas as pd

from ethical_compression import kept_tables
from ethical_compression.datasets import judged_answers
from ethical_compression.errors import InputError
from ethical_compression.statistics import mcnemar, paired_test


def by_wording(table: pd.DataFrame) -> pd.DataFrame:
    """Tests on all answers, on those in the same words, and on those in other words: a row each.

    table: that of `datasets.judged_answers.load`. Columns: `answers`; `equal_scores`, how many have
    one and the same score; the fields of `statistics.mcnemar` of acceptance, as `accepted_…`, and
    of `statistics.paired_test` of the scores, as `score_…`. A part of fewer than two answers is
    left out. Raises InputError for a table without questions.
    """
    if table.empty:
        raise InputError("There are no judged answers to compare: the table has no rows.")
    same = table["answer_full"] == table["answer_quantized"]
    rows = []
    for name, chosen in (("all", same | True), ("same words", same), ("other words", ~same)):
        part = table[chosen]
        if len(part) < 2:
            continue
        accepted = mcnemar(part["accepted_full"], part["accepted_quantized"])
        score = paired_test(part["score_full"], part["score_quantized"])
        equal = int((part["score_full"] == part["score_quantized"]).sum())
        rows.append(
            {"answers": name, "equal_scores": equal}
            | {f"accepted_{field}": value for field, value in asdict(accepted).items()}
            | {f"score_{field}": value for field, value in asdict(score).items()}
        )
    return pd.DataFrame(rows)


def read_again(where: str) -> tuple[pd.DataFrame | None, str]:
    """`by_wording` of the authors' answers, or the kept table of it, or None; and which it is.

    where: as `judged_answers.load` takes it.
    """
    try:
        made = by_wording(judged_answers.load(where))
        return made, "made from the authors' files for this page"
    except InputError:
        try:
            kept = kept_tables.larger("truthfulqa_judged")[0]
        except InputError:
            return None, "not here, and neither is their summary"
        return kept, "that of the summary which the repository keeps, as the files are not here"
