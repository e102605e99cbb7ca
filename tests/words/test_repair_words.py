"""Sentences on a repair: no model is called repaired whose interval holds zero."""

import math

import pandas as pd
import pytest

from ethical_compression.words import repair as words


def row(**changes):
    return {
        "check": "stereotype",
        "before": "GPTQ 4-bit",
        "after": "Fair-GPTQ 4-bit",
        "level_before": 0.60,
        "level_after": 0.52,
        "difference": -0.08,
        "ci_low": -0.12,
        "ci_high": -0.04,
        "p": 0.001,
        "p_holm": 0.004,
        "p_tost_holm": 0.9,
        "margin": 0.05,
        "detectable": 0.06,
        "verdict": "better",
        "reason": "",
    } | changes


TEXT = row(
    check="text",
    level_before=3.1,
    level_after=3.11,
    difference=0.01,
    ci_low=0.0,
    ci_high=0.02,
    p_holm=0.2,
    p_tost_holm=0.001,
    verdict="equivalent",
)


SENSE = row(check="nonsense", level_before=0.14, level_after=0.3, difference=0.16, verdict="worse")


def answered(**changes):
    table = pd.DataFrame([row(**changes), TEXT, SENSE | {"ci_low": 0.1, "ci_high": 0.2}])
    return words.answer(table, "Fair-GPTQ 4-bit", "GPTQ 4-bit", 0.5, "it is so")


def test_a_settled_change_is_told_with_its_interval_and_price():
    said = answered()
    assert "does take the stereotype's side less often" in said
    assert (
        "in 52.0% of items against 60.0%" in said
        and "−12.0 to −4.0" in said
        and "p = 0.004" in said
    )
    assert "equivalent within ±0.05 nats" in said
    assert "nonsense is likelier than sense in 30.0% of items against 14.0%" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "cannot tell", "p_holm": 0.3, "ci_low": -0.17, "ci_high": 0.01},
        {"verdict": "worse", "difference": 0.08, "ci_low": 0.04, "ci_high": 0.12},
        {"verdict": "equivalent", "p_holm": 0.3, "ci_low": -0.02, "ci_high": 0.02},
    ],
)
def test_nothing_is_called_repaired_that_is_not_settled(changes):
    assert "is not shown to take the stereotype's side less often" in answered(**changes)


def test_what_is_open_says_what_could_have_been_found():
    said = words.change(row(verdict="cannot tell", p_holm=0.3, ci_high=0.01))
    assert "not settled, where 6.0 points would have been found four times in five" in said
    untested = row(p=math.nan, ci_low=math.nan, ci_high=math.nan, reason="fewer than ten items")
    assert words.change(untested).endswith("(not tested: fewer than ten items)")


def test_the_lowest_objective_is_claimed_only_where_every_interval_shows_it():
    table = pd.DataFrame(
        {
            "how": "GPTQ 3-bit",
            "cell": ["shift", "plain"],
            "ratio": [1.01, 2.0],
            "ci_low": [1.002, 1.5],
            "ci_high": [1.02, 2.5],
        }
    )
    assert "every interval above 1" in words.lowest(table)
    table.loc[0, "ci_low"] = 0.99
    assert words.lowest(table).endswith("and not beside the shift alone (GPTQ 3-bit)")
    assert words.beside_exact(table).startswith(
        "GPTQ 3-bit: the shift alone 1.010 (0.990 to 1.020)"
    )


def test_claims_agree_only_with_the_verdicts_that_they_name():
    rows = pd.DataFrame(
        [
            row(claim="a", wanted=["better"]),
            row(claim="b", wanted=["better"], verdict="worse"),
            row(claim="c", wanted=["equivalent"], verdict="cannot tell"),
        ]
    )
    assert [one["Verdict"] for one in words.claims(rows)] == [
        "agrees",
        "does not agree",
        "cannot tell",
    ]


def test_what_a_layer_does_to_other_pairs_is_read_off_the_shares():
    low = words.carried({"exact": 0.4, "plain": 1.0, "random": 0.99}, 96)
    assert "40%" in low and "not a matter of the words that it was shown" in low
    assert "does little to others" in words.carried({"exact": 0.96, "plain": 1.0, "random": 1}, 96)


def cost(**changes):
    return row(check="questions", title="Questions, wrong answer", unit="share") | changes


def test_costs_are_told_in_their_own_units():
    lean = row(
        check="bbq_ambiguous", title="BBQ, nothing said", unit="s_AMB", verdict="equivalent"
    ) | {"difference": 0.02, "ci_low": -0.03, "ci_high": 0.07, "margin": 0.1, "p_tost_holm": 0.01}
    untested = cost(p=math.nan, reason="fewer than ten items", title="HONEST, French")
    said = words.costs(pd.DataFrame([cost(), lean, untested]), "Fair-GPTQ 4-bit", "GPTQ 4-bit")
    shares, leans, none = said.split("; ")
    assert "−8.0" in shares and "points" in shares and "settled, better" in shares
    assert "0.020" in leans and "equivalent within ±0.1," in leans and "points" not in leans
    assert none == "HONEST, French: not tested (fewer than ten items)"


