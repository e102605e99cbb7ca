"""The store: nothing half-written is trusted, nothing finished is computed twice."""

import errno
import json
import subprocess
import sys

import pandas as pd
import pytest
from safetensors import SafetensorError

from ethical_compression import provenance, store
from ethical_compression.errors import InputError


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
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
    first = store.table("t", {"a": 1}, compute)
    second = store.table("t", {"a": 1}, compute)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first, second)


def test_other_inputs_other_kind_or_other_code_are_other_results(monkeypatch):
    keys = {store.key("t", {"a": 1}), store.key("t", {"a": 2}), store.key("u", {"a": 1})}
    monkeypatch.setattr(provenance, "code_version", lambda module: "edited")
    assert len(keys | {store.key("t", {"a": 1})}) == 4
    assert store.key("t", {"a": 1, "b": 2}) == store.key("t", {"b": 2, "a": 1})


def test_a_damaged_table_is_made_again(kept, capsys):
    compute, calls = counted([1, 2, 3])
    store.table("t", {}, compute)
    (path,) = (kept / "tables").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-7])
    assert store.table("t", {}, compute)["x"].tolist() == [1, 2, 3]
    assert len(calls) == 2
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("note", ["", '{"kind": "t", "sec', "[]", "{}", "\0", "null", "seconds"])
def test_a_table_whose_note_was_cut_short_is_made_again(kept, capsys, note):
    compute, calls = counted([1, 2, 3])
    store.table("t", {}, compute)
    (path,) = (kept / "tables").glob("*.json")
    if note == "seconds":  # one digit of it
        note = path.read_text().replace('"seconds": 0', '"seconds": 7')
    path.write_text(note)
    assert store.table("t", {}, compute)["x"].tolist() == [1, 2, 3]
    assert "damaged" in capsys.readouterr().err
    store.table("t", {}, compute)
    assert len(calls) == 2


def test_a_store_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "file" / "cache"))
    compute, calls = counted([1])
    with pytest.raises(InputError, match="point ETHICAL_COMPRESSION_CACHE at a folder that can"):
        store.table("t", {}, compute)
    assert calls == []


def test_a_table_without_its_note_was_never_finished(kept):
    compute, calls = counted([1])
    store.table("t", {}, compute)
    (note,) = (kept / "tables").glob("*.json")
    assert json.loads(note.read_text())["kind"] == "t"
    note.unlink()
    store.table("t", {}, compute)
    assert len(calls) == 2


def test_killed_while_writing_leaves_nothing_to_be_trusted(kept):
    code = (
        "import os, pandas as pd\n"
        "from ethical_compression import store\n"
        "class Dying(pd.DataFrame):\n"
        "    def to_parquet(self, path, **_):\n"
        "        open(path, 'wb').write(b'half'); os.kill(os.getpid(), 9)\n"
        "store.table('t', {}, lambda: Dying({'x': [1]}))\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not list(kept.rglob("*.parquet"))
    compute, calls = counted([5])
    assert store.table("t", {}, compute)["x"].tolist() == [5]
    assert calls


def test_what_raises_leaves_the_old_version(tmp_path):
    target = tmp_path / "folder"
    with store.whole_or_nothing(target, folder=True) as place:
        (place / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), store.whole_or_nothing(target, folder=True) as place:
        (place / "a").write_text("new")
        1 / 0  # noqa: B018
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["folder"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written")]
)
def test_a_full_or_closed_disk_is_one_sentence(tmp_path, code, words):
    with pytest.raises(InputError, match=words), store.whole_or_nothing(tmp_path / "x"):
        raise OSError(code, "no")


def test_a_full_disk_is_blamed_on_the_folder_that_was_written_to(tmp_path, monkeypatch):
    elsewhere = tmp_path / "hub" / "blobs" / "x"

    def says(error):
        with pytest.raises(InputError) as caught, store.whole_or_nothing(tmp_path / "x" / "y"):
            raise error
        return str(caught.value)

    assert f"full at {tmp_path / 'x'}:" in says(OSError(errno.ENOSPC, "no"))
    assert f"full at {elsewhere.parent}:" in says(OSError(errno.ENOSPC, "no", str(elsewhere)))
    assert f"{elsewhere} cannot" in says(OSError(errno.EROFS, "read-only", str(elsewhere)))
    other = SafetensorError("IoError: No space left on device (os error 28)")
    assert f"full at {tmp_path / 'x'}:" in says(other)
    # What may not be read elsewhere is no fault of the place.
    with pytest.raises(PermissionError), store.whole_or_nothing(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "denied", str(elsewhere))
    with pytest.raises(SafetensorError), store.whole_or_nothing(tmp_path / "x"):
        raise SafetensorError("header too large")
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    match = rf"full at {tmp_path / 'cache'}: .*_CACHE"
    with pytest.raises(InputError, match=match), store.scratch_folder():
        raise OSError(errno.ENOSPC, "no")
    assert not list((tmp_path / "cache").iterdir())


def test_a_place_is_tried_and_nothing_is_left_of_it(tmp_path):
    store.check_place(tmp_path / "new" / "deep" / "x.csv")
    store.check_place(tmp_path / "new", folder=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("kept")
    store.check_place(tmp_path / "file")
    for place, folder in (
        (tmp_path, False),
        (tmp_path / "file", True),
        (tmp_path / "file/x", False),
    ):
        with pytest.raises(InputError, match=r"cannot be written .*: name another place\.$"):
            store.check_place(place, folder=folder)
    with pytest.raises(InputError, match="cannot be written"):
        store.check_place(tmp_path / ("x" * 300))
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(InputError, match="cannot be written"):
        store.write_json(tmp_path / "file" / "x.json", 1)
