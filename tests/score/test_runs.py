"""One runner: a subject and a battery of one file are loaded, kept, resumed and told apart."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_loglikelihood import tiny_tokenizer
from tiny_models import tiny_model

from ethical_compression import models, store
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import multiple_choice, text
from ethical_compression.errors import InputError
from ethical_compression.score import loglikelihood, runs
from ethical_compression.score.runs import Battery, grid, measure
from ethical_compression.score.subjects import Checkpoint, Compressed

# --- A subject and a battery that nothing else has heard of ---------------------------------------


@dataclass(frozen=True)
class Toy:
    """A "model" that is a number."""

    model: str
    compression: str
    weight: int

    def inputs(self):
        return {"model": self.model, "weight": self.weight}

    def load(self, *, progress=False):
        loads.append(self)
        return SimpleNamespace(model=self.weight, tokenizer=len)


@dataclass(frozen=True)
class Word:
    id: str
    text: str


loads: list[Toy] = []
scored: list[str] = []


def lengths(model, tokenizer, items, *, progress, times=1):
    scored.extend(item.id for item in items)
    value = [model * times * tokenizer(item.text) for item in items]
    return pd.DataFrame({"item": [item.id for item in items], "value": value})


def gaps(full, model, tokenizer, items, *, progress):
    assert model != full
    value = [(model - full) * tokenizer(item.text) for item in items]
    return pd.DataFrame({"item": [item.id for item in items], "value": value})


WORDS = [Word(f"w{k}", "a" * (k + 1)) for k in range(7)]
FULL, HALF = Toy("toy", "full", 2), Toy("toy", "half", 1)


def battery(items=WORDS, **changes):
    return Battery("lengths", items, lengths, **({"part": 3} | changes))


@pytest.fixture(autouse=True)
def nothing_yet(own_store):
    loads.clear()
    scored.clear()


# --- One table ------------------------------------------------------------------------------------


def test_a_table_names_the_base_model_and_what_was_done_to_it():
    table = measure(HALF, battery(settings={"times": 10}), progress=False)
    assert table.columns.tolist() == ["model", "compression", "item", "value"]
    assert set(table["model"]) == {"toy"} and set(table["compression"]) == {"half"}
    assert table["value"].tolist() == [10 * (k + 1) for k in range(7)]
    assert table["item"].tolist() == [word.id for word in WORDS] == scored
    assert loads == [HALF]


def test_what_is_kept_is_read_without_a_model():
    table = measure(HALF, battery(), progress=False)
    loads.clear()
    again = measure(HALF, battery(), progress=False)
    pd.testing.assert_frame_equal(again, table)
    assert not loads and len(scored) == len(WORDS)


def test_stopped_in_the_middle_it_goes_on_there(monkeypatch):
    def stopping(model, tokenizer, items, **options):
        if items[0].id == "w3":
            raise KeyboardInterrupt
        return lengths(model, tokenizer, items, **options)

    with pytest.raises(KeyboardInterrupt):
        measure(HALF, Battery("lengths", WORDS, stopping, part=3), progress=False)
    assert scored == ["w0", "w1", "w2"]
    resumed = measure(HALF, battery(), progress=False)
    assert scored == [word.id for word in WORDS]
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(store.cache_dir() / "undisturbed"))
    pd.testing.assert_frame_equal(resumed, measure(HALF, battery(), progress=False))


def test_a_damaged_part_is_made_again_and_no_other(capsys):
    table = measure(HALF, battery(), progress=False)
    (part,) = [
        path
        for path in (store.cache_dir() / "tables").glob("*.parquet")
        if "w4" in pd.read_parquet(path)["item"].tolist()
    ]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    scored.clear()
    pd.testing.assert_frame_equal(measure(HALF, battery(), progress=False), table)
    assert scored == ["w3", "w4", "w5"]
    assert "is damaged; it is made again" in capsys.readouterr().err


@given(order=st.permutations(range(7)), part=st.sampled_from([1, 2, 3, 7, None]))
def test_neither_order_nor_parts_change_what_an_item_is_given(order, part):
    table = measure(HALF, battery([WORDS[k] for k in order], part=part), progress=False)
    assert table["item"].tolist() == [f"w{k}" for k in order]
    assert table["value"].tolist() == [k + 1 for k in order]


def test_all_that_decides_a_number_makes_a_key_of_its_own():
    measure(HALF, battery(), progress=False)
    other = [
        (Toy("another", "half", 1), battery()),
        (Toy("toy", "half", 3), battery()),
        (HALF, battery(settings={"times": 2})),
        (HALF, battery([Word(word.id, word.text + "!") for word in WORDS])),
        (HALF, Battery("others", WORDS, lengths, part=3)),
    ]
    for subject, asked in other:
        scored.clear()
        measure(subject, asked, progress=False)
        assert len(scored) == len(WORDS)
    scored.clear()
    # What it is called is no input: a new label reads what is kept.
    assert set(measure(Toy("toy", "½", 1), battery(), progress=False)["compression"]) == {"½"}
    assert not scored


# --- A grid ---------------------------------------------------------------------------------------


def test_a_grid_holds_one_subject_at_a_time_and_the_full_one_beside_it(monkeypatch):
    held = []
    load = Toy.load

    def watched(self, **options):
        held.append([one.compression for one, _ in memories[0].held])
        return load(self, **options)

    memories = []
    make = runs.Memory.__init__
    monkeypatch.setattr(
        runs.Memory, "__init__", lambda self, *kept: (memories.append(self), make(self, *kept))[0]
    )
    monkeypatch.setattr(Toy, "load", watched)
    compressed = [Toy("toy", f"by {k}", k) for k in (3, 4)]
    asked = [battery(WORDS[:3]), Battery("gaps", WORDS, gaps, paired=True), battery(WORDS[3:])]
    tables = grid([FULL, *compressed], asked, full=FULL, progress=False)
    assert loads == [FULL, *compressed]
    assert held == [[], ["full"], ["full"]]
    assert tables["lengths"].groupby("compression", sort=False).size().to_dict() == {
        "full": 7,
        "by 3": 7,
        "by 4": 7,
    }
    # Nothing is compared with itself.
    assert tables["gaps"]["compression"].unique().tolist() == ["by 3", "by 4"]
    assert tables["gaps"].query("compression == 'by 4'")["value"].tolist() == [
        2 * (k + 1) for k in range(7)
    ]
    loads.clear()
    again = grid([FULL, *compressed], asked, full=FULL, progress=False)
    assert not loads and all(again[name].equals(table) for name, table in tables.items())


def test_without_a_paired_battery_the_full_model_is_not_kept_either(monkeypatch):
    memory = runs.Memory()
    for subject in (FULL, HALF, HALF, FULL):
        memory(subject)
        assert [one for one, _ in memory.held] == [subject]
    assert loads == [FULL, HALF, FULL]


def test_two_base_models_under_one_compression_stay_apart():
    subjects = [Toy("small", "half", 1), Toy("large", "half", 5)]
    table = grid(subjects, [battery()], progress=False)["lengths"]
    means = table.groupby(["model", "compression"])["value"].mean()
    assert means.to_dict() == {("small", "half"): 4, ("large", "half"): 20}


def test_what_a_table_could_not_tell_apart_or_ask_is_refused():
    with pytest.raises(InputError, match="called 'half' of toy, and would be averaged together"):
        grid([HALF, Toy("toy", "half", 3)], [battery()], progress=False)
    with pytest.raises(InputError, match="nothing to ask in lengths"):
        battery([])
    with pytest.raises(InputError, match="say which the full one is"):
        measure(HALF, Battery("gaps", WORDS, gaps, paired=True), progress=False)
    with pytest.raises(TypeError, match="cannot be told by its content"):
        measure(HALF, battery([object()]), progress=False)
    assert not loads


# --- Subjects of real models ----------------------------------------------------------------------


def test_a_model_under_a_recipe_is_told_by_its_weights_its_recipe_and_where_it_runs(monkeypatch):
    one = Compressed("tiny-random-llama", Recipe("rtn", bits=4))
    assert (one.model, one.compression) == ("tiny-random-llama", "RTN 4-bit")
    others = [
        Compressed("tiny-random-llama"),
        Compressed("tiny-random-llama", Recipe("rtn", bits=3)),
        Compressed("tiny-random-llama", one.recipe, dtype="float16"),
        Compressed("tiny-random-llama", one.recipe, device="cuda"),
    ]
    keys = {runs.fingerprint(subject.inputs()) for subject in [one, *others]}
    assert len(keys) == 5
    named = Compressed("tiny-random-llama", one.recipe, label="seed 1")
    assert named.compression == "seed 1" and named.inputs() == one.inputs()
    monkeypatch.setattr(models, "describe", lambda name: {"fingerprint": name})
    elsewhere = Compressed("another", one.recipe)
    assert elsewhere.inputs() != Compressed("tiny-random-llama", one.recipe).inputs()


def test_a_folder_is_a_subject_of_its_base_model(tmp_path):
    folder = tmp_path / "someones-4bit"
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer("bytes").save_pretrained(folder)
    subject = Checkpoint("tiny-random-llama", str(folder))
    assert (subject.model, subject.compression) == ("tiny-random-llama", "someones-4bit")
    before = subject.inputs()
    ids = subject.load().tokenizer("a cat")["input_ids"]
    assert subject.load().model.get_input_embeddings().num_embeddings > max(ids)
    tiny_model("llama", seed=1).save_pretrained(folder)
    assert subject.inputs() != before


# --- Benchmarks and text --------------------------------------------------------------------------

HERE = Path(__file__).parent
RECIPE = Recipe("gptq", bits=3, group_size=16, samples=2, length=48)


def run():
    questions = {name: multiple_choice.load(name, limit=5) for name in ("piqa", "openbookqa")}
    documents = text.load("xsum", "held_out")[:20]
    asked = loglikelihood.batteries(questions, documents, window=32, max_windows=3)
    return grid([Compressed("tiny-random-llama", RECIPE)], asked, progress=False)


@pytest.fixture
def fresh_store(tmp_path, monkeypatch, empty_store):
    """Puts another store in the place of what is kept so far."""

    def make(name):
        monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(empty_store(tmp_path / name)))

    return make


def test_two_runs_with_one_seed_give_identical_tables(fresh_store):
    first = run()
    fresh_store("second")
    for name, other in run().items():
        pd.testing.assert_frame_equal(first[name], other, check_exact=True)
    assert set(first["scores"]["compression"]) == {"GPTQ 3-bit"}
    assert len(first["scores"]) == 5 * 2 + 5 * 4
    assert first["windows"]["tokens"].tolist() == [31, 31, 31]


def test_killed_while_scoring_then_started_again_scores_only_what_is_missing(
    fresh_store, monkeypatch
):
    killed = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path[:0] = {[str(HERE), str(HERE.parent)]!r}
        from ethical_compression.score import loglikelihood
        loglikelihoods = loglikelihood.loglikelihoods
        def dying(model, tokenizer, requests, **options):
            if len(requests) == 4 * 5:  # those of openbookqa
                os.kill(os.getpid(), signal.SIGKILL)
            return loglikelihoods(model, tokenizer, requests, **options)
        loglikelihood.loglikelihoods = dying
        import test_runs
        test_runs.run()
        """
    )
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -signal.SIGKILL
    asked = []
    loglikelihoods = loglikelihood.loglikelihoods

    def watched(model, tokenizer, requests, **options):
        asked.append(len(requests))
        return loglikelihoods(model, tokenizer, requests, **options)

    monkeypatch.setattr(loglikelihood, "loglikelihoods", watched)
    resumed = run()
    assert asked == [4 * 5]
    fresh_store("undisturbed")
    pd.testing.assert_frame_equal(resumed["scores"], run()["scores"], check_exact=True)
