"""Tiny random models of causal families, as many as people bring: for sweeps over all of them.

`CONFIGS` names a configuration class of transformers and its settings, `make` builds the model.
All have `POSITIONS` positions (where they have any), `WINDOW` tokens of attention where a layer
reaches no farther, and `VOCABULARY` tokens, of which 0, 1 and 2 are padding, begin and end.
"""

import pytest
import torch
import transformers as hf

VOCABULARY, WIDTH, POSITIONS, WINDOW = 320, 64, 128, 8

_TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# The names that most families use; grouped keys and values where they know them.
_PLAIN = {
    **_TOKENS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": POSITIONS,
}
_GROUPED = {**_PLAIN, "num_key_value_heads": 2}
_GPT2 = {**_TOKENS, "n_embd": WIDTH, "n_layer": 4, "n_head": 4, "n_positions": POSITIONS}
_FALCON = {
    **_TOKENS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "bias": False,
    "alibi": False,
}
_OPT = {
    **_TOKENS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "ffn_dim": 2 * WIDTH,
    "max_position_embeddings": POSITIONS,
    "word_embed_proj_dim": WIDTH,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_LATENT = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
}
_MANY_LAYERS_LOCAL = ["sliding_attention", "sliding_attention", "full_attention"]
_LOCAL = {
    "sliding_window": WINDOW,
    "layer_types": [*_MANY_LAYERS_LOCAL, "sliding_attention"],
}
_LINEAR = {
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
_DECODER = {
    **_TOKENS,
    "d_model": WIDTH,
    "encoder_layers": 2,
    "decoder_layers": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 2 * WIDTH,
    "encoder_ffn_dim": 2 * WIDTH,
    "max_position_embeddings": POSITIONS,
    "is_encoder_decoder": False,
    "is_decoder": True,
}
_GEMMA3 = {**_GROUPED, **_LOCAL, "head_dim": 32}
_SPECIAL = {"cls_token_id": 1, "sep_token_id": 2}

CONFIGS: dict[str, tuple[str, dict]] = {
    # Rotary positions, one kind of block.
    "llama": ("LlamaConfig", _GROUPED),
    "mistral": ("MistralConfig", {**_GROUPED, "sliding_window": None}),
    "qwen2": ("Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3Config", {**_GROUPED, "head_dim": 32}),
    "phi": ("PhiConfig", _PLAIN),
    "phi3": ("Phi3Config", {**_GROUPED, "sliding_window": None}),
    "gemma": ("GemmaConfig", {**_GROUPED, "head_dim": 32}),
    "stablelm": ("StableLmConfig", _GROUPED),
    "starcoder2": ("Starcoder2Config", {**_GROUPED, "sliding_window": None}),
    "olmo": ("OlmoConfig", _GROUPED),
    "olmo2": ("Olmo2Config", _GROUPED),
    "persimmon": ("PersimmonConfig", _PLAIN),
    "nemotron": ("NemotronConfig", _GROUPED),
    "glm": ("GlmConfig", {**_GROUPED, "head_dim": 16}),
    "glm4": ("Glm4Config", {**_GROUPED, "head_dim": 16}),
    "helium": ("HeliumConfig", {**_GROUPED, "head_dim": 16}),
    "smollm3": ("SmolLM3Config", {**_GROUPED, "no_rope_layers": [1, 1, 1, 0]}),
    "arcee": ("ArceeConfig", _GROUPED),
    "apertus": ("ApertusConfig", _GROUPED),
    "seed_oss": ("SeedOssConfig", {**_GROUPED, "head_dim": 16}),
    "ernie4_5": ("Ernie4_5Config", {**_GROUPED, "head_dim": 16}),
    "hunyuan": ("HunYuanDenseV1Config", {**_GROUPED, "head_dim": 16}),
    "nanochat": ("NanoChatConfig", _GROUPED),
    "jais2": ("Jais2Config", _GROUPED),
    "doge": ("DogeConfig", _GROUPED),
    "ministral3": ("Ministral3Config", {**_GROUPED, "head_dim": 16}),
    "youtu": ("YoutuConfig", {**_PLAIN, **_LATENT}),
    "bitnet": ("BitNetConfig", _GROUPED),
    "diffllama": ("DiffLlamaConfig", _GROUPED),
    "minicpm3": ("MiniCPM3Config", {**_PLAIN, **_LATENT}),
    "gpt_neox": ("GPTNeoXConfig", _PLAIN),
    "gpt_neox_japanese": (
        "GPTNeoXJapaneseConfig",
        {
            **{key: value for key, value in _PLAIN.items() if key != "intermediate_size"},
            "intermediate_multiple_size": 2,
        },
    ),
    "gptj": ("GPTJConfig", {**_GPT2, "rotary_dim": 8, "tie_word_embeddings": False}),
    "codegen": ("CodeGenConfig", {**_GPT2, "rotary_dim": 8, "tie_word_embeddings": False}),
    "falcon": ("FalconConfig", {**_FALCON, "multi_query": True, "parallel_attn": True}),
    "falcon_new": (
        "FalconConfig",
        {**_FALCON, "num_kv_heads": 2, "new_decoder_architecture": True},
    ),
    # Logits that are scaled.
    "cohere": ("CohereConfig", {**_GROUPED, "logit_scale": 0.25}),
    "cohere2": ("Cohere2Config", {**_GROUPED, **_LOCAL, "head_dim": 16, "logit_scale": 0.25}),
    "cohere2_moe": (
        "Cohere2MoeConfig",
        {
            **_GROUPED,
            **_LOCAL,
            **_EXPERTS,
            "head_dim": 16,
            "moe_intermediate_size": 32,
            "logit_scale": 0.25,
        },
    ),
    "granite": (
        "GraniteConfig",
        {
            **_GROUPED,
            "logits_scaling": 4.0,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.25,
        },
    ),
    # Layers that reach a few tokens back only.
    "qwen2_window": (
        "Qwen2Config",
        {**_GROUPED, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
    ),
    "mistral_window": ("MistralConfig", {**_GROUPED, "sliding_window": WINDOW}),
    "cwm": ("CwmConfig", {**_GROUPED, **_LOCAL, "head_dim": 16}),
    "granite_window": ("GraniteSWAConfig", {**_GROUPED, **_LOCAL}),
    "afmoe": (
        "AfmoeConfig",
        {**_GROUPED, **_EXPERTS, "moe_intermediate_size": 32, "sliding_window": WINDOW},
    ),
    "exaone_moe": (
        "ExaoneMoeConfig",
        {**_GROUPED, **_EXPERTS, **_LOCAL, "moe_intermediate_size": 32},
    ),
    "gemma2": (
        "Gemma2Config",
        {**_GROUPED, "head_dim": 32, "sliding_window": WINDOW, "query_pre_attn_scalar": 32},
    ),
    "gemma3": ("Gemma3TextConfig", _GEMMA3),
    "gemma3_nested": (
        "Gemma3Config",
        {
            "text_config": _GEMMA3,
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
        },
    ),
    "gemma3n": (
        "Gemma3nTextConfig",
        {
            **_GROUPED,
            "intermediate_size": [2 * WIDTH] * 4,
            "head_dim": 16,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_kv_shared_layers": 0,
            "hidden_size_per_layer_input": 16,
            "vocab_size_per_layer_input": VOCABULARY,
            "laurel_rank": 16,
            "altup_num_inputs": 2,
        },
    ),
    "gemma4": (
        "Gemma4TextConfig",
        {
            **_GROUPED,
            "head_dim": 16,
            "global_head_dim": 32,
            "num_global_key_value_heads": 1,
            "sliding_window": WINDOW,
            "layer_types": [*["sliding_attention"] * 3, "full_attention"],
            "hidden_size_per_layer_input": 16,
            "vocab_size_per_layer_input": VOCABULARY,
            "num_kv_shared_layers": 0,
        },
    ),
    "vaultgemma": (
        "VaultGemmaConfig",
        {**_GROUPED, "head_dim": 32, "sliding_window": WINDOW, "query_pre_attn_scalar": 32},
    ),
    "olmo3": ("Olmo3Config", {**_GROUPED, **_LOCAL}),
    "exaone4": ("Exaone4Config", {**_GROUPED, **_LOCAL}),
    "ministral": ("MinistralConfig", {**_GROUPED, **_LOCAL, "head_dim": 16}),
    "gpt_oss": (
        "GptOssConfig",
        {
            **_GROUPED,
            **_LOCAL_EXPERTS,
            "head_dim": 16,
            "sliding_window": WINDOW,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "llama4": (
        "Llama4TextConfig",
        {
            **_GROUPED,
            "head_dim": 16,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "intermediate_size_mlp": 2 * WIDTH,
            "attention_chunk_size": WINDOW,
            "no_rope_layers": [1, 1, 1, 0],
        },
    ),
    "modernbert_decoder": (
        "ModernBertDecoderConfig",
        {**_PLAIN, **_SPECIAL, "local_attention": WINDOW, "global_attn_every_n_layers": 3},
    ),
    "gpt_neo": (
        "GPTNeoConfig",
        {
            **_TOKENS,
            "hidden_size": WIDTH,
            "num_layers": 4,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 2]],
            "window_size": WINDOW,
            "max_position_embeddings": POSITIONS,
            "intermediate_size": 2 * WIDTH,
        },
    ),
    # Positions that are learnt, made of sines, or counted by index.
    "gpt2": ("GPT2Config", _GPT2),
    "gpt2_scaled": ("GPT2Config", {**_GPT2, "scale_attn_by_inverse_layer_idx": True}),
    "gpt_bigcode": ("GPTBigCodeConfig", {**_GPT2, "multi_query": True}),
    "openai_gpt": ("OpenAIGPTConfig", _GPT2),
    "ctrl": ("CTRLConfig", {**_GPT2, "dff": 2 * WIDTH}),
    "opt": ("OPTConfig", _OPT),
    "opt_projected": ("OPTConfig", {**_OPT, "word_embed_proj_dim": 32}),
    "opt_post_norm": (
        "OPTConfig",
        {**_OPT, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
    ),
    "biogpt": ("BioGptConfig", _PLAIN),
    "xglm": (
        "XGLMConfig",
        {
            **_TOKENS,
            "d_model": WIDTH,
            "num_layers": 4,
            "attention_heads": 4,
            "ffn_dim": 2 * WIDTH,
            "max_position_embeddings": POSITIONS,
        },
    ),
    "bloom": ("BloomConfig", {**_TOKENS, "hidden_size": WIDTH, "n_layer": 4, "n_head": 4}),
    "falcon_alibi": ("FalconConfig", {**_FALCON, "alibi": True, "multi_query": True}),
    "mpt": (
        "MptConfig",
        {
            "vocab_size": VOCABULARY,
            "d_model": WIDTH,
            "n_layers": 4,
            "n_heads": 4,
            "max_seq_len": POSITIONS,
            "expansion_ratio": 2,
        },
    ),
    # Mixtures of experts.
    "mixtral": ("MixtralConfig", {**_GROUPED, **_LOCAL_EXPERTS}),
    "qwen2_moe": (
        "Qwen2MoeConfig",
        {
            **_GROUPED,
            **_EXPERTS,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 64,
        },
    ),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {**_GROUPED, **_EXPERTS, "head_dim": 16, "moe_intermediate_size": 32},
    ),
    "olmoe": ("OlmoeConfig", {**_GROUPED, **_EXPERTS}),
    "granitemoe": ("GraniteMoeConfig", {**_GROUPED, **_LOCAL_EXPERTS, "logits_scaling": 4.0}),
    "granitemoe_shared": (
        "GraniteMoeSharedConfig",
        {**_GROUPED, **_LOCAL_EXPERTS, "shared_intermediate_size": WIDTH, "logits_scaling": 4.0},
    ),
    "phimoe": ("PhimoeConfig", {**_GROUPED, **_LOCAL_EXPERTS, "sliding_window": None}),
    "dbrx": (
        "DbrxConfig",
        {
            **_TOKENS,
            "d_model": WIDTH,
            "n_heads": 4,
            "n_layers": 4,
            "max_seq_len": POSITIONS,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
            "ffn_config": {
                "ffn_hidden_size": 2 * WIDTH,
                "moe_num_experts": 4,
                "moe_top_k": 2,
                "hidden_size": WIDTH,
            },
        },
    ),
    "jetmoe": (
        "JetMoeConfig",
        {
            **{key: value for key, value in _PLAIN.items() if key != "num_attention_heads"},
            **_LOCAL_EXPERTS,
            "num_key_value_heads": 2,
            "kv_channels": 16,
        },
    ),
    "deepseek_v2": (
        "DeepseekV2Config",
        {
            **_PLAIN,
            **_LATENT,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "moe_intermediate_size": 32,
            "first_k_dense_replace": 1,
        },
    ),
    "deepseek_v3": (
        "DeepseekV3Config",
        {
            **_PLAIN,
            **_LATENT,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        },
    ),
    "glm4_moe": (
        "Glm4MoeConfig",
        {
            **_GROUPED,
            "head_dim": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "first_k_dense_replace": 1,
        },
    ),
    "ernie4_5_moe": (
        "Ernie4_5_MoeConfig",
        {
            **_GROUPED,
            "moe_num_experts": 4,
            "moe_k": 2,
            "moe_num_shared_experts": 1,
            "moe_intermediate_size": 32,
        },
    ),
    "dots1": (
        "Dots1Config",
        {
            **_GROUPED,
            "head_dim": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "moe_intermediate_size": 32,
            "first_k_dense_replace": 1,
            "n_group": 1,
            "topk_group": 1,
        },
    ),
    "flex_olmo": ("FlexOlmoConfig", {**_GROUPED, **_EXPERTS}),
    "minimax": (
        "MiniMaxConfig",
        {
            **_GROUPED,
            **_LOCAL_EXPERTS,
            "head_dim": 16,
            "block_size": 16,
            "layer_types": ["linear_attention", "full_attention"] * 2,
        },
    ),
    "minimax_m2": ("MiniMaxM2Config", {**_GROUPED, **_LOCAL_EXPERTS, "head_dim": 16}),
    "hunyuan_moe": (
        "HunYuanMoEV1Config",
        {**_GROUPED, "num_experts": 4, "moe_topk": 2, "head_dim": 16},
    ),
    # Recurrent, or in part so.
    "mamba": (
        "MambaConfig",
        {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 4, "state_size": 8},
    ),
    "mamba2": (
        "Mamba2Config",
        {
            **_TOKENS,
            "hidden_size": WIDTH,
            "num_hidden_layers": 4,
            "state_size": 8,
            "num_heads": 8,
            "head_dim": 16,
            "n_groups": 1,
            "chunk_size": 16,
        },
    ),
    "falcon_mamba": (
        "FalconMambaConfig",
        {**_TOKENS, "hidden_size": WIDTH, "num_hidden_layers": 4, "state_size": 8},
    ),
    "rwkv": (
        "RwkvConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "num_hidden_layers": 4,
            "attention_hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "context_length": POSITIONS,
        },
    ),
    "xlstm": (
        "xLSTMConfig",
        {
            **_TOKENS,
            "hidden_size": WIDTH,
            "num_hidden_layers": 4,
            "num_blocks": 4,
            "num_heads": 4,
            "chunk_size": 16,
        },
    ),
    "recurrent_gemma": (
        "RecurrentGemmaConfig",
        {
            **_PLAIN,
            "lru_width": WIDTH,
            "attention_window_size": WINDOW,
            "block_types": ("recurrent", "attention"),
        },
    ),
    "jamba": (
        "JambaConfig",
        {
            **_GROUPED,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 2,
            "mamba_d_state": 8,
            "mamba_dt_rank": 8,
            "use_mamba_kernels": False,
        },
    ),
    "bamba": (
        "BambaConfig",
        {
            **_GROUPED,
            "attn_layer_indices": [1, 3],
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_n_groups": 1,
            "mamba_d_state": 8,
            "mamba_chunk_size": 16,
        },
    ),
    "falcon_h1": (
        "FalconH1Config",
        {
            **_GROUPED,
            "mamba_d_ssm": 2 * WIDTH,
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_n_groups": 1,
            "mamba_d_state": 8,
            "mamba_chunk_size": 16,
            "lm_head_multiplier": 0.5,
        },
    ),
    "granitemoe_hybrid": (
        "GraniteMoeHybridConfig",
        {
            **_GROUPED,
            **_LOCAL_EXPERTS,
            "shared_intermediate_size": WIDTH,
            "layer_types": ["mamba", "attention"] * 2,
            "logits_scaling": 4.0,
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_n_groups": 1,
            "mamba_d_state": 8,
            "mamba_chunk_size": 16,
        },
    ),
    "nemotron_h": (
        "NemotronHConfig",
        {
            **{key: value for key, value in _GROUPED.items() if key != "num_hidden_layers"},
            "layers_block_type": ["mamba", "mlp", "attention", "mlp"],
            "head_dim": 16,
            "mamba_num_heads": 8,
            "mamba_head_dim": 16,
            "n_groups": 1,
            "ssm_state_size": 8,
            "chunk_size": 16,
        },
    ),
    "zamba": (
        "ZambaConfig",
        {
            **_PLAIN,
            "layers_block_type": ["mamba", "hybrid"] * 2,
            "num_key_value_heads": 4,
            "mamba_d_state": 8,
            "mamba_dt_rank": 8,
            "n_mamba_heads": 2,
            "use_mamba_kernels": False,
        },
    ),
    "zamba2": (
        "Zamba2Config",
        {
            **_PLAIN,
            "layers_block_type": ["mamba", "mamba", "hybrid", "mamba"],
            "mamba_d_state": 8,
            "n_mamba_heads": 8,
            "mamba_ngroups": 1,
            "chunk_size": 16,
            "mamba_headdim": 16,
        },
    ),
    "lfm2": ("Lfm2Config", {**_GROUPED, "layer_types": ["conv", "full_attention"] * 2}),
    "lfm2_moe": (
        "Lfm2MoeConfig",
        {
            **_GROUPED,
            **_EXPERTS,
            "moe_intermediate_size": 32,
            "layer_types": ["conv", "full_attention"] * 2,
        },
    ),
    "qwen3_next": (
        "Qwen3NextConfig",
        {
            **_GROUPED,
            **_EXPERTS,
            **_LINEAR,
            "head_dim": 16,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 64,
        },
    ),
    "qwen3_5": ("Qwen3_5TextConfig", {**_GROUPED, **_LINEAR, "head_dim": 16}),
    "olmo_hybrid": ("OlmoHybridConfig", {**_GROUPED, **_LINEAR}),
    # A text model within another; decoders and encoders used as one.
    "fuyu": ("FuyuConfig", {"text_config": {**_PLAIN, "model_type": "persimmon"}}),
    "bart_decoder": ("BartConfig", _DECODER),
    "bert_decoder": ("BertConfig", {**_PLAIN, "is_decoder": True}),
    "roberta_decoder": ("RobertaConfig", {**_PLAIN, "is_decoder": True}),
    "electra_decoder": ("ElectraConfig", {**_PLAIN, "embedding_size": 32, "is_decoder": True}),
    "roformer_decoder": ("RoFormerConfig", {**_PLAIN, "embedding_size": 32, "is_decoder": True}),
    "big_bird_decoder": (
        "BigBirdConfig",
        {**_PLAIN, **_SPECIAL, "is_decoder": True, "attention_type": "original_full"},
    ),
    "mbart_decoder": ("MBartConfig", _DECODER),
    "marian_decoder": ("MarianConfig", _DECODER),
    "pegasus_decoder": ("PegasusConfig", _DECODER),
    "blenderbot_decoder": ("BlenderbotConfig", _DECODER),
    "prophetnet_decoder": (
        "ProphetNetConfig",
        {
            **_TOKENS,
            "hidden_size": WIDTH,
            "num_decoder_layers": 2,
            "num_encoder_layers": 2,
            "num_decoder_attention_heads": 4,
            "num_encoder_attention_heads": 4,
            "decoder_ffn_dim": 2 * WIDTH,
            "encoder_ffn_dim": 2 * WIDTH,
            "max_position_embeddings": POSITIONS,
            "is_encoder_decoder": False,
            "is_decoder": True,
        },
    ),
    "trocr": (
        "TrOCRConfig",
        {
            **_TOKENS,
            "d_model": WIDTH,
            "decoder_layers": 4,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 2 * WIDTH,
            "max_position_embeddings": POSITIONS,
        },
    ),
    "cpmant": (
        "CpmAntConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "num_attention_heads": 4,
            "dim_head": 16,
            "dim_ff": 2 * WIDTH,
            "num_hidden_layers": 4,
        },
    ),
    "xlm": (
        "XLMConfig",
        {
            "vocab_size": VOCABULARY,
            "emb_dim": WIDTH,
            "n_layers": 4,
            "n_heads": 4,
            "max_position_embeddings": POSITIONS,
            "causal": True,
        },
    ),
    "reformer": (
        "ReformerConfig",
        {
            **_TOKENS,
            "hidden_size": WIDTH,
            "is_decoder": True,
            "num_attention_heads": 4,
            "attention_head_size": 16,
            "attn_layers": ["local", "local"],
            "axial_pos_shape": (8, 16),
            "axial_pos_embds_dim": (32, 32),
            "max_position_embeddings": POSITIONS,
            "feed_forward_size": 2 * WIDTH,
            "local_attn_chunk_length": WINDOW,
        },
    ),
    "xlnet": (
        "XLNetConfig",
        {**_TOKENS, "d_model": WIDTH, "n_layer": 4, "n_head": 4, "d_inner": 2 * WIDTH},
    ),
}


def make(
    name: str, seed: int = 0, *, std: float = 0.1, dtype=torch.float32, **changes
) -> torch.nn.Module:
    """The tiny random model of a family in `CONFIGS`, in eval mode.

    std: of every matrix (large enough that a wrong mask, position or scale shows in the output).
    changes: of its configuration, by name. A family that the installed transformers lacks skips
    the test that asks for it.
    """
    kind, settings = CONFIGS[name]
    if not hasattr(hf, kind):
        pytest.skip(f"transformers {hf.__version__} has no {kind}")
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(getattr(hf, kind)(**{**settings, **changes})).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std)
    model.tie_weights()
    return model.to(dtype)
