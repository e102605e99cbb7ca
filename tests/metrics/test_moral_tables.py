"""Tables of moral preferences, against what can be counted by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression.metrics import moral

NAMES = {"en": "English", "fr": "French"}


def verdicts(seed=0, compressions=("full", "GPTQ 3-bit"), stories=12):
    draw = np.random.default_rng(seed)
    rows = []
    for compression in compressions:
        for language in NAMES:
            for norm in (True, False) if compression == "full" else (True,):
                for story in range(stories):
                    good, bad = -draw.uniform(1, 3, 2)
                    tokens = draw.integers(4, 7, 2)
                    rows.append(
                        {"compression": compression, "language": language, "norm": norm}
                        | {"story": str(story), "moral": good, "immoral": bad}
                        | {"moral_tokens": tokens[0], "immoral_tokens": tokens[1]}
                        | {"moral_logprob": good * tokens[0], "immoral_logprob": bad * tokens[1]}
                    )
    table = pd.DataFrame(rows)
    table["margin"] = table["moral"] - table["immoral"]
    return table.assign(prefers_moral=table["margin"] > 0)


def test_shares_are_counted_and_tested_against_one_half():
    table = verdicts()
    found = moral.shares(table, ["compression", "language", "norm"])
    side = table[(table["compression"] == "full") & (table["language"] == "fr") & table["norm"]]
    row = found[(found["compression"] == "full") & (found["language"] == "fr") & found["norm"]]
    row = row.iloc[0]
    assert len(found) == 6
    assert row["share"] == side["prefers_moral"].mean()
    assert row["nll_moral"] == pytest.approx(-side["moral"].mean())
    assert row["p"] == stats.binomtest(int(side["prefers_moral"].sum()), len(side)).pvalue


def test_changes_pair_the_same_stories():
    table = verdicts()
    found = moral.changes(table, ["GPTQ 3-bit"], NAMES).set_index("label")
    assert list(found.index) == [
        "norm given,\nEnglish",
        "norm given,\nFrench",
        "French minus\nEnglish",
        "GPTQ 3-bit,\nEnglish",
        "GPTQ 3-bit,\nFrench",
    ]
    full = table[(table["compression"] == "full") & table["norm"]]
    by = full.pivot(index="story", columns="language", values="prefers_moral")
    row = found.loc["French minus\nEnglish"]
    assert row["difference"] == pytest.approx(by["fr"].mean() - by["en"].mean())
    assert row["gained"] == (by["fr"] & ~by["en"]).sum()
    assert (found["p_holm"] >= found["p"]).all()


def test_one_language_has_no_gap_between_languages():
    table = verdicts()
    found = moral.changes(table[table["language"] == "en"], [], NAMES)
    assert found["label"].tolist() == ["norm given,\nEnglish"]


def test_length_counts_only_stories_whose_actions_differ_in_tokens():
    table = verdicts(compressions=("full",))
    table["prefers_moral"] = table["moral_tokens"] < table["immoral_tokens"]
    found = moral.by_length({"mean": table})
    assert (found["shorter"] == 1).all()
    assert (found["unlike_mean"] == 0).all()
    differ = table[table["moral_tokens"] != table["immoral_tokens"]]
    longer = moral.longer_actions(table)
    assert longer.n == len(differ)
    assert longer.share == (differ["moral_tokens"] > differ["immoral_tokens"]).mean()


def test_places_are_shares_of_stories_and_written_answers_have_no_margin():
    asked = pd.DataFrame(
        {
            "reading": ["label"] * 4 + ["written"] * 4,
            "first": [1, 1, 0.5, 0.5] * 2,
            "moral": [0.5, 0.5, 1, 0] * 2,
            "prefers_moral": pd.array([True, True, True, False] + [None] * 4, dtype=object),
        }
    )
    found = moral.places(asked, ["reading"]).set_index("reading")
    assert found.loc["label", ["first", "moral", "cancelled"]].tolist() == [0.75, 0.5, 0.75]
    assert found.loc["written"].filter(like="cancelled").isna().all()


def test_four_averages_are_ordered_as_jensen_has_it():
    table = verdicts(compressions=("full",))
    found = moral.four_averages(table)
    assert (found["mean_ppl"] >= found["exp_mean"]).all()
    assert np.allclose(np.log(found["exp_mean"]), found["mean_nll"])
    one = table[table["language"] == "en"]
    by_hand = np.exp(-one["moral_logprob"].sum() / one["moral_tokens"].sum())
    assert found.loc[0, "corpus_ppl"] == pytest.approx(by_hand)


def test_tokenisations_are_compared_with_the_first():
    table = verdicts(compressions=("full",))
    turned = table.assign(prefers_moral=~table["prefers_moral"])
    found = moral.tokenisations({"together": table, "apart": turned}).set_index("way")
    assert found["changed"].tolist() == [0, 1]
    assert found.loc["together", "longer"] + found.loc["apart", "longer"] == pytest.approx(1)


def test_costs_are_paired_with_the_model_before():
    draw = np.random.default_rng(0)
    windows, asked = [], []
    for label, shift in (("full", 0.0), ("DPO_M 8", 0.2)):
        tokens = np.full(6, 10)
        nll = np.linspace(2, 3, 6) + shift + 0.01 * draw.random(6)
        part = pd.DataFrame({"window": range(6), "tokens": tokens, "logprob": -nll * tokens})
        windows.append(part.assign(compression=label, model="m"))
        rows = pd.DataFrame(
            [
                {"benchmark": "b", "item": str(k), "option": o, "gold": 0, "tokens": 1, "bytes": 1}
                for k in range(6)
                for o in range(2)
            ]
        )
        logprob = -draw.random(12)
        asked.append(rows.assign(logprob=logprob, compression=label, model="m"))
    found, changes = moral.costs(pd.concat(windows), pd.concat(asked), "full", 0.05)
    assert found["compression"].tolist() == ["full", "DPO_M 8"]
    assert found.loc[0, "perplexity"] == pytest.approx(
        np.exp(-windows[0]["logprob"].sum() / windows[0]["tokens"].sum())
    )
    assert pd.isna(found.loc[0, "change"])
    assert changes.loc[0, "difference"] == pytest.approx(0.2, abs=0.02)
    assert changes.loc[0, "p_within_holm"] > 0.05
