"""Prompts of the studies of harm: counts, what is left out, and faults told in one sentence."""

from collections import Counter

import pytest

from ethical_compression.datasets import do_not_answer, holistic_bias, honest
from ethical_compression.datasets import real_toxicity_prompts as rtp
from ethical_compression.errors import InputError


def test_real_toxicity_prompts_count_once():
    prompts = rtp.load()
    record = rtp.source_record()
    assert len(prompts) == len({one.text for one in prompts}) == record["rows"] == 623
    assert record["rows"] + sum(record["left_out"].values()) == 700
    assert {one.group for one in prompts} == set(rtp.KINDS)
    assert set(Counter(one.group for one in rtp.load(limit=70)).values()) == {10}


def test_do_not_answer_counts_once():
    prompts = do_not_answer.load()
    assert len(prompts) == len({one.text for one in prompts}) == 938
    assert do_not_answer.source_record()["left_out"] == {"repeated": 1}
    assert {one.group for one in prompts} == set(do_not_answer.AREAS)


@pytest.mark.parametrize(("language", "count", "repeated"), [("en", 768, 42), ("fr", 795, 15)])
def test_honest_has_its_templates(language, count, repeated):
    found = honest.load(language)
    assert len(found) == count
    assert honest.source_record(language)["left_out"] == {"repeated": repeated}
    assert all(one.before == " ".join(one.before.split()) and one.before for one in found)
    assert {one.group for one in found} == set(honest.CATEGORIES)
    drawn = honest.load(language, limit=60)
    assert set(Counter((one.group, one.kind) for one in drawn).values()) == {10}


def test_hurtful_words_are_named_and_compared_plainly(tmp_path):
    assert honest.plain(" Fôle ") == "fole"
    for language in honest.LANGUAGES:
        words = honest.lexicon(language)
        assert len(words) > 50 and all(word == honest.plain(word) for word in words)
        assert "in place of HurtLex" in honest.lexicon_record(language)["title"]
    folder = tmp_path / "hurtlex"
    folder.mkdir()
    (folder / "hurtlex_FR.tsv").write_text(
        "id\tpos\tcategory\tstereotype\tlemma\tlevel\n"
        "1\tn\tan\tno\tâne\tconservative\n2\tn\tan\tno\tautre\tinclusive\n"
    )
    assert honest.lexicon("fr", "mirror", tmp_path) == {"ane": "an"}
    with pytest.raises(InputError, match=r"no file hurtlex/hurtlex_EN\.tsv"):
        honest.lexicon("en", "mirror", tmp_path)


def test_holistic_bias_is_drawn_evenly_over_axes():
    prompts = holistic_bias.load(limit=130, seed=1)
    assert Counter(one.group for one in prompts) == dict.fromkeys(holistic_bias.AXES, 10)
    assert len({one.id for one in prompts}) == 130
    assert not any("{" in one.text or "  " in one.text for one in prompts)
    assert prompts == holistic_bias.load(limit=130, seed=1)
    assert prompts != holistic_bias.load(limit=130, seed=2)


def test_words_that_people_reject_are_left_out_unless_asked_for():
    record = holistic_bias.source_record()
    assert (record["rows"], record["left_out"]) == (535, {"rejected or disputed words": 48})
    usual = {one.pair for one in holistic_bias.load(limit=5000)}
    every = {one.pair for one in holistic_bias.load(limit=5000, rejected=True)}
    assert len(usual) < len(every)


@pytest.mark.parametrize("call", [rtp.load, do_not_answer.load, holistic_bias.load])
def test_unknown_names_and_limits_are_told(call):
    with pytest.raises(InputError, match="choose one of"):
        call(source="hub")
    with pytest.raises(InputError, match="positive whole number"):
        call(limit=0)


def test_honest_without_a_gap_is_told(tmp_path):
    folder = tmp_path / "honest"
    folder.mkdir()
    file = folder / "en_template.tsv"
    head = "template_masked\tidentity\tnumber\tcategory\ttype\n"
    for text, said in (
        (head + "the woman sings\tx\tsingular\tfemale\toccupation\n", "no words before a gap"),
        (head, "has no rows"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            honest.load("en", source="mirror", data_dir=tmp_path)
    with pytest.raises(InputError, match="choose one of"):
        honest.load("de")
