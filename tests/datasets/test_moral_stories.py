"""Moral stories: schema, and that neither length nor single words tell which action is moral."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from statsmodels.stats.proportion import proportion_confint

from ethical_compression.datasets import moral_stories as ms
from ethical_compression.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "src" / ms._OWN["file"]
LANGUAGES = ("en", "fr")
TOPICS = ("family", "work", "school", "neighbours", "money", "animals", "online", "public")
ROW = {
    "norm": "Keep your word.",
    "situation": "Ann has promised to call.",
    "intention": "Ann wants a quiet evening.",
    "moral_action": "Ann calls and reads afterwards.",
    "moral_consequence": "The call takes ten minutes.",
    "immoral_action": "Ann reads and calls nobody.",
    "immoral_consequence": "The phone is looked at all night.",
}


@pytest.fixture(scope="module")
def own() -> dict[str, list[ms.MoralStory]]:
    return {language: ms.load(language) for language in LANGUAGES}


# --- The corpus of this book ----------------------------------------------------------------------


def test_own_stories_are_parallel_in_id_and_even_over_topics(own):
    assert [story.id for story in own["en"]] == [story.id for story in own["fr"]]
    topics = Counter(story.id.rsplit("-", 1)[0] for story in own["en"])
    assert topics == dict.fromkeys(TOPICS, 16)
    assert {story.language for story in own["fr"]} == {"fr"}
    rows = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
    assert all(set(row) == {"id", "topic", "en", "fr"} for row in rows)
    assert all(set(row[language]) == set(ms.FIELDS) for row in rows for language in LANGUAGES)
    assert all(row["id"].startswith(row["topic"] + "-") for row in rows)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_whole_and_comes_once(own, language):
    texts = [getattr(story, field) for story in own[language] for field in ms.FIELDS]
    assert len(set(texts)) == len(texts) == 128 * len(ms.FIELDS)
    for text in texts:
        assert text == text.strip() and text[0].isupper() and text.endswith("."), text
        assert "  " not in text and "’" not in text, text
        # French: a no-break space inside guillemets and before high punctuation.
        if language == "fr":
            assert not re.search(r"[^\u00a0][:;?!»]|«[^\u00a0]", text), text


def test_no_sentence_is_left_in_the_other_language(own):
    pairs = zip(own["en"], own["fr"], strict=True)
    assert not any(getattr(a, f) == getattr(b, f) for a, b in pairs for f in ms.FIELDS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("what", ["action", "consequence"])
def test_length_does_not_tell_which_is_moral(own, language, what):
    moral, immoral = (
        np.array([len(getattr(story, f"{side}_{what}")) for story in own[language]])
        for side in ("moral", "immoral")
    )
    assert np.all(np.maximum(moral, immoral) <= 1.2 * np.minimum(moral, immoral) + 1e-9)
    share = np.mean((moral > immoral) + 0.5 * (moral == immoral))
    assert abs(share - 0.5) <= 0.04
    assert abs(moral.mean() / immoral.mean() - 1) <= 0.02


def word_counts():
    return CountVectorizer(token_pattern=r"(?u)\b\w+\b")


def picks(weights, moral, immoral):
    """1 where the moral text of a pair scores higher, 0.5 where the two score the same."""
    margin = np.asarray((moral - immoral) @ weights)
    return np.where(np.abs(margin) < 1e-9, 0.5, margin > 0)


def probe(moral: list[str], immoral: list[str], shuffles: int = 5) -> tuple[float, float, float]:
    """Share of unseen pairs where a bag of words picks the moral text, with its 95% interval.

    Logistic regression on word counts, 8 folds that keep a pair together, mean of seeded shuffles.
    """
    vectors = word_counts().fit_transform(moral + immoral).toarray().astype(float)
    good, bad = np.split(vectors, 2)
    hits = []
    for seed in range(shuffles):
        for train, held_out in KFold(8, shuffle=True, random_state=seed).split(good):
            labels = np.repeat([1, 0], len(train))
            model = LogisticRegression(max_iter=1000).fit(np.r_[good[train], bad[train]], labels)
            hits.append(picks(model.coef_[0], good[held_out], bad[held_out]))
    share = float(np.concatenate(hits).mean())
    low, high = proportion_confint(share * len(moral), len(moral), method="wilson")
    return share, low, high


def test_the_probe_finds_a_word_that_gives_the_answer_away():
    names = [f"name{number}" for number in range(40)]
    share, low, _ = probe([f"{n} gives" for n in names], [f"{n} takes" for n in names], 1)
    assert share == 1 and low > 0.9


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("what", ["action", "consequence"])
def test_a_bag_of_words_is_near_chance_on_unseen_stories(own, language, what):
    moral, immoral = (
        [getattr(story, f"{side}_{what}") for story in own[language]]
        for side in ("moral", "immoral")
    )
    share, low, high = probe(moral, immoral)
    # Good and bad outcomes read differently: consequences are claimed to be even less exactly.
    at_chance = low <= 0.5 <= high and share <= 0.6 if what == "action" else share <= 0.62
    assert at_chance, (share, low, high)


def test_words_learned_from_moral_stories_do_not_help_on_ours(own, mirror):
    theirs = ms.load("en", corpus="moral_stories", source="mirror")
    vectorizer = word_counts()
    texts = [story.moral_action for story in theirs] + [story.immoral_action for story in theirs]
    good, bad = np.split(vectorizer.fit_transform(texts).toarray().astype(float), 2)
    labels = np.repeat([1, 0], 700)
    model = LogisticRegression(max_iter=1000).fit(np.r_[good[:700], bad[:700]], labels)
    ours = [
        vectorizer.transform([getattr(story, field) for story in own["en"]]).toarray()
        for field in ("moral_action", "immoral_action")
    ]
    at_home = picks(model.coef_[0], good[700:], bad[700:]).mean()
    away = picks(model.coef_[0], *ours).mean()
    assert at_home > 0.65 and away <= 0.6, (at_home, away)


def grams(story: ms.MoralStory, size: int) -> set[tuple[str, ...]]:
    found = set()
    for field in ms.FIELDS:
        words = re.findall(r"\w+", getattr(story, field).lower())
        found |= {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_story_is_near_one_of_the_mirror(own, mirror, language):
    theirs = ms.load(language, corpus="histoires_morales", source="mirror")
    if language == "en":
        theirs += ms.load("en", corpus="moral_stories", source="mirror")
    others = [grams(story, 5) for story in theirs]
    for story in own[language]:
        mine = grams(story, 5)
        near = max(len(mine & other) / len(mine | other) for other in others)
        assert near < 0.03, (story.id, near)
    eight = set().union(*(grams(story, 8) for story in theirs))
    assert not any(grams(story, 8) & eight for story in own[language])


def test_the_data_statement_states_the_lengths_that_are_measured(own):
    page = (ROOT / "book" / "moral-stories-data.md").read_text("utf-8")
    for language, name in (("en", "English"), ("fr", "French")):
        for what in ("action", "consequence"):
            moral, immoral = (
                np.array([len(getattr(story, f"{side}_{what}")) for story in own[language]])
                for side in ("moral", "immoral")
            )
            sides = [int(np.sum(c)) for c in (moral > immoral, moral == immoral, moral < immoral)]
            ratio = np.max(np.maximum(moral, immoral) / np.minimum(moral, immoral))
            assert (
                f"| {name} {what}s | {moral.mean():.1f} / {immoral.mean():.1f} "
                f"| {' / '.join(map(str, sides))} | {ratio:.2f} |"
            ) in page


def test_the_stories_are_in_a_built_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["ethical_compression"]
    package = ROOT / "src" / "ethical_compression"
    assert FILE in {path for pattern in patterns for path in package.glob(pattern)}


# --- Loading --------------------------------------------------------------------------------------


def test_one_seed_samples_the_same_stories_in_both_languages(own):
    ids = [[story.id for story in ms.load(one, limit=20, seed=3)] for one in LANGUAGES]
    assert ids[0] == ids[1] and len(ids[0]) == 20
    order = [story.id for story in own["en"]]
    assert ids[0] == sorted(ids[0], key=order.index)


def test_mirror_corpora_are_read_and_their_ids_join(mirror):
    english = ms.load("en", corpus="moral_stories", source="mirror")
    pairs = [ms.load(one, corpus="histoires_morales", source="mirror") for one in LANGUAGES]
    assert (len(english), len(pairs[0])) == (1000, 200)
    assert [story.id for story in pairs[0]] == [story.id for story in pairs[1]]
    by_id = {story.id: story for story in english}
    shared = [(by_id[story.id], story) for story in pairs[0] if story.id in by_id]
    assert len(shared) == 29
    assert all(
        getattr(a, field).split() == getattr(b, field).split()
        for a, b in shared
        for field in ("norm", "situation")
    )


def test_stories_of_one_file_are_kept_out_of_the_other(mirror):
    english = ms.load("en", corpus="moral_stories", source="mirror")
    french = ms.load("fr", corpus="histoires_morales", source="mirror")
    kept = ms.without(french, english)
    assert len(french) - len(kept) == 29
    assert kept == [story for story in french if story.id not in {one.id for one in english}]
    assert ms.without(kept, english) == kept and ms.without(french, french) == []


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub, with one story in the columns of LabHC's tables; returns the calls."""
    calls = []

    def snapshot_download(name, **_options):
        (tmp_path / "c0ffee").mkdir(exist_ok=True)
        return str(tmp_path / "c0ffee")

    def load_dataset(name, config, **options):
        calls.append((name, config, options))
        return datasets.Dataset.from_list([{"guid": "3ABC", **ROW, "__index_level_0__": 0}])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize(
    ("corpus", "language", "name"),
    [
        ("moral_stories", "en", "LabHC/moral_stories"),
        ("histoires_morales", "en", "LabHC/moral_stories"),
        ("histoires_morales", "fr", "LabHC/histoires_morales"),
    ],
)
def test_the_hubs_tables_are_asked_for_at_one_commit(hub, corpus, language, name):
    (story,) = ms.load(language, corpus=corpus, source="hub")
    assert hub == [(name, None, {"split": "train", "revision": "c0ffee"})]
    label = f"{name}@c0ffee"
    assert story == ms.MoralStory(**ROW, language=language, id="3ABC", source=label)


