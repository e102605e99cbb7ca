"""Runs of lm-eval read back: real ones, made here with a tiny model, and spoilt ones."""

import inspect
import json
import re
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from ethical_compression.__main__ import main
from ethical_compression.datasets import lm_eval_runs
from ethical_compression.datasets.multiple_choice import MultipleChoiceItem
from ethical_compression.errors import InputError
from ethical_compression.score import confidence

PIQA = [
    {"goal": "keep tea warm", "sol1": "a cup under a hat", "sol2": "a pot in a scarf", "label": 1},
    {"goal": "dry shoes", "sol1": "newspaper", "sol2": "more water, and then ice", "label": 0},
    {"goal": "Où ?", "sol1": "ici", "sol2": "là-bas", "label": 1},
    {"goal": "open a jar", "sol1": "a rubber band round its lid", "sol2": "a feather", "label": 0},
]
ARC = [
    {
        "id": "1",
        "question": "Which is a gas?",
        "choices": {"text": ["stone", "air", "ice"], "label": ["A", "B", "C"]},
        "answerKey": "B",
    },
    {
        "id": "2",
        "question": "Which shines?",
        "choices": {"text": ["a star", "a cave", "soil", "mud"], "label": ["1", "2", "3", "4"]},
        "answerKey": "1",
    },
]


