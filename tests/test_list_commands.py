"""What the command lists: ways of compressing, and data sets."""

import json

from ethical_compression.__main__ import main


def test_recipes_are_told_with_their_settings(capsys):
    assert main(["recipes"]) == 0
    assert "gptq" in capsys.readouterr().out
    assert main(["recipes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["wanda"]["settings"]["samples"]["default"] == 16
    assert all(one["about"] for method in found.values() for one in method["settings"].values())


def test_data_are_told_with_licence_and_number(capsys):
    assert main(["data"]) == 0
    said = capsys.readouterr().out
    assert main(["data", "--json"]) == 0
    rows = {row["title"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["BBQ"]["licence"] == "CC-BY-4.0"
    assert f"{rows['BBQ']['rows']:,}" in said


def test_items_are_counted_by_group(capsys):
    assert main(["data", "--by-group", "--json"]) == 0
    rows = {row["title"]: row for row in json.loads(capsys.readouterr().out)}
    assert sum(rows["BBQ"]["groups"]["bbq"].values()) == rows["BBQ"]["rows"]
    assert set(rows["StereoSet"]["groups"]) == {"stereoset_within", "stereoset_between"}
    assert rows["CrowS-Pairs"]["groups"]["crows_pairs"]["religion"] > 100
    assert rows["UnQover"]["groups"] == {}  # made of lists of words, as many as are asked for
