"""Runs of lm-eval read back: real ones, made here with a tiny model, and spoilt ones."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lm_eval_run import run_lm_eval

from ethical_compression.__main__ import main
from ethical_compression.datasets import lm_eval_runs
from ethical_compression.datasets.files import read_rows
from ethical_compression.datasets.multiple_choice import MultipleChoiceItem
from ethical_compression.errors import InputError
from ethical_compression.metrics import confidence

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


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a full and a compressed run, and the two models with their tokenizer."""
    from lm_eval.models.huggingface import HFLM

    from ethical_compression import models

    folder = tmp_path_factory.mktemp("runs")
    full, other = models.load("tiny-random-llama"), models.load("tiny-random-llama")
    for parameter in other.model.parameters():
        parameter.data *= 1.5
    rows_of = {"piqa/piqa.yaml": PIQA, "arc/arc_easy.yaml": ARC}
    places = []
    for name, (model, tokenizer, *_) in (("full", full), ("small", other)):
        theirs = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", device="cpu")
        places.append(run_lm_eval(folder / name, theirs, f"org__{name}", rows_of))
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
    assert table["compression"].unique().tolist() == ["full", "GPTQ 4-bit"]
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


# Tasks of other kinds, each with rows as its data set has them, and what lm-eval calls it.
WINOGRAD = {"text": "The cup is full because it is big.", "pronoun": "it", "pronoun_loc": 24}
PAIR = {"sentence1": "It rains.", "sentence2": "Rain falls."}
MC1 = {"choices": ["a", "b", "c"], "labels": [1, 0, 0]}
MC2 = {"choices": ["a", "b", "c"], "labels": [1, 1, 0]}
OTHERS = {
    "winogrande/default.yaml": [
        {"sentence": "The cup holds the pot, so _ is big.", "option1": "it", "option2": "he"}
        | {"answer": answer}
        for answer in "1221"
    ],
    "wsc273/default.yaml": [
        WINOGRAD | {"options": ["the cup", "the pot"], "label": n, "quote": "", "pronoun_loc": 24}
        for n in (0, 1, 1)
    ],
    "glue/cola/default.yaml": [{"sentence": f"He go {n}.", "label": n % 2} for n in range(4)],
    "glue/mrpc/default.yaml": [PAIR | {"label": n} for n in (0, 1, 1)],
    "super_glue/boolq/default.yaml": [
        {"passage": "p", "question": f"q{n}", "label": n} for n in (0, 1, 1)
    ],
    "sciq/sciq.yaml": [
        {"support": "s", "question": f"q{n}", "distractor1": "10", "distractor2": "2"}
        | {"distractor3": "1", "correct_answer": "3"}
        for n in range(3)
    ],
    "mutual/mutual.yaml": [
        {"article": f"a{n}", "answers": "ABCD"[n], "options": ["f : x", "m : y", "f : z", "m : w"]}
        for n in range(4)
    ],
    "hendrycks_ethics/commonsense.yaml": [{"input": f"I {n}.", "label": n} for n in (0, 1, 1)],
    "truthfulqa/truthfulqa_mc1.yaml": [
        {"question": f"q{n}", "mc1_targets": MC1, "mc2_targets": MC2} for n in range(3)
    ],
    "truthfulqa/truthfulqa_mc2.yaml": [
        {"question": f"q{n}", "mc1_targets": MC1, "mc2_targets": MC2} for n in range(3)
    ],
    "crows_pairs/crows_pairs_english.yaml": [
        {"sent_more": f"They {n}.", "sent_less": f"We {n}."} for n in range(3)
    ],
}


