"""Tables of confidence, against what can be counted by hand and with scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression import statistics
from ethical_compression.metrics import confidence, confidence_tables

N = 40  # questions of a benchmark


def scores(seed=0):
    """Scores of two models on a benchmark of two answers and one of four."""
    draw = np.random.default_rng(seed)
    rows = []
    for compression in ("full", "GPTQ 3-bit"):
        for benchmark, options in (("piqa", 2), ("openbookqa", 4)):
            for item in range(N):
                for option in range(options):
                    rows.append(
                        {"model": "m", "compression": compression, "benchmark": benchmark}
                        | {"item": str(item), "option": option, "gold": item % options}
                        | {"logprob": -draw.uniform(1, 9), "tokens": 1 + (item + option) % 5}
                        | {"bytes": 3 + (item + option) % 7}
                    )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def items():
    return confidence.per_item(scores())


def test_asterisks_are_those_of_a_paired_t_test(items):
    sides = items.pivot(index=["benchmark", "item"], columns="compression", values="p_true")
    p = stats.ttest_rel(*(sides.loc["piqa", one] for one in ("full", "GPTQ 3-bit"))).pvalue
    for alpha in (p * 0.99, p * 1.01):
        found = confidence_tables.summary(items, alpha).set_index(["compression", "benchmark"])
        assert found.loc[("GPTQ 3-bit", "piqa"), "conf_true_significant"] == (alpha > p)
        assert not found.loc["full", "conf_true_significant"].any()


def test_the_change_of_accuracy_stands_beside_that_of_confidence(items):
    tests = statistics.paired_table(items)
    found = confidence_tables.accuracy_changes(items, tests).set_index("benchmark")
    right = items.groupby(["benchmark", "compression"])["correct"].mean()
    change = right["piqa", "GPTQ 3-bit"] - right["piqa", "full"]
    assert found.loc["piqa", "accuracy_difference"] == pytest.approx(change)
    assert found["p"].tolist() == tests["p"].tolist()


def test_ours_stand_below_the_published_in_their_columns(items):
    published = pd.DataFrame({"model": ["BLOOM"], "boolq": [1.0], "piqa": [2.0]})
    measured = confidence_tables.calibration(items)
    found = confidence_tables.beside_published(measured, published, ["full", "GPTQ 3-bit"])
    assert list(found.columns) == ["model", "counted", "boolq", "piqa", "openbookqa"]
    assert found["counted"].tolist()[0] == "as published" and len(found) == 5
    of_full = measured[(measured["compression"] == "full") & (measured["benchmark"] == "piqa")]
    assert found.loc[1, "piqa"] == pytest.approx(100 * of_full["released"].item())


def test_the_stated_error_of_two_answers_knows_no_order(items):
    ((name, numbers),) = confidence_tables.both_orders(items[items["compression"] == "full"])
    assert name == "piqa"
    assert numbers[2] == pytest.approx(numbers[3])
    assert numbers[0] != pytest.approx(numbers[1])


def test_levels_under_each_normalisation_by_hand():
    full = scores().query("compression == 'full'")
    by_length = confidence_tables.with_lengths(full)
    found = confidence_tables.by_normalisation(by_length).set_index("normalisation")
    assert list(found.index) == list(confidence.NORMALISATIONS)
    for how, row in found.iterrows():
        alone = confidence.per_item(full, how)
        assert row["conf"] == pytest.approx(100 * alone["confidence"].mean())
        assert row["gap"] == pytest.approx(row["conf"] - row["accuracy"])
        assert row["ci_low"] < row["gap"] < row["ci_high"]
    sums = by_length[by_length["normalisation"] == "none"]
    rho = [
        stats.spearmanr(part["confidence"], part["length"]).statistic
        for _, part in sums.groupby("benchmark")
    ]
    assert found.loc["none", "rho"] == pytest.approx(np.mean(rho))


def test_changes_under_each_normalisation_are_one_family():
    found = confidence_tables.changes_by_normalisation(scores())
    assert found["normalised"].tolist() == list(confidence.NORMALISATIONS)
    assert (found["n"] == 2 * N).all()
    assert found["p_holm"].tolist() == pytest.approx(statistics.holm(found["p"]))


def test_moves_are_counted_whichever_way_they_go():
    def asked(compression, probabilities):
        return [
            {"compression": compression, "benchmark": "piqa", "item": str(item), "option": option}
            | {"gold": 0, "logprob": np.log(p), "tokens": 1, "bytes": 1}
            for item, first in enumerate(probabilities)
            for option, p in enumerate((first, 1 - first))
        ]

    answers = confidence.per_item(
        pd.DataFrame(asked("full", [0.6, 0.4]) + asked("GPTQ 3-bit", [0.8, 0.6]))
    )
    windows = pd.DataFrame(
        {
            "compression": ["full", "RTN 8-bit", "GPTQ 3-bit", "full", "RTN 8-bit", "GPTQ 3-bit"],
            "window": [0, 0, 0, 1, 1, 1],
            "logprob": [-4.0, -4.0, -6.0, -8.0, -8.0, -10.0],
            "tokens": 2,
        }
    )
    found = confidence_tables.moves(answers, windows).set_index("compression")
    assert found.index.tolist() == ["RTN 8-bit", "GPTQ 3-bit"]
    assert found.loc["RTN 8-bit", "ratio"] == pytest.approx(1)
    assert np.isnan(found.loc["RTN 8-bit", "moved"])
    told = found.loc["GPTQ 3-bit"]
    assert told["ratio"] == pytest.approx(np.exp(1)) and told["moved"] == pytest.approx(0.2)
    assert told["turned"] == pytest.approx(0.5)
    # A window that was read twice counts once.
    again = confidence_tables.moves(answers, pd.concat([windows, windows]))
    assert again["ratio"].tolist() == pytest.approx(found["ratio"].tolist())