def test_moved_answers_are_told_by_battery():
    table = pd.DataFrame(
        [{"title": "PIQA", "flipped": 0.12, "flipped_low": 0.05, "flipped_high": 0.2, "kl": 0.01}]
    )
    assert words.moved(table) == "12% in PIQA (5% to 20%; KL 0.010 nats)"


@pytest.mark.parametrize(
    ("low", "high", "verdict", "said"),
    [
        (0.92, 1.05, "kept", "at least 92%"),
        (0.7, 0.85, "lost", "at most 85%"),
        (0.8, 1.1, "cannot tell", "anything from 80% to 110%"),
    ],
)
def test_ninety_percent_are_kept_only_where_the_interval_shows_it(low, high, verdict, said):
    found = {"after": "x", "before": "full", "left": 0.54, "right": 0.6, "share": 0.9}
    found |= {"share_low": low, "share_high": high, "verdict": verdict, "detectable": 0.21}
    text = words.accuracy_kept(found)
    assert "54.0%" in text and "60.0%: 90%" in text and said in text
    power = "a change of 21% would have been found four times in five"
    assert (power in text) == (verdict == "cannot tell")
    assert "found" not in words.accuracy_kept(found | {"detectable": math.nan})


def drawn(**changes):
    spread = {"how": "GPTQ 3-bit", "cell": "exact", "lowest": -0.12, "highest": 0.02}
    return row(**spread, se_items=0.01, se_seeds=0.03, seeds=3, n=100) | changes


def test_over_draws_the_larger_error_and_every_draw_are_named():
    table = pd.DataFrame([drawn(), drawn(how="SparseGPT 50%", verdict="cannot tell", se_seeds=0)])
    first, second = words.over_seeds(table, "exact").split("; SparseGPT")
    assert "single draws from −12.0 to +2.0" in first and "larger error that of draws" in first
    assert "larger error that of items" in second and "would have been found" in second
    assert words.settled(table, "stereotype") == (
        "of 2 compressions, better in 1 and cannot tell in 1"
    )


def test_another_arithmetic_is_told_beside_the_changes():
    rows = [
        {"how": "full", "cell": cell, "seed": 0, "check": check, "item": f"i{k}", "cluster": "c"}
        | {"value": 1.0 if check == "stereotype" and k < last else 3.0 if check == "text" else 0.0}
        for cell, last in (("full", 5), ("float32", 6))
        for check in ("stereotype", "nonsense", "crows", "text")
        for k in range(10)
    ]
    said = words.arithmetic(pd.DataFrame(rows))
    assert "1 of 10 StereoSet items" in said and "0 of 10 pairs of CrowS-Pairs" in said
    assert "+0.000 nats" in said and "float32" not in said
    assert words.arithmetic(pd.DataFrame(rows), ["a", "b"]).endswith("(models: 2)")


def test_only_the_checks_that_are_asked_for_are_told():
    table = pd.DataFrame([row(), TEXT])
    said = words.changes(table, "Fair-GPTQ 4-bit", "GPTQ 4-bit", ["text"])
    assert "held-out text" in said and "StereoSet" not in said
    assert "StereoSet" in words.changes(table, "Fair-GPTQ 4-bit", "GPTQ 4-bit")


def test_the_design_names_what_is_there():
    table = pd.DataFrame([drawn(), drawn(check="text"), drawn(cell="shift", seeds=2)])
    said = words.design(table, {"exact": "both"})
    assert said == "GPTQ 3-bit: both (3 draws) and shift (2 draws)"
    table["seeds"] = 5
    said = words.design(table, {"exact": "both\nsteps"})
    assert said == "5 draws of each, GPTQ 3-bit: both steps and shift"


def test_fewer_stereotypes_with_less_sense_are_no_repair():
    def said(stereotype, nonsense, text="equivalent"):
        verdicts = {"stereotype": stereotype, "nonsense": nonsense, "text": text}
        rows = [drawn(check=one, verdict=its) for one, its in verdicts.items()]
        return words.sense(pd.DataFrame(rows))

    assert "which is no repair" in said("better", "worse")
    # Kept is what is shown to be kept, not what is not shown to be lost.
    assert "cannot be called a repair" in said("better", "cannot tell")
    assert "kept within their margins: a repair" in said("better", "equivalent")
    assert "not shown to be taken less often" in said("cannot tell", "worse")
    assert "not shown to be taken less often" in said("equivalent", "equivalent")
    assert "text is predicted worse" in said("cannot tell", "cannot tell", "worse")


def test_the_step_that_does_the_repair_is_read_off_the_layers():
    def said(shift, hessian):
        cells = {"cell": ["shift", "hessian"], "ratio": [shift, hessian]}
        return words.whose_doing(pd.DataFrame(cells))

    assert said(1.007, 1.64) == (
        "the shift does the repair, and the second Hessian hardly matters: without the shift the "
        "objective is up to 64% higher, without the second Hessian up to 0.7%"
    )
    assert said(1.64, 1.007).startswith("the second Hessian does the repair, and the shift hardly")
    assert said(1.5, 1.6).startswith("both matter")


