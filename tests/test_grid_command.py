"""The command `grid`: shards of a tiny model's grid, made and put together."""

import functools
import json

import pandas as pd
import pytest

from ethical_compression import kept_tables
from ethical_compression.__main__ import main
from ethical_compression.score import harm_grid

MODEL = "tiny-random-llama"


@pytest.fixture(scope="module")
def few():
    """What is asked, read once for all shards: two batteries of the twelve."""
    ask = harm_grid.asked

    @functools.cache
    def asked(each, **how):
        found, missing = ask(each, **how)
        return [one for one in found if one.name in ("bbq", "windows")], missing

    return asked


@pytest.fixture
def grid(few, monkeypatch):
    monkeypatch.setattr(harm_grid, "asked", few)

    def run(*arguments):
        return main(["grid", MODEL, "--profile", "smoke", *map(str, arguments)])

    return run


def test_one_two_and_seven_shards_are_one_table(grid, tmp_path):
    tables = {}
    for count in (1, 2, 7):
        shards = [tmp_path / f"{count}-{number}.parquet" for number in range(count)]
        for number, place in enumerate(shards, 1):
            assert grid("--shard", f"{number}/{count}", "--output", place) == 0
        whole = tmp_path / f"{count}.parquet"
        assert grid("--merge", *shards[::-1], "--output", whole) == 0
        tables[count], made = kept_tables.read(whole)
        names = ["full", "Wanda 50%", "Wanda 50%, seed 1", "RTN 2-bit", "without 1 upper layer"]
        assert set(made["recipes"]) == set(made["parts"]) == set(names)
        assert made["waiting"] == [] and made["refused"] == {}
        assert made["settings"]["each"] == 2 and made["model"]["name"] == MODEL
    assert set(tables[1]["compression"]) == set(names)
    for count in (2, 7):
        pd.testing.assert_frame_equal(tables[count], tables[1], check_exact=True)


def test_what_waits_and_what_a_model_does_not_allow_is_told(grid, tmp_path, capsys):
    recipes = json.dumps([{"method": "layers", "remove": 2, "position": "upper"}])
    place = tmp_path / "one.parquet"
    assert grid("-p", "recipes", recipes, "--output", place) == 0
    table, made = kept_tables.read(place)
    (name,) = made["waiting"]
    assert set(table["compression"]) == {"full"}
    assert name in made["refused"] and f"{name} is left out" in capsys.readouterr().err
    half = tmp_path / "half.parquet"
    assert grid("--shard", "2/2", "--output", half) == 0
    assert grid("--merge", half, "--output", tmp_path / "part.parquet") == 0
    _, made = kept_tables.read(tmp_path / "part.parquet")
    assert set(made["waiting"]) | set(made["recipes"]) == set(made["parts"])
    assert made["waiting"]


def test_what_does_not_go_together_is_refused_in_a_sentence(grid, tmp_path, capsys):
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    assert grid("--shard", "7/7", "--output", one) == 0
    assert grid("--shard", "6/7", "-p", "seed", "1", "--output", other) == 0
    assert grid("--merge", one, other, "--output", tmp_path / "all.parquet") == 2
    assert "was made with other settings" in capsys.readouterr().err
    assert main(["grid", "smollm2-135m", "--merge", str(one), "--output", str(other)]) == 2
    assert f"is a grid of {MODEL}, not of smollm2-135m" in capsys.readouterr().err
    one.with_suffix(".json").unlink()
    assert grid("--merge", one, "--output", tmp_path / "all.parquet") == 2
    assert "its .json is missing" in capsys.readouterr().err
    assert grid("--output", tmp_path / "grid.csv") == 2
    assert "must end in .parquet" in capsys.readouterr().err
    assert grid("-p", "eech", "3", "--output", one) == 2
    assert "did you mean 'each'?" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "-1/2"])
def test_a_shard_that_is_none_is_refused(shard, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["grid", MODEL, f"--shard={shard}", "--output", str(tmp_path / "x.parquet")])
    assert "give a shard as 2/4" in capsys.readouterr().err
