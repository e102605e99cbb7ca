"""Every sentence over the whole table of outcomes: what the numbers say is what is said."""

import math

import numpy as np
import pandas as pd
import pytest

from ethical_compression import kept_tables, words
from ethical_compression.metrics import bias_auc, classification
from ethical_compression.words import classification as said

NAN = math.nan
# difference, p_holm, p_tost_holm: one a possible outcome, and what a clause about it begins with.
CASES = {
    "lower": (-0.1, 0.01, 0.9, "lowers F1: −0.100"),
    "higher": (0.1, 0.01, 0.9, "raises F1: +0.100"),
    "equivalent": (-0.001, 0.6, 0.01, "keeps F1 within ±0.02: −0.001"),
    "open": (0.03, 0.2, 0.6, "leaves open what becomes of F1: +0.030"),
    "untestable": (0.03, NAN, NAN, "could not be tested on F1"),
}


def row(came, name=None, **more):
    difference, p, p_tost, _ = CASES[came]
    half = NAN if came == "untestable" else 0.01
    return {
        "compression": name or came,
        "seeds": 6,
        "difference": difference,
        "ci_low": difference - half,
        "ci_high": difference + half,
        "p": p,
        "p_holm": p,
        "p_tost_holm": p_tost,
        "p_bh": p,
        "detectable": NAN if came == "untestable" else 0.05,
    } | more


def table(*rows):
    return pd.DataFrame(rows)


@pytest.mark.parametrize("came", CASES)
def test_a_clause_has_a_wording_for_every_outcome(came):
    assert said.outcomes(table(row(came))).tolist() == [came]
    assert said.change(row(came), "F1", 0.02).startswith(CASES[came][3])
    assert said.answer("It", [("F1", row(came))], 0.02).startswith(f"It {CASES[came][3]}")
    one = said.changes(table(row(came, "X")), "F1", 0.02)
    assert ("Nothing can be said" in one) == (came == "untestable")
    assert ("does not mean unchanged" in one) == (came == "open")


@pytest.mark.parametrize(
    ("came", "expected"),
    [
        ("lower", "lower at λ = 1: −0.100 (95% interval −0.110 to −0.090)"),
        ("higher", "higher at λ = 0.01 and 1, most at 1: +0.100 (95% interval +0.090 to +0.110)"),
        ("equivalent", "shown to move by less than 0.02 at λ = 1"),
        ("open", f"not settled at λ = 0.1 and 1 (from 0.070 on found {said.FOUR_OF_FIVE})"),
        ("untestable", "not testable at λ = 1"),
    ],
)
def test_an_answer_speaks_of_every_strength(came, expected):
    weak = row("higher", difference=0.044, ci_low=0.01, ci_high=0.08)
    rows = table(row(came), weak, row("open", detectable=0.07)).assign(strength=[1, 0.01, 0.1])
    text = said.answer_by_strength("With it", {"F1": rows, "AUC": rows[:0]}, 0.02)
    assert text.startswith("With it, after Holm: F1 is ") and expected in text
    assert "higher at λ = 0.01" in text and "not settled at λ = 0.1" in text
    assert text.count("95% interval") == (2 if came == "lower" else 1)
    assert text.endswith("; AUC is not compared.")


def test_scores_of_which_the_same_is_to_be_said_share_a_clause():
    alike, other = (table(row(came)).assign(strength=[1]) for came in ("equivalent", "untestable"))
    text = said.answer_by_strength("With it", {"F1": alike, "X": other, "AUC": alike}, 0.02)
    assert text == (
        "With it, after Holm: F1 and AUC are each shown to move by less than 0.02 at λ = 1; X is "
        "not testable at λ = 1."
    )


def test_counts_add_up_and_the_largest_change_is_the_largest_in_size():
    found = table(*(row(came) for came in CASES), row("lower", "most", difference=-0.3))
    text = said.changes(found, "F1", 0.02)
    assert (
        "2 of 6 lower (lower; most), 1 higher (higher), 1 shown to lie within ±0.02 (equivalent), "
        "1 not settled, 1 not testable"
    ) in text
    assert "The largest settled change is that of “most”: −0.300" in text
    assert (
        "with 6 seeds a change is found by a single test in four studies of five from 0.050 on"
        in text
    )
    # The most negative of two changes is not the largest where the other is larger.
    found = table(row("lower", difference=-0.016), row("higher", difference=0.188))
    assert "The largest settled change is that of “higher”: +0.188" in said.changes(
        found, "F1", 0.02
    )
    assert "unchanged" not in said.changes(found, "F1", 0.02)