def test_real_runs_of_many_kinds_of_task_are_read_or_named(tmp_path, capsys):
    from lm_eval.api.model import LM

    class Chance(LM):
        generator = np.random.default_rng(0)

        def loglikelihood(self, requests):
            return [(-float(self.generator.exponential()), False) for _ in requests]

        loglikelihood_rolling = generate_until = None

    places = [run_lm_eval(tmp_path / side, Chance(), f"org__{side}", OTHERS) for side in "ab"]
    output = tmp_path / "table.csv"
    assert main(["compare", *map(str, places), "--output", str(output)]) == 0
    named = set(re.findall(r"(?m)^Left out, ([^:]+):", capsys.readouterr().err))
    assert named == {"truthfulqa_mc2", "crows_pairs_english", "mutual"}
    compared = set(pd.read_csv(output)["benchmark"])
    assert len(compared) == len(OTHERS) - len(named)
    for place in places:
        written = json.loads(next(place.glob("results_*.json")).read_text())["results"]
        table = lm_eval_runs.scores(place)
        assert set(table["benchmark"]) == compared
        found = confidence.summary(confidence.per_item(table)).set_index("benchmark")["accuracy"]
        for task in compared - {"cola"}:  # whose only metric is a correlation
            assert found[task] / 100 == pytest.approx(written[task]["acc,none"]), task


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


DATE = "2026-01-01T00-00-00.1"
NEW = f"samples_x_{DATE}.jsonl"


def as_lists(row):
    """A row as lm-eval wrote it before 0.4.3: arguments as lists, numbers as numbers."""
    arguments = [list(one.values()) for one in row["arguments"].values()]
    resps = [[[float(logprob), greedy == "True"]] for [[logprob, greedy]] in row["resps"]]
    known = {k: row[k] for k in row if k not in ("filter", "metrics")}
    return known | {"arguments": arguments, "resps": resps, "target": int(row["target"])}


