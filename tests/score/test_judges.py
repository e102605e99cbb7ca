"""Texts go in, probabilities come out; what a judge fails on is a row that says so."""

import math

import numpy as np
import pytest
import torch
import transformers

from ethical_compression import kept_tables
from ethical_compression.datasets import hate_speech
from ethical_compression.errors import InputError
from ethical_compression.metrics import toxicity
from ethical_compression.metrics.bias_auc import ALL
from ethical_compression.score import judges
from ethical_compression.score.judges import Judge

HARMLESS = "the museum opened its new wing on monday"


@pytest.fixture(scope="module")
def embedded():
    return judges.load()


def simple(**changed) -> Judge:
    said = {
        "name": "length",
        "measures": "length",
        "licence": "none",
        "source": {},
        "threshold": 0.5,
        "probabilities": lambda texts: np.array([len(text) / 10 for text in texts]),
        "faults": lambda texts: ["too long" if len(text) > 20 else "" for text in texts],
    }
    return Judge(**said | changed)


def test_every_text_has_a_row_and_every_failure_a_reason():
    texts = ["abc", "", "abcdefg", None, math.nan, "  …!", "a" * 30, "a" * 12, 7, "abcde"]
    found = judges.judged(simple(), texts)
    assert len(found) == len(texts)
    assert found["fault"].tolist() == [
        "",
        "no word",
        "",
        "not a text",
        "not a text",
        "no word",
        "too long",
        "the judge gave no probability",
        "not a text",
        "",
    ]
    good = found["fault"] == ""
    assert found.loc[good, "p"].tolist() == [0.3, 0.7, 0.5]
    assert found.loc[good, "flagged"].tolist() == [0, 1, 1]
    assert found.loc[~good, ["p", "flagged"]].isna().all(axis=None)


def test_a_judge_that_gives_nan_for_a_text_fails_on_that_one():
    judge = simple(probabilities=lambda texts: np.array([math.nan, 0.2]))
    found = judges.judged(judge, ["a", "b"])
    assert found["fault"].tolist() == ["the judge gave no probability", ""]
    assert judges.judged(judge, ["", None])["fault"].tolist() == ["no word", "not a text"]


def test_the_embedded_judge_lets_plain_text_pass_and_says_what_it_is(embedded):
    found = judges.judged(embedded, [HARMLESS, "xqzt vvrk"])
    assert found["flagged"][0] == 0 and found["fault"][1] == "no word that the judge knows"
    assert embedded.name == "redditbias" and {"MIT", "CC-BY-SA-4.0"} <= set(
        embedded.licence.split(", ")
    )
    assert embedded.source["posts"][0]["citation"].startswith("Barikeri")


def test_a_threshold_decides_what_is_flagged_and_not_how_likely_it_is(embedded):
    texts = [" ".join(post.tokens) for post in hate_speech.load("redditbias", "test", limit=60)]
    usual, strict = (judges.judged(judges.load(threshold=t), texts) for t in (0.5, 0.9))
    np.testing.assert_array_equal(usual["p"], strict["p"])
    assert usual["flagged"].sum() > strict["flagged"].sum() == (usual["p"] >= 0.9).sum()


@pytest.fixture(scope="module")
def held_back(embedded):
    return judges.labelled(embedded)


def test_labelled_texts_are_those_that_were_held_back(held_back):
    table = held_back
    assert set(table["data"]) == {"redditbias", judges.PLAIN}
    posts = table[table["data"] == "redditbias"]
    assert len(posts) == len(hate_speech.load("redditbias", "test"))
    assert posts["toxic"].mean() == pytest.approx(0.573, abs=0.001)
    plain = table[table["data"] == judges.PLAIN]
    assert not plain["toxic"].any() and plain["flagged"].mean() < 0.02
    assert {kinds[0] for kinds in plain["communities"]} == {"encyclopaedia", "everyday", "news"}


