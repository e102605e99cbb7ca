"""The grid's cells: by hand on a small table of records, and beside what is published."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression import kept_tables
from ethical_compression.datasets import bbq
from ethical_compression.errors import InputError
from ethical_compression.metrics import (
    four_harms,
    grid_tables,
    harm_grid,
    published_harms,
    stereotypes,
)
from ethical_compression.metrics.harm_values import HARMS
from ethical_compression.statistics import verdicts

LABELS = [
    *(f"{name} {bits}-bit" for name in ("RTN", "GPTQ", "AWQ") for bits in (8, 4, 3, 2)),
    *(f"{name} {share}%" for name in ("Magnitude", "Wanda") for share in (10, 30, 50)),
    *("LLM.int8", "NF4", "without 3 upper layers", "Wanda 2:4", "Wanda 4:8"),
]
BATTERY = {"crows_pairs": ["age"] * 12 + ["gender"] * 20 + ["religion"] * 6}
BATTERY |= {"held_out_text": ["all text"] * 16}


def part(label, values, *, seed=0, model="m"):
    """Rows of records: {check: values of its items}."""
    rows = []
    for check, some in values.items():
        for place, value in enumerate(some):
            group = BATTERY.get(check, ["all"] * len(some))[place]
            row = {"model": model, "compression": label, "seed": seed, "check": check}
            row |= {"item": f"{check}-{place}", "group": group, "cluster": f"{place // 2}"}
            rows.append(row | {"value": value})
    return pd.DataFrame(rows)


def drawn(seed, more=0.0):
    rng = np.random.default_rng(seed)
    shares = (rng.random(38) < 0.5 + more).astype(float)
    return {"crows_pairs": shares, "held_out_text": 3 + more + rng.normal(0, 0.01, 16)}


@pytest.fixture(scope="module")
def table():
    return pd.concat(
        [
            part("full", drawn(0)),
            part("full, float32", {name: some + 0.001 for name, some in drawn(0).items()}),
            part("RTN 3-bit", drawn(1, 0.3)),
            part("Wanda 50%", drawn(2, 0.1)),
            part("Wanda 50%, seed 1", drawn(3, 0.2), seed=1),
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def found(table):
    return harm_grid.changes(table)


@pytest.fixture(scope="module")
def cells(found):
    return harm_grid.cells(found)


# --- Labels ---------------------------------------------------------------------------------------


def test_labels_say_family_and_dose():
    assert harm_grid.dose("GPTQ 3-bit, seed 1")[:4] == ("GPTQ", "quantized", "bits", 3)
    assert harm_grid.dose("SparseGPT 60%")[:4] == ("SparseGPT", "pruned", "share", 0.6)
    assert harm_grid.dose("Wanda 2:4")[:4] == ("Wanda", "pruned", "pattern", 0.5)
    family, kind, form, amount = harm_grid.dose("without 3 upper layers")
    assert (family, kind, form) == ("without", "layers removed", "") and np.isnan(amount)
    assert harm_grid.dose("Other 3")[:2] == ("Other", "other")


def test_labels_stand_by_family_and_from_little_to_much():
    shuffled = np.random.default_rng(0).permutation(LABELS)
    ordered = harm_grid.in_order([*shuffled, *shuffled])
    assert ordered[:4] == ["RTN 8-bit", "RTN 4-bit", "RTN 3-bit", "RTN 2-bit"]
    assert ordered[-6:] == [
        *("Wanda 10%", "Wanda 30%", "Wanda 50%", "Wanda 4:8", "Wanda 2:4"),
        "without 3 upper layers",
    ]
    assert len(ordered) == len(LABELS)


def test_what_is_waiting_is_told_by_recipe(table):
    names = ["NF4", "RTN 3-bit, seed 1", "Wanda 2:4", "Wanda 2:4, seed 1"]
    lacking = harm_grid.waiting(names, table)
    assert lacking == {"all": ["NF4", "Wanda 2:4"], "a seed": ["RTN 3-bit"]}
    assert harm_grid.waiting([], table) == {"all": [], "a seed": []}


# --- Changes and cells ----------------------------------------------------------------------------


def test_a_change_is_paired_by_item_and_the_floor_is_that_of_the_other_data_type(found):
    assert set(found["compression"]) == {"RTN 3-bit", "Wanda 50%"}
    mine = found[(found["check"] == "crows_pairs") & (found["compression"] == "RTN 3-bit")]
    wanted = drawn(1, 0.3)["crows_pairs"] - drawn(0)["crows_pairs"]
    np.testing.assert_array_equal(mine["value"], wanted)
    np.testing.assert_allclose(found["floor"], 0.001)
    assert (found["margin"] == 0.05).all()
    assert dict(zip(found["check"], found["kind"], strict=True)) == {
        "crows_pairs": "Representation",
        "held_out_text": "Language modelling",
    }


def test_a_cell_averages_its_items_over_seeds_and_shows_each(cells):
    rows = cells.set_index(["compression", "check"])
    row = rows.loc["Wanda 50%", "crows_pairs"]
    full = drawn(0)["crows_pairs"]
    each = [drawn(2, 0.1)["crows_pairs"] - full, drawn(3, 0.2)["crows_pairs"] - full]
    items = np.mean(each, axis=0)
    assert row["difference"] == pytest.approx(items.mean())
    assert row["seeds"] == 2
    assert sorted(one.mean() for one in each) == pytest.approx([row["seed_low"], row["seed_high"]])
    assert row["standard"] == pytest.approx(items.mean() / 0.05)
    assert row["standard_low"] == pytest.approx(row["ci_low"] / 0.05)
    assert row["d_z"] == pytest.approx(items.mean() / items.std(ddof=1))
    mean, se, df = verdicts.clustered_mean(items, np.arange(38) // 2)
    assert (row["se"], row["df"], row["n"]) == (pytest.approx(se), df, 38)
    assert row["before"] == full.mean() and row["after"] == pytest.approx(full.mean() + mean)
    assert rows.loc["RTN 3-bit", "crows_pairs"]["seeds"] == 1


def test_verdicts_are_judges(cells, found):
    items = harm_grid.over_seeds(found)
    kinds = {"crows_pairs": "Representation", "held_out_text": "Language modelling"}
    wanted = verdicts.judge(items.assign(group=items["compression"]).drop(columns="kind"), kinds)
    wanted = wanted.set_index(["group", "check"])
    mine = cells.set_index(["compression", "check"]).rename_axis(wanted.index.names)
    for name in ("p_holm", "p_tost_holm", "verdict", "detectable"):
        pd.testing.assert_series_equal(mine[name], wanted[name].loc[mine.index])
    assert mine.loc["RTN 3-bit", "held_out_text"]["verdict"] == "worse"


def test_groups_are_judged_each_and_small_ones_said_never_dropped(found):
    rows = harm_grid.cells(found, by_group=True).set_index(["compression", "check", "group"])
    small = rows.loc["RTN 3-bit", "crows_pairs", "religion"]
    assert small["reason"] == "fewer than 10 items" and small["n"] == 6
    assert np.isnan(small["p"]) and np.isnan(small["p_bh"]) and small["verdict"] == "cannot tell"
    assert not np.isnan(small["difference"])
    tested = rows[rows["p"].notna()]
    # Ages are twelve items in six clusters, just enough; six of religion are too few.
    assert len(tested) == 6 and set(tested["n"]) == {12, 20, 16}
    wanted = stats.false_discovery_control(tested["p"])
    np.testing.assert_allclose(tested["p_bh"], wanted)


def test_an_item_without_a_value_under_one_seed_is_left_out_of_both(table):
    lost = (table["compression"] == "Wanda 50%, seed 1") & (table["item"] == "crows_pairs-3")
    rows = harm_grid.cells(harm_grid.changes(table.assign(value=table["value"].mask(lost))))
    counts = rows.set_index(["compression", "check"])["n"]
    assert counts["Wanda 50%", "crows_pairs"] == 37
    assert counts["RTN 3-bit", "crows_pairs"] == 38


def test_a_grid_of_one_data_type_has_no_floor_and_one_without_its_model_is_refused(table):
    one = table[table["compression"] != "full, float32"]
    assert (harm_grid.changes(one)["floor"] == 0).all()
    with pytest.raises(InputError, match="no 'full'"):
        harm_grid.changes(table[table["compression"] != "full"])
    with pytest.raises(InputError, match="the full model only"):
        harm_grid.changes(table[table["compression"].str.startswith("full")])
    with pytest.raises(InputError, match="several models"):
        harm_grid.changes(pd.concat([table, table.assign(model="other")]))
    odd = table["item"].mask(table["compression"] == "RTN 3-bit", "x" + table["item"])
    with pytest.raises(InputError, match="'full' and 'RTN 3-bit' have different items"):
        harm_grid.changes(table.assign(item=odd))


def test_unequal_groups_are_named(table, found):
    some = harm_grid.unequal(found, draws=199)
    assert len(some) == 2 and (some["groups"] == 2).all()  # ages and genders have ten items
    hit = table.copy()
    gender = (hit["group"] == "gender") & (hit["compression"] == "RTN 3-bit")
    hit.loc[gender, "value"] = 2.0
    row = harm_grid.unequal(harm_grid.changes(hit), draws=199).set_index("compression")
    assert row.loc["RTN 3-bit", ["least", "most"]].tolist() == ["age", "gender"]
    assert row.loc["RTN 3-bit", "p"] == pytest.approx(1 / 200)
    text = found[found["check"] == "held_out_text"]
    assert harm_grid.unequal(text, draws=19).empty


# --- Counted --------------------------------------------------------------------------------------


def test_counts_add_up(cells):
    families = grid_tables.by_family(cells).set_index("family")
    assert families["n"].to_dict() == {"RTN": 2, "Wanda": 2}
    harms = grid_tables.by_harm(cells).set_index("check")
    assert harms[list(verdicts.VERDICTS)].sum(axis=1).tolist() == [2, 2]
    assert harms.loc["held_out_text", "n"] == 16
    amounts = grid_tables.by_amount(cells).set_index("amount")
    assert amounts.index.tolist() == ["3 bits", "50% zeros"]
    assert amounts.loc["3 bits", "Language modelling"] == 1
    assert amounts.loc["3 bits", ["Representation cells", "Dialect cells"]].tolist() == [1, 0]


def test_lines_of_a_view_by_group_carry_the_screen():
    groups = pd.DataFrame(
        {
            "check": ["crows_pairs", "bbq_ambiguous", "bbq_ambiguous"],
            "title": ["CrowS-Pairs", "BBQ, nothing said", "BBQ, nothing said"],
            "group": ["race-color", "Race_x_SES", "Age"],
            "difference": [0.1, -0.1, 0.2],
            "p_bh": [0.01, 0.04, np.nan],
        }
    )
    lines = grid_tables.group_lines(groups)
    assert lines["line"].tolist() == [
        *("BBQ nothing said: Race × SES", "BBQ nothing said: Age"),
        "CrowS-Pairs: race color",
    ]
    assert lines["verdict"].tolist() == ["better", "cannot tell", "worse"]


# --- Held-out text, and what is published ---------------------------------------------------------


def grid_of(loss, harm):
    """Cells of two harms under every label."""
    rows = [
        {"compression": label, "check": check, "difference": value}
        for check, values in (("held_out_text", loss), ("toxicity", harm))
        for label, value in zip(LABELS, values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_ranks_are_spearmans_and_know_families():
    rng = np.random.default_rng(4)
    loss = rng.normal(size=len(LABELS))
    harm = loss + rng.normal(size=len(LABELS))
    released = pd.Series(-loss, index=[f"{one}, seed 1" for one in LABELS])
    ranks = grid_tables.ranks_by_loss(grid_of(loss, harm), released).set_index("check")
    assert ranks.index.tolist() == ["released", "toxicity"]
    row = ranks.loc["toxicity"]
    assert row["rho"] == pytest.approx(stats.spearmanr(loss, harm).statistic)
    assert (row["n"], row["clusters"]) == (len(LABELS), 8)
    assert row["ci_low"] < row["rho"] < row["ci_high"]
    assert ranks.loc["released", "rho"] == pytest.approx(-1)
    few = grid_of(loss, harm)
    few = few[few["compression"].str.match("RTN|GPTQ")]
    row = grid_tables.ranks_by_loss(few).iloc[0]
    assert np.isnan(row["rho"]) and np.isnan(row["p_holm"]) and row["clusters"] == 2


def test_the_interval_of_a_rank_correlation_covers_where_families_go_together():
    """Families of the grid's sizes, each with a part that all its members share: a jackknife over
    families keeps its promise about as often as said, one that ignores them does not."""
    rng = np.random.default_rng(5)
    family = np.array([harm_grid.dose(one).family for one in LABELS])
    rounds, true = 150, 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's of a correlation of 0.5
    covered = np.zeros(2)
    for _ in range(rounds):
        shared = {one: rng.normal(size=2) for one in sorted(set(family))}
        own = rng.normal(size=(len(LABELS), 2))
        x, noise = (0.8 * np.array([shared[one] for one in family]) + 0.6 * own).T
        rows = pd.DataFrame({"x": x, "y": 0.5 * x + np.sqrt(0.75) * noise, "one": 0})
        rows = rows.assign(family=family, alone=range(len(LABELS)))
        for at, cluster in enumerate(("family", "alone")):
            how = {"within": "one", "clusters": (cluster,)}
            found = published_harms.rank_within(rows, "x", "y", **how)
            covered[at] += found["ci_low"] <= true <= found["ci_high"]
    aware, blind = covered / rounds
    assert aware >= 0.88
    assert blind < aware - 0.05


def test_bbqs_released_score_is_read_off_the_answers():
    questions = bbq.load("Religion", limit=60)
    rng = np.random.default_rng(6)
    taken = rng.integers(0, 3, len(questions))
    table = pd.DataFrame(
        {
            "compression": "RTN 3-bit",
            "check": "answers: bbq",
            "item": [f"{one.category}-{one.id}" for one in questions],
            "after": taken.astype(float),
        }
    )
    more = [*questions, *bbq.load("Age", limit=8)][::-1]
    wanted = stereotypes.bbq_scores(questions, taken, definition="xu2024", by=None)
    wanted = wanted.set_index("condition").loc["ambiguous", "score"]
    found = grid_tables.released_score(table, more)
    assert found.to_dict() == {"RTN 3-bit": pytest.approx(wanted)}
    with pytest.raises(InputError, match="other questions"):
        grid_tables.released_score(table, questions[1:])


@pytest.fixture(scope="module")
def published():
    tables = (kept_tables.published(f"xu2024_{one}") for one in ("harms", "bbq", "unqover"))
    return published_harms.harms_table(*tables)


def test_published_runs_are_counted_against_their_own_model(published):
    cells = pd.DataFrame(
        {
            "check": ["toxicity", "toxicity", "toxicity"],
            "compression": ["RTN 3-bit", "Wanda 50%", "without 3 upper layers"],
            "verdict": ["worse", "better", "worse"],
        }
    )
    rows = grid_tables.beside_published(cells, published).set_index(["check", "kind"])
    row = rows.loc["toxicity", "pruned"]
    runs = published[~published["method"].isin(["none", *grid_tables.QUANTIZERS])]
    full = published[published["method"] == "none"].set_index("base_model")
    higher = [
        one.realtoxicityprompts_toxic > full.loc[one.base_model, "realtoxicityprompts_toxic"]
        for one in runs.itertuples()
    ]
    assert row["higher"] == sum(higher) and row["runs"] == len(runs) == 128
    assert row["higher"] + row["lower"] <= row["runs"]
    assert (row["n"], row["better"], row["worse"]) == (1, 1, 0)
    assert rows.loc[("toxicity", "quantized"), ["n", "worse"]].tolist() == [1, 1]


def test_correlations_stand_beside_the_nearest_published_ones(published):
    ours = pd.DataFrame({"check": ["released", "toxicity", "winobias"], "rho": [0.1, 0.2, 0.3]})
    theirs = published_harms.ranks_by_perplexity(published)
    rows = grid_tables.both_ranks(ours, theirs).set_index("check")
    assert rows["published"].tolist() == ["BBQ, s_AMB", "RealToxicityPrompts, share toxic", ""]
    known = theirs.set_index("score")["rho"]
    assert rows.loc["toxicity", "rho_published"] == known["RealToxicityPrompts, share toxic"]
    assert np.isnan(rows.loc["winobias", "rho_published"])


# --- A small grid beside a larger one -------------------------------------------------------------


def test_a_small_grid_agrees_with_the_larger_it_is_part_of(table):
    answers = table[table["check"] == "crows_pairs"].assign(
        check="answers: crows_pairs", after=lambda rows: rows["value"].round(), value=np.nan
    )
    larger = pd.concat([table, answers], ignore_index=True)
    small = larger[larger["item"].str.endswith(("1", "2")) & (larger["compression"] != "full")]
    rows = grid_tables.agreement(small, larger).set_index("compression")
    assert (rows["same"] == 1).all() and (rows["largest"] == 0).all()
    odd = small.copy()
    odd.loc[odd["check"] == "held_out_text", "value"] += 0.25
    mine = odd.index[(odd["compression"] == "RTN 3-bit") & (odd["check"] != "held_out_text")]
    odd.loc[mine[0], "value"] = 7.0
    other = part("NF4", drawn(9))
    # UnQover's |C| may be any number: rounding moves it, and turns no answer.
    rounded = [part("RTN 3-bit", {"unqover": [0.1 + much]}) for much in (0.0, 1e-6)]
    larger, odd = (pd.concat(pair) for pair in zip([larger, odd], rounded, strict=True))
    rows = grid_tables.agreement(pd.concat([odd, other]), larger).set_index("compression")
    assert rows.loc["RTN 3-bit", "same"] == pytest.approx(1 - 1 / len(mine))
    assert rows.loc["RTN 3-bit", "nats"] == pytest.approx(0.25)
    assert rows.loc["NF4", "items"] == 0 and np.isnan(rows.loc["NF4", "same"])


def test_every_harm_of_the_grid_has_a_kind_and_a_margin():
    for name in harm_grid.ABOUT_PEOPLE:
        assert name in HARMS and any(name in names for names in four_harms.KINDS.values())
    assert set(grid_tables.ALSO_PUBLISHED.values()) <= set(published_harms.HARMS)
