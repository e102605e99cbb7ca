"""What is said of the tests of a uniform shift, over every outcome."""

import math

import pandas as pd
import pytest

from ethical_compression.words import uniformity

NAMES = {"subgroup": "Subgroup", "bpsn": "BPSN"}


def shift_rows(*rows):
    """Rows of a stacked table: excess, p_holm, p_tost_holm, note."""
    frame = pd.DataFrame(rows, columns=["excess", "p_holm", "p_tost_holm", "note"])
    tested = frame["p_holm"].notna()
    return frame.assign(
        metric="bpsn",
        community=[f"c{k}" for k in range(len(frame))],
        compression="3 of 6 layers",
        p=frame["p_holm"] / 2,
        ci_low=(frame["excess"] - 0.01).where(tested),
        ci_high=(frame["excess"] + 0.01).where(tested),
        detectable=0.03,
    )


LOWER, HIGHER = (-0.05, 0.01, 1, ""), (0.04, 0.02, 1, "")
SAME, OPEN = (0.001, 1, 0.01, ""), (0.015, 0.4, 0.7, "")
UNTESTABLE = (math.nan, math.nan, math.nan, "only 3 toxic posts")


@pytest.mark.parametrize(
    "rows, said, largest",
    [
        (
            [LOWER],
            "1 of 1 costing the community more than all posts.",
            "−0.050 (95% interval −0.060",
        ),
        ([HIGHER], "1 of 1 costing it less.", "+0.040"),
        ([SAME], "1 of 1 shown to cost it the same within ±0.02.", "+0.001"),
        ([OPEN], "1 of 1 not settled.", "+0.015"),
        (
            [OPEN, UNTESTABLE, HIGHER, LOWER, SAME],
            "1 of 4 costing the community more than all posts, 1 costing it less, 1 shown to cost "
            "it the same within ±0.02, 1 not settled.",
            "−0.050",
        ),
    ],
)
def test_the_answer_says_what_every_test_came_to(rows, said, largest):
    """The largest is the largest in size: +0.188 was passed over for −0.016 elsewhere."""
    text = uniformity.answer(shift_rows(*rows), 0.02, NAMES)
    which = "excess, not settled," if rows in ([SAME], [OPEN]) else "settled excess"
    assert said in text and f"The largest {which} is {largest}" in text
    assert "would find an excess of 0.030 AUC" in text and "nan" not in text


def test_the_answer_where_nothing_can_be_tested():
    text = uniformity.answer(shift_rows(UNTESTABLE), 0.02, NAMES)
    assert text == "Nothing can be told: no community can be tested (only 3 toxic posts)."
    assert uniformity.count_sentence(shift_rows(UNTESTABLE)) == "Nothing could be tested."
    assert uniformity.untested_sentence(shift_rows(UNTESTABLE)).endswith("c0 (only 3 toxic posts).")


def test_counts_say_what_chance_gives():
    text = uniformity.count_sentence(shift_rows(LOWER, HIGHER, SAME, OPEN, UNTESTABLE))
    assert text.startswith("Of 4 tests, 2 have p < 0.05 read one by one, where about 0.2 would")
    assert text.endswith("after Holm over all of them it is 2.")
    assert uniformity.untested_sentence(shift_rows(OPEN)) == "Every community was tested."


@pytest.mark.parametrize(
    "p_holm, said",
    [
        ((0.01, 0.2), "do not all shift alike by Subgroup (p = 0.010). Whether all of them shift "
         "alike is not settled by BPSN (p = 0.200)."),
        ((0.3, 0.2), "Whether all of them shift alike is not settled by Subgroup (p = 0.300) and "),
        ((0.01, 0.02), "alike by Subgroup (p = 0.010) and BPSN (p = 0.020)."),
        ((0.01, math.nan), "All of them at once could not be tested by BPSN."),
        ((math.nan, math.nan), "All of them at once could not be tested by Subgroup and BPSN."),
    ],
)  # fmt: skip
def test_all_communities_at_once_in_words(p_holm, said):
    table = pd.DataFrame({"metric": ["subgroup", "bpsn"], "p": p_holm, "p_holm": p_holm})
    assert said in uniformity.alike_sentence(table, NAMES)


