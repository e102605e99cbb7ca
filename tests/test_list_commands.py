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
