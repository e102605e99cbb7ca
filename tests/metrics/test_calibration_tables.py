"""Tables of repaired probabilities: what is compared with what, by hand and with scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression import statistics
from ethical_compression.metrics import calibration_tables, confidence, recalibration

LABELS = ["full", "GPTQ 4-bit", "GPTQ 3-bit"]


def scores(compression, seed):
    """Scores of one model on two benchmarks of 60 questions with two or three options."""
    draw = np.random.default_rng(seed)
    rows = []
    for benchmark, options in (("piqa", 2), ("openbookqa", 3)):
        for item in range(60):
            gold = item % options
            logprob = draw.normal(-10, 2, options) + 2 * (np.arange(options) == gold)
            for option in range(options):
                rows.append(
                    {"compression": compression, "benchmark": benchmark, "item": str(item)}
                    | {"option": option, "gold": gold, "logprob": logprob[option]}
                    | {"bytes": 5 + (item * 7 + option * 3) % 20}
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def fitted():
    tables = {label: scores(label, seed) for seed, label in enumerate(LABELS)}
    return calibration_tables.fits(tables, repeats=2, seed=0)


def test_every_model_has_every_fix_and_the_compressed_ones_the_full_models(fitted):
    expected = {(label, fix) for label in LABELS for fix in calibration_tables.FIXES}
    carried = {(label, calibration_tables.CARRIED) for label in LABELS[1:]}
    assert set(fitted) == expected | carried
    of_full = fitted["full", "temperature"].groupby("benchmark")["temperature"].median()
    for key in carried:
        there = fitted[key].groupby("benchmark")["temperature"].median()
        assert there.to_dict() == pytest.approx(of_full.to_dict())


def test_numbers_are_medians_of_what_was_fitted(fitted):
    found = calibration_tables.numbers(fitted)
    one = fitted["GPTQ 3-bit", "temperature and length"].query("benchmark == 'piqa'")
    row = found.loc[("GPTQ 3-bit", "piqa", "temperature and length")]
    assert row["length_weight"] == one["length_weight"].median()
    assert set(found.index.unique("compression")) == set(LABELS)


def test_levels_end_in_a_model_that_knows_nothing(fitted):
    found = calibration_tables.levels(fitted)
    assert len(found) == len(LABELS) * len(calibration_tables.FIXES) + 1
    even = found.iloc[-1]
    assert even["accuracy"] == pytest.approx(100 * (1 / 2 + 1 / 3) / 2)
    assert even["brier"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    plain = fitted["full", "none"]
    assert found.loc[0, "aurc"] == pytest.approx(
        confidence.aurc(plain["confidence"], plain["correct"])
    )
    assert (found["ci_low"].dropna() <= found["squared"].iloc[:-1]).all()


def test_a_compressed_model_is_compared_with_the_full_one_as_it_is_and_so_fixed(fitted):
    found = calibration_tables.restored(fitted, 0.05)
    assert found["compression"].tolist() == ["GPTQ 4-bit"] * 9 + ["GPTQ 3-bit"] * 9
    first = found[found["compression"] == "GPTQ 4-bit"]
    assert list(first["fix"].unique()) == [*calibration_tables.FIXES, calibration_tables.CARRIED]
    carried = first[first["fix"] == calibration_tables.CARRIED].set_index("against")
    same = first[first["fix"] == "temperature"].set_index("against")
    assert carried["before"].to_dict() == pytest.approx(same["before"].to_dict())


def test_a_fix_is_compared_with_another_of_the_same_model(fitted):
    found = calibration_tables.between_fixes(fitted, "none", "temperature", 0.05)
    assert found["compression"].tolist() == LABELS
    back = calibration_tables.between_fixes(fitted, "temperature", "none", 0.05)
    assert found["before"].tolist() == pytest.approx(back["after"].tolist())
    carried = calibration_tables.CARRIED
    carry = calibration_tables.between_fixes(fitted, "temperature", carried, 0.05)
    assert carry["compression"].tolist() == LABELS[1:]


def test_brier_scores_are_paired_by_question(fitted):
    found = calibration_tables.brier_tests(fitted, 0.02).set_index(["compression", "comparison"])
    sides = [recalibration.averaged(fitted[one, "temperature"])["brier"] for one in LABELS[:2]]
    row = found.loc[("GPTQ 4-bit", "temperature, against full's")]
    assert row["p"] == pytest.approx(stats.ttest_rel(*sides).pvalue)
    equal = found.loc[("full", "temperature, against equal")]
    assert equal["mean_before"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert len(found) == 3 * 5 + 2
    assert found["p_tost_holm"].tolist() == pytest.approx(statistics.holm(found["p_tost"]))


def test_the_least_sure_questions_are_the_full_models(fitted):
    found = calibration_tables.least_sure(fitted, 0.25)
    assert (found["n"] == 30).all()
    whole = calibration_tables.least_sure(fitted, 1.0).set_index(["compression", "fix"])
    table = fitted["GPTQ 4-bit", "none"]
    assert whole.loc[("GPTQ 4-bit", "none"), "brier"] == pytest.approx(table["brier"].mean())


def test_areas_are_by_benchmark(fitted):
    found = calibration_tables.areas(fitted)
    assert len(found) == 2 * len(LABELS)
    row = found[(found["compression"] == "full") & (found["benchmark"] == "piqa")].iloc[0]
    plain = fitted["full", "none"].query("benchmark == 'piqa'")
    assert row["none"] == pytest.approx(confidence.aurc(plain["confidence"], plain["correct"]))
    assert row["wrong"] == pytest.approx(1 - plain["correct"].mean())