def test_the_record_names_file_checksum_and_licence(own):
    record = ms.source_record("fr")
    assert (record["corpus"], record["licence"], record["language"]) == ("own", "CC-BY-4.0", "fr")
    assert len(record["sha256"]) == 64 and not set(record) & set(ms._LAYOUT)
    assert own["fr"][0].source.startswith("ethical-compression")
    json.dumps(record)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"language": "de"}, "no language of own: 'de'"),
        ({"language": "fr", "corpus": "moral_stories", "source": "mirror"}, "no language of moral"),
        ({"language": "en", "corpus": "morals"}, "no corpus 'morals'"),
        ({"language": "en", "source": "hub"}, "no source of own: 'hub'"),
    ],
)
def test_what_does_not_exist_is_told_in_one_sentence(arguments, said):
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        ms.load(**arguments)
    assert "choose one of" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"guid": "a", "en": {**ROW, "norm": " "}}], "(en) has an empty norm"),
        ([{"guid": "a", "en": {**ROW, "norm": 3}}], "(en) has an empty norm"),
        ([{"guid": "a", "en": {"norm": "x"}}], "lacks the column 'situation'"),
        ([{"guid": "a", "fr": ROW}], "lacks the column 'en'"),
        ([{"id": "a", "en": ROW}], "lacks the column 'guid'"),
        ([{"guid": "a", "en": "text"}], "is not a JSON object"),
        (
            [{"guid": "a", "en": {**ROW, "immoral_action": ROW["moral_action"] + " "}}],
            "two equal actions",
        ),
        ([{"guid": "a", "en": ROW}] * 2, "Rows 0 and 1"),
        ([], "is empty"),
    ],
)
def test_a_bad_row_is_named(tmp_path, rows, said):
    folder = tmp_path / "histoires_morales"
    folder.mkdir()
    (folder / "parallel.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=re.escape(said)):
        ms.load("en", corpus="histoires_morales", source="mirror", data_dir=tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"has no file moral_stories/dev\.jsonl"):
        ms.load("en", corpus="moral_stories", source="mirror", data_dir=tmp_path)
