"""The store: nothing half-written is trusted, nothing finished is computed twice."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from safetensors import SafetensorError

from ethical_compression import results
from ethical_compression.errors import InputError

KEPT = Path(__file__).parents[1] / "results"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def counted(values):
    calls = []

    def compute():
        calls.append(1)
        return pd.DataFrame({"x": values})

    return compute, calls


def test_a_finished_table_is_read_not_computed():
    compute, calls = counted([0.1, 0.2])
    first = results.table("t", {"a": 1}, compute)
    second = results.table("t", {"a": 1}, compute)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first, second)


def test_other_inputs_other_kind_or_other_code_are_other_results(monkeypatch):
    keys = {results.key("t", {"a": 1}), results.key("t", {"a": 2}), results.key("u", {"a": 1})}
    monkeypatch.setattr(results, "code_version", lambda module: "edited")
    assert len(keys | {results.key("t", {"a": 1})}) == 4
    assert results.key("t", {"a": 1, "b": 2}) == results.key("t", {"b": 2, "a": 1})


def test_a_result_depends_on_the_code_that_its_module_reaches_and_on_no_other():
    root = Path(results.__file__).parent
    name = "ethical_compression.score.confidence"
    reached = results._reached("ethical_compression.score.evaluate", root)
    # Directly, through another module, and within a function.
    for part in ("score/loglikelihood.py", "kernels/blocks_torch.py", "models.py"):
        assert root / part in reached
    assert root / "compress/gptq.py" not in results._reached(name, root)
    assert results.code_version(name) != results.code_version()
    assert results.code_version("__main__") == results.code_version()


def test_a_damaged_table_is_made_again(store, capsys):
    compute, calls = counted([1, 2, 3])
    results.table("t", {}, compute)
    (path,) = (store / "tables").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-7])
    assert results.table("t", {}, compute)["x"].tolist() == [1, 2, 3]
    assert len(calls) == 2
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("note", ["", '{"kind": "t", "sec', "[]", "{}", "\0", "null", "seconds"])
def test_a_table_whose_note_was_cut_short_is_made_again(store, capsys, note):
    compute, calls = counted([1, 2, 3])
    results.table("t", {}, compute)
    (path,) = (store / "tables").glob("*.json")
    if note == "seconds":  # one digit of it
        note = path.read_text().replace('"seconds": 0', '"seconds": 7')
    path.write_text(note)
    assert results.table("t", {}, compute)["x"].tolist() == [1, 2, 3]
    assert "damaged" in capsys.readouterr().err
    results.table("t", {}, compute)
    assert len(calls) == 2


def test_a_store_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "file" / "cache"))
    compute, calls = counted([1])
    with pytest.raises(InputError, match="point ETHICAL_COMPRESSION_CACHE at a folder that can"):
        results.table("t", {}, compute)
    assert calls == []


def test_a_table_without_its_note_was_never_finished(store):
    compute, calls = counted([1])
    results.table("t", {}, compute)
    (note,) = (store / "tables").glob("*.json")
    assert json.loads(note.read_text())["kind"] == "t"
    note.unlink()
    results.table("t", {}, compute)
    assert len(calls) == 2


def test_killed_while_writing_leaves_nothing_to_be_trusted(store):
    code = (
        "import os, pandas as pd\n"
        "from ethical_compression import results\n"
        "class Dying(pd.DataFrame):\n"
        "    def to_parquet(self, path, **_):\n"
        "        open(path, 'wb').write(b'half'); os.kill(os.getpid(), 9)\n"
        "results.table('t', {}, lambda: Dying({'x': [1]}))\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not list(store.rglob("*.parquet"))
    compute, calls = counted([5])
    assert results.table("t", {}, compute)["x"].tolist() == [5]
    assert calls


def test_what_raises_leaves_the_old_version(tmp_path):
    target = tmp_path / "folder"
    with results.whole_or_nothing(target, folder=True) as place:
        (place / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), results.whole_or_nothing(target, folder=True) as place:
        (place / "a").write_text("new")
        1 / 0  # noqa: B018
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["folder"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written")]
)
def test_a_full_or_closed_disk_is_one_sentence(tmp_path, code, words):
    with pytest.raises(InputError, match=words), results.whole_or_nothing(tmp_path / "x"):
        raise OSError(code, "no")


def test_a_full_disk_is_blamed_on_the_folder_that_was_written_to(tmp_path, monkeypatch):
    elsewhere = tmp_path / "hub" / "blobs" / "x"

    def says(error):
        with pytest.raises(InputError) as caught, results.whole_or_nothing(tmp_path / "x" / "y"):
            raise error
        return str(caught.value)

    assert f"full at {tmp_path / 'x'}:" in says(OSError(errno.ENOSPC, "no"))
    assert f"full at {elsewhere.parent}:" in says(OSError(errno.ENOSPC, "no", str(elsewhere)))
    assert f"{elsewhere} cannot" in says(OSError(errno.EROFS, "read-only", str(elsewhere)))
    other = SafetensorError("IoError: No space left on device (os error 28)")
    assert f"full at {tmp_path / 'x'}:" in says(other)
    # What may not be read elsewhere is no fault of the place.
    with pytest.raises(PermissionError), results.whole_or_nothing(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "denied", str(elsewhere))
    with pytest.raises(SafetensorError), results.whole_or_nothing(tmp_path / "x"):
        raise SafetensorError("header too large")
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    match = rf"full at {tmp_path / 'cache'}: .*_CACHE"
    with pytest.raises(InputError, match=match), results.scratch_folder():
        raise OSError(errno.ENOSPC, "no")
    assert not list((tmp_path / "cache").iterdir())


def test_a_source_that_is_missing_is_an_error_and_no_gap_in_the_key(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SCIENCE", ("models.py", "debias"))
    results.code_version.cache_clear()
    with pytest.raises(InputError, match=r"debias is missing from .*install the package again"):
        results.code_version()
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"no source of ethical_compression\.gone"):
        results.code_version("ethical_compression.gone")


def test_a_place_is_tried_and_nothing_is_left_of_it(tmp_path):
    results.check_place(tmp_path / "new" / "deep" / "x.csv")
    results.check_place(tmp_path / "new", folder=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("kept")
    results.check_place(tmp_path / "file")
    for place, folder in (
        (tmp_path, False),
        (tmp_path / "file", True),
        (tmp_path / "file/x", False),
    ):
        with pytest.raises(InputError, match=r"cannot be written .*: name another place\.$"):
            results.check_place(place, folder=folder)
    with pytest.raises(InputError, match="cannot be written"):
        results.check_place(tmp_path / ("x" * 300))
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(InputError, match="cannot be written"):
        results.write_json(tmp_path / "file" / "x.json", 1)


def test_provenance_says_what_ran_where():
    found = results.provenance()
    assert found["packages"]["torch"]
    assert found["hardware"]["cores"] >= 1
    json.dumps(found)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git checkout where `results` writes and looks; returns what commits all that is there."""
    place = tmp_path / "src" / "ethical_compression"
    place.mkdir(parents=True)
    (place / "results.py").write_text("")
    (tmp_path / ".gitignore").write_text("cache\n")
    monkeypatch.setattr(results, "__file__", str(place / "results.py"))
    monkeypatch.setattr(results, "code_version", lambda: "some code")

    def commit():
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
            subprocess.run([*git, *words], check=True)
        return tmp_path

    commit()
    return commit


