"""Audits of two classifiers of posts: the same one is never worse, a broken one is, by group."""

import json

import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

from ethical_compression.__main__ import main
from ethical_compression.audit import classifiers, kinds, report, run
from ethical_compression.datasets import hate_speech
from ethical_compression.errors import InputError
from ethical_compression.score import text_classifiers
from ethical_compression.score.text_classifiers import TextClassifier
from ethical_compression.train import classifier, encoders

NAMES = [f"redditbias_{one}" for one in ("flips", "f1", "subgroup", "bpsn", "bnsp")]
pytestmark = pytest.mark.usefixtures("in_the_store_of_the_module")
GROUPS = set(hate_speech.DATASETS["redditbias"]["communities"])


def saved(folder, labels=("unbiased", "biased"), change=lambda model: None) -> str:
    """A classifier of a tiny random encoder, made to look for one word."""
    model, tokenizer, _ = encoders.load("tiny-random-bert", labels)
    with torch.no_grad():
        model.classifier.weight.mul_(20)
        change(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def turned(model):
    model.classifier.weight.mul_(-1)
    model.classifier.bias.mul_(-1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("classifiers")
    made = {"full": {}, "same": {}, "turned": {"change": turned}, "other": {"labels": ("a", "b")}}
    return {name: saved(place / name, **how) for name, how in made.items()}


def audited(folders, other: str, names=NAMES) -> run.Audit:
    full, second = (TextClassifier(folders["full"], folders[one]) for one in ("full", other))
    how = {"names": names, "each": 400, "progress": False, "kind": kinds.classifier()}
    return run.audit(full, second, **how)


def test_the_same_classifier_is_never_worse_or_better(folders):
    found = audited(folders, "same")
    assert set(found.verdicts["verdict"]) <= {"equivalent", "cannot tell"}
    assert (found.items["value"] == 0).all()
    assert set(found.verdicts.loc[found.verdicts["stage"] == "harm", "group"]) <= GROUPS
    assert set(found.floors["kind"]) == {"batch", "bfloat16"}


def test_a_classifier_that_says_the_contrary_flips_and_its_areas_turn(folders):
    found = audited(folders, "turned").verdicts.set_index(["check", "group"])
    full = TextClassifier(folders["full"], folders["full"])
    check = kinds.classifier().checks["redditbias_subgroup"]
    battery = check.battery(400, 0)
    table = run.runs.measure(full, battery, progress=False)
    before = check.values(table, battery.items).groupby("group")["value"].mean()
    flips = found.loc[("redditbias_flips", "all posts")]
    assert flips["verdict"] == "worse" and flips["difference"] > 0.9
    for group, lost in before.items():  # an area of a score turned round is 1 − the area
        change = found.loc[("redditbias_subgroup", group), "difference"]
        assert change == pytest.approx((1 - lost) - lost, abs=1e-9)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of a classifier that learnt, on other posts, and of the same in few bits."""
    place = tmp_path_factory.mktemp("trained")
    data = classifier.data("redditbias", "embedded", train_posts=1500, test_posts=50)
    how = classifier.Training(learning_rate=1e-3, epochs=2, max_length=48)
    model, tokenizer, _ = classifier.train(classifier.Run("tiny-random-bert"), data, how)
    for name in ("full", "rounded"):
        model.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
        with torch.no_grad():
            for layer in model.bert.encoder.modules():
                if isinstance(layer, torch.nn.Linear):
                    step = layer.weight.abs().amax(1, keepdim=True) / 3
                    layer.weight.copy_((layer.weight / step).round() * step)
    return {name: str(place / name) for name in ("full", "rounded")}


def test_a_report_tells_the_level_of_each_area_and_of_f1(trained):
    found = audited(trained, "rounded")
    page = run.page(found, measured=False)
    battery = kinds.classifier().checks["redditbias_subgroup"].battery(400, 0)
    tables = [
        run.runs.measure(one, battery, progress=False) for one in (found.full, found.compressed)
    ]
    f1 = [f1_score(one["toxic"], one["score"] >= 0.5, average="macro") for one in tables]
    rows = found.verdicts.set_index(["check", "group"])
    row = rows.loc[("redditbias_f1", "all posts")]
    assert [row["full"], row["full"] - row["difference"]] == pytest.approx(f1)
    about = [post.id for post in battery.items if "jews" in post.communities]
    row = rows.loc[("redditbias_subgroup", "jews")]
    areas = [
        roc_auc_score(*one.set_index("item").loc[about, ["toxic", "score"]].T.to_numpy(float))
        for one in tables
    ]
    assert [row["full"], row["full"] - row["difference"]] == pytest.approx(areas)
    assert found.verdicts.loc[found.verdicts["check"] == "redditbias_flips", "full"].isna().all()
    html = report.page_html(page)
    assert f"macro F1 {f1[0]:.3f} → {f1[1]:.3f}" in html
    assert f"AUC {areas[0]:.3f} → {areas[1]:.3f}" in html
    assert page.known == ()  # it learnt to tell them apart


def test_posts_on_which_the_full_one_only_guesses_are_named_first(folders):
    """Areas of a classifier that does not tell these posts apart change, too, and mean nothing."""
    turned, full = (TextClassifier(folders[one], folders[one]) for one in ("turned", "full"))
    how = {"each": 100, "progress": False, "kind": kinds.classifier()}
    found = run.audit(turned, full, names=["redditbias_flips"], **how)
    page = run.page(found, measured=False)
    (said,) = page.known
    assert said in report.opening(page) and "no better than guessing" in said
    assert said in report.as_json(page)["summary"]


def test_communities_with_too_few_posts_are_named(folders):
    full = TextClassifier(folders["full"], folders["full"])
    how = {"each": 60, "progress": False, "kind": kinds.classifier()}
    found = run.audit(full, full, names=["redditbias_flips", "redditbias_bnsp"], **how)
    missing = GROUPS - set(found.verdicts["group"])
    (said,) = (one for one in run.page(found, measured=False).not_measured if "“" in one)
    assert len(missing) > 0 and all(one in said for one in missing)
    assert said.startswith("RedditBias, “let through”: ")


def test_the_command_audits_classifiers_and_the_card_names_their_task(folders, tmp_path, capsys):
    words = ["audit", folders["full"], "--compressed", folders["turned"], "--items", "100"]
    words += ["--checks", "redditbias_flips,redditbias_bpsn", "--output", str(tmp_path / "report")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert (
        "Damage, 1 comparison: 1 worse." in said.out and "2 checks, 100 items a group: " in said.err
    )
    assert "about under" not in said.err
    card = (tmp_path / "report" / "model-card.md").read_text()
    assert "text-classification" in card and "text-generation" not in card
    page = (tmp_path / "report" / "index.html").read_text()
    assert "a post of 15 words" in page and "flagged wrongly" in page
    told = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert "toxic" not in {row["group"] for row in told["verdicts"]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--compressed", "other"], "differ in their labels"),
        (["--recipe", "gptq-3bit"], "a recipe compresses causal language models"),
        (["--compressed", "same", "--toxic", "rude"], "There is no label"),
        (["--compressed", "same", "--toxic", "unbiased,biased"], "name them"),
        (["--compressed", "same", "--checks", "text"], "There is no check 'text'"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(folders, tmp_path, words, expected, capsys):
    words = [folders.get(word, word) for word in words]
    words += [] if "--checks" in words else ["--checks", NAMES[0]]
    place = ["--output", str(tmp_path / "report"), "--items", "10"]
    assert main(["audit", folders["full"], *words, *place]) == 2
    said = capsys.readouterr().err
    assert expected in said and "Traceback" not in said


def test_a_classifier_and_a_language_model_are_not_compared(folders, tmp_path, capsys):
    place = ["--output", str(tmp_path / "report")]
    tiny = ["audit", "tiny-random-llama", "--compressed"]
    assert main([*tiny, "tiny-random-llama", "--toxic", "hate", *place]) == 2
    assert "is no classifier" in capsys.readouterr().err
    assert main([*tiny, folders["full"], "--checks", "text", *place]) == 2
    assert "is a bert model" in capsys.readouterr().err


def test_labels_that_say_nothing_are_to_be_named():
    labels = {0: "LABEL_0", 1: "LABEL_1"}
    with pytest.raises(InputError, match="name them"):
        text_classifiers.toxic_labels("m", labels, None)
    assert text_classifiers.toxic_labels("m", labels, ["LABEL_1"]) == [1]


def test_a_long_post_is_cut_and_labels_that_hold_together_count_by_the_largest(folders):
    model, tokenizer, _ = text_classifiers.load(folders["full"])
    long = text_classifiers.toxic_scores(model, tokenizer, ["word " * 500, "a word"], [1])
    assert long.shape == (2,) and ((long >= 0) & (long <= 1)).all()
    model.config.problem_type = "multi_label_classification"
    several = text_classifiers.toxic_scores(model, tokenizer, ["a word"], [0, 1])[0]
    each = [text_classifiers.toxic_scores(model, tokenizer, ["a word"], [k])[0] for k in (0, 1)]
    assert several == max(each)


def test_a_head_that_is_missing_is_not_made_up(tmp_path):
    model, tokenizer, _ = encoders.load("tiny-random-bert", ("unbiased", "biased"))
    model.base_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert not text_classifiers.is_classifier(str(tmp_path))
    with pytest.raises(InputError, match="weights of a classifier"):
        text_classifiers.load(str(tmp_path))


def test_checks_of_classifiers_say_what_they_ask():
    found = classifiers.checks(None)
    assert len(found) == 10 and {one.stage for one in found.values()} == {"damage", "harm"}
    assert all(one.records()[0]["licence"] == "MIT" for one in found.values())
