"""What a model is asked by name, and what its answers come to."""

import json

import numpy as np
import pandas as pd
import pytest

from ethical_compression.__main__ import main
from ethical_compression.errors import InputError
from ethical_compression.metrics.harm_values import harm_values
from ethical_compression.score import runs, tasks
from ethical_compression.score.subjects import Compressed

TINY = "tiny-random-llama"
pytestmark = pytest.mark.usefixtures("in_the_store_of_the_module")


def rows(values, group="a", cluster=None, task="t"):
    items = [f"{group} {k}" for k in range(len(values))]
    return pd.DataFrame(
        {"task": task, "metric": "share", "item": items, "group": group}
        | {"cluster": cluster or items, "value": values}
    )


def test_a_mean_is_told_for_the_task_and_each_group_with_an_interval_over_clusters():
    both = pd.concat([rows([0, 1] * 10), rows([1.0] * 12, "b")], ignore_index=True)
    found = tasks.summary(both).set_index("group")
    assert list(found.index) == [tasks.ALL, "a", "b"]
    assert found.loc["a", "mean"] == 0.5 and found.loc[tasks.ALL, "n"] == 32
    # Student's t of 19 degrees of freedom, by hand: 2.093 · sqrt(0.25 · 20/19) ÷ sqrt(20).
    half = 2.093024 * np.sqrt(0.25 * 20 / 19 / 20)
    assert found.loc["a", "ci_high"] == pytest.approx(0.5 + half, abs=1e-6)
    assert np.isnan(found.loc["b", "ci_low"])  # all alike: nothing says how far off it is
    twice = tasks.summary(rows([0, 0, 1, 1] * 5, cluster=[k // 2 for k in range(20)]))
    assert twice.loc[0, "clusters"] == 10
    assert twice.loc[0, "ci_high"] > found.loc["a", "ci_high"]


def test_few_items_have_no_interval_and_what_has_no_value_is_not_counted():
    found = tasks.summary(rows([0, 1, 0, 1, np.nan])).iloc[0]
    assert found["n"] == 4 and np.isnan(found["ci_low"])
    nothing = tasks.summary(rows([np.nan])).iloc[0]
    assert nothing["n"] == 0 and np.isnan(nothing["mean"])


def test_a_benchmark_counts_right_answers_and_a_harm_is_its_own():
    subject = Compressed(TINY)
    asked = {name: tasks.battery(name, 12) for name in ("piqa", "crows_pairs", "honest_en")}
    found = tasks.values(subject, asked, progress=False)
    table = runs.measure(subject, asked["piqa"], progress=False)
    wrong = harm_values("questions", table)["value"].mean()
    piqa = found[found["task"] == "piqa"]
    assert piqa["value"].mean() == pytest.approx(1 - wrong) and set(piqa["metric"]) == {"accuracy"}
    assert set(found["task"]) == set(asked)
    assert set(found.loc[found["task"] == "crows_pairs", "value"]) <= {0.0, 1.0}


def test_every_task_has_a_title_and_an_unknown_one_is_refused():
    assert {"piqa", "bbq_ambiguous", "toxicity"} <= set(tasks.names())
    assert all(tasks.names().values())
    with pytest.raises(InputError, match="There is no task 'nosuch'"):
        tasks.battery("nosuch")


def test_the_command_prints_means_and_keeps_items(tmp_path, capsys):
    words = ["score", TINY, "--tasks", "piqa, crows_pairs,piqa", "--limit", "12"]
    file = tmp_path / "items.parquet"
    assert main([*words, "--output", str(file)]) == 0
    said = capsys.readouterr().out
    assert "piqa: accuracy" in said and "race-color" in said
    items = pd.read_parquet(file)
    assert items["task"].drop_duplicates().tolist() == ["piqa", "crows_pairs"]
    assert json.loads(file.with_suffix(".json").read_text())["settings"]["limit"] == 12
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (piqa,) = (row for row in told["scores"] if row["task"] == "piqa")
    assert piqa["mean"] == pytest.approx(items.loc[items["task"] == "piqa", "value"].mean())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tasks", "nosuch"], "There is no task 'nosuch'"),
        (["--tasks", "piqa", "--recipe", "nosuch-4bit"], "nosuch"),
        (["--tasks", "piqa", "--output", "items.csv"], "must end in .parquet"),
    ],
)
def test_bad_input_is_one_sentence(words, expected, capsys):
    assert main(["score", TINY, *words]) == 2
    assert expected in capsys.readouterr().err
