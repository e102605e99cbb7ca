"""What a repair costs: known answers before and after, and how many are others."""

import pandas as pd
import pytest

from ethical_compression.metrics import repair_costs
from ethical_compression.metrics.choices import changed


def questions(compression, right):
    """40 questions of two options, of which `right` are answered rightly."""
    return pd.DataFrame(
        [
            {
                "compression": compression,
                "benchmark": "piqa",
                "item": f"i{k}",
                "option": option,
                "gold": 0,
                "logprob": -1.0 if (option == 0) == (k < right) else -2.0,
                "tokens": 4,
                "bytes": 12,
            }
            for k in range(40)
            for option in range(2)
        ]
    )


def completed(compression, hurtful, language):
    """12 templates of six people, each completed with two words."""
    return pd.DataFrame(
        [
            {
                "compression": compression,
                "benchmark": f"honest, {language}",
                "item": f"t{k}",
                "group": "female",
                "cluster": f"c{k % 6}",
                "kind": "x",
                "number": "singular",
                "rank": rank,
                "word": "bad" if 2 * k + rank < hurtful else "good",
                "logprob": -1.0,
            }
            for k in range(12)
            for rank in range(2)
        ]
    )


def tables(before=30, after=20):
    sides = {"plain": (before, 0), "exact": (after, 12)}
    return {
        "scores": pd.concat([questions(name, right) for name, (right, _) in sides.items()]),
        **{
            f"honest_{one}": pd.concat([completed(n, bad, one) for n, (_, bad) in sides.items()])
            for one in ("en", "fr")
        },
    }


LEXICONS = {"honest_en": {"bad": "x"}, "honest_fr": {"bad": "x"}}


@pytest.fixture(autouse=True)
def without_bbq(monkeypatch):
    """BBQ's values are tested with `harm_values`, on its own questions."""
    monkeypatch.setattr(repair_costs, "COSTS", ("honest_en", "honest_fr", "questions"))


def test_what_comes_with_no_package_may_be_missing(monkeypatch):
    monkeypatch.setattr(repair_costs, "COSTS", ("honest_en", "guise_verdicts"))
    found = repair_costs.costs(tables(), {}, LEXICONS, [("plain", "exact")])
    assert found["check"].tolist() == ["honest_en"]


def test_a_cost_is_the_paired_change_of_its_harm():
    found = repair_costs.costs(tables(), {}, LEXICONS, [("plain", "exact")]).set_index("check")
    row = found.loc["questions"]
    assert (row["level_before"], row["level_after"]) == (0.25, 0.5)
    assert row["difference"] == 0.25 and row["verdict"] == "worse" and row["unit"] == "share"
    assert found.loc["honest_fr", "difference"] == pytest.approx(0.5)
    assert found.loc["honest_fr", "title"] == "HONEST, French"
    assert (found["before"] == "plain").all() and (found["after"] == "exact").all()


def test_nothing_is_worse_where_nothing_changed():
    same = tables(30, 30)
    same["honest_en"] = pd.concat([completed(n, 3, "en") for n in ("plain", "exact")])
    same["honest_fr"] = pd.concat([completed(n, 3, "fr") for n in ("plain", "exact")])
    found = repair_costs.costs(same, {}, LEXICONS, [("plain", "exact")])
    assert (found["difference"] == 0).all() and not found["verdict"].isin(["worse", "better"]).any()


def test_moved_answers_are_those_that_flip():
    found = repair_costs.moved(tables(), {"scores": "PIQA"}, "plain", "exact").iloc[0]
    sides = tables()["scores"]
    items = changed(
        *(sides[sides["compression"] == one].assign(cluster=0) for one in ("plain", "exact"))
    )
    assert found["flipped"] == items["flipped"].mean() == 0.25
    assert found["kl"] == pytest.approx(items["kl"].mean()) and found["title"] == "PIQA"


def test_what_is_kept_of_right_answers_is_read_off_the_interval():
    found = repair_costs.costs(tables(30, 20), {}, LEXICONS, [("plain", "exact")])
    row = found[found["check"] == "questions"].iloc[0]
    kept = repair_costs.accuracy_kept(found, "plain", "exact")
    assert (kept["right"], kept["left"]) == (0.75, 0.5) and kept["share"] == pytest.approx(2 / 3)
    # 10 of 40 answers are lost: 0.25 ± t₃₉ · s/√40, of the 0.75 that were right.
    assert kept["share_low"] == pytest.approx((0.75 - row["ci_high"]) / 0.75)
    assert kept["verdict"] == "lost"
    assert kept["detectable"] == pytest.approx(row["detectable"] / 0.75) and row["detectable"] > 0
    same = repair_costs.costs(tables(30, 30), {}, LEXICONS, [("plain", "exact")])
    assert repair_costs.accuracy_kept(same, "plain", "exact")["verdict"] == "kept"
    few = repair_costs.costs(tables(30, 27), {}, LEXICONS, [("plain", "exact")])
    assert repair_costs.accuracy_kept(few, "plain", "exact")["verdict"] == "cannot tell"
