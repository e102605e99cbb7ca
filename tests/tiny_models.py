"""Small models with random weights, one of each family: for unit tests, never for a figure."""

import torch

FAMILIES = ("llama", "mistral", "gpt2", "opt", "bloom", "gemma2")


# Questions with their context are longer than a tiny model reads.
LONG = {"max_position_embeddings": 512}


def tiny_model(family: str, seed: int = 0, width: int = 32, **changes) -> torch.nn.Module:
    """A two-block causal language model over 200 tokens, float32, in eval mode.

    changes: of its config, by name.
    """
    import transformers as hf

    common = {"vocab_size": 200, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    llama = {
        **common,
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 64,
    }
    config = {
        "llama": lambda: hf.LlamaConfig(**llama),
        "mistral": lambda: hf.MistralConfig(**llama, sliding_window=None),
        "gpt2": lambda: hf.GPT2Config(**common, n_embd=width, n_layer=2, n_head=4, n_positions=64),
        "opt": lambda: hf.OPTConfig(
            **common,
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=2 * width,
            max_position_embeddings=64,
            word_embed_proj_dim=16,
        ),
        "bloom": lambda: hf.BloomConfig(**common, hidden_size=width, n_layer=2, n_head=4),
        "gemma2": lambda: hf.Gemma2Config(
            **llama, head_dim=width // 4, sliding_window=64, final_logit_softcapping=5.0
        ),
    }[family]()
    config.update(changes)
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    # Weights large enough that a wrong mask or position would show in the output.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.tie_weights()
    return model
