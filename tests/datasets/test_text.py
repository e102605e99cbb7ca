"""Texts: halves that share nothing, articles that join to the file they came from."""

import datasets
import huggingface_hub
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethical_compression.datasets import text
from ethical_compression.errors import InputError

ARTICLES = [
    " \n = Du Fu = \n \n Du Fu was a poet . \n \n = = Life = = \n \n He lived . \n \n",
    " = Tea = \n \n Tea is hot = good . \n",
]


def test_xsum_halves_share_nothing_and_leave_out_the_one_row_without_an_article():
    halves = [text.load("xsum", split) for split in text.SPLITS]
    assert [len(half) for half in halves] == [500, 499]
    assert len({*halves[0], *halves[1]}) == 999
    assert halves[0][0].startswith("The ex-Reading defender denied fraudulent trading charges")
    assert halves[1][0].startswith("Voges was forced to retire hurt on 86")
    assert text.source_record("xsum", "held_out")["excluded"] == {
        "32556640": "it has a summary but no article"
    }


def test_a_limit_gives_nested_samples_in_order():
    every = text.load("xsum", "held_out")
    ten, hundred = (text.load("xsum", "held_out", limit=size, seed=3) for size in (10, 100))
    places = [every.index(document) for document in ten]
    assert places == sorted(places) and set(ten) < set(hundred) and len(set(ten)) == 10


def test_mirror_wikitext_is_cut_into_articles_that_join_to_the_file(mirror):
    for split, file in (("calibration", "valid"), ("held_out", "test")):
        documents = text.load("wikitext2", split, source="mirror")
        whole = (mirror / "wikitext2" / f"{file}.txt").read_bytes().decode("utf-8")
        assert "".join(documents) == whole
        assert len(documents) == {"valid": 60, "test": 62}[file]
        assert all(document.lstrip().startswith("= ") for document in documents)


@given(st.lists(st.text(alphabet="= \nab", max_size=12), max_size=6))
def test_articles_join_to_what_was_cut(parts):
    whole = "\n".join(parts)
    documents = text.articles(whole)
    assert "".join(documents) == whole and all(documents)


def test_articles_are_cut_at_titles_only():
    assert text.articles("".join(ARTICLES)) == ARTICLES


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub: WikiText a row a line, as it is there, and C4. Returns the calls."""
    calls = []

    def snapshot_download(name, **_options):
        (tmp_path / "c0ffee").mkdir(exist_ok=True)
        return str(tmp_path / "c0ffee")

    def load_dataset(name, config, **options):
        calls.append((name, config, options))
        lines = "".join(ARTICLES).splitlines(keepends=True)
        wikitext = [line if line.strip() else "" for line in lines]
        rows = wikitext if "wikitext" in name else ["a page", "a second page", "a third"]
        return datasets.Dataset.from_dict({"text": rows})

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize(
    ("name", "config"), [("wikitext2", "wikitext-2-v1"), ("wikitext2_raw", "wikitext-2-raw-v1")]
)
def test_the_hubs_lines_become_the_same_articles(hub, name, config):
    assert text.load(name, "held_out", source="hub") == ARTICLES
    options = {"split": "test", "revision": "c0ffee"}
    assert hub == [("Salesforce/wikitext", config, options)]


def test_c4_is_the_first_file_of_each_split(hub):
    assert text.load("c4", "calibration", source="hub")[0] == "a page"
    assert len(text.load("c4", "held_out", source="hub", limit=2)) == 2
    assert [options["data_files"] for _, _, options in hub] == [
        {"train": "en/c4-train.00000-of-01024.json.gz"},
        {"validation": "en/c4-validation.00000-of-00008.json.gz"},
    ]
    assert text.source_record("c4", "held_out", source="hub")["commit"] == "c0ffee"


def test_bad_names_are_refused_with_those_there_are(tmp_path):
    for arguments, source, said in (
        (("xsumm", "held_out"), "embedded", "did you mean 'xsum'"),
        (("xsum", "test"), "embedded", "calibration, held_out"),
        (("c4", "held_out"), "embedded", "choose one of hub"),
    ):
        with pytest.raises(InputError, match=said):
            text.load(*arguments, source=source)
    with pytest.raises(InputError, match=r"has no file wikitext2/test\.txt"):
        text.load("wikitext2", "held_out", source="mirror", data_dir=tmp_path)
    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "wikitext2" / "test.txt").write_text("")
    with pytest.raises(InputError, match="is empty"):
        text.load("wikitext2", "held_out", source="mirror", data_dir=tmp_path)


def test_copies_that_lost_spaces_line_ends_or_were_saved_on_windows_are_cut_alike(
    mirror, hub, tmp_path, monkeypatch
):
    """62 documents, not one, whatever an editor or a viewer did to the lines."""
    whole = (mirror / "wikitext2" / "test.txt").read_text(encoding="utf-8")
    stripped = "\n".join(line.strip() for line in whole.split("\n"))
    (tmp_path / "wikitext2").mkdir()
    copy = tmp_path / "wikitext2" / "test.txt"
    for content in (
        stripped.encode(),
        whole.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + stripped.replace("\n", "\r\n").encode(),
    ):
        copy.write_bytes(content)
        documents = text.load("wikitext2", "held_out", source="mirror", data_dir=tmp_path)
        assert len(documents) == 62 and not any("\r" in one or "\ufeff" in one for one in documents)
    rows = [line.strip() for line in "".join(ARTICLES).splitlines()]
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict({"text": rows})
    )
    found = text.load("wikitext2", "held_out", source="hub")
    assert [one.split() for one in found] == [one.split() for one in ARTICLES]
