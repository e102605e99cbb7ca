"""Several batteries of one model become one table of verdicts, beside the answers that moved."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression.errors import InputError
from ethical_compression.metrics import four_harms
from ethical_compression.metrics.harm_values import HARMS


def pairs(compression, likelier):
    """CrowS-Pairs whose first sentence is likelier where `likelier` says so."""
    return pd.DataFrame(
        [
            {
                "compression": compression,
                "benchmark": "crows_pairs",
                "item": str(item),
                "group": "age",
                "cluster": str(item),
                "option": option,
                "logprob": -1.0 if (option == 0) == first else -2.0,
                "tokens": 4,
            }
            for item, first in enumerate(likelier)
            for option in (0, 1)
        ]
    )


def windows(compression, loss):
    rows = [{"window": number, "tokens": 10, "logprob": -10 * one} for number, one in loss]
    return pd.DataFrame(rows).assign(compression=compression)


@pytest.fixture
def asked():
    few, many = np.arange(60) % 2 == 0, np.arange(60) % 10 > 0
    loss = [(number, 3.0 + number / 100) for number in range(12)]
    same = [(number, one + 1e-4 * (number % 2)) for number, one in loss]
    tables = {
        "crows_pairs": pd.concat([pairs("full", few), pairs("worse", many), pairs("same", few)]),
        "windows": pd.concat(
            [
                windows("full", loss),
                windows("worse", [(number, one + 1 + number / 50) for number, one in loss]),
                windows("same", same),
            ]
        ),
    }
    tables = {name: table.reset_index(drop=True) for name, table in tables.items()}
    again = {"crows_pairs": pairs("full", few[:20]), "windows": windows("full", loss)}
    return tables, again


def test_what_is_worse_and_what_is_the_same_are_told(asked):
    tables, again = asked
    found = four_harms.verdicts(tables, {}, again).set_index(["harm", "compression"])
    assert len(found) == 4 and set(found["kind"]) == {"Representation", "Language modelling"}
    assert found.loc[("crows_pairs", "worse"), "difference"] == pytest.approx(0.4)
    assert found.loc[("crows_pairs", "worse"), "before"] == pytest.approx(0.5)
    assert found.loc[("crows_pairs", "worse"), "verdict"] == "worse"
    assert found.loc[("held_out_text", "worse"), "verdict"] == "worse"
    assert found.loc[("held_out_text", "same"), "verdict"] == "equivalent"
    assert (found["floor"] == 0).all()


def test_the_floor_is_the_mean_change_of_the_items_asked_twice(asked):
    tables, again = asked
    again["windows"] = again["windows"].assign(logprob=again["windows"]["logprob"] - 0.2)
    found = four_harms.verdicts(tables, {}, again).set_index("harm")
    assert found.loc["held_out_text", "floor"].tolist() == pytest.approx([0.02, 0.02])
    with pytest.raises(InputError, match="crows_pairs was not asked again"):
        four_harms.verdicts(tables, {}, {"windows": again["windows"]})
    with pytest.raises(InputError, match="none of the batteries"):
        four_harms.verdicts({}, {}, again)


def test_answers_that_moved_are_counted_whichever_way(asked):
    tables, again = asked
    found = four_harms.moved(tables, again, {"crows_pairs": "CrowS-Pairs"})
    found = found.set_index("compression")
    before, after = np.arange(60) % 2 == 0, np.arange(60) % 10 > 0
    assert found.loc["worse", "flipped"] == pytest.approx((before != after).mean())
    assert found.loc["same", "flipped"] == found.loc["same", "kl"] == 0
    assert (found["flipped_floor"] == 0).all() and (found["kl_floor"] == 0).all()
    assert found.loc["worse", "title"] == "CrowS-Pairs"


def test_texts_that_differ_are_counted_and_have_no_divergence():
    def texts(compression, ids):
        rows = [{"prompt": str(k), "sample": 0, "token_ids": one} for k, one in enumerate(ids)]
        return pd.DataFrame(rows).assign(compression=compression, group="g")

    one = [[1, 2], [3], [4], [5]]
    both = pd.concat([texts("full", one), texts("other", [[1, 2], [3], [9], [8]])])
    name = "real_toxicity_prompts"
    found = four_harms.moved({name: both}, {name: texts("full", one[:2])}, {name: "Texts"})
    assert found.loc[0, "flipped"] == 0.5 and found.loc[0, "flipped_floor"] == 0
    assert np.isnan(found.loc[0, "kl"])


def test_every_harm_of_a_kind_is_known_and_has_a_margin():
    for names in four_harms.KINDS.values():
        for name in names:
            assert four_harms.MARGINS[HARMS[name].unit] > 0