def write_as(version, folder, rows, task="x", model="pretrained__org__m"):
    """What a version of lm-eval leaves of one task in its output folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if version in ("0.4.0", "0.4.2"):
        text = json.dumps(
            [as_lists(row) for row in rows], indent=2, ensure_ascii=version == "0.4.0"
        )
        (folder / f"{model}_{task}.jsonl").write_text(text)
        (folder / "results.json").write_text(json.dumps({"results": {}, "configs": {task: {}}}))
    elif version == "2024-05":
        text = json.dumps([as_lists(row) for row in rows], indent=2)
        (folder / f"samples_{task}_{DATE}.json").write_text(text)
    else:
        if version in ("2024-06", "0.4.3"):
            rows = [row | {"target": int(row["target"])} for row in rows]
        ending = "json" if version == "2024-06" else "jsonl"
        write(folder / f"samples_{task}_{DATE}.{ending}", rows)
    return folder


VERSIONS = ["0.4.0", "0.4.2", "2024-05", "2024-06", "0.4.3", "0.4.13"]


@pytest.mark.parametrize("version", VERSIONS)
def test_samples_of_all_versions_are_read_alike(tmp_path, version):
    rows = [sample(acc=1.0), sample(1, (-1.0, -2.5), "0", acc=1.0)]
    expected = lm_eval_runs.scores(write_as("0.4.13", tmp_path / "new", rows))
    place = write_as(version, tmp_path / "other", rows)
    pd.testing.assert_frame_equal(lm_eval_runs.scores(place), expected)
    rows[0]["resps"][0] = [["-2.0", "False"]]
    pairs = lm_eval_runs.pair(tmp_path / "new", write_as(version, tmp_path / "small", rows))
    assert pairs["logprob"].tolist() == [-3.0, -1.0, -1.0, -2.5, -2.0, -1.0, -1.0, -2.5]


def test_without_results_beside_them_old_files_are_paired_by_what_they_ask(tmp_path):
    for model in ("pretrained__a,dtype__half", "pretrained__b"):
        for task, first in (("arc_easy", 0), ("arc_challenge", 5)):
            rows = [sample(first), sample(first + 1)]
            folder = write_as("0.4.0", tmp_path / model, rows, task, model)
        (folder / "results.json").unlink()
    pairs = lm_eval_runs.pair(*sorted(tmp_path.iterdir()))
    assert sorted(pairs["benchmark"].unique()) == ["arc_challenge", "arc_easy"]
    assert len(pairs) == 16


def test_one_file_a_side_is_compared_whatever_it_is_called(tmp_path):
    full = write(tmp_path / "my run.txt", [sample(), sample(1)])
    other = write(tmp_path / f"samples_x_{DATE}.jsonl", [sample(), sample(1)])
    assert len(lm_eval_runs.pair(full, other)) == 8
    assert len(lm_eval_runs.pair(other, full)) == 8


def test_one_task_a_side_must_be_the_same_task(tmp_path, capsys):
    places = [write_as("0.4.13", tmp_path / task, [sample(k)], task) for k, task in enumerate("ab")]
    assert main(["compare", *map(str, places)]) == 2
    said = capsys.readouterr().err
    assert "a: only the full model's run holds it" in said
    assert "b: only the compressed model's run holds it" in said
    # One task under two names is one.
    write_as("0.4.13", tmp_path / "c", [sample(0)], "c")
    assert len(lm_eval_runs.pair(tmp_path / "a", tmp_path / "c")) == 4


def test_both_sides_the_same_file_are_refused(tmp_path, capsys):
    file = write(tmp_path / f"samples_x_{DATE}.jsonl", [sample(), sample(1)])
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for other in (file, tmp_path, tmp_path / "link"):
        assert main(["compare", str(file), str(other)]) == 2
        assert "the same file" in capsys.readouterr().err


def test_a_target_may_be_the_text_of_an_option(tmp_path):
    file = write(tmp_path / "samples_x.jsonl", [sample(target="b"), sample(1, target="a")])
    assert lm_eval_runs.scores(file)["gold"].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("targets", "texts", "gold"),
    [
        (("1", "0"), "ab", [1, 0]),
        (("[1]", "[0]"), "ab", [1, 0]),
        (("['b']", "['a']"), "ab", [1, 0]),
        (([1], [0]), "ab", [1, 0]),
        (("1.0", "0.0"), "ab", [1, 0]),
        (("True", "False"), "ab", [1, 0]),
        ((True, False), "ab", [1, 0]),
        # Text that looks like a number, and a truth value that is the text of another option: only
        # lm-eval's own accuracy says which is meant.
        (("2", "1"), "12", [1, 0]),
        (("1", "0"), "12", [1, 0]),
        (("1", "2"), "21", [1, 0]),
        (("False", "True"), ("True", "False"), [1, 0]),
    ],
)
def test_a_target_is_read_as_lm_eval_means_it(tmp_path, targets, texts, gold):
    rows = [sample(0, target=targets[0], acc=1.0), sample(1, target=targets[1], acc=0.0)]
    for row in rows:
        for one, text in zip(row["arguments"].values(), texts, strict=True):
            one["arg_1"] = f" {text}"
    table = lm_eval_runs.scores(write(tmp_path / "samples_x.jsonl", rows))
    assert table["gold"].tolist()[::2] == gold


def test_a_target_that_may_mean_two_options_is_refused(tmp_path):
    row = sample(target="1")  # without lm-eval's accuracy: option 1, "0", or the text of option 0
    row["arguments"]["gen_args_0"]["arg_1"], row["arguments"]["gen_args_1"]["arg_1"] = " 1", " 0"
    with pytest.raises(InputError, match="number of one option and the text of another"):
        lm_eval_runs.scores(write(tmp_path / "samples_x.jsonl", [row]))


def contexts(doc_id, logprobs, acc):
    """A sample of Winogrande's kind: one continuation after several contexts."""
    row = sample(doc_id, logprobs, target="is too big.", acc=acc, metrics=["acc"])
    for k, one in enumerate(row["arguments"].values()):
        one |= {"arg_0": f"It does not fit: the {'abc'[k]}", "arg_1": " is too big."}
    return row


