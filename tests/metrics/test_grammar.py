"""BLiMP's shares against pairs counted by hand."""

import pandas as pd
import pytest

from ethical_compression.metrics import grammar


def rows(paradigm, group, number, good, bad):
    labels = {
        "benchmark": "blimp",
        "item": f"{paradigm}-{number}",
        "group": group,
        "kind": paradigm,
        "cluster": f"{paradigm}-{number}",
        "repeated": False,
    }
    return [labels | {"option": k, "logprob": v} for k, v in enumerate((good, bad))]


def test_shares_are_of_pairs_and_what_is_said_of_new_paradigms_is_wider():
    said = []
    for number in range(10):  # 8 of 10, 4 of 10, 10 of 10; one pair of the last is a tie
        said += rows("a1", "agreement", number, -1.0, -2.0 if number < 8 else -0.5)
        said += rows("a2", "agreement", number, -1.0, -2.0 if number < 4 else -0.5)
        said += rows("b1", "binding", number, -1.0, -2.0 if number else -1.0)
    found = grammar.by_phenomenon(pd.DataFrame(said)).set_index("phenomenon")
    assert found["share"].to_dict() == pytest.approx(
        {"agreement": 12 / 20, "binding": 9 / 10, grammar.ALL: 21 / 30, grammar.NEW: 21 / 30}
    )
    assert found["paradigms"].to_list() == [2, 1, 3, 3]
    assert found["n"].to_list() == [20, 10, 30, 30]
    # 0.8, 0.4 and 0.9: three paradigms say less of others than thirty pairs of these.
    wide = found["high"] - found["low"]
    assert wide[grammar.NEW] > wide["agreement"] > wide[grammar.ALL]
    assert ((found["low"] <= found["share"]) & (found["share"] <= found["high"])).all()