def test_a_larger_change_that_is_open_is_not_called_the_largest_of_settled_ones():
    found = table(row("lower", "sure", difference=-0.05), row("open", "vague", difference=-0.4))
    text = said.changes(found, "F1", 0.02)
    assert "The largest settled change is that of “sure”: −0.050" in text and "vague" not in text
    assert "The largest change, not settled, is that of “a”" in said.changes(
        table(row("open", "a", difference=0.2), row("open", "b")), "F1", 0.02
    )


def test_what_is_settled_within_the_margin_is_counted_once_and_said():
    found = table(row("lower", difference=-0.003, p_tost_holm=0.001), row("open"))
    text = said.changes(found, "F1", 0.02)
    assert "1 of 2 lower (lower), 1 not settled" in text
    assert "Settled, and yet shown to lie within ±0.02: lower." in text


def community(came, metric="bpsn", name="women", **more):
    return {"community": name, "metric": metric} | row(came, "half", **more)


@pytest.mark.parametrize("came", CASES)
def test_communities_have_a_wording_for_every_outcome(came):
    found = table(community(came), community("untestable", "bnsp"))
    for text in (said.community_changes(found, 0.02), said.community_answer(found, 0.02)):
        if came == "untestable":
            assert text.startswith("Nothing can be said of single communities")
            continue
        assert CASES[came][3].split(": ")[1] in text and "posts about “women”" in text
        assert ("largest settled change" in text) == (came in ("lower", "higher"))
        assert ("in four studies of five" in text) == (came == "open") or came == "equivalent"
    assert said.community_changes(found[:0], 0.02).startswith("Nothing can be said")


def test_among_settled_changes_the_largest_is_named_and_not_a_larger_open_one():
    found = table(
        community("lower", difference=-0.05),
        community("higher", "subgroup", "jews", difference=0.08),
        community("open", "bnsp", difference=-0.4),
    )
    for text in (said.community_changes(found, 0.02), said.community_answer(found, 0.02)):
        assert "+0.080" in text and "Subgroup" in text and "“jews”" in text
    assert "A screen (Benjamini–Hochberg, 5%) picks 2." in said.community_changes(found, 0.02)
    assert "with “half”" not in said.community_answer(found, 0.02)
    both = pd.concat([found, found.assign(compression="third", difference=0.01)], ignore_index=True)
    assert "posts about “jews” with “half”." in said.community_answer(both, 0.02)
    more = pd.concat([both, found.assign(compression="tenth", difference=0.01)], ignore_index=True)
    assert "full against “half”, “third” and “tenth”" in said.community_changes(more, 0.02)


def test_settings_are_said_with_what_they_settle():
    found = {
        "F1": table(row("lower", "a"), row("open", "b")),
        "AUC": table(row("higher", "a"), row("untestable", "b")),
    }
    assert said.settled(found) == "“a” raises AUC; lowers F1."
    nothing = {"F1": table(row("equivalent"), row("open"))}
    assert said.settled(nothing) == "Nothing: no change of any score is settled after Holm."


def test_scores_near_one_half_are_a_warning_only_where_they_are_most():
    assert said.near_half([0.98, 0.99]).startswith("98% to 99% of a full model's toxic scores")
    assert "says little" in said.near_half([0.98, 0.98])
    assert said.near_half([0.1]).endswith("0.05 of one half.")
    cut = said.near_half([0.1], after={"cut": [0.97, 1.0], "less": [0.2]})
    assert cut.startswith(
        "10% of a full model's toxic scores lie within 0.05 of one half, with “cut” 97% to 100%: a "
    )
    assert cut.count("says little") == 1 and "less" not in cut.replace("says little", "")
    assert said.near_half([0.1], after={"less": [0.2]}) == said.near_half([0.1])
    assert "not known" in said.near_half([]) and "not known" in said.near_half([NAN])


