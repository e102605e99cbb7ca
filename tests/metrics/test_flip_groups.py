"""Flips by group: what others' shifts would make of it, sizes by simulation, directions."""

import numpy as np
import pandas as pd
import pytest
from flip_rows import blind, drawn, grid

from ethical_compression.errors import InputError
from ethical_compression.metrics import flip_groups as groups_of
from ethical_compression.metrics import flips


def test_groups_have_tests_or_a_reason():
    groups = ["a"] * 60 + ["b"] * 60 + ["few"] * 9 + ["one"] * 12
    clusters = [*range(129), *["w"] * 12]
    rng = np.random.default_rng(5)
    true = rng.normal(size=141)
    size = np.where(np.array(groups) == "a", 1.5, 0.2)
    leads = np.column_stack([true, true, true + size * rng.normal(size=141)])
    rows = flips.answers(grid(leads, battery="unqover", groups=groups, clusters=clusters))
    table = groups_of.by_group(rows, groups={"unqover": ["a", "none"]}).set_index("group")
    assert table["reason"].to_dict() == {
        "a": "",
        "b": "",
        "few": "fewer than 10 items",
        "one": "fewer than 6 independent clusters",
        "none": "no items",
    }
    assert table["n"].to_dict() == {"a": 60, "b": 60, "few": 9, "one": 12, "none": 0}
    assert table["p_holm"].notna().tolist() == [True, True, False, False, False]
    assert table.loc["a", "p_holm"] < 0.01 and table.loc["a", "difference"] > 0
    assert (table.loc[["a", "b"], "detectable"] > 0).all() and (table["floor"].iloc[:4] == 0).all()


def test_groups_that_are_pushed_alike_are_not_told_apart():
    hits = []
    for seed in range(60):
        leads = drawn(160, seed, blind)
        groups = ["a"] * 40 + ["b"] * 120
        rows = flips.answers(grid(leads, battery="crows_pairs", groups=groups))
        both = [groups_of.by_group(rows, direction=way)["p"].iloc[0] for way in (False, True)]
        hits.append(np.array(both) < 0.05)
    assert (np.mean(hits, axis=0) <= 0.11).all()


def test_a_group_is_held_against_the_others_shifts():
    leads = drawn(50, 2, lambda true, rng: rng.normal(size=50))
    groups = np.array(["a"] * 20 + ["b"] * 30)
    rows = flips.answers(grid(leads, battery="winobias", groups=groups))
    push = leads[:, 2] - leads[:, 0]
    turned = np.sign(leads[:20, :1] + push[None, 20:]) != np.sign(leads[:20, :1])
    row = groups_of.by_group(rows).iloc[0]
    assert row["expected"] == pytest.approx(turned.mean())
    # The first option is the stereotype: leaving it counts −1.
    way = -np.sign(leads[:20, 0])
    row = groups_of.by_group(rows, direction=True).iloc[0]
    assert row["expected"] == pytest.approx((way * turned.mean(1)).mean())
    flipped = np.sign(leads[:20, 0]) != np.sign(leads[:20, 2])
    assert row["flipped"] == pytest.approx((way * flipped).mean())


def test_a_group_that_begins_at_the_stereotype_can_only_leave_it_and_is_not_said_to_gain():
    """Regression to the mean: a blind push, and a group whose stereotype was always preferred."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        true = np.concatenate([0.6 + 0.3 * rng.normal(size=60), rng.normal(size=180)])
        leads = np.column_stack([true, true, true + 0.6 * rng.normal(size=240)])
        groups = ["a"] * 60 + ["b"] * 180
        rows = flips.answers(grid(leads, battery="crows_pairs", groups=groups))
        found.append(groups_of.by_group(rows, direction=True).iloc[0])
    found = pd.DataFrame(found)
    assert (found["flipped_high"] < 0).mean() > 0.5  # the raw change looks settled
    assert (found["p"] < 0.05).mean() <= 0.125


def preferences(start, end, groups, check="crows_pairs", compression="4-bit"):
    parts = [
        pd.DataFrame(
            {
                "model": "m",
                "compression": name,
                "check": check,
                "item": [f"i{k}" for k in range(len(values))],
                "group": groups,
                "cluster": np.arange(len(values)),
                "value": np.asarray(values, dtype=float),
            }
        )
        for name, values in (("full", start), ("full, float32", start), (compression, end))
    ]
    return pd.concat(parts, ignore_index=True)


def test_who_gains_counts_both_ways():
    start = [0] * 20 + [1] * 20
    end = [1] * 15 + [0] * 5 + [0] * 2 + [1] * 18
    changes = groups_of.directed(preferences(start, end, ["a"] * 20 + ["b"] * 20))
    assert set(changes["floor"]) == {0.0} and set(changes["margin"]) == {0.05}
    table = groups_of.who_gains(changes).set_index("group")
    assert table["with_it"].to_dict() == {"a": 15, "b": 0}
    assert table["against_it"].to_dict() == {"a": 0, "b": 2}
    assert table["difference"].to_dict() == pytest.approx({"a": 0.75, "b": -0.1})
    assert table["verdict"].to_dict() == {"a": "worse", "b": "cannot tell"}


def test_groups_drift_apart_under_a_blind_push_and_that_is_no_asymmetry():
    found = []
    for seed in range(40):
        leads = drawn(200, seed, blind)
        rows = flips.answers(
            grid(leads, battery="crows_pairs", groups=np.repeat(list("abcde"), 40))
        )
        found.append(groups_of.asymmetry(rows, draws=100).iloc[0])
    found = pd.DataFrame(found)
    # Ten points of a hundred between the best and the worst group, and nothing behind it.
    assert found["spread"].mean() > 0.1 and (found["worst"] >= found["best"]).all()
    assert (found["p"] < 0.05).mean() <= 0.125


def test_groups_that_are_pushed_apart_are_an_asymmetry():
    groups = np.repeat(list("abcde"), 40)
    push = np.where(groups == "a", 1.0, np.where(groups == "b", -1.0, 0))
    leads = drawn(200, 0, lambda true, rng: push + blind(true, rng))
    rows = flips.answers(grid(leads, battery="crows_pairs", groups=groups))
    row = groups_of.asymmetry(rows, draws=200).iloc[0]
    assert row["p"] < 0.01 and row["spread"] > row["spread_chance"]
    table = groups_of.by_group(rows, direction=True).set_index("group")
    assert table.loc["a", "difference"] > 0 > table.loc["b", "difference"]
    assert (table.loc[["a", "b"], "p_holm"] < 0.01).all()


def test_a_table_without_preferences_is_refused():
    with pytest.raises(InputError, match="no harm that is a preference"):
        groups_of.directed(grid([[1, 1, 2]] * 3))