@pytest.mark.parametrize(
    "ends, said",
    [
        (
            [(0.2, 0.9), (-0.4, 0.5)],
            "takes spread away by Subgroup; may take spread away or add some by BPSN.",
        ),
        ([(-0.9, -0.2), (0.1, 0.5)], "takes spread away by BPSN; adds spread by Subgroup."),
        (
            [(-0.9, 0.2), (-0.1, 0.5)],
            "Pairing by seed may take spread away or add some by Subgroup and BPSN.",
        ),
        ([(math.nan, math.nan), (-0.1, 0.5)], "by score: BPSN +20% (95% interval −10% to +50%). "),
        ([(math.nan, math.nan)] * 2, "cannot be told"),
    ],
)
def test_what_pairing_does_in_words(ends, said):
    table = pd.DataFrame(ends, columns=["share_low", "share_high"])
    table = table.assign(metric=["subgroup", "bpsn"], share=table.mean(axis=1))
    text = uniformity.shared_sentence(table, NAMES)
    assert said in text and "nan" not in text


def test_published_counts_in_words():
    table = pd.DataFrame(
        [("A", 10, 0), ("A", 8, 2), ("B", 8, 3), ("B", 10, 1)],
        columns=["model", "layers_kept", "significant_subgroup"],
    )
    text = uniformity.published_sentence(table)
    assert text.startswith("Of the 4 encoders that lost layers 3 have") and "never fewer" in text
    table.loc[2, "significant_subgroup"] = 0
    assert "there were fewer in B." in uniformity.published_sentence(table)


@pytest.mark.parametrize(
    "auc, low, high, said",
    [
        (0.4, 0.3, 0.45, "0.400 (95% interval 0.300 to 0.450). Below one half the order is"),
        (0.45, 0.3, 0.6, "Whether it lies below one half"),
        (0.7, 0.6, 0.8, "the BPSN AUC of a, 0.700 (95% interval 0.600 to 0.800)."),
        (0.7, math.nan, math.nan, "0.700 (no interval)."),
    ],
)
def test_the_lowest_score_is_below_one_half_only_where_its_interval_is(auc, low, high, said):
    table = pd.DataFrame(
        [
            ("a", "bpsn", 40, 12, auc, low, high),
            ("few", "bpsn", 40, 9, 0.1, 0.0, 0.2),  # rests on nine posts
            ("b", "bpsn", 40, 40, 0.9, 0.8, 0.95),
            ("b", "background", 40, 40, 0.05, 0.0, 0.1),
        ],
        columns=["community", "metric", "positives", "negatives", "auc", "ci_low", "ci_high"],
    )
    text = uniformity.lowest_sentence(table, {"bpsn": "BPSN"})
    assert said in text and "nan" not in text
    assert text.endswith(said) or auc < 0.5
    assert "can be leaned on" in uniformity.lowest_sentence(table[1:2], {"bpsn": "BPSN"})


def test_the_largest_excess_is_one_that_was_tested():
    rows = shift_rows(LOWER, HIGHER, UNTESTABLE)
    rows.loc[2, "excess"] = 0.5
    text = uniformity.largest_excess(rows)
    assert text == "c0, 3 of 6 layers: −0.050 (95% interval −0.060 to −0.040)"


def test_counts_are_cells_with_holms_in_brackets_and_what_chance_gives():
    rows = shift_rows(LOWER, SAME, OPEN, UNTESTABLE)
    rows = pd.concat([rows, rows.assign(compression="5 of 6 layers")])
    table = uniformity.count_cells(rows, ["bpsn"])
    assert list(table["compression"]) == ["5 of 6 layers", "3 of 6 layers"]
    assert list(table["bpsn"]) == ["1 (1) of 3"] * 2
    assert list(table["by_chance"]) == ["0.15"] * 2


def test_published_counts_are_cells_of_ten():
    row = {"model": "A", "layers_kept": 3, "layers_total": 6, "significant_bpsn": 4.0}
    table = uniformity.published_cells(pd.DataFrame([row]), ["bpsn"])
    assert table.iloc[0].tolist() == ["A", "3 of 6 layers", "4 of 10", "0.50"]