def test_one_continuation_after_several_contexts_is_a_choice_of_context(tmp_path):
    full = write(tmp_path / "a.jsonl", [contexts(0, (-3, -1), 1.0), contexts(1, (-3, -1), 0.0)])
    small = write(tmp_path / "b.jsonl", [contexts(0, (-1, -3), 0.0), contexts(1, (-3, -2), 0.0)])
    pairs = lm_eval_runs.pair(full, small)
    assert pairs["gold"].tolist() == [1, 1, 0, 0] * 2
    items = confidence.per_item(pairs)
    assert items["correct"].tolist() == [True, False, False, False]
    # What lm-eval does not say is not made up.
    unknown = write(tmp_path / "c.jsonl", [contexts(0, (-3, -1), 1.0), contexts(1, (-3, -1), None)])
    with pytest.raises(InputError, match="which context is right cannot be told"):
        lm_eval_runs.scores(unknown)
    three = write(tmp_path / "d.jsonl", [contexts(0, (-3, -1, -2), 0.0)])
    with pytest.raises(InputError, match="after 3 contexts"):
        lm_eval_runs.scores(three)
    contradicts = write(
        tmp_path / "e.jsonl", [contexts(0, (-1, -3), 1.0), contexts(1, (-3, -2), 0)]
    )
    with pytest.raises(InputError, match="disagree on the right answer of item 0"):
        lm_eval_runs.pair(full, contradicts)


@pytest.mark.parametrize(
    ("row", "contradicts"),
    [
        # By characters: −3/1 against −4/10. By its sum option 0 would be chosen.
        (sample(logprobs=(-3, -4), target="1", acc_norm=1.0), False),
        (sample(logprobs=(-3, -4), target="1", acc_norm=0.0), True),
        (sample(logprobs=(-3, -4), target="1", acc_bytes=1.0), False),
        (sample(target="1", acc="True"), False),
        (sample(target="1", acc="False"), True),
        (sample(target="1", acc="1.0", resps=[[["-3", "False"]] * 2, [["-1", "True"]] * 2]), False),
        (sample(target="1", mcc=[1, 0]), False),
        (sample(target="1", mcc=["True", 0]), False),
        (sample(target="1", mcc=["False", 0]), True),
        (sample(target="1", mcc=[0, 0]), True),
        (sample(target="1", f1=[1, 1], acc=1.0), False),
        (sample(target="1", exact_match=0), False),
        (sample(target="1", bypass=999), False),
    ],
)
def test_what_lm_eval_says_of_right_and_wrong_is_held_against_what_is_read(
    tmp_path, row, contradicts
):
    row["arguments"]["gen_args_1"]["arg_1"] = " 0123456789"
    file = write(tmp_path / "samples_x.jsonl", [row])
    if contradicts:
        with pytest.raises(InputError, match="its target is 1"):
            lm_eval_runs.scores(file)
    else:
        assert lm_eval_runs.scores(file)["gold"].tolist() == [1, 1]


def stereotypes():
    """CrowS-Pairs as lm-eval asks it: two sentences without a context, the stereotype first."""
    rows = []
    for n in range(3):
        row = sample(n, target="0", likelihood_diff=2.0, pct_stereotype=0.0)
        for one in row["arguments"].values():
            one["arg_0"] = ""
        rows.append(row)
    return rows


def test_a_task_whose_metric_asks_for_no_right_answer_is_named_and_not_compared(tmp_path, capsys):
    alone = write(tmp_path / f"samples_crows_pairs_english_{DATE}.jsonl", stereotypes())
    with pytest.raises(InputError, match=r"crows_pairs_english by likelihood_diff, pct_stereotype"):
        lm_eval_runs.scores(alone)
    for side in ("full", "small"):
        write_as("0.4.13", tmp_path / side, stereotypes(), "crows_pairs_english")
        write_as("0.4.13", tmp_path / side, [sample(), sample(1)])
    assert main(["compare", str(tmp_path / "full"), str(tmp_path / "small")]) == 0
    said = capsys.readouterr()
    assert "pct_stereotype" in said.err and "crows" not in said.out
    assert "items of x" in said.out


