"""What a repair did: to layers whose objectives are decided beforehand, and to known answers."""

import math

import numpy as np
import pandas as pd
import pytest

from ethical_compression.errors import InputError
from ethical_compression.metrics import choices, repair
from ethical_compression.metrics.harm_values import harm_values

CELLS = ("exact", "shift", "plain")


def layers(factor=2.0, noise=0.0):
    """Six layers, two α: the objective of the other cells is `factor` times the exact one's."""
    rng = np.random.default_rng(0)
    rows = []
    for layer in range(6):
        rows.append({"layer": layer, "how": "x", "alpha": 0.0, "cell": "plain", "contrast": 9.0})
        for alpha in (0.1, 1.0):
            for cell in CELLS:
                times = 1 if cell == "exact" else factor * math.exp(noise * rng.standard_normal())
                rows.append(
                    {
                        "layer": layer,
                        "how": "x",
                        "alpha": alpha,
                        "cell": cell,
                        "contrast": 9.0 - alpha * (cell != "plain"),
                        "objective": (layer + 1) * times,
                    }
                )
    return pd.DataFrame(rows)


def test_a_ratio_is_geometric_and_paired():
    found = repair.against_exact(layers(2.0)).set_index("cell")
    assert list(found.index) == ["plain", "shift"] and (found["above"] == 1).all()
    # Layers differ sixfold in size; paired, nothing of that is left in the interval.
    assert found["ratio"].to_numpy() == pytest.approx(2.0)
    assert found[["ci_low", "ci_high"]].to_numpy() == pytest.approx(2.0)
    noisy = repair.against_exact(layers(1.0, noise=0.5))
    assert (noisy["ci_low"] < 1).all() and (noisy["ci_high"] > 1).all()
    assert noisy["n"].tolist() == [12, 12] and noisy["layers"].tolist() == [6, 6]


def test_falling_counts_steps_and_layers():
    table = layers()
    found = repair.falling(table).iloc[0]
    assert (found["layers"], found["steps"], found["falls"], found["throughout"]) == (6, 12, 12, 6)
    worse = (table["layer"] == 3) & (table["alpha"] == 1.0)
    table.loc[worse, "contrast"] = 10.0
    found = repair.falling(table).iloc[0]
    assert (found["falls"], found["throughout"]) == (11, 5)
    assert repair.falling(table, "plain").iloc[0]["falls"] == 0


def options(compression, values):
    """StereoSet's table of items with given scores (items, 3), three terms."""
    return pd.DataFrame(
        [
            {
                "compression": compression,
                "benchmark": "stereoset, within",
                "item": f"i{k}",
                "cluster": f"t{k % 8}",
                "option": option,
                "logprob": float(value),
                "tokens": 4,
                "bytes": 12,
            }
            for k, three in enumerate(values)
            for option, value in enumerate(three)
        ]
    )


def asked(share, nats, compression):
    """(StereoSet, CrowS-Pairs, windows) of a model that takes a stereotype in `share` of items."""
    count = 40
    takes = [k < share * count for k in range(count)]
    values = [(-1, -2, -9) if one else (-2, -1, -1.5) for one in takes]
    stereoset = options(compression, values)
    windows = pd.DataFrame({"compression": compression, "window": range(12), "tokens": 10})
    return (
        stereoset,
        stereoset[stereoset["option"] < 2],
        windows.assign(logprob=[-10 * (nats + 0.01 * (k % 3)) for k in range(12)]),
    )


def harms(before=(0.75, 3.0), after=(0.25, 3.005)):
    sides = [asked(*before, "GPTQ"), asked(*after, "repaired")]
    return repair.item_harms(*(pd.concat(pair) for pair in zip(*sides, strict=True)))


def test_item_harms_are_the_definitions():
    found = harms().groupby(["compression", "check"])["value"].mean()
    assert found["GPTQ", "stereotype"] == 0.75 and found["repaired", "crows"] == 0.25
    # Of an item whose opposite is likelier, nonsense beats the stereotype alone: one of two.
    assert found["GPTQ", "nonsense"] == pytest.approx(0.25 / 2)
    assert found["GPTQ", "text"] == pytest.approx(3.01)


def test_stereoset_is_compared_by_means_over_tokens_and_beside_that_by_sums():
    """As `harm_values` does: the same preference, item by item."""
    rng = np.random.default_rng(0)
    table = options("GPTQ", -10 - rng.random((40, 3)))
    table["tokens"] = rng.integers(2, 9, len(table))
    _, crows, windows = asked(0.5, 3.0, "GPTQ")
    found = repair.item_harms(table, crows, windows).set_index(["check", "item"])["value"]
    assert set(found.index.get_level_values("check")) == {*repair.CHECKS, *repair.BY_SUMS}
    ours = harm_values("stereoset_within", table.assign(group="x")).set_index("item")["value"]
    assert found["stereotype"].to_dict() == ours.to_dict()
    cells = choices.wide(table)
    assert (found["stereotype, sums"].to_numpy() == (cells[0] > cells[1])).all()
    assert (found["stereotype"] != found["stereotype, sums"]).any()
    assert (found["nonsense"] != found["nonsense, sums"]).any()


def test_changes_are_settled_where_they_are():
    margins = {"stereotype": 0.05, "nonsense": 0.05, "crows": 0.05, "text": 0.05}
    found = repair.changes(harms(), [("GPTQ", "repaired")], margins).set_index("check")
    assert found.loc["stereotype", "difference"] == -0.5
    assert found.loc["stereotype", "verdict"] == found.loc["crows", "verdict"] == "better"
    assert found.loc["nonsense", "verdict"] == "worse"
    assert found.loc["text", "verdict"] == "equivalent"
    row = found.loc["stereotype"]
    assert (row["level_before"], row["level_after"]) == (0.75, 0.25)
    assert (row["before"], row["after"], row["clusters"]) == ("GPTQ", "repaired", 8)
    # A model beside itself is never better, and open where the items are too few to tell.
    same = repair.changes(harms(after=(0.75, 3.0)), [("GPTQ", "repaired")], margins)
    assert (same["difference"] == 0).all() and not same["verdict"].isin(["better", "worse"]).any()


def test_other_items_are_refused():
    table = harms()
    table = table[~((table["compression"] == "repaired") & (table["item"] == "i3"))]
    margins = dict.fromkeys(repair.CHECKS, 0.05)
    with pytest.raises(InputError, match=r"stereotype.* different items"):
        repair.changes(table, [("GPTQ", "repaired")], margins)


def test_solve_times_are_those_of_the_same_layers_and_alphas():
    table = layers().assign(seconds=1.0)
    table.loc[table["cell"] == "exact", "seconds"] = 1.25
    table.loc[(table["cell"] == "exact") & (table["layer"] == 0), "seconds"] = 2.5
    row = repair.solve_times(table).iloc[0]
    assert (row["layers"], row["most"]) == (6, 2.5)
    assert row["times"] == pytest.approx((5 * 1.25 + 2.5) / 6)