def run_lm_eval(folder: Path, model, tokenizer, name: str) -> Path:
    """What `lm_eval --log_samples --output_path` writes for PIQA and ARC-Easy over our rows."""
    import lm_eval
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks._yaml_loader import load_yaml

    tasks = []
    for path, docs in (("piqa/piqa.yaml", PIQA), ("arc/arc_easy.yaml", ARC)):
        rows = datasets.Dataset.from_list(docs)

        class Offline(ConfigurableTask):
            def download(self, *_args, rows=rows, **_options):
                self.dataset = dict.fromkeys(("train", "validation", "test"), rows)

        place = Path(inspect.getfile(lm_eval.tasks)).parent / path
        tasks.append(Offline(config=load_yaml(place)))
    tracker = EvaluationTracker(output_path=str(folder))
    found = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", device="cpu"),
        tasks=tasks,
        log_samples=True,
        bootstrap_iters=0,
    )
    tracker.general_config_tracker.model_name_sanitized = name
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for task, some in samples.items():
        tracker.save_results_samples(task_name=task, samples=some)
    return folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a full and a compressed run, and the two models with their tokenizer."""
    from ethical_compression import models

    folder = tmp_path_factory.mktemp("runs")
    full, other = models.load("tiny-random-llama"), models.load("tiny-random-llama")
    for parameter in other.model.parameters():
        parameter.data *= 1.5
    places = [
        run_lm_eval(folder / name, loaded.model, loaded.tokenizer, f"org__{name}")
        for name, loaded in (("full", full), ("small", other))
    ]
    return places, full, other


def test_a_real_run_is_what_we_would_have_scored(runs):
    from ethical_compression.score.loglikelihood import score_items

    (place, _), full, _ = runs
    items = [
        MultipleChoiceItem(
            "piqa", str(n), f"Question: {d['goal']}\nAnswer:", options, d["label"], ""
        )
        for n, d in enumerate(PIQA)
        for options in [(f" {d['sol1']}", f" {d['sol2']}")]
    ]
    items += [
        MultipleChoiceItem(
            "arc_easy", str(n), f"Question: {d['question']}\nAnswer:", options, gold, ""
        )
        for n, d in enumerate(ARC)
        for options in [tuple(f" {text}" for text in d["choices"]["text"])]
        for gold in [d["choices"]["label"].index(d["answerKey"])]
    ]
    ours = score_items(full.model, full.tokenizer, items)
    theirs = lm_eval_runs.scores(place)
    keys = ["benchmark", "item", "option"]
    ours, theirs = (table.sort_values(keys, ignore_index=True) for table in (ours, theirs))
    columns = [*keys, "gold", "bytes", "greedy"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_dtype=False)
    np.testing.assert_allclose(ours["logprob"], theirs["logprob"], atol=1e-3)
    # lm-eval's own accuracies are those of our records.
    written = json.loads(next(place.glob("results_*.json")).read_text())["results"]
    found = confidence.summary(confidence.per_item(theirs)).set_index("benchmark")["accuracy"]
    for task in ("piqa", "arc_easy"):
        assert found[task] / 100 == pytest.approx(written[task]["acc,none"])


def test_two_runs_are_compared_without_a_model(runs, tmp_path, capsys):
    (full, small), *_ = runs
    table = lm_eval_runs.pair(full, small, "GPTQ 4-bit")
    assert table["model"].unique().tolist() == ["full", "GPTQ 4-bit"]
    assert "request" not in table.columns
    output, drawings = tmp_path / "new" / "table.csv", tmp_path / "figures"
    arguments = ["compare", str(full), str(small), "--label", "GPTQ 4-bit", "--output", str(output)]
    assert main([*arguments, "--figures", str(drawings)]) == 0
    said = capsys.readouterr().out
    from ethical_compression.statistics import paired_table

    expected = paired_table(confidence.per_item(table))
    pd.testing.assert_frame_equal(pd.read_csv(output), expected, check_exact=False)
    assert (
        "On the 4 items of piqa, GPTQ 4-bit takes the mean probability of the right answer" in said
    )
    names = {"before_after", "reliability", "where", "selective"}
    assert {path.stem for path in drawings.glob("*.png")} == names
    assert all("piqa" in path.read_text() for path in drawings.glob("*.txt"))
    assert main(["compare", str(full), str(small), "--normalisation", "byte"]) == 0
    assert said != capsys.readouterr().out


def test_one_file_or_the_folder_above_will_do_and_the_newest_run_counts(runs, tmp_path):
    (place, _), *_ = runs
    whole = lm_eval_runs.scores(place)
    pd.testing.assert_frame_equal(lm_eval_runs.scores(place.parent), whole)
    file = next(place.glob("samples_piqa_*.jsonl"))
    one = lm_eval_runs.scores(file)
    assert one["benchmark"].unique().tolist() == ["piqa"] and len(one) == 8
    copy = tmp_path / "model"
    copy.mkdir()
    old = [change(row, target="0", acc=None) for row in read(file)]
    write(copy / "samples_piqa_2024-01-02T03-04-05.678.jsonl", old)
    write(copy / "samples_piqa_2026-01-02T03-04-05.678.jsonl", read(file))
    pd.testing.assert_frame_equal(lm_eval_runs.scores(copy), one)


# --- Literal samples ------------------------------------------------------------------------------


def sample(doc_id=0, logprobs=(-3.0, -1.0), target="1", **changes):
    options = len(logprobs)
    row = {
        "doc_id": doc_id,
        "doc": {"question": f"q{doc_id}"},
        "target": target,
        "arguments": {
            f"gen_args_{k}": {"arg_0": f"q{doc_id}", "arg_1": f" {'abcdef'[k]}"}
            for k in range(options)
        },
        "resps": [[[str(value), "False"]] for value in logprobs],
        "filtered_resps": [[str(value), "False"] for value in logprobs],
        "filter": "none",
    }
    return change(row, **changes)


def change(row, **changes):
    return {k: v for k, v in {**row, **changes}.items() if v is not None}


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_samples_of_older_versions_are_read_alike(tmp_path):
    new = write(tmp_path / "samples_t_2026-01-01T00-00-00.1.jsonl", [sample()])
    old = sample(arguments=[["q0", " a"], ["q0", " b"]], resps=[[[-3.0, False]], [[-1.0, False]]])
    older = write(tmp_path / "t.jsonl", [old])
    pd.testing.assert_frame_equal(
        lm_eval_runs.scores(new), lm_eval_runs.scores(older).assign(benchmark="t")
    )


def test_a_target_may_be_the_text_of_an_option(tmp_path):
    file = write(tmp_path / "samples_x.jsonl", [sample(target="b"), sample(1, target="a")])
    assert lm_eval_runs.scores(file)["gold"].tolist() == [1, 1, 0, 0]


def test_options_of_unequal_number_and_ties_go_through(tmp_path):
    rows = [sample(), sample(1, (-2.0, -2.0, -9.0), "1", acc=0.0)]
    items = confidence.per_item(lm_eval_runs.scores(write(tmp_path / "samples_x.jsonl", rows)))
    assert items["options"].tolist() == [2, 3]
    # Of two equally probable options the first is chosen, by lm-eval as by us.
    assert items["correct"].tolist() == [True, False]


def test_the_dry_run_of_mutual_information_is_left_out(tmp_path):
    row = sample(logprobs=(-3.0, -1.0, -2.0, -0.5))
    for k in (2, 3):
        row["arguments"][f"gen_args_{k}"] = {"arg_0": "", "arg_1": f" {'ab'[k - 2]}"}
    table = lm_eval_runs.scores(write(tmp_path / "samples_x.jsonl", [row]))
    assert table["logprob"].tolist() == [-3.0, -1.0]


def test_what_is_not_multiple_choice_is_left_out_of_a_folder_and_refused_alone(tmp_path, capsys):
    date = "2026-01-01T00-00-00.1"
    text = sample(
        arguments={"gen_args_0": {"arg_0": "q", "arg_1": {"until": ["\n"]}}}, resps=[["a story"]]
    )
    lone = write(tmp_path / f"samples_gsm8k_{date}.jsonl", [text])
    write(tmp_path / f"samples_piqa_{date}.jsonl", [sample()])
    assert lm_eval_runs.scores(tmp_path)["benchmark"].unique().tolist() == ["piqa"]
    assert "left out: gsm8k" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"Line 1 of .* is not a multiple-choice item: it has 0"):
        lm_eval_runs.scores(lone)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (sample(resps=None), "lacks 'resps' .*--log_samples"),
        (sample(arguments=None), "lacks 'arguments'"),
        (sample(target=None), "lacks 'target'"),
        (sample(target="2"), "target '2', which is none of its 2"),
        (sample(target="-100"), "none of its 2 options"),
        (sample(target="[0, 1]"), "only tasks with one right answer"),
        (sample(resps=[[["-3.0", "False"]]]), "2 options and 1 log-likelihoods"),
        (sample(resps=[[["much", "False"]], [["-1", "False"]]]), "0 log-likelihoods"),
        (sample(acc=0.0), "acc = 0.0, but its likelihoods choose option 1"),
        (sample(acc=0.37), "several right answers"),
    ],
)
def test_a_spoilt_sample_is_named(row, said, tmp_path):
    file = write(tmp_path / "samples_x.jsonl", [sample(5), row])
    with pytest.raises(InputError, match="Line 2 of") as caught:
        lm_eval_runs.scores(file)
    assert re.search(said, str(caught.value))


def test_a_likelihood_that_is_no_number_is_refused_with_the_item(tmp_path):
    file = write(tmp_path / "samples_x.jsonl", [sample(), sample(7, ("-inf", "-1.0"))])
    with pytest.raises(InputError, match=r"Item '7' of x .* not a finite number"):
        confidence.per_item(lm_eval_runs.scores(file))


def test_an_option_without_text_has_a_sum_and_no_mean_per_byte(tmp_path):
    row = sample()
    row["arguments"]["gen_args_0"]["arg_1"] = ""
    table = lm_eval_runs.scores(write(tmp_path / "samples_x.jsonl", [row]))
    assert len(confidence.per_item(table)) == 1
    with pytest.raises(InputError, match="no bytes"):
        confidence.per_item(table, "byte")
    with pytest.raises(InputError, match=r"lacks the column.* tokens"):
        confidence.per_item(table, "token")


def test_places_that_hold_no_run_are_named(tmp_path):
    with pytest.raises(InputError, match="no file or folder"):
        lm_eval_runs.scores(tmp_path / "nowhere")
    with pytest.raises(InputError, match="run lm-eval with --log_samples"):
        lm_eval_runs.scores(tmp_path)
    empty = write(tmp_path / "samples_x.jsonl", [])
    with pytest.raises(InputError, match="holds no samples"):
        lm_eval_runs.scores(empty)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "samples_x_2026-01-01T00-00-00.1.jsonl", [sample()])
    with pytest.raises(InputError, match=r"several models \(one, two\)"):
        lm_eval_runs.scores(tmp_path)


def test_runs_that_do_not_fit_together_are_refused(tmp_path, capsys):
    full = write(tmp_path / "samples_x.jsonl", [sample(), sample(1)])
    (tmp_path / "b").mkdir()

    def refused(rows, name="samples_x.jsonl"):
        other = write(tmp_path / "b" / name, rows)
        assert main(["compare", str(full), str(other), "--output", str(tmp_path / "t.csv")]) == 2
        assert not (tmp_path / "t.csv").exists()
        return capsys.readouterr().err

    assert "2 options are in only one" in refused([sample()])
    assert "not the same question" in refused(
        [sample(), sample(1) | {"arguments": sample(2)["arguments"]}]
    )
    assert "disagree on the right answer" in refused([sample(), sample(1, target="0")])
    assert "different tasks: x, y" in refused([sample(), sample(1)], "samples_y.jsonl")
    assert main(["compare", str(full), str(full), "--output", "t.txt"]) == 2
    assert "name a .csv file" in capsys.readouterr().err
    assert main(["compare", str(full), str(full), "--label", "full"]) == 2
