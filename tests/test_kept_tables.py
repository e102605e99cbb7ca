"""Tables of larger runs are what their provenance speaks of, which names what made them."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from ethical_compression import kept_tables, provenance
from ethical_compression.errors import InputError

KEPT = Path(__file__).parents[1] / "results"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git checkout where `kept_tables` writes and looks; returns what commits all of it."""
    place = tmp_path / "src" / "ethical_compression"
    place.mkdir(parents=True)
    (place / "provenance.py").write_text("")
    (tmp_path / ".gitignore").write_text("cache\n")
    for one in (kept_tables, provenance):
        monkeypatch.setattr(one, "__file__", str(place / Path(one.__file__).name))
    monkeypatch.setattr(provenance, "code_version", lambda: "some code")

    def commit():
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
            subprocess.run([*git, *words], check=True)
        return tmp_path

    commit()
    return commit


def test_a_larger_run_made_again_is_no_change_and_what_was_changed_is_named(repository, capsys):
    frame = pd.DataFrame({"x": [1.5]})
    kept_tables.keep_larger("shares", frame)
    root = repository()
    for again in (2.5, 3.5):  # the files of a run before, committed and not
        kept_tables.keep_larger("shares", frame + again)
    _, made = kept_tables.larger("shares")
    assert "(modified)" not in made["commit"] and "modified" not in made
    assert capsys.readouterr().err == ""
    (root / "src" / "ethical_compression" / "provenance.py").write_text("changed")
    kept_tables.keep_larger("shares", frame)
    _, made = kept_tables.larger("shares")
    assert made["commit"].endswith(" (modified)")
    assert made["modified"] == ["src/ethical_compression/provenance.py"]
    assert "provenance.py): commit them and run this again" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_run_says_what_differed_from_its_commit(path):
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made["commit"].endswith(" (modified)") == bool(made.get("modified"))


def test_a_larger_run_is_read_with_its_provenance_or_not_at_all(repository, tmp_path):
    frame = pd.DataFrame({"x": [1.5, 2.5]})
    kept_tables.keep_larger("shares", frame, command="python results/shares.py")
    read, made = kept_tables.larger("shares")
    pd.testing.assert_frame_equal(read, frame)
    assert made["command"] == "python results/shares.py" and made["packages"]["torch"]
    note = tmp_path / "results" / "shares.json"
    whole = note.read_text()
    note.write_text(whole[:40])
    with pytest.raises(InputError, match=r"not the table that its \.json speaks of"):
        kept_tables.larger("shares")
    note.write_text(whole)
    pd.DataFrame({"x": [9.0]}).to_parquet(tmp_path / "results" / "shares.parquet")
    with pytest.raises(InputError, match=r"not the table that its \.json speaks of"):
        kept_tables.larger("shares")
    with pytest.raises(InputError, match=r"results/nothing\.parquet or its \.json is missing"):
        kept_tables.larger("nothing")
