"""A causal language model by name: embedded in a package, in a folder, or on the hub."""

from pathlib import Path
from typing import Any, NamedTuple

from ethical_compression.datasets import files
from ethical_compression.errors import InputError
from ethical_compression.models.reading import forget_quantization, one_sentence, quiet
from ethical_compression.models.sources import (
    CARD,
    EMBEDDED,
    embedded_fingerprint,
    folder_fingerprint,
    hub_folder,
    kind_of,
    licence_of,
    tokenizer_folder,
    weights_folder,
)

DTYPES = ("float32", "float16", "bfloat16")


def fast_dtype(dtype: str, device: str = "cpu") -> str:
    """`dtype`, or for "fast" the type in which a device multiplies fastest: "bfloat16" where it has
    instructions for it (a GPU from Ampere on; AVX-512 BF16, AMX), and elsewhere "float32": there
    bfloat16 is imitated, at a seventh of the speed (measured on a processor with AVX2 alone)."""
    import torch

    if dtype != "fast":
        return dtype
    if device.startswith("cuda"):
        has = torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        has = device == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)
    return "bfloat16" if has else "float32"


class Loaded(NamedTuple):
    """A causal language model in eval mode, its tokenizer, and where they are from (`describe`)."""

    model: Any
    tokenizer: Any
    source: dict[str, Any]


def describe(name: str, *, revision: str | None = None) -> dict[str, Any]:
    """Where model `name` comes from, without its weights being loaded: JSON-ready.

    Keys: name; kind (`embedded`, `random`, `kept` in this repository, `folder` or `hub`);
    fingerprint, which changes with the weights (SHA-256 of the embedded file, of a random model's
    recipe, of a folder's configuration, weights and tokenizer; the hub's commit); parameters, their
    number; licence; caveat, a sentence or "". Errors are those of `load`.
    """
    kind = kind_of(name, revision)
    if name in EMBEDDED:
        entry = EMBEDDED[name]
        known = {key: entry[key] for key in ("parameters", "licence", "caveat")}
        return {"name": name, "kind": kind, "fingerprint": embedded_fingerprint(name), **known}
    folder = Path(name).expanduser() if kind == "folder" else hub_folder(name, CARD, revision)
    return {
        "name": name,
        "kind": kind,
        "fingerprint": folder_fingerprint(folder) if kind == "folder" else folder.name,
        "parameters": _parameters(_causal_config(folder, name)),
        "licence": licence_of(folder),
        "caveat": "",
    }


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    offload: bool = False,
) -> Loaded:
    """Model `name`, its tokenizer and its source.

    name: a name in `EMBEDDED`, the path of a folder (as `save_pretrained` writes it), or a hub id
    `owner/model`, at `revision` (by default the newest commit). A GPTQ checkpoint, made here or
    elsewhere, is dequantised as it is read (`gptq_format`). dtype: one of `DTYPES`.
    device: as torch names it. offload: whether the blocks of a model that does not fit stay on
    disk, one of them in memory at a time (`on_disk`); the numbers are the same.
    An embedded model is converted once, to float32 safetensors under `store.cache_dir()`
    (dequantised Q4_1 has too many digits for float16), and its hashes are checked at every load.
    Raises InputError for an unknown name, a missing package, no network, weights that are missing,
    not safetensors, NaN or infinite, and a model that is no causal language model.
    """
    import torch

    from ethical_compression.models.finite import all_finite

    files.known("dtype", dtype, DTYPES)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The device {device!r} cannot be used here: choose cpu, or a GPU that torch sees."
        ) from error
    source = describe(name, revision=revision)
    with quiet():
        if source["kind"] == "random":
            model, tokenizer = _random_model(name, dtype), _tokenizer(tokenizer_folder(name), name)
        else:
            folder = weights_folder(name, source)
            on_disk = device if offload else None
            model, tokenizer = _model(folder, name, dtype, on_disk), _tokenizer(folder, name)
    for parameter, value in model.named_parameters():
        if not value.is_meta and not all_finite(value):
            raise InputError(
                f"The weight {parameter} of {name} is NaN or infinite in {dtype}: use float32, or "
                "fetch the model again."
            )
    if not offload or source["kind"] == "random":
        model = model.to(device)
    return Loaded(model.eval(), tokenizer, source)


def of_folder(folder: Path, *, dtype: str = "float32", device: str = "cpu", offload: bool = False):
    """The model in a folder alone, as `load` reads it."""
    with quiet():
        model = _model(folder, folder.name, dtype, device if offload else None).eval()
    return model if offload else model.to(device)


def _parameters(config) -> int:
    """Number of parameters, tied ones once, counted without memory for them."""
    import torch
    import transformers

    with torch.device("meta"), quiet():
        return transformers.AutoModelForCausalLM.from_config(config).num_parameters()


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

    with one_sentence(name), quiet():
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


def _model(folder: Path, name: str, dtype: str, offload: str | None = None):
    """offload: the device of a model whose blocks stay on disk."""
    import transformers

    from ethical_compression.models.gptq_format import gptq_settings
    from ethical_compression.models.quantized import keep_unpacked

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
    with one_sentence(name):
        if offload:
            from ethical_compression.models.on_disk import load as load_on_disk

            model, found = load_on_disk(folder, name, dtype=dtype, device=offload, options=options)
        elif gptq_settings(folder):
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

    from ethical_compression.models.gptq_format import dequantised_state

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    forget_quantization(config)
    with torch.device("meta"):
        empty = transformers.AutoModelForCausalLM.from_config(config)
    state = dequantised_state(folder, empty)
    return type(empty).from_pretrained(None, config=config, state_dict=state, **options)


def _tokenizer(folder: Path, name: str):
    import transformers

    with one_sentence(name):
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