@pytest.mark.parametrize(
    ("accuracy", "macro_f1", "expected"),
    [
        (0.7, 0.6, "is above both"),
        (0.7, 0.3, "above the accuracy and not above the macro F1"),
        (0.5, 0.5, "above the macro F1 and not above the accuracy"),
        (0.5, 0.3, "is above neither"),
    ],
)
def test_a_full_model_below_a_constant_answer_is_said_to_be(accuracy, macro_f1, expected):
    text = said.against_constant([0, 0, 0, 1, 1], accuracy, macro_f1)
    assert expected in text and "accuracy of 0.600 and a macro F1 of 0.375" in text


def aucs(*rows):
    columns = ["compression", "metric", "community", "auc", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns)


def test_bias_aucs_of_the_full_model_below_one_half_are_named():
    good = ("full", "subgroup", "women", 0.7, 0.6, 0.8)
    assert said.below_chance(aucs(good)) == "No bias AUC of the full model lies below one half."
    text = said.below_chance(
        aucs(
            good,
            ("full", "bpsn", "women", 0.4, 0.3, 0.45),
            ("full", "bnsp", "jews", 0.48, NAN, NAN),
            ("full", "bnsp", bias_auc.ALL, 0.3, 0.2, 0.4),
            ("half", "bpsn", "jews", 0.1, 0.0, 0.2),
        )
    )
    assert (
        "lies below one half in 2 of 3 bias AUCs; for 1 the interval does, too (uncorrected)"
        in text
    )
    assert "BPSN of posts about “women” 0.400 (0.300 to 0.450); BNSP" in text and "nan" not in text
    assert "has no bias AUC" in said.below_chance(aucs())
    other = said.below_chance(
        aucs(("none", "bpsn", "women", 0.4, 0.3, 0.45)), "none", "short model"
    )
    assert other.startswith("The short model itself lies below one half in 1 of 1 bias AUCs")
    unsure = said.below_chance(aucs(("full", "bpsn", "women", 0.4, 0.3, 0.55)))
    assert "for none the interval does" in unsure


def test_both_sets_of_communities_are_shown_where_they_differ():
    def means(bnsp, count):
        rows = [("subgroup", 6, 0.7), ("bpsn", 6, 0.8), ("bnsp", count, bnsp)]
        return pd.DataFrame(rows, columns=["metric", "communities", "auc"])

    text = said.sets_of_communities(means(0.75, 6), means(0.78, 10))
    assert "Subgroup 0.700 over 6 by either rule" in text
    assert "BNSP 0.750 over 6, 0.780 over its own 10." in text
    assert (
        said.sets_of_communities(means(0.75, 6)[:0], means(0.7, 6)) == "There is no mean to show."
    )


def test_published_tables_are_described_as_they_are():
    cuts = said.published_cuts(kept_tables.published("ida2023_layers"))
    assert "falls by 1.9 to 8.0 points" in cuts and "no deeper cut touches fewer" in cuts


def test_published_tables_that_said_otherwise_would_be_described_otherwise():
    layers = pd.DataFrame(
        [("M", 12, 80.0, 2, 2, 2), ("M", 6, 81.5, 1, 2, 3)],
        columns=[
            "model",
            "layers_kept",
            "f1",
            "significant_subgroup",
            "significant_bpsn",
            "significant_bnsp",
        ],
    )
    text = said.published_cuts(layers)
    assert "changes by +1.5 to +1.5" in text and "fewer communities in M by Subgroup" in text


@pytest.mark.parametrize("came", CASES)
def test_published_and_ours_are_compared_where_ours_is_settled(came):
    rise = said.beside([("F1", 0.6, 0.7, row(came))], 0.02)
    fall = said.beside([("F1", 0.7, 0.6, row(came))], 0.02)
    assert CASES[came][3].replace("F1", "it") in rise and "F1 from 0.600 to 0.700" in rise
    assert "F1 from 0.6430 to 0.6434" in said.beside([("F1", 0.643, 0.6434, row(came))], 0.02)
    if came not in ("lower", "higher"):
        assert "no direction can be compared" in rise
        return
    agrees, differs = (rise, fall) if came == "higher" else (fall, rise)
    assert agrees.endswith("The one of ours that is settled has the same direction.")
    assert differs.endswith("The one of ours that is settled has another direction.")
    both = said.beside([("F1", 0.6, 0.7, row(came)), ("AUC", 0.7, 0.6, row(came))], 0.02)
    same = "F1" if came == "higher" else "AUC"
    assert both.endswith(f"Of the 2 of ours that are settled, 1 ({same}) in the same direction.")


