"""Audits that are stopped, find their store damaged, or are split into jobs: one report."""

import os
import random

import pandas as pd
import pytest

from ethical_compression.__main__ import main
from ethical_compression.audit import report, run
from ethical_compression.compress.recipe import Recipe
from ethical_compression.score.subjects import Compressed

FULL = Compressed("tiny-random-llama")
OTHER = Compressed("tiny-random-llama", Recipe("rtn", bits=2, group_size=32))
NAMES = ["answers", "stereoset", "moral_fr"]


def audited(names=NAMES) -> run.Audit:
    return run.audit(FULL, OTHER, names=names, each=10, progress=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An audit that nobody stopped, and its store."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETHICAL_COMPRESSION_CACHE", str(place))
        yield audited(), place


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: run.Audit, other: run.Audit) -> None:
    pd.testing.assert_frame_equal(one.verdicts, other.verdicts, check_exact=True)
    pd.testing.assert_frame_equal(one.items, other.items, check_exact=True)
    pd.testing.assert_frame_equal(one.floors, other.floors, check_exact=True)
    first, second = (report.as_json(run.page(found, measured=False)) for found in (one, other))
    for said in (first, second):
        for name in ("date", "seconds of scoring"):
            said["provenance"].pop(name)
    assert first == second


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


@pytest.mark.parametrize("ending", ["parquet", "json"])
def test_a_flipped_byte_is_found_and_the_table_made_again(whole, cache, ending, capsys):
    import shutil

    shutil.copytree(whole[1], cache)
    files = sorted((cache / "tables").glob(f"*.{ending}"))
    for file in random.Random(2).sample(files, 2):
        content = bytearray(file.read_bytes())
        content[random.Random(file.name).randrange(len(content))] ^= 1
        file.write_bytes(content)
    same(audited(), whole[0])
    assert capsys.readouterr().err.count("is damaged; it is made again") == 2


@pytest.mark.parametrize("count", [1, 2, 7])
def test_jobs_in_any_number_give_one_report(whole, cache, count):
    for at in reversed(range(count)):  # in whatever order they come to an end
        if part := NAMES[at::count]:
            audited(part)
    notes = set((cache / "tables").glob("*"))
    same(audited(), whole[0])
    assert set((cache / "tables").glob("*")) == notes


def test_to_ask_alone_keeps_the_scores_and_writes_nothing_else(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "_letters_a_second", lambda full: 1e4)
    words = ["audit", "tiny-random-llama", "--recipe", "nf4", "--checks", "moral_fr"]
    assert main([*words, "--items", "10", "--only-ask"]) == 0
    assert [one.name for one in tmp_path.iterdir()] == ["cache"]
    assert any(name.name.startswith("moral-preferences") for name in (cache / "tables").iterdir())
