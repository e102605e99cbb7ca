"""The book's own model, as it lies in the repository."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from ethical_compression import models
from ethical_compression.models.sources import EMBEDDED

ROOT = Path(__file__).parents[2]
NAME = "bebe-5m"
FOLDER = ROOT / "results" / NAME


def test_transformers_alone_reads_it():
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER)
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    assert model.dtype == torch.float16 and model.num_parameters() == EMBEDDED[NAME]["parameters"]
    text = 'Once upon a time, said the king, "there was a girl."'
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == text
    with torch.no_grad():
        loss = model.float()(input_ids=ids, labels=ids).loss
    assert 0 < float(loss) < 6, "it is no better than chance, 9 nats a token"


def test_it_is_loaded_by_its_name_and_never_lay_on_a_grid():
    loaded = models.load(NAME)
    assert loaded.source["kind"] == "kept" and loaded.source["licence"] == "Apache-2.0"
    for name, weight in loaded.model.named_parameters():
        if weight.dim() == 2:
            assert weight[0, :32].unique().numel() > 16, name


def test_it_is_small_and_its_card_says_what_it_read():
    files = sorted(FOLDER.iterdir())
    assert sum(one.stat().st_size for one in files) < 30e6
    assert {one.suffix for one in files} <= {".json", ".safetensors", ".md"}
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for said in ("license: apache-2.0", "## What it read", "## What that means", "## Licence"):
        assert said in card
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize("name", [name for name in EMBEDDED if EMBEDDED[name]["kind"] == "kept"])
def test_a_kept_model_is_described_without_its_weights_being_read(name):
    assert models.describe(name)["parameters"] == EMBEDDED[name]["parameters"]