def test_what_can_be_read_is_compared_and_what_cannot_is_named(tmp_path, capsys):
    """One folder a side with a task of every kind of fault, and one that is sound."""
    faults = {
        "shares": ([sample(acc=1.0), sample(1, acc=0.37)], "rule of its own"),
        "cut": (["not a sample"], "not a JSON object"),
        "infinite": ([sample(0, ("-inf", "-1"))], "not a finite number"),
        "empty": ([], "holds no samples"),
        "single": ([sample()], "at least two items"),
        "twice": ([sample(), sample(0, (-5.0, -1.0)), sample(1)], "given twice"),
    }
    for side in ("full", "small"):
        for task, (rows, _) in faults.items():
            write_as("0.4.13", tmp_path / side, rows, task)
        # The compressed model is less sure.
        rows = [sample(n, (-3.0, -1.0 - 0.3 * n * (side == "small")), acc=1.0) for n in range(4)]
        write_as("0.4.13", tmp_path / side, rows, "sound")
        write_as("0.4.13", tmp_path / side, rows[: 4 if side == "full" else 3], "fewer")
        write_as("0.4.13", tmp_path / side, rows, f"only-{side}")
    assert main(["compare", str(tmp_path / "full"), str(tmp_path / "small")]) == 0
    said = capsys.readouterr()
    named = dict(re.findall(r"(?m)^Left out, ([^:]+): (.*)$", said.err))
    for task, (_, reason) in faults.items():
        assert reason in named.pop(task)
    assert "2 options are in only one" in named.pop("fewer")
    for side, name in (("full", "full"), ("small", "compressed")):
        assert f"only the {name} model's run holds it" in named.pop(f"only-{side}")
    assert named == {}
    assert re.findall(r"On the (\d+) items of (\w+)", said.out) == [("4", "sound")]


def cases() -> Path | None:
    """Other people's runs, beside the mirror of the benchmarks where there is one."""
    mirror = os.environ.get("ETHICAL_COMPRESSION_DATA")
    place = Path(mirror).parent / "cases" / "lm_eval" if mirror else None
    return place if place and place.is_dir() else None


@pytest.mark.skipif(cases() is None, reason="no cases beside ETHICAL_COMPRESSION_DATA")
@pytest.mark.parametrize(
    ("case", "compared", "said"),
    [
        ("winogrande", {"arc_easy", "winogrande"}, ""),
        ("truthfulqa_mc2", {"arc_easy"}, "Left out, truthfulqa_mc2"),
        ("crows_pairs", set(), "pct_stereotype"),
        ("list_0.4.0", {"pretrained__tiny_arc_easy", "pretrained__tiny_piqa"}, ""),
        ("json_2024", {"arc_easy", "piqa"}, ""),
    ],
)
def test_other_peoples_runs(case, compared, said, tmp_path, capsys):
    sides = [str(cases() / case / side) for side in ("full", "small")]
    output = tmp_path / "table.csv"
    assert main(["compare", *sides, "--output", str(output)]) == (0 if compared else 2)
    assert said in capsys.readouterr().err
    if compared:
        assert set(pd.read_csv(output)["benchmark"]) == compared
        # The accuracy shown is the one that lm-eval wrote.
        for side in sides:
            items = confidence.per_item(lm_eval_runs.scores(side)).set_index(["benchmark", "item"])
            for task, file in lm_eval_runs.files(side).items():
                if task in compared:
                    for row in read_rows(file):
                        assert items.loc[task, str(row["doc_id"])]["correct"] == (row["acc"] == 1)


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
    assert "Left out, gsm8k: Sample 1 of" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"Sample 1 of .* is not a multiple-choice item: it has 0"):
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
    with pytest.raises(InputError, match="Sample 2 of") as caught:
        lm_eval_runs.scores(file)
    assert re.search(said, str(caught.value))


def test_a_likelihood_that_is_no_number_is_refused_with_the_sample(tmp_path):
    file = write(tmp_path / "samples_x.jsonl", [sample(), sample(7, ("-inf", "-1.0"))])
    with pytest.raises(InputError, match=r"Sample 2 of .* not a finite number"):
        lm_eval_runs.scores(file)


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
    write_as("0.4.13", tmp_path / "c", [sample(3)], "y")
    write_as("0.4.13", tmp_path / "c", [sample(4)], "z")
    assert main(["compare", str(full), str(tmp_path / "c")]) == 2
    assert "only the full model's run holds it" in capsys.readouterr().err
    other = write(tmp_path / "other.jsonl", [sample(), sample(1)])
    assert main(["compare", str(full), str(other), "--output", "t.txt"]) == 2
    assert "name a .csv file" in capsys.readouterr().err
    assert main(["compare", str(full), str(other), "--label", "full"]) == 2
