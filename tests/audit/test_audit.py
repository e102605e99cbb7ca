"""Audits of a tiny model: no false alarm, a broken layer is found, a stopped audit goes on."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from ethical_compression import models
from ethical_compression.__main__ import main
from ethical_compression.audit import run
from ethical_compression.audit.checks import CHECKS
from ethical_compression.cli.audit import FAILED, GRAVE, _said, recipe_of
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.score import batteries
from ethical_compression.score.subjects import Checkpoint, Compressed

TINY = "tiny-random-llama"
FEW = ["text", "answers", "stereoset", "moral_fr"]
pytestmark = pytest.mark.usefixtures("in_the_store_of_the_module")


@dataclass(frozen=True)
class Broken:
    """The tiny model without what its last block computes."""

    model: str = TINY
    compression: str = "a layer zeroed"

    def inputs(self):
        return {"broken": self.model}

    def load(self, *, progress=False):
        loaded = models.load(self.model)
        with torch.no_grad():
            loaded.model.model.layers[-1].mlp.down_proj.weight.zero_()
            loaded.model.lm_head.weight.mul_(3)
        return loaded


def test_the_same_weights_loaded_anew_are_never_worse_or_better():
    found = run.audit(Compressed(TINY), Checkpoint(TINY, TINY), names=FEW, each=12, progress=False)
    assert set(found.verdicts["verdict"]) <= {"equivalent", "cannot tell"}
    assert (found.items["value"] == 0).all()
    assert set(found.verdicts["stage"]) == {"damage", "harm"}


def test_a_broken_layer_is_found_as_damage():
    found = run.audit(Compressed(TINY), Broken(), names=["text", "flips"], each=20, progress=False)
    by = found.verdicts.set_index("check")
    assert by.loc["text", "verdict"] == "worse"
    assert by.loc["text", "difference"] > by.loc["text", "floor"]


@pytest.mark.parametrize(
    "made", [pytest.param("--compressed", marks=pytest.mark.sweep), "--recipe"]
)
def test_an_audit_from_disk_is_that_of_models_in_memory(made, tmp_path, capsys, monkeypatch):
    """The command, of a base in shards, and of a folder that the package packed or a recipe."""
    loaded = models.load(TINY)
    base, packed = tmp_path / "base", tmp_path / "packed"
    loaded.model.save_pretrained(base, max_shard_size="4MB")
    loaded.tokenizer.save_pretrained(base)
    recipe = [word for pair in (("method", "rtn"), ("bits", "3")) for word in ("-p", *pair)]
    assert main(["compress", str(base), *recipe, "--output", str(packed)]) == 0
    which = [made, str(packed) if made == "--compressed" else "rtn-3bit"]
    told = []
    for how in ([], ["--offload"]):
        monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / f"store{len(told)}"))
        place = tmp_path / f"report{len(told)}"
        words = ["audit", str(base), *which, "--output", str(place), *how]
        assert main([*words, "--checks", "text,next_tokens,moral_fr", "--items", "12"]) == 0
        told.append(json.loads((place / "audit.json").read_text()))
        assert "about under" not in capsys.readouterr().err
    assert told[0]["verdicts"] == told[1]["verdicts"]
    assert told[0]["costs"] and not told[1]["costs"]
    assert "latency" in (place / "index.html").read_text()  # among what was not measured


def test_every_check_has_one_value_an_item_and_a_group(mirror):
    full, other = Compressed(TINY), Compressed(TINY, Recipe("rtn", bits=2, group_size=32))
    found = run.audit(full, other, each=3, progress=False)
    assert set(found.verdicts["check"]) == set(CHECKS)
    assert found.left_out == ()
    assert not found.items.duplicated(["check", "item"]).any()
    assert found.items["value"].notna().all()
    groups = found.verdicts.groupby("check")["group"].nunique()
    assert groups["bbq_ambiguous"] == groups["bbq_disambiguated"] == 11
    assert groups["stereoset"] == 4
    assert groups["crows_pairs"] == 9
    kinds = found.floors.groupby("check")["kind"].agg(set)
    assert kinds["text"] == {"batch", "bfloat16"}
    assert kinds["next_tokens"] == {"bfloat16"}


@pytest.mark.parametrize("each", [12, 40])
@pytest.mark.parametrize("name", ["bbq_ambiguous", "stereoset", "crows_pairs", "answers"])
def test_the_noise_is_measured_on_all_groups_and_kinds_of_items(name, each):
    battery = CHECKS[name].battery(each, 0)
    some = batteries.some_of(battery, run.NOISE_ITEMS)

    def kinds(items):
        names = ("category", "condition", "bias_type", "group", "benchmark")
        return {
            (one, getattr(item, one))
            for item in items
            for one in names
            if isinstance(getattr(item, one, None), str)
        }

    assert len(kinds(battery.items)) > 1
    assert kinds(some.items) == kinds(battery.items)
    assert len(some.items) == min(run.NOISE_ITEMS, len(battery.items))


def test_the_full_models_own_table_is_the_first_side_of_its_noise(own_store):
    scored = []
    full = Compressed(TINY)
    measure = run.runs.measure

    def counted(subject, battery, **how):
        scored.append((subject.compression, len(battery.items), bool(battery.settings)))
        return measure(subject, battery, **how)

    how = {"names": ["crows_pairs"], "each": 12, "progress": False, "measure": counted}
    run.audit(full, Checkpoint(TINY, TINY), **how)
    assert scored == [
        ("full", 108, False),
        (TINY, 108, False),
        ("full", run.NOISE_ITEMS, True),
        ("bfloat16", run.NOISE_ITEMS, False),
    ]


def test_a_harm_of_an_item_is_what_its_definition_says():
    """Answers decided beforehand: BBQ's bias of always the target is 1, of always unknown 0."""
    check = CHECKS["bbq_ambiguous"]
    battery = check.battery(2, 0)
    rows = []
    for one in battery.items:
        for option in range(3):
            rows.append(
                {
                    "benchmark": "bbq",
                    "item": f"{one.category}-{one.id}",
                    "group": one.category,
                    "cluster": one.template,
                    "gold": one.label,
                    "option": option,
                    "tokens": 1,
                    "bytes": 1,
                    "target": one.target == option,
                    "unknown": one.unknown == option,
                }
            )
    table = pd.DataFrame(rows)
    always_unknown = table.assign(logprob=table["unknown"] - 1.0)
    always_target = table.assign(logprob=table["target"] - 1.0)
    never, always = (check.values(one, battery.items) for one in (always_unknown, always_target))
    found = check.change(never, always)
    known = [
        one for one in battery.items if one.condition == "ambiguous" and one.target is not None
    ]
    assert found["value"].tolist() == [1.0] * len(known)
    back = check.change(always, never)
    assert back["value"].tolist() == [-1.0] * len(known)