def test_the_committed_error_rates_are_those_of_this_judge(held_back):
    """HateXplain's are in the committed table only, as readers may not have its posts."""
    kept, made = kept_tables.larger("judge_errors")
    assert made["command"] == "python results/judge_errors.py"
    listed = {name: entry["communities"] for name, entry in hate_speech.DATASETS.items()}
    found = toxicity.errors_by_community(held_back, listed)
    keys = ["judge", "data", "community"]
    both = found.merge(kept, on=keys, suffixes=("", "_kept"))
    assert len(both) == len(found) == 10
    for name in ("positives", "negatives", "failed", "sensitivity", "specificity", "auc", "gap"):
        # Another version of scikit-learn may move a text over the threshold.
        np.testing.assert_allclose(both[name], both[f"{name}_kept"], atol=0.005, rtol=0.005)


def test_a_judge_of_other_texts_is_worse_on_these():
    """What is measured on one kind of text says little of another: the committed table shows it."""
    kept, _ = kept_tables.larger("judge_errors")
    auc = kept[kept["community"] == ALL].set_index(["judge", "data"])["auc"]
    assert auc["redditbias", "redditbias"] > 0.8 > 0.6 > auc["redditbias", "hatexplain"]
    assert auc["hatexplain", "hatexplain"] > 0.8 > 0.6 > auc["hatexplain", "redditbias"]


def test_hatexplain_is_read_where_it_is(mirror):
    table = judges.labelled(simple(faults=lambda texts: ["" for _ in texts]), "mirror")
    posts = table[table["data"] == "hatexplain"]
    assert len(posts) == len(hate_speech.load("hatexplain", "validation", source="mirror"))


# --- Classifiers by folder ------------------------------------------------------------------------


def classifier(folder, labels, problem=None):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *HARMLESS.split()]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=1.0,
        problem_type=problem,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


TEXTS = [HARMLESS, "the new museum", "monday", "its wing opened on the new monday on the wing"]


@pytest.mark.parametrize(
    ("labels", "problem", "toxic"),
    [
        (("normal", "toxic"), None, None),
        (("hate", "normal", "offensive"), None, None),
        (("toxic", "insult", "threat"), "multi_label_classification", ["toxic", "threat"]),
    ],
)
def test_a_classifier_says_what_transformers_own_pipeline_says(tmp_path, labels, problem, toxic):
    folder = classifier(tmp_path, labels, problem)
    judge = judges.load(str(folder), toxic=toxic)
    pipe = transformers.pipeline("text-classification", str(folder), device="cpu")
    function = "sigmoid" if problem else "softmax"
    wanted = toxic or [one for one in labels if one != "normal"]
    together = max if problem else sum
    expected = [
        together(one["score"] for one in said if one["label"] in wanted)
        for said in pipe(TEXTS, top_k=None, function_to_apply=function)
    ]
    np.testing.assert_allclose(judges.judged(judge, TEXTS)["p"], expected, atol=1e-6)
    assert judge.source["labels"] == wanted


def test_what_is_longer_than_a_classifier_reads_is_said(tmp_path):
    judge = judges.load(str(classifier(tmp_path, ("normal", "toxic"))))
    found = judges.judged(judge, [HARMLESS, "museum " * 40])
    assert found["fault"].tolist() == ["", "longer than the judge's 32 tokens"]


@pytest.mark.parametrize(
    ("labels", "toxic", "said"),
    [
        (("LABEL_0", "LABEL_1"), None, "do not say which"),
        (("toxic", "hate"), None, "do not say which"),
        (("normal", "toxic"), ["rude"], "label of .* 'rude'"),
    ],
)
def test_labels_that_do_not_say_which_is_toxic_are_refused(tmp_path, labels, toxic, said):
    folder = classifier(tmp_path, labels)
    with pytest.raises(InputError, match=said):
        judges.load(str(folder), toxic=toxic)


def test_pickled_weights_are_refused(tmp_path):
    folder = classifier(tmp_path, ("normal", "toxic"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="no safetensors"):
        judges.load(str(folder))


def test_unknown_names_and_thresholds_are_refused():
    with pytest.raises(InputError, match="did you mean 'redditbias'"):
        judges.load("reditbias")
    for threshold in (0, 1, math.nan):
        with pytest.raises(InputError, match="between 0 and 1"):
            judges.load(threshold=threshold)
