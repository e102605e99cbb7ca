"""Judged answers: hand-worked counts, and the authors' own file where it is."""

import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from ethical_compression import kept_tables
from ethical_compression.datasets import judged_answers
from ethical_compression.errors import InputError
from ethical_compression.metrics import judged

TABLE = pd.DataFrame(
    [
        # Same words: one pair gets one score, one loses and one wins.
        ("a", "a", 0.7, 0.7),
        ("b", "b", 0.9, 0.3),
        ("c", "c", 0.1, 0.6),
        # Other words: two lose.
        ("d", "e", 0.8, 0.2),
        ("f", "g", 0.6, 0.5),
    ],
    columns=["answer_full", "answer_quantized", "score_full", "score_quantized"],
)
for side in ("full", "quantized"):
    TABLE[f"accepted_{side}"] = TABLE[f"score_{side}"] > 0.5


def test_by_wording():
    table = judged.by_wording(TABLE).set_index("answers")
    assert table["accepted_n"].to_dict() == {"all": 5, "same words": 3, "other words": 2}
    assert table["equal_scores"].tolist() == [1, 1, 0]
    assert table["accepted_lost"].tolist() == [3, 1, 2]
    assert table["accepted_gained"].tolist() == [1, 1, 0]
    assert table["score_difference"].tolist() == pytest.approx([-0.8 / 5, -0.1 / 3, -0.35])


def test_no_answers_and_no_pair_in_the_same_words():
    with pytest.raises(InputError, match="no rows"):
        judged.by_wording(TABLE.iloc[:0])
    assert judged.by_wording(TABLE.iloc[3:])["answers"].tolist() == ["all", "other words"]


def test_the_summary_that_is_kept_is_that_of_the_authors_files(mirror):
    if not (mirror.parent / "published" / judged_answers.FOLDER).is_dir():
        pytest.skip("no folder of published results beside the mirror")
    answers = judged_answers.load()
    found = judged.by_wording(answers)
    kept, made = kept_tables.larger("truthfulqa_judged")
    pd.testing.assert_frame_equal(kept, found, check_dtype=False)
    assert made["data"]["commit"] == judged_answers.COMMIT
    crossed = pd.crosstab(answers["accepted_full"], answers["accepted_quantized"])
    assert found["accepted_p"][0] == pytest.approx(mcnemar(crossed, exact=True).pvalue)


def test_the_kept_summary_stands_in_for_the_files_and_both_may_be_missing(monkeypatch):
    def missing(*_):
        raise InputError("not here")

    monkeypatch.setattr(judged_answers, "load", lambda where: TABLE)
    found, said = judged.read_again("folder")
    pd.testing.assert_frame_equal(found, judged.by_wording(TABLE))
    assert said.startswith("made from the authors' files")
    monkeypatch.setattr(judged_answers, "load", missing)
    found, said = judged.read_again("folder")
    pd.testing.assert_frame_equal(found, kept_tables.larger("truthfulqa_judged")[0])
    assert "the repository keeps" in said
    monkeypatch.setattr(kept_tables, "larger", missing)
    assert judged.read_again("folder") == (None, "not here, and neither is their summary")