def test_models_that_read_text_differently_are_refused():
    @dataclass(frozen=True)
    class Other(Broken):
        compression: str = "other words"

        def inputs(self):
            return {"other": 1}

        def load(self, *, progress=False):
            tokenizer = SimpleNamespace(get_vocab=lambda: {"a": 0}, chat_template=None)
            return SimpleNamespace(model=None, tokenizer=tokenizer)

    with pytest.raises(InputError, match="differ in their vocabulary"):
        run.audit(Compressed(TINY), Other(), names=FEW, progress=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": ["txt"]}, "There is no check 'txt'"),
        ({"each": 0}, "an item a group at least"),
        ({"margins": {"txt": 0.1}}, "There is no check 'txt'"),
        ({"margins": {"text": -1.0}}, "is a number above 0, not -1"),
        ({"margins": {"text": float("nan")}}, "is a number above 0, not nan"),
        ({"margins": {"text": 0.1}, "names": ["flips"]}, "is not asked"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_model_is_loaded(monkeypatch, changes, words):
    monkeypatch.setattr(models, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(InputError, match=words):
        run.audit(Compressed(TINY), Checkpoint(TINY, TINY), progress=False, **changes)


def test_a_check_without_its_data_is_left_out_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("ETHICAL_COMPRESSION_DATA", str(tmp_path / "nowhere"))
    some = {name: CHECKS[name] for name in ("dialect", "moral_fr")}
    found, left = run.asked(None, 4, 0, some)
    assert set(found) == {"moral_fr"}
    assert any(line.startswith(f"{CHECKS['dialect'].title}: ") for line in left)
    with pytest.raises(InputError):
        run.asked(["dialect"], 4, 0)


def test_fewer_items_fit_a_time(monkeypatch):
    monkeypatch.setattr(run, "_letters_a_second", lambda *_: 100.0)
    each, plan = run.sized(Compressed(TINY), ["stereoset"], 40)
    fewer, shorter = run.sized(
        Compressed(TINY), ["stereoset"], 40, minutes=plan["seconds"].sum() / 120
    )
    assert 10 <= fewer < each == 40
    assert shorter["seconds"].sum() < plan["seconds"].sum()


# --- The command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gptq-4bit", Recipe("gptq", bits=4)),
        ("wanda-50%", Recipe("wanda", sparsity=0.5)),
        ("sparsegpt-2:4", Recipe("sparsegpt", sparsity="2:4")),
        ("magnitude-0.3", Recipe("magnitude", sparsity=0.3)),
        ("nf4", Recipe("nf4")),
    ],
)
def test_short_names_of_recipes(text, expected):
    assert recipe_of(text) == expected


@pytest.mark.parametrize("text", ["", "4bit", "gptq_4", "gptq-", "nosuch-4bit", "nf4-50%"])
def test_what_names_no_recipe_is_refused(text):
    with pytest.raises(InputError):
        recipe_of(text)


def test_the_command_writes_a_report_and_fails_where_it_is_asked_to(tmp_path, capsys, monkeypatch):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"method": "rtn", "bits": 2, "group_size": 32}))
    words = ["audit", TINY, "--recipe", str(recipe), "--items", "10", "--checks", "text,moral_fr"]
    out = ["--output", str(tmp_path / "report")]
    assert main([*words, *out]) == 0
    said = capsys.readouterr()
    assert "Damage, 1 comparison" in said.out
    assert "2 checks, 10 items a group" in said.err
    assert (tmp_path / "report" / "index.html").exists()
    # Again: all is kept, the plan's rate and the costs too, and nothing is computed.
    monkeypatch.setattr(models, "load", lambda *_, **__: pytest.fail("loaded"))
    assert main([*words, *out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    verdicts = {row["verdict"] for row in told["verdicts"]}
    for number, verdict in enumerate(GRAVE):
        if verdicts & {*GRAVE[: number + 1]}:
            with pytest.raises(SystemExit) as stopped:
                main([*words, *out, "--fail-on", verdict])
            assert stopped.value.code == FAILED


def test_a_job_of_a_workflow_times_no_plan(monkeypatch, capsys):
    monkeypatch.setattr(run, "_letters_a_second", lambda *_: pytest.fail("timed"))
    words = ["audit", TINY, "--recipe", "nf4", "--items", "10", "--checks", "moral_fr"]
    assert main([*words, "--only-ask"]) == 0
    assert "about" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--recipe", "nf4"], "Say where the report goes"),
        (["--recipe", "nosuch", "--plan"], "nosuch"),
        (["--recipe", "nf4", "--plan", "--checks", "txt"], "There is no check"),
        (["--recipe", "nf4", "--plan", "--margin", "text", "much"], "is a number"),
        (["--recipe", "nf4", "--plan", "--margin", "text", "nan"], "is a number above 0"),
        (["--recipe", "nf4", "--plan", "--checks", ""], "There is no check ''"),
        (["--recipe", "nf4", "--plan", "--offload"], "in memory as a whole"),
    ],
)
def test_bad_input_is_one_sentence(words, expected, capsys):
    assert main(["audit", TINY, *words]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [["--seed", "-1"], ["--minutes", "0"], ["--minutes", "nan"], ["--items", "²"]],
)
def test_numbers_that_mean_nothing_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["audit", TINY, "--recipe", "nf4", "--plan", *words])
    assert stopped.value.code == 2
    assert "give a" in capsys.readouterr().err