@pytest.mark.parametrize("came", CASES)
@pytest.mark.parametrize(
    ("more", "seed", "expected"),
    [(0.3, 0.2, "more than"), (0.1, 0.2, "fewer than"), (0.2, 0.2, "as many as")],
)
def test_class_weights_are_held_against_another_seed(came, more, seed, expected):
    weights = {"train": [1.0, 1.1], "test": [0.9, 1.2]}
    relabelled = {"weights": more, "seed": seed}
    text = said.weighted("Here", ["a", "b"], weights, relabelled, row(came), 0.02)
    assert "a 1.000 and 0.900, b 1.100 and 1.200" in text
    assert f"{more:.1%} of the test posts another class, {expected} another seed" in text
    assert CASES[came][3].replace("F1", "macro F1") in text


def test_numbers_that_round_alike_do_not_go_from_one_to_the_other():
    assert words.from_to(33.04, 32.96) == "at 33.0 before and after"
    assert words.from_to(66.19, 64.31) == "from 66.2 to 64.3"
    assert words.from_to(NAN, 64.31) == "from nothing known to 64.3"


def test_single_communities_are_tested_where_posts_are_enough():
    rng = np.random.default_rng(0)
    rows = [
        {
            "compression": name,
            "seed": seed,
            "community": who,
            "metric": metric,
            "auc": 0.8 - 0.1 * (name == "half" and who == "a") + 0.01 * rng.normal(),
            "positives": 50,
            "negatives": 9 if who == "few" else 40,
        }
        for name in ("full", "half")
        for seed in range(6)
        for who in ("a", "b", "few", bias_auc.ALL)
        for metric in ("subgroup", "bpsn", "background")
    ]
    found = classification.by_community(pd.DataFrame(rows), margin=0.02)
    assert found[["community", "metric"]].to_numpy().tolist() == [
        ["a", "subgroup"],
        ["a", "bpsn"],
        ["b", "subgroup"],
        ["b", "bpsn"],
    ]
    assert (found["p_holm"] >= found["p"]).all() and (found["p_bh"] <= found["p_holm"]).all()
    assert said.outcomes(found).tolist()[:2] == ["lower", "lower"]
    nothing = classification.by_community(pd.DataFrame(rows).assign(negatives=3), margin=0.02)
    assert said.community_changes(nothing, 0.02).startswith("Nothing can be said")


def test_what_a_page_runs_on_is_said_with_its_caveats():
    encoder = {"name": "MiniLM", "parameters": 22_713_216, "caveat": ""}
    record = {"title": "HateXplain", "part": "rebuilt_train", "caveat": "Rebuilt."}
    texts = said.setting(encoder, record, 1000, 1922, 6)
    assert texts["data"] == "HateXplain (rebuilt train split)" and texts["parameters"] == "23"
    assert texts["model-caveat"] == "Its weights are as published."
    assert (texts["train"], texts["test"], texts["seeds"]) == ("1,000", "1,922", "6")
    assert said.setting(encoder | {"caveat": "Small."}, record, 1, 1, 1)["model-caveat"] == "Small."


def test_backgrounds_are_alike_where_every_post_names_a_community():
    everyone = pd.DataFrame({"metric": ["subgroup", "bpsn", "bnsp"], "auc": [0.5, 0.6, NAN]})
    other = everyone.assign(auc=[0.9, 0.65, NAN])
    named = pd.DataFrame({"a": [True, False], "b": [False, True]})
    assert "the same posts" in said.backgrounds(everyone, everyone, named)
    text = said.backgrounds(everyone, other, named.assign(b=False))
    assert text.startswith("Here 1 of 2 test posts") and text.endswith("by up to 0.050.")


def test_every_score_of_a_table_has_a_sentence_to_be_glued():
    found = {"macro_f1": table(row("lower")), "bpsn": table(row("open"))}
    texts = said.changes_of(found, {"macro_f1": "macro F1", "bpsn": "the BPSN AUC"}, 0.02)
    assert list(texts) == ["macro-f1-says", "bpsn-says"]
    assert "lowers macro F1" in texts["macro-f1-says"]
