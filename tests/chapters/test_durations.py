"""What a chapter says of its time, and of the rest of the book."""

import json
import os

import pytest

from ethical_compression import store
from ethical_compression.chapters import durations


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Three chapters, none executed; a store and a committed table of their own."""
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(durations, "TABLE", tmp_path / "minutes.json")
    (tmp_path / "executed").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.ipynb").write_text("{}")
    return tmp_path


def test_a_chapter_says_how_long_it_took_here_or_else_elsewhere(book):
    assert durations.of_one("one") == ""
    durations.TABLE.write_text(json.dumps({"minutes": {"one": 12}}))
    assert durations.of_one("one") == ", 12 min on another machine"
    durations.keep("one", 45)
    assert durations.of_one("one") == ", 45 s the last time"


def test_the_rest_of_the_book_is_what_has_no_younger_copy(book):
    def rest() -> str:
        return durations.rest(book / "one.ipynb", book / "executed" / "one.ipynb")

    assert rest() == "; after it 2 chapters more (2 not timed yet)"
    durations.keep("two", 300)
    assert rest() == "; after it 2 chapters more, about 5 min (1 not timed yet)"
    made = book / "executed" / "three.ipynb"
    made.write_text("{}")
    os.utime(made, (2**31, 2**31))
    assert rest() == "; after it 1 chapter more, about 5 min"
    os.utime(made, (0, 0))
    assert "2 chapters more" in rest(), "a copy older than its chapter is due again"


def test_a_damaged_record_only_says_less(book):
    durations.keep("one", 45)
    (store.cache_dir() / "durations" / "one.json").write_text("{")
    assert durations.of_one("one") == ""
