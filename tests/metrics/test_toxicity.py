"""Error rates against scikit-learn, rates and changes against counting by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from ethical_compression.errors import InputError
from ethical_compression.metrics import toxicity
from ethical_compression.metrics.bias_auc import ALL
from ethical_compression.statistics.misclassification import (
    JudgeErrors,
    corrected_change,
    corrected_share,
)

ERRORS = JudgeErrors(80, 100, 90, 100)


def labelled(n: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    toxic = rng.random(n) < 0.5
    p = np.clip(0.3 * toxic + 0.7 * rng.random(n), 0, 1)
    return pd.DataFrame(
        {
            "judge": "ours",
            "data": "posts",
            "id": [str(i) for i in range(n)],
            "communities": [["Women", "Islam"][: i % 3] for i in range(n)],
            "toxic": toxic,
            "p": p,
            "flagged": 1.0 * (p >= 0.5),
            "fault": "",
        }
    )


def test_error_rates_of_a_community_are_scikit_learns():
    table = labelled()
    found = toxicity.errors_by_community(table)
    assert found["community"].tolist() == [ALL, "Women", "Islam"]
    for community, row in found.set_index("community").iterrows():
        inside = (
            table if community == ALL else table[[community in c for c in table["communities"]]]
        )
        tn, fp, fn, tp = confusion_matrix(inside["toxic"], inside["flagged"] == 1).ravel()
        assert (row["positives"], row["negatives"], row["failed"]) == (tp + fn, tn + fp, 0)
        assert row["sensitivity"] == pytest.approx(tp / (tp + fn))
        assert row["specificity"] == pytest.approx(tn / (tn + fp))
        assert row["auc"] == pytest.approx(roc_auc_score(inside["toxic"], inside["p"]))
        for name, right, of in (("sensitivity", tp, tp + fn), ("specificity", tn, tn + fp)):
            ends = proportion_confint(right, of, method="wilson")
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(ends)
        assert row["gap"] == pytest.approx(inside["p"].mean() - inside["toxic"].mean())
        assert row["auc_low"] < row["auc"] < row["auc_high"] and row["note"] == ""


def test_a_judge_that_is_as_sure_as_it_is_right_has_no_calibration_error():
    rng = np.random.default_rng(2)
    table = labelled(4000)
    good = table.assign(p=rng.random(4000)).assign(toxic=lambda t: rng.random(4000) < t["p"])
    bad = good.assign(p=good["p"] ** 3)
    for name in ("gap", "squared"):
        rows = [toxicity.errors_by_community(one).iloc[0] for one in (good, bad)]
        assert rows[0][f"{name}_low"] < 0 < rows[0][f"{name}_high"]
        assert not rows[1][f"{name}_low"] < 0 < rows[1][f"{name}_high"]


def test_failures_are_counted_and_take_part_in_nothing():
    table = labelled()
    table.loc[::10, ["p", "flagged"]] = math.nan
    table.loc[::10, "fault"] = "no word"
    found = toxicity.errors_by_community(table).iloc[0]
    assert found["failed"] == 30 and found["positives"] + found["negatives"] == 270
    seen = table[table["fault"] == ""].reset_index(drop=True)
    same = toxicity.errors_by_community(seen).iloc[0]
    pd.testing.assert_series_equal(found.drop("failed"), same.drop("failed"))


def test_what_cannot_be_had_is_missing_and_said():
    table = labelled(60)
    harmless = toxicity.errors_by_community(table.assign(toxic=False)).iloc[0]
    assert math.isnan(harmless["sensitivity"]) and math.isnan(harmless["auc"])
    assert harmless["note"] == "no toxic text" and 0 < harmless["specificity"] < 1
    few = toxicity.errors_by_community(table.assign(toxic=table.index < 4)).iloc[0]
    assert few["note"] == "only 4 toxic texts"
    chosen = toxicity.errors_by_community(table, {"posts": ["Islam", "Nobody"]})
    assert chosen["community"].tolist() == [ALL, "Islam", "Nobody"]
    assert chosen.iloc[2]["note"] == "no toxic text; no harmless text"
    failed = table.assign(p=math.nan, flagged=math.nan, fault="no word")
    assert toxicity.errors_by_community(failed).iloc[0]["failed"] == 60
    with pytest.raises(InputError, match="lack the column"):
        toxicity.errors_by_community(table.drop(columns="fault"))


def test_the_errors_to_correct_by_are_counts_of_the_rows_asked_for():
    rows = toxicity.errors_by_community(pd.concat([labelled(), labelled().assign(data="other")]))
    table = labelled()
    inside = table[[len(c) == 2 for c in table["communities"]]]
    found = toxicity.errors_of(rows, ("posts", "Islam"), ("other", ALL))
    caught = int(((inside["flagged"] == 1) & inside["toxic"]).sum())
    passed = int(((table["flagged"] == 0) & ~table["toxic"]).sum())
    assert found == JudgeErrors(
        caught, int(inside["toxic"].sum()), passed, int((~table["toxic"]).sum())
    )
    assert toxicity.errors_of(rows, ("posts", ALL)).harmless == found.harmless
    with pytest.raises(InputError, match="0 rows of 'Nobody'"):
        toxicity.errors_of(rows, ("posts", "Nobody"))
    two = pd.concat([rows, rows.assign(judge="another")])
    with pytest.raises(InputError, match="2 rows"):
        toxicity.errors_of(two, ("posts", ALL))
    assert toxicity.errors_of(two, ("posts", ALL), judge="ours").harmless == found.harmless
    plain = toxicity.errors_by_community(labelled().assign(toxic=False))
    with pytest.raises(InputError, match="both kinds"):
        toxicity.errors_of(plain, ("posts", ALL))


# --- Rates of models ------------------------------------------------------------------------------


def texts(seed: int = 0) -> pd.DataFrame:
    """Forty prompts of two groups, three samples of each, of a full model and two compressed."""
    rng = np.random.default_rng(seed)
    rows = [
        {"model": "m", "compression": name, "prompt": prompt, "sample": sample}
        | {"group": "ab"[prompt % 2], "flagged": float(rng.random() < rate)}
        for name, rate in (("full", 0.2), ("GPTQ 4-bit", 0.2), ("GPTQ 2-bit", 0.7))
        for prompt in range(40)
        for sample in range(3)
    ]
    return pd.DataFrame(rows)


def test_a_rate_is_the_corrected_share_of_its_texts():
    table = texts()
    found = toxicity.rates(table, ERRORS, cluster="prompt")
    assert found["compression"].tolist() == ["full", "GPTQ 4-bit", "GPTQ 2-bit"]
    for row in found.to_dict("records"):
        part = table[table["compression"] == row["compression"]]
        other = corrected_share(part["flagged"], ERRORS, clusters=part["prompt"])
        assert row["flagged"] == part["flagged"].mean()
        assert {key: row[key] for key in vars(other)} == vars(other)
        assert (row["n"], row["clusters"], row["failed"]) == (120, 40, 0)


def test_each_group_may_have_errors_of_its_own():
    errors = {"a": ERRORS, "b": JudgeErrors(60, 100, 70, 100)}
    found = toxicity.rates(texts(), errors, by=["compression"], group="group")
    assert len(found) == 6
    for row in found.to_dict("records"):
        judge = errors[row["group"]]
        expected = (row["flagged"] + judge.specificity - 1) / judge.youden
        assert row["share"] == pytest.approx(min(max(expected, 0), 1))
    with pytest.raises(InputError, match="group 'b'"):
        toxicity.rates(texts(), {"a": ERRORS}, group="group")
    with pytest.raises(InputError, match="no column that is the group"):
        toxicity.rates(texts(), errors)


def test_a_change_is_that_of_the_same_prompts_and_draws():
    table = texts().sample(frac=1, random_state=0)
    found = toxicity.changes(table, ERRORS, cluster="prompt")
    assert found["compression"].tolist() in (
        ["GPTQ 4-bit", "GPTQ 2-bit"],
        ["GPTQ 2-bit", "GPTQ 4-bit"],
    )
    wide = texts().pivot(index=["prompt", "sample"], columns="compression", values="flagged")
    for row in found.to_dict("records"):
        clusters = wide.index.get_level_values("prompt")
        other = corrected_change(wide["full"], wide[row["compression"]], ERRORS, clusters=clusters)
        np.testing.assert_allclose(
            [row[key] for key in ("difference", "ci_low", "ci_high", "p")],
            [other.difference, other.ci_low, other.ci_high, other.p],
        )
        assert row["failed"] == 0 and row["p_holm"] >= row["p"]


def test_a_pair_of_which_one_side_failed_is_left_out_on_both_and_counted():
    table = texts()
    one = (table["compression"] == "GPTQ 2-bit") & (table["prompt"] < 4)
    found = toxicity.changes(table.assign(flagged=table["flagged"].mask(one)), ERRORS)
    row = found.set_index("compression").loc["GPTQ 2-bit"]
    assert (row["failed"], row["n"]) == (12, 108)
    kept = table[table["prompt"] >= 4]
    other = toxicity.changes(kept, ERRORS).set_index("compression").loc["GPTQ 2-bit"]
    assert row["difference"] == other["difference"] and row["ci_low"] == other["ci_low"]
    rates = toxicity.rates(table.assign(flagged=table["flagged"].mask(one)), ERRORS)
    assert rates.set_index("compression")["failed"].to_dict()["GPTQ 2-bit"] == 12


def test_where_the_judge_failed_on_everything_there_is_a_row_that_says_so():
    table = texts()
    gone = table.assign(flagged=table["flagged"].mask(table["compression"] == "GPTQ 2-bit"))
    rate = toxicity.rates(gone, ERRORS).set_index("compression").loc["GPTQ 2-bit"]
    assert (rate["n"], rate["failed"]) == (0, 120) and "failed on every text" in rate["note"]
    change = toxicity.changes(gone, ERRORS).set_index("compression").loc["GPTQ 2-bit"]
    assert (change["n"], change["failed"]) == (0, 120) and math.isnan(change["p_holm"])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (texts().query("compression != 'full'"), "no texts of 'full'"),
        (texts().query("compression == 'full'"), "no compressed model"),
        (texts().query("compression == 'full' or prompt > 0"), "do not hold the same texts"),
        (pd.concat([texts(), texts()[:1]]), "there twice"),
        (texts().drop(columns="sample"), "lack the column.* sample"),
        (texts().drop(columns="flagged"), "lack the column.* flagged"),
        (texts()[:0], "no judged texts"),
    ],
)
def test_what_cannot_be_compared_is_refused(table, said):
    with pytest.raises(InputError, match=said):
        toxicity.changes(table, ERRORS)
