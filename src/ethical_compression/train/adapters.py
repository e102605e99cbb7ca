"""LoRA adapters (Hu et al. 2022) on a model's projections, and what training changes of it."""

import sys

import torch

from ethical_compression.compress import bits_and_bytes
from ethical_compression.compress.blocks import linear_layers
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks

# The projections of attention and feed-forward layers, by the names that families give them.
PROJECTIONS = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("out_proj", "fc1", "fc2", "query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    *("c_attn", "c_proj", "c_fc"),
)


def add_adapters(model, rank: int, alpha: float, seed: int = 0) -> None:
    """Adapters of `rank`, scaled by alpha ÷ rank, on every projection of every block, in place; all
    else is frozen. seed: of their first weights.

    The base may be full, compressed, or of bitsandbytes' layers (QLoRA, Dettmers et al. 2023).
    Until a step is taken the model computes what it did.
    """
    import peft

    _do_without_an_old_torchao()
    found = {
        name.rpartition(".")[2]
        for block in transformer_blocks(model)
        for name in linear_layers(block)
    }
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=sorted(found & set(PROJECTIONS)) or sorted(found),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, model)
    for weight in trained_weights(model).values():
        weight.data = weight.data.float()


def _do_without_an_old_torchao() -> None:
    """peft asks for torchao with every layer, and stops at one that is too old for it.

    Nothing here is made by torchao, and what Colab brings is left as it is: told that there is
    none, peft goes on.
    """
    import peft.import_utils

    try:
        peft.import_utils.is_torchao_available()
    except ImportError:
        for name, module in list(sys.modules.items()):
            if name.startswith("peft.") and hasattr(module, "is_torchao_available"):
                module.is_torchao_available = lambda: False


def merge_adapters(model) -> None:
    """Add every adapter to the weight that it adapts, in place: plain layers again.

    Raises InputError on a base of bitsandbytes, whose weights cannot take it up exactly.
    """
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if not isinstance(layer, LoraLayer):
            continue
        if bits_and_bytes.is_quantized(layer.base_layer):
            raise InputError("Adapters on a bitsandbytes base stay beside it: do not merge them.")
        layer.merge()
        owner, _, child = name.rpartition(".")
        setattr(model.get_submodule(owner), child, layer.base_layer)


def trained_weights(model) -> dict[str, torch.nn.Parameter]:
    """What training changes, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
