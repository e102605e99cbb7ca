"""Answers, flips and divergence of options: by hand, on identical models, on tables with faults."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.errors import InputError
from ethical_compression.metrics import choices
from ethical_compression.metrics.small_groups import noted


def scores(values, compression="full", groups=None, **columns):
    """A table of items × options of log-likelihoods."""
    values = np.asarray(values, dtype=float)
    rows = [
        {
            "compression": compression,
            "benchmark": "toy",
            "item": f"i{item}",
            "group": groups[item] if groups else "all",
            "cluster": f"c{item // 2}",
            "option": option,
            "logprob": value,
            "tokens": 1 + option,
            "bytes": 4,
            "repeated": False,
        }
        | columns
        for item, line in enumerate(values)
        for option, value in enumerate(line)
    ]
    return pd.DataFrame(rows)


def test_the_likeliest_option_is_taken_and_of_equals_the_first():
    table = scores([[-1, -2, -3], [-5, -4, -4], [-3, -3, -1.5]])
    assert choices.chosen(table) == [0, 1, 2]
    # By token: −3/1, −3/2, −1.5/3
    assert choices.chosen(table, "token") == [0, 2, 2]
    assert choices.wide(table).to_numpy().tolist()[0] == [-1, -2, -3]


def test_flips_kl_and_change_by_hand():
    full = scores([np.log([0.6, 0.4]), np.log([0.5, 0.5])])
    other = scores([np.log([0.3, 0.7]), np.log([0.5, 0.5])], "4-bit")
    found = choices.changed(full, other)
    assert found["flipped"].tolist() == [True, False]
    assert found["kl"].tolist() == pytest.approx(
        [0.6 * np.log(0.6 / 0.3) + 0.4 * np.log(0.4 / 0.7), 0]
    )
    # Tokens are 1 and 2: the mean of ln(0.3/0.6) and ln(0.7/0.4) / 2.
    assert found["logprob_change"][0] == pytest.approx((np.log(0.5) + np.log(1.75) / 2) / 2)
    assert found["margin"].tolist() == pytest.approx([np.log(1.5), 0])
    assert found["margin_after"].tolist() == pytest.approx([np.log(3 / 7), 0])
    table = choices.change_scores(pd.concat([full, other]))
    row = table.iloc[0]
    assert (row["compression"], row["n"], row["flipped"]) == ("4-bit", 2, 0.5)
    assert row["note"] == "fewer than 10 items"
    assert np.isnan(row["kl_low"])  # one cluster has no interval


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-50, 0), min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_model_beside_itself_has_changed_nothing(values):
    table = scores(values)
    found = choices.changed(table, table)
    assert not found["flipped"].any()
    assert (found[["kl", "logprob_change"]] == 0).all(axis=None)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_rows_may_come_in_any_order_and_kl_is_never_negative(seed):
    draw = np.random.default_rng(seed)
    full, other = scores(draw.normal(size=(6, 3))), scores(draw.normal(size=(6, 3)))
    found = choices.changed(full, other)
    assert (found["kl"] >= 0).all()
    shuffled = other.sample(frac=1, random_state=seed % 1000)
    pd.testing.assert_frame_equal(found, choices.changed(full, shuffled))
    assert ((found["margin_after"] < 0) == found["flipped"]).all()
    lines = choices.wide(other).to_numpy()
    leads = [
        line[k] - np.delete(line, k).max() for line, k in zip(lines, found["before"], strict=True)
    ]
    assert found["margin_after"].to_numpy() == pytest.approx(leads)


def test_groups_without_items_few_items_and_repeated_options_are_said():
    groups = ["a"] * 12 + ["b"] * 3
    full = scores(np.tile([[-1.0, -2.0]], (15, 1)), groups=groups)
    full.loc[full["item"] == "i14", "repeated"] = [False, True]
    other = full.assign(compression="2-bit", logprob=full["logprob"] - 0.25)
    table = choices.change_scores(pd.concat([full, other]), groups=["a", "b", "c"])
    notes = dict(zip(table["group"], table["note"], strict=True))
    assert notes == {
        "a": "",
        "b": "fewer than 10 items; 1 with an option that repeats another",
        "c": "no items",
    }
    assert table["n"].tolist() == [12, 3, 0]
    assert table["flipped"].isna().tolist() == [False, False, True]


def test_the_floor_is_the_largest_of_the_other_arithmetics():
    full = scores(np.tile([[-1.0, -2.0]], (12, 1)))
    other = full.assign(compression="8-bit", logprob=full["logprob"] - 0.5)
    floors = {
        "another batch": full.assign(logprob=full["logprob"] + 1e-6),
        "bfloat16": full.assign(logprob=full["logprob"] - 0.02),
    }
    row = choices.change_scores(pd.concat([full, other]), floors=floors).iloc[0]
    assert row["logprob_change_floor"] == pytest.approx(0.02 * 0.75)
    assert row["logprob_change"] == pytest.approx(-0.5 * 0.75)
    assert row["flipped_floor"] == 0


def test_another_column_can_be_the_group():
    full = scores(np.tile([[-1.0, -2.0]], (4, 1))).assign(kind="k")
    other = full.assign(compression="x")
    table = choices.change_scores(pd.concat([full, other]), by="kind", floors={"same": full})
    assert table["kind"].tolist() == ["k"] and table["kl_floor"].tolist() == [0]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda t: t[t["item"] != "i0"], "2 options, such as"),
        (lambda t: t.assign(logprob=np.nan), "not a finite number"),
        (lambda t: t[t["option"] == 0], "single option"),
    ],
)
def test_tables_of_other_items_are_refused(other, said):
    table = scores([[-1, -2], [-3, -1]])
    with pytest.raises(InputError, match=said):
        choices.changed(table, other(table))


def test_a_table_needs_a_full_model_and_another():
    table = scores([[-1, -2]])
    for wrong, said in (
        (table.drop(columns="compression"), "lacks the column 'compression'"),
        (table, "at least one other compression"),
        (table.assign(compression="4-bit"), "needs 'full'"),
        (pd.concat([table.assign(model="a"), table.assign(model="b")]), "several base models"),
    ):
        with pytest.raises(InputError, match=said):
            choices.change_scores(wrong)


def test_notes_on_an_empty_table():
    empty = pd.DataFrame({"group": [], "n": [], "score": []})
    assert noted(empty, "group", ["x"])["note"].tolist() == ["no items"]