def test_a_larger_run_made_again_is_no_change_and_what_was_changed_is_named(repository, capsys):
    frame = pd.DataFrame({"x": [1.5]})
    results.keep_larger("shares", frame)
    root = repository()
    for again in (2.5, 3.5):  # the files of a run before, committed and not
        results.keep_larger("shares", frame + again)
    _, made = results.larger("shares")
    assert "(modified)" not in made["commit"] and "modified" not in made
    assert capsys.readouterr().err == ""
    (root / "src" / "ethical_compression" / "results.py").write_text("changed")
    results.keep_larger("shares", frame)
    _, made = results.larger("shares")
    assert made["commit"].endswith(" (modified)")
    assert made["modified"] == ["src/ethical_compression/results.py"]
    assert "results.py): commit them and run this again" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_run_says_what_differed_from_its_commit(path):
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made["commit"].endswith(" (modified)") == bool(made.get("modified"))


def test_a_larger_run_is_read_with_its_provenance_or_not_at_all(repository, tmp_path):
    frame = pd.DataFrame({"x": [1.5, 2.5]})
    results.keep_larger("shares", frame, command="python results/shares.py")
    read, made = results.larger("shares")
    pd.testing.assert_frame_equal(read, frame)
    assert made["command"] == "python results/shares.py" and made["packages"]["torch"]
    note = tmp_path / "results" / "shares.json"
    whole = note.read_text()
    note.write_text(whole[:40])
    with pytest.raises(InputError, match=r"not the table that its \.json speaks of"):
        results.larger("shares")
    note.write_text(whole)
    pd.DataFrame({"x": [9.0]}).to_parquet(tmp_path / "results" / "shares.parquet")
    with pytest.raises(InputError, match=r"not the table that its \.json speaks of"):
        results.larger("shares")
    with pytest.raises(InputError, match=r"results/nothing\.parquet or its \.json is missing"):
        results.larger("nothing")
