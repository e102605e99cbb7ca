"""The grid's records: what they hold, and that the same parts give the same table however they
were shared out."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import honest
from ethical_compression.errors import InputError
from ethical_compression.metrics import choices
from ethical_compression.metrics.harm_values import HARMS, harm_values
from ethical_compression.score import harm_grid, judges, runs
from ethical_compression.score.runs import Memory

MODEL = "tiny-random-llama"
READS = {"calibration": "xsum", "source": "embedded", "samples": 2, "length": 48}
# One of each form: options with a gold answer, fours, triplets, words, texts, and windows.
ASKED = ("bbq", "unqover", "stereoset_within", "honest_fr", "real_toxicity_prompts", "windows")


@pytest.fixture(scope="module")
def asked():
    return harm_grid.asked(2)


@pytest.fixture(scope="module")
def every(asked):
    return [one for one in asked[0] if one.name in ASKED]


@pytest.fixture(scope="module")
def parts():
    recipes = [Recipe("rtn", bits=2, group_size=32), Recipe("wanda", sparsity=0.5, **READS)]
    return harm_grid.parts(MODEL, recipes, seeds=2, dtype="bfloat16")


@pytest.fixture(scope="module")
def tables(parts, every):
    memory = Memory(parts[0])
    return [
        harm_grid.records(part, parts[0], every, memory=memory, progress=False) for part in parts
    ]


def test_parts_are_the_full_model_twice_and_what_reads_text_once_a_seed(parts):
    names = [part.compression for part in parts]
    assert names == ["full", "full, float32", "Wanda 50%", "Wanda 50%, seed 1", "RTN 2-bit"]
    assert [part.dtype for part in parts[:3]] == ["bfloat16", "float32", "bfloat16"]
    assert [part.recipe.seed for part in parts[2:4]] == [0, 1]
    one_type = harm_grid.parts(MODEL, [Recipe("nf4")])
    assert [part.compression for part in one_type] == ["full", "NF4"]


def test_recipes_are_every_method_at_every_amount_and_differ():
    found = harm_grid.recipes(30, **READS)
    assert len({one.label for one in found}) == len(found) == 40
    assert {one.length for one in found if one.reads_text} == {48}
    assert [one.remove for one in found if one.method == "layers"] == [3, 3]
    # A grid that is stopped early has seen every family, and all its seeds.
    parts = harm_grid.parts(MODEL, found, seeds=2, dtype="bfloat16")
    early = parts[2 : 2 + len(harm_grid.FIRST) + 7]
    assert {one.recipe.method for one in early} == {one.method for one in found}
    twice = [one for one in early if one.recipe.reads_text]
    assert {one.recipe.seed for one in twice} == {0, 1} and len(twice) == 14


def test_records_have_their_columns_and_a_row_an_item_and_check(tables, every):
    for table in tables:
        assert list(table.columns) == [*harm_grid.KEYS, *harm_grid.VALUES]
        assert not table.duplicated(["check", "item"]).any()
        assert not table[harm_grid.KEYS].isna().any(axis=None)
        answers = table["check"].str.startswith(harm_grid.ANSWERS)
        assert table.loc[answers, "value"].isna().all()
        assert table.loc[answers, ["before", "after", "kl", "margin"]].notna().all(axis=None)
        assert table.loc[~answers, ["before", "after", "kl", "margin"]].isna().all(axis=None)
    checks = set(tables[0]["check"])
    assert {name for name in checks if name in HARMS} == {
        name for name, harm in HARMS.items() if harm.battery in ASKED
    }
    options = ("bbq", "unqover", "stereoset_within")
    assert checks - set(HARMS) == {f"{harm_grid.ANSWERS}{name}" for name in options}


def test_harm_values_are_those_of_the_batterys_own_table(tables, parts, every):
    """Of the compressed model, whose weights are its own."""
    memory = Memory(parts[0])
    for battery in every:
        table = runs.measure(parts[4], battery, memory=memory, progress=False)
        if battery.name == "real_toxicity_prompts":
            p = judges.judged(judges.load("redditbias"), table["text"])["p"]
            table = table.assign(toxicity=p.to_numpy())
        lexicon = honest.lexicon("fr") if battery.name == "honest_fr" else None
        for name in (one for one, harm in HARMS.items() if harm.battery == battery.name):
            wanted = harm_values(name, table, battery.items, lexicon=lexicon)
            found = tables[4][tables[4]["check"] == name].set_index("item")
            np.testing.assert_array_equal(
                found.loc[wanted["item"].astype(str), "value"].to_numpy(),
                wanted["value"].to_numpy(),
                err_msg=name,
            )


def test_answers_are_beside_the_full_models(tables, parts, every):
    own = tables[0][tables[0]["check"].str.startswith(harm_grid.ANSWERS)]
    assert (own["before"] == own["after"]).all()
    assert (own[["kl", "logprob_change"]] == 0).all(axis=None)
    bbq = next(one for one in every if one.name == "bbq")
    sides = [runs.measure(parts[at], bbq, progress=False) for at in (0, 4)]
    taken = [choices.chosen(side) for side in sides]
    found = tables[4][tables[4]["check"] == "answers: bbq"]
    assert found["before"].tolist() == taken[0]
    assert found["after"].tolist() == taken[1]
    assert (found["kl"] >= 0).all() and found["kl"].mean() > 0


def test_fewer_items_are_some_of_the_same_evenly_and_in_whole_fours(asked, every):
    less = {one.name: one.items for one in harm_grid.fewer(every, 1)}
    more = {one.name: one.items for one in every}
    assert len(less["bbq"]) == 24 and len(more["bbq"]) == 44
    assert [one for one in more["bbq"] if one in less["bbq"]] == list(less["bbq"])
    assert len({one.category for one in less["bbq"]}) == 6
    pairs = [one.pair for one in less["unqover"]]
    assert len(pairs) == 16 and {pairs.count(pair) for pair in pairs} == {4}
    assert less["windows"] == more["windows"]
    assert harm_grid.fewer(every, 5) == every


def test_what_has_no_data_here_is_told_and_not_asked(tmp_path):
    found, missing = harm_grid.asked(1, data_dir=tmp_path)
    assert list(missing) == ["Dialect: habitual be"]
    assert str(tmp_path) in missing["Dialect: habitual be"]
    assert "habitual_be" not in {one.name for one in found}
    assert {"bbq", "scores", "windows"} <= {one.name for one in found}


# --- Shards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_are_merged_into_the_same_table_in_any_order(parts, tables, count):
    whole = harm_grid.merged(tables)
    assert len(whole) == sum(map(len, tables))
    by_name = {part.compression: table for part, table in zip(parts, tables, strict=True)}
    shares = [harm_grid.shard(parts, number, count) for number in range(1, count + 1)]
    assert sorted(part.compression for share in shares for part in share) == sorted(by_name)
    merged = [
        harm_grid.merged([by_name[one.compression] for one in share]) for share in shares if share
    ]
    np.random.default_rng(count).shuffle(merged)
    pd.testing.assert_frame_equal(harm_grid.merged(merged), whole, check_exact=True)
    # A shard that was made twice, on two machines, counts once.
    pd.testing.assert_frame_equal(harm_grid.merged([*merged, merged[0]]), whole, check_exact=True)


def test_shards_that_disagree_or_do_not_exist_are_refused(parts, tables):
    other = tables[4].assign(value=tables[4]["value"] + 1)
    with pytest.raises(InputError, match="disagree on RTN 2-bit of tiny-random-llama"):
        harm_grid.merged([*tables, other])
    with pytest.raises(InputError, match="no tables to merge"):
        harm_grid.merged([])
    for number in (0, 3):
        with pytest.raises(InputError, match=f"no shard {number} of 2"):
            harm_grid.shard(parts, number, 2)