def test_times_and_positions_are_told_as_they_are():
    times = pd.DataFrame([{"how": "GPTQ 4-bit", "layers": 20, "times": 1.214, "most": 1.3}])
    assert words.solve_times(times) == (
        "1.21 times as long as plain GPTQ 4-bit over 20 layers (at most 1.30 times in one)"
    )
    said = words.positions({"aligned": 0.4, "differing": 0.5, "start": 0.6})
    assert "40% of the distance" in said and "differ, 50%" in said and said.endswith("60%.")


def test_another_definition_says_where_its_verdict_is_another():
    means = pd.DataFrame([drawn(), drawn(how="SparseGPT 50%")])
    sums = means.assign(check="stereotype, sums", verdict=["better", "cannot tell"])
    same, other = words.by_sums(means, sums).split("; ")
    assert same.startswith("GPTQ 3-bit") and same.endswith("better (as by means)")
    assert other.endswith("cannot tell (by means better)")


def test_larger_doses_stand_beside_the_one_that_was_taken():
    rows = [
        drawn(cell=cell, check=check, difference=value)
        for cell, worse in (("exact", 0.1), ("exact, α = 0.5", 0.9))
        for check, value in (("stereotype", -worse / 10), ("nonsense", 0.01), ("text", worse))
    ]
    said = words.doses(pd.DataFrame(rows), 0.03)
    assert said.startswith("GPTQ 3-bit, α = 0.03: −1.0 points of the stereotype, +1.0 of nonsense")
    assert said.endswith(
        "α = 0.5: −9.0 points of the stereotype, +1.0 of nonsense, +0.90 nats a token"
    )
    assert words.doses(pd.DataFrame(rows[:3]), 0.03) == "no other was run in enough draws"


def test_the_chosen_alpha_is_told_beside_plain_gptq():
    rows = [
        {"alpha": a, "icat": i, "ss": 55.0, "lms": 80.0} for a, i in ((0.03, 62.3), (0.1, 70.4))
    ]
    assert words.chosen(pd.DataFrame(rows), 0.1).endswith("so that α = 0.1 is taken.")
    for icat, said in (
        (83.3, "comes to as much as any, or more: 83.3."),
        (60, "no more than 60.0."),
    ):
        table = pd.DataFrame([{"alpha": 0.0, "icat": icat, "ss": 53.0, "lms": 89.0}, *rows])
        assert words.chosen(table, 0.1).endswith(said)


def test_an_alpha_that_was_chosen_elsewhere_is_not_said_to_be_chosen_here():
    rows = [{"alpha": a, "icat": i, "ss": 55.0, "lms": 80.0} for a, i in ((0.0, 75.0), (0.1, 70.4))]
    said = words.chosen(pd.DataFrame(rows), 0.1, 150)
    assert "taken from that table" in said and "so that" not in said and "70.4 at α = 0.1" in said
    assert said.endswith("comes to as much as any, or more: 75.0.")
    assert words.chosen_on(64, 0) == "64 of them"
    assert words.chosen_on(64, 150).startswith("150 of them, by the first draw of the larger table")


def test_steps_that_fall_are_counted_with_the_layers_in_which_all_do():
    row = {"how": "GPTQ 3-bit", "steps": 60, "falls": 59, "layers": 20, "throughout": 19}
    said = words.fell(pd.DataFrame([row]))
    assert said == "GPTQ 3-bit: 59 of 60 steps, all of them in 19 of 20 layers"


def test_another_cell_is_told_with_its_price_in_every_compression_that_has_it():
    table = pd.DataFrame(
        [
            drawn(cell="random", verdict="cannot tell", ci_high=0.01),
            TEXT | {"how": "GPTQ 3-bit", "cell": "random"},
            drawn(cell="random", how="SparseGPT 50%"),
            TEXT | {"how": "SparseGPT 50%", "cell": "random"},
            drawn(),
        ]
    )
    first, second = words.at_a_price(table, "random").split("; SparseGPT 50%: ")
    assert first.startswith("GPTQ 3-bit: −8.0 (") and "not settled, where 6.0 points" in first
    assert "nats a token, equivalent within ±0.05 nats" in first
    assert "settled, better, p = 0.004" in second
    assert words.at_a_price(table, "unrelated") == "not run in enough draws"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("better", "do more than pairs that do not."),
        ("equivalent", "do as much, within the margin."),
        ("cannot tell", "It is not shown that pairs which say something of people do more"),
        ("worse", "It is not shown that pairs which say something of people do more"),
    ],
)
def test_pairs_do_more_than_their_control_only_where_that_is_shown(verdict, said):
    rows = [drawn(verdict=verdict), TEXT | {"how": "GPTQ 3-bit", "cell": "exact"}]
    assert said in words.beside_control(pd.DataFrame(rows))


def test_a_harm_that_nobody_showed_tells_nothing():
    none = cost(level_before=0.0, level_after=0.0, difference=0.0, ci_low=0.0, ci_high=0.0)
    said = words.costs(pd.DataFrame([none]), "Fair-GPTQ 4-bit", "GPTQ 4-bit")
    assert said == "Questions, wrong answer: none before and none after, which tells nothing"
