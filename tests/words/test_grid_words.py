"""Sentences of the grid: each way that its numbers can come out."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression.errors import InputError
from ethical_compression.words import grid as said

NONE = {"all": [], "a seed": []}


def cells(**changes) -> pd.DataFrame:
    rows = []
    came = {"toxicity": ("Degeneration", "Flagged as toxic", "better")}
    came["crows_pairs"] = ("Representation", "CrowS-Pairs, whole", "worse")
    for label in ("RTN 3-bit", "Wanda 50%"):
        for check, (kind, title, verdict) in came.items():
            row = {"compression": label, "check": check, "kind": kind, "title": title}
            row |= {"verdict": verdict, "standard": -2.0 if verdict == "better" else 3.0}
            row |= {"unit": "share", "before": 0.5, "after": 0.65, "difference": 0.15, "n": 40}
            row |= {"ci_low": 0.1, "ci_high": 0.2, "p_holm": 0.001, "se": 0.02, "margin": 0.05}
            row |= {"seeds": 2, "seed_low": 0.14, "seed_high": 0.16, "reason": "", "group": "age"}
            rows.append(row | {"p_bh": 0.01, "standard_low": 2.0, "standard_high": 4.0})
    return pd.DataFrame(rows).assign(**changes)


def ranks(rho=(0.5, -0.6), p=(0.01, 0.02), **changes) -> pd.DataFrame:
    rows = {"score": ["BBQ, nothing said", "BBQ, as released"]}
    rows |= {"check": ["bbq_ambiguous", "released"], "rho": rho, "p": p, "p_holm": p}
    rows |= {"ci_low": [0.1, -0.8], "ci_high": [0.8, -0.2], "detectable": [0.4, 0.6]}
    return pd.DataFrame(rows).assign(**changes)


def test_a_cell_has_its_mark_beside_its_number():
    assert said.cell(2.345, "worse") == "+2.3 ▲"
    assert said.cell(-0.5, "better") == "−0.5 ▼"
    assert said.cell(0.01, "equivalent") == "0.0 ■"
    assert said.cell(1.2, "cannot tell") == "+1.2"
    assert said.cell(float("nan"), "worse") == "–"


def test_what_hovers_says_all_there_is_and_draws_where_there_are_some():
    row = cells().to_dict("records")[1]
    text = said.hovered(row)
    assert "CrowS-Pairs, whole, RTN 3-bit: 0.500 to 0.650 share" in text
    assert "+0.150 (95% interval +0.100 to +0.200)" in text and "p = 0.001 after Holm" in text
    assert text.endswith("settled as worse; calibration draws +0.140 to +0.160")
    assert "draws" not in said.hovered(row | {"seeds": 1})
    assert "−0.200 to 0.000" in said.hovered(row | {"before": -0.2, "after": 0.0})


def test_the_table_of_the_grid_has_every_row_and_says_what_is_waiting():
    titles = {"toxicity": "Toxic", "crows_pairs": "CrowS"}
    shown = said.wide(cells(), ["RTN 3-bit", "NF4", "Wanda 50%"], titles)
    assert shown["data"]["Compression"].tolist() == ["RTN 3-bit", "NF4", "Wanda 50%"]
    assert shown["data"]["CrowS"].tolist()[::2] == [3.0, 3.0]
    assert shown["written"]["Toxic"] == ["−2.0 ▼", "–", "−2.0 ▼"]
    assert shown["hover"]["CrowS"][1] == "not measured yet"


def test_amounts_are_written_as_counts():
    table = pd.DataFrame({"amount": ["3 bits"], "n": [3], "Dialect": [2]})
    shown = said.amounts(table.assign(**{"Dialect better": [1], "Dialect cells": [6]}))
    assert shown["written"] == {"Dialect": ["2 ▲ 1 ▼ of 6"]}
    assert shown["data"].columns.tolist() == ["Amount", "Compressions", "Dialect"]


def test_the_size_says_what_is_waiting():
    assert said.size_said(cells(), NONE).endswith("4 cells. None is waiting.")
    some = said.size_said(cells(), {"all": ["NF4"], "a seed": ["GPTQ 3-bit"]})
    assert "Still waiting to be made: NF4." in some
    assert "another draw of their text: GPTQ 3-bit." in some
    many = [f"Wanda {share}%" for share in range(5)] + ["without 3 upper layers", "NF4"]
    text = said.size_said(cells(), {"all": many, "a seed": []})
    assert "7 compressions, of Wanda (5), layers removed (1) and NF4 (1)" in text


def test_the_answer_counts_cells_and_what_held_out_text_ranks():
    text = said.answer(cells(), ranks())
    assert text.startswith("Of 4 cells (2 compressions; 2 harms), 2 settled as worse and 2 settled")
    assert "0 of 2 in degeneration and 2 of 2 in representation" in text
    assert text.endswith("is correlated, over compressions, with 1 of 1 other harm.")
    two = pd.concat([ranks(), ranks(check=["toxicity", "winobias"], p_holm=0.5)])
    assert said.answer(cells(), two).endswith("1 of 3 other harms; for the rest it cannot be told.")
    none = said.answer(cells(), ranks(p_holm=[0.5, 0.01]), ["NF4"])
    assert "(2 compressions, 1 more waiting; 2 harms)" in none
    assert none.endswith("as any of 1 other harm does cannot be told.")
    nan = float("nan")
    assert "held-out" not in said.answer(cells(), ranks((nan, nan), (nan, nan)))
    with pytest.raises(InputError, match="no cells"):
        said.answer(cells().head(0), ranks())


def test_families_are_said_from_most_to_least():
    table = pd.DataFrame({"family": ["RTN", "without"], "worse": [1, 3], "better": [0, 1]})
    text = said.kinds_said(table.assign(n=[10, 8]))
    assert text == "layers removed 50% of 8 and RTN 10% of 10"


def test_draws_are_said_beside_the_error_over_items():
    assert "4 cells with more than one draw" in said.seeds_said(cells())
    assert "1.0 standard errors over items apart" in said.seeds_said(cells())
    assert "at most 0.4 margins" in said.seeds_said(cells())
    assert "; none of the 4 that are settled as worse or better point in" in said.seeds_said(
        cells()
    )
    assert "; 4 of the 4 that are settled" in said.seeds_said(cells(seed_low=-0.1))
    assert said.seeds_said(cells(seeds=1)).startswith("No compression was made with more")


def test_power_names_the_sharpest_and_the_bluntest():
    table = pd.DataFrame({"title": ["A, b", "C"], "detectable": [0.4, 2.0], "n": [440, 40]})
    text = said.power_said(table)
    assert "in 1 of 2 harms" in text
    assert "sharpest is A b (0.4 margins, 440 items)" in text
    assert "bluntest C (2.0 margins, 40 items)" in text
    assert said.power_said(table.assign(detectable=np.nan)).startswith("Nothing moved")


def test_groups_have_names_in_print():
    assert said.group_name("Race_x_SES") == "Race × SES"
    assert said.group_name("sexual-orientation") == "sexual orientation"


def test_finds_of_the_screen_are_counted_and_the_largest_named():
    text = said.groups_said(cells())
    assert text.startswith("Of 4 changes of a group, 4 are found by the screen: 4 worse and 0")
    assert "age (CrowS-Pairs whole) under RTN 3-bit" in text
    assert said.groups_said(cells(p_bh=0.5)).endswith(
        "0 are found by the screen: 0 worse and 0 better."
    )
    assert said.groups_said(cells(p_bh=np.nan)) == "No group has enough items for a test."


def test_small_groups_are_named():
    assert said.few_said(cells()) == "Every one of the 2 groups has 40 items."
    some = cells(reason=["fewer than 10 items", "", "", ""], n=[6, 40, 40, 40])
    assert "age (Flagged as toxic: 6), of 2 groups" in said.few_said(some)


def test_unequal_groups_are_counted_and_silence_is_no_sign():
    table = pd.DataFrame({"title": ["BBQ, x", "BBQ, x", "C"], "p_bh": [0.01, 0.02, 0.5]})
    assert "in 2 of 3 cells" in said.unequal_said(table) and "BBQ x (2)" in said.unequal_said(table)
    quiet = said.unequal_said(table.assign(p_bh=0.5))
    assert "none of 3" in quiet and "no sign that they change alike" in quiet
    assert "No harm has two groups" in said.unequal_said(table.head(0))


def test_ranks_are_told_by_direction_and_what_is_open_with_its_power():
    text = said.ranks_said(ranks())
    assert (
        "1 grows with the loss of held-out text: BBQ nothing said (ρ +0.50, +0.10 to +0.80)" in text
    )
    assert "1 shrinks with" in text
    left = said.ranks_said(ranks(p_holm=[0.5, 0.01]))
    assert "For 1 of 2 it cannot be told (BBQ nothing said): correlations below 0.40" in left
    nan = float("nan")
    assert said.ranks_said(ranks((nan, nan), (nan, nan))).startswith("There are too few families")


def test_bbqs_two_scores_are_compared_where_both_are_known():
    text = said.released_said(ranks())
    assert "as released follows held-out text by ρ −0.60, −0.80 to −0.20" in text
    assert "as corrected by ρ +0.50" in text
    assert "too few" in said.released_said(ranks().head(1))


def test_published_directions_stand_beside_cells():
    table = pd.DataFrame({"kind": ["pruned"], "title": ["A, b"], "higher": [3], "runs": [9]})
    came = {"n": [4], "worse": [1], "better": [0], "equivalent": [0], "cannot tell": [3]}
    text = said.beside_said(table.assign(**came))
    assert "A b in 3 of 9 runs; here, of 4 cells 1 settled as worse and 3 not told." in text
    empty = said.beside_said(table.assign(**dict.fromkeys(came, 0)))
    assert empty.endswith("here, no cells yet.")


def test_two_published_conclusions_are_counted_here():
    kinds = {"RTN 3-bit": "quantized", "Wanda 50%": "pruned"}
    kept = said.kept_said(cells(), kinds)
    assert (
        "100% of 2 cells of quantized models (the median change is 2.50 margins)" in kept["kinds"]
    )
    assert kept["harms"] == (
        "Degeneration is worse in 0 and better in 2 of 2 cells; representation is worse in 2 and "
        "better in 0 of 2 cells."
    )


def test_agreement_is_said_with_what_the_larger_grid_lacks():
    table = pd.DataFrame({"compression": ["full", "NF4"], "items": [10, 0]})
    table = table.assign(same=[0.9, np.nan], nats=[0.001, np.nan], largest=[0.002, np.nan])
    text = said.agreement_said(table)
    assert "90.0% or more are the same" in text and "lacks NF4" in text
    assert "nothing to compare" in said.agreement_said(table.assign(items=0))
