"""Audits that are stopped, find their store damaged, or are split into jobs: one report."""

import errno
import os
import random
import shutil
import signal
import traceback

import pandas as pd
import pytest
import torch

from ethical_compression.__main__ import main
from ethical_compression.audit import report, run
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.score.subjects import Compressed

FULL = Compressed("tiny-random-llama")
OTHER = Compressed("tiny-random-llama", Recipe("rtn", bits=2, group_size=32))
NAMES = ["answers", "stereoset", "moral_fr"]


def audited(names=NAMES) -> run.Audit:
    return run.audit(FULL, OTHER, names=names, each=10, progress=False)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A process that is forked has none of the threads of the one that it comes from."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(one_thread, store_of_the_module):
    """An audit that nobody stopped, and its store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETHICAL_COMPRESSION_CACHE", str(store_of_the_module))
        return audited(), store_of_the_module


@pytest.fixture
def cache(own_store, request):
    # What waits to be printed is a forked process's too, and would be printed twice.
    request.config.get_terminal_writer().flush()
    return own_store


def same(one: run.Audit, other: run.Audit) -> None:
    pd.testing.assert_frame_equal(one.verdicts, other.verdicts, check_exact=True)
    pd.testing.assert_frame_equal(one.items, other.items, check_exact=True)
    pd.testing.assert_frame_equal(one.floors, other.floors, check_exact=True)
    first, second = (report.as_json(run.page(found, measured=False)) for found in (one, other))
    for said in (first, second):
        for name in ("date", "seconds of scoring"):
            said["provenance"].pop(name)
    assert first == second


@pytest.mark.sweep
def test_an_audit_that_is_stopped_while_it_writes_leaves_nothing_that_is_trusted(
    whole, cache, monkeypatch
):
    """An interrupt in place of the n-th file's last step, whichever file that is."""
    replace, stopped = os.replace, 0
    for number in random.Random(1).sample(range(18), 3):
        calls = iter(range(1000))

        def failing(*places, number=number, calls=calls):
            if next(calls) == number:
                raise KeyboardInterrupt
            return replace(*places)

        monkeypatch.setattr(os, "replace", failing)
        try:
            audited()
        except KeyboardInterrupt:
            stopped += 1
        monkeypatch.setattr(os, "replace", replace)
    assert stopped >= 2
    same(audited(), whole[0])


def started(seconds: float = 0.0) -> int:
    """An audit in a process of its own, its number. After so many seconds of processor time, above
    0, the system ends it wherever it is, and nothing of Python runs any more."""
    if child := os.fork():
        return child
    try:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        audited()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    """0, or below 0 the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("kills", [4, pytest.param(30, marks=pytest.mark.sweep)])
def test_an_audit_that_is_killed_at_any_point_goes_on_to_the_same_report(whole, cache, kills):
    """An audit is started over until it has been killed so often. What lives long enough to end is
    followed by an empty store."""
    draw, killed, done = random.Random(kills), 0, 0
    while killed < kills:
        code = ended(started(draw.uniform(0.01, 0.8)))
        assert code in (0, -signal.SIGPROF)
        killed += code != 0
        if code == 0:
            done += 1
            same(audited(), whole[0])
            for file in (cache / "tables").iterdir():
                file.unlink()
    same(audited(), whole[0])


@pytest.mark.sweep
def test_two_audits_at_once_share_the_store(whole, cache):
    children = [started(), started()]
    assert [ended(child) for child in children] == [0, 0]
    notes = {one.name: one.read_bytes() for one in (cache / "tables").iterdir()}
    same(audited(), whole[0])
    assert {one.name: one.read_bytes() for one in (cache / "tables").iterdir()} == notes
    assert notes.keys() == {one.name for one in (whole[1] / "tables").iterdir()}


@pytest.mark.parametrize("number", [pytest.param(0, marks=pytest.mark.sweep), 5])
def test_a_full_disk_leaves_nothing_that_is_trusted(whole, cache, tmp_path, monkeypatch, number):
    """The disk is full half-way through the n-th table, and at the report itself."""
    write, calls = pd.DataFrame.to_parquet, iter(range(1000))

    def full(frame, place, **how):
        write(frame, place, **how)
        if next(calls) >= number:
            os.truncate(place, os.path.getsize(place) // 2)
            raise OSError(errno.ENOSPC, "No space left on device", str(place))

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", full)
        with pytest.raises(InputError, match="disk is full"):
            audited()
    assert len(list((cache / "tables").glob("*.json"))) == number
    found = audited()
    same(found, whole[0])
    page, place = run.page(found, measured=False), tmp_path / "report"
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", full)
        with pytest.raises(InputError, match="disk is full"):
            report.write(page, place)
    assert not place.exists()
    assert [one.name for one in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("ending", ["parquet", "json"])
def test_a_flipped_byte_is_found_and_the_table_made_again(whole, cache, ending, capsys):
    shutil.copytree(whole[1] / "tables", cache / "tables")
    files = sorted((cache / "tables").glob(f"*.{ending}"))
    for file in random.Random(2).sample(files, 2):
        content = bytearray(file.read_bytes())
        content[random.Random(file.name).randrange(len(content))] ^= 1
        file.write_bytes(content)
    same(audited(), whole[0])
    assert capsys.readouterr().err.count("is damaged; it is made again") == 2


@pytest.mark.parametrize("count", [*(pytest.param(n, marks=pytest.mark.sweep) for n in (1, 2)), 7])
def test_jobs_in_any_number_give_one_report(whole, cache, count):
    for at in reversed(range(count)):  # in whatever order they come to an end
        if part := NAMES[at::count]:
            audited(part)
    notes = set((cache / "tables").glob("*"))
    same(audited(), whole[0])
    assert set((cache / "tables").glob("*")) == notes


def test_to_ask_alone_keeps_the_scores_and_writes_nothing_else(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["audit", "tiny-random-llama", "--recipe", "nf4", "--checks", "moral_fr"]
    assert main([*words, "--items", "10", "--only-ask"]) == 0
    assert [one.name for one in tmp_path.iterdir()] == ["store"]
    assert any(name.name.startswith("moral-preferences") for name in (cache / "tables").iterdir())