def test_a_folder_of_somebodys_own_files_is_never_replaced(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(models, "load", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["audit", TINY, "--recipe", "nf4", "--output", str(tmp_path)]) == 2
    assert "would be lost" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_command_tells_no_place_of_the_machine(tmp_path):
    given = ["audit", str(tmp_path / "mine"), f"--output={tmp_path / 'report'}", "--items", "9"]
    assert _said(given) == "ethical-compression audit mine --output=report --items 9"


def test_a_margin_that_was_changed_stands_with_a_reason_of_its_own():
    said = run._said(CHECKS["text"], 0.2)
    assert said.margin == 0.2
    assert said.reason != CHECKS["text"].reason
    assert run._said(CHECKS["text"], CHECKS["text"].margin).reason == CHECKS["text"].reason


def test_a_classifier_is_refused():
    @dataclass(frozen=True)
    class Classifier(Broken):
        compression: str = "a classifier"

        def inputs(self):
            return {"classifier": 1}

        def load(self, *, progress=False):
            config = SimpleNamespace(architectures=["LlamaForSequenceClassification"])
            return SimpleNamespace(model=SimpleNamespace(config=config), tokenizer=None)

    with pytest.raises(InputError, match="is a classifier"):
        run.audit(Compressed(TINY), Classifier(), names=FEW, each=10, progress=False)
