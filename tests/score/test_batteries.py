"""The registry of harms: each battery asks a model, says where its items are from, and has its
floor; a grid of them goes through the runner."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import LONG, tiny_model

from ethical_compression.datasets import crows_pairs
from ethical_compression.errors import InputError
from ethical_compression.metrics import choices
from ethical_compression.score import batteries, continuations

CAUSAL = [name for name in batteries.BATTERIES if name != "crows_pairs_masked"]


@pytest.mark.parametrize("name", CAUSAL)
def test_every_battery_asks_a_model_and_says_where_its_items_are_from(
    name, model, tokenizer, mirror
):
    fits = {"length": 4} if batteries.BATTERIES[name].score is continuations.continuations else {}
    fits |= {"chat": False} if name == "do_not_answer" else {}
    one = batteries.battery(name, limit=4, data_dir=mirror, **fits)
    assert one.name == name and len(one.items) >= 4
    some = one.items[:4]
    models = [model] * (2 if one.paired else 1)
    table = one.score(*models, tokenizer, some, progress=None, **one.settings)
    assert {"benchmark", "group", "cluster"} <= set(table.columns)
    other = batteries.in_other_arithmetic(one)
    again = other.score(*models, tokenizer, some, progress=None, **other.settings)
    if "option" in table.columns:
        change = choices.changed(table, again)
        assert not change["flipped"].any() and change["kl"].max() < 1e-6
        np.testing.assert_allclose(table["logprob"], again["logprob"], atol=1e-3)
    records = batteries.source_records([name], mirror)
    assert records and all({"title", "licence", "sha256"} <= set(one) for one in records)


def test_an_unknown_battery_is_told():
    with pytest.raises(InputError, match="did you mean 'bbq'"):
        batteries.battery("bqb")


def test_a_grid_of_harms_gives_flips_beside_their_floor(model, tokenizer, tmp_path, monkeypatch):
    """A full and a noised model through the runner, and the floor of the full one."""
    from dataclasses import dataclass
    from types import SimpleNamespace

    from ethical_compression.score.runs import grid, measure

    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))
    other = tiny_model("llama", 1, **LONG)

    @dataclass(frozen=True)
    class Toy:
        model: str
        compression: str

        def inputs(self):
            return {"which": self.compression}

        def load(self, *, progress=False):
            chosen = model if self.compression == "full" else other
            return SimpleNamespace(model=chosen, tokenizer=tokenizer)

    full, noised = Toy("tiny", "full"), Toy("tiny", "noised")
    asked = batteries.battery("crows_pairs", limit=27)
    table = grid([full, noised], [asked], progress=False)["crows_pairs"]
    floor = measure(full, batteries.in_other_arithmetic(asked), progress=False)
    found = choices.change_scores(
        table, groups=crows_pairs.GROUPS, floors={"rows of their own": floor}
    )
    assert set(found["group"]) == set(crows_pairs.GROUPS)
    assert (found["note"] == "fewer than 10 items").all()
    assert found["kl"].min() > 1e-6 > found["kl_floor"].max()


def test_what_is_asked_again_is_spread_over_the_items_and_in_other_arithmetic():
    asked = batteries.battery("bbq", limit=44)
    again = batteries.asked_again(asked, 22)
    assert len(again.items) == 22 and set(map(id, again.items)) <= set(map(id, asked.items))
    # Every stretch of the battery, and so every category, has its share.
    assert {one.category for one in again.items} == {one.category for one in asked.items}
    assert again.settings == batteries.in_other_arithmetic(asked).settings != asked.settings
    assert len(batteries.asked_again(asked, 1000).items) == len(asked.items)
    with pytest.raises(InputError, match="other arithmetic"):
        batteries.in_other_arithmetic(replace(asked, again=None))


def test_every_data_set_is_told_once_and_what_is_not_here_by_its_battery(tmp_path):
    table = batteries.source_table(tmp_path).set_index("title")
    assert not table.index.has_duplicates
    missing = table[table["package"] == "not here"]
    # Of these alone the files come with no package.
    assert sorted(missing.index) == ["Dialect", "Matched guise"]
    assert missing["rows"].isna().all()
    assert table.loc["BBQ", "rows"] == 58_492 and table.loc["BBQ", "files"] == 11
    assert table.drop(missing.index)["licence"].notna().all()
