"""The judged answers: read from the authors' own files, and only from those."""

import io
import urllib.error

import pandas as pd
import pytest

from ethical_compression import store
from ethical_compression.datasets import judged_answers
from ethical_compression.errors import InputError


@pytest.fixture
def two_files(tmp_path, monkeypatch):
    """A folder of two small files in the authors' columns, with checksums of their own."""
    folder = tmp_path / "published" / judged_answers.FOLDER
    folder.mkdir(parents=True)
    entries = {}
    for model, entry in judged_answers.FILES.items():
        score = {"full": [0.9, 0.2], "quantized": [0.4, 0.2]}[model]
        table = {
            "Category": ["Myths", "Law"],
            "Question": ["Why?", "Is it?"],
            entry["judge"]: score,
            f"{entry['judge']} acc": [int(one > 0.5) for one in score],
            "model_prediction": [" None", f" {model}"],
        }
        path = folder / entry["file"]
        pd.DataFrame(table).to_csv(path, index=False)
        entries[model] = entry | {"sha256": store.sha256_of(path)}
    monkeypatch.setattr(judged_answers, "FILES", entries)
    for name in ("ETHICAL_COMPRESSION_PUBLISHED", "ETHICAL_COMPRESSION_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    return folder


def test_the_folder_is_given_or_named_or_beside_the_mirror(two_files, monkeypatch):
    given = judged_answers.load(folder=two_files.parent)
    assert given["answer_full"].tolist() == ["None", "full"]  # a word, not a missing value
    assert given["accepted_full"].tolist() == [True, False]
    assert given["score_quantized"].tolist() == [0.4, 0.2]
    with pytest.raises(InputError, match="ETHICAL_COMPRESSION_PUBLISHED"):
        judged_answers.load()
    monkeypatch.setenv("ETHICAL_COMPRESSION_DATA", str(two_files.parent.parent / "data"))
    pd.testing.assert_frame_equal(judged_answers.load(), given)
    monkeypatch.setenv("ETHICAL_COMPRESSION_PUBLISHED", str(two_files.parent.parent / "nowhere"))
    with pytest.raises(InputError, match="not here"):
        judged_answers.load()


def test_another_content_is_refused(two_files):
    (path,) = two_files.glob("*gptq*")
    path.write_text(path.read_text().replace("Law", "Low"))
    with pytest.raises(InputError, match="checksum differs"):
        judged_answers.load(folder=two_files.parent)
    path.unlink()
    with pytest.raises(InputError, match="no file"):
        judged_answers.load(folder=two_files.parent)


def test_the_repository_is_asked_once_and_at_one_commit(two_files, monkeypatch):
    asked = []

    def answer(address, timeout):
        asked.append(address)
        return io.BytesIO((two_files / address.rpartition("/")[2]).read_bytes())

    monkeypatch.setattr(judged_answers.urllib.request, "urlopen", answer)
    fetched = judged_answers.load("repository")
    pd.testing.assert_frame_equal(fetched, judged_answers.load(folder=two_files.parent))
    judged_answers.load("repository")
    assert len(asked) == 2 and all(f"/{judged_answers.COMMIT}/" in one for one in asked)


def test_no_network_is_one_sentence(two_files, monkeypatch):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(judged_answers.urllib.request, "urlopen", unreachable)
    with pytest.raises(InputError, match="check the network"):
        judged_answers.load("repository")
    assert not list(store.cache_dir().rglob("*.csv"))


def test_the_authors_files_are_two_models_on_the_same_questions(mirror):
    if not (mirror.parent / "published" / judged_answers.FOLDER).is_dir():
        pytest.skip("no folder of published results beside the mirror")
    table = judged_answers.load()
    assert len(table) == table["question"].nunique() == 817
    for model in judged_answers.FILES:
        assert (table[f"accepted_{model}"] == (table[f"score_{model}"] > 0.5)).all()
