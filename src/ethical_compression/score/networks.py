"""What must be known of a causal language model before it is run: its bounds, and its output head.

Whatever a family calls them: bounds are looked for in the configuration and in the modules, and
the output head is found by trying it, since soft-caps and scales go by many names.
"""

import re
from typing import NamedTuple

import torch

from ethical_compression.errors import InputError
from ethical_compression.kernels.logprob import LinearLogprob, linear_logprob
from ethical_compression.memory import is_of_memory

NOT_FINITE = (
    "The model gives log-likelihoods that are not finite numbers: its weights or its dtype are "
    "broken; load it in float32, or compress it again."
)
# Names that configurations use for the tokens a model can be fed.
LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "seq_length",
    "seq_len",
    "context_length",
    "max_target_positions",
)
WINDOW = re.compile(r"window|(attention|attn|local)_chunk|local_attention|local_attn")
NO_WINDOW = re.compile(r"^use_|pattern|layers")  # which layers have one, not how far it reaches
TABLE = re.compile(r"(^|\.)(wpe|\w*position\w*)$")
OTHER_INPUTS = re.compile(r"vision|visual|image|audio|speech")  # towers that read no text
# Relative difference (root mean square) that rounding alone makes between two ways to compute the
# same states: far above what tiny and real models show, far below what a wrong way does.
ROUNDING = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
TRIED = 32  # tokens on which an output head is tried


def unwrapped(model):
    """The causal language model itself: of one that peft wrapped, the model with its adapters in.

    Raises InputError for prompts that peft learnt, and for models with an encoder.
    """
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        if any(one.is_prompt_learning for one in model.peft_config.values()):
            raise InputError(
                "This model's adapter is a learnt prompt, which only peft itself can put before a "
                "text: use an adapter that changes weights, such as LoRA."
            )
        model = model.get_base_model()
    if getattr(model.config, "is_encoder_decoder", False):
        raise InputError(
            f"A {model.config.model_type} model has an encoder and does not go on with one text by "
            "itself: choose a causal language model."
        )
    return model


def backbone(model):
    """The model without its output head."""
    from transformers import PreTrainedModel

    if model.base_model is not model:
        return model.base_model
    # Some families state a name for it that they do not use (Llama 4).
    return next((one for one in model.children() if isinstance(one, PreTrainedModel)), model)


def rounding(model) -> float:
    """The value of `ROUNDING` for the model's data type."""
    return ROUNDING.get(model.dtype, ROUNDING[torch.float32])


def model_length(model) -> int | None:
    """Tokens the model can be fed: the least of what its config says and what its tables of learnt
    positions hold; None where neither bounds them."""
    text = model.config.get_text_config()
    found = [getattr(text, name, None) for name in LENGTHS]
    bounds = [
        one for one in found if isinstance(one, int) and not isinstance(one, bool) and one > 0
    ]
    for name, module in model.named_modules():
        if (
            isinstance(module, torch.nn.Embedding)
            and TABLE.search(name)
            and not (OTHER_INPUTS.search(name))
        ):
            # OPT's and BART's tables state how many rows lie unused; RoBERTa's begin after padding.
            unused = getattr(module, "offset", None)
            if unused is None:
                unused = 0 if module.padding_idx is None else module.padding_idx + 1
            bounds.append(module.num_embeddings - unused)
    return min(bounds, default=None)


def attention_window(model) -> int | None:
    """How many tokens back the model's shortest layer reaches, where its config bounds that."""
    found: list[int] = []

    def look(settings: dict) -> None:
        for name, value in settings.items():
            if isinstance(value, dict):
                look(value)
            elif WINDOW.search(str(name)) and not NO_WINDOW.search(name):
                values = value if isinstance(value, list | tuple) else [value]
                found.extend(one for one in values if isinstance(one, int) and one > 1)

    look(model.config.get_text_config().to_dict())
    return min(found, default=None)


def rotation_border(model) -> int | None:
    """The longest text whose positions the model turns as it does short ones (LongRoPE); None where
    all are turned alike. The longest text of a batch decides for all of it, so that none may stand
    beside one from the other side.
    """
    settings = model.config.get_text_config().to_dict()
    ropes = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    for one in (ropes, *(value for value in ropes.values() if isinstance(value, dict))):
        if one.get("rope_type", one.get("type")) in ("longrope", "su"):
            name = "original_max_position_embeddings"
            return one.get(name) or settings.get(name)
    return None


def unsupported(error: Exception) -> bool:
    """Whether `error` says that a model does not take inputs of this form, and nothing else.

    Masks of four dimensions and rows longer than a table meet size mismatches and assertions;
    everything else (memory, a broken device, a fault in the code) has to be heard of.
    """
    if is_of_memory(error):
        return False
    if isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError):
        return bool(re.search(r"size|shape|dimension|expand|broadcast|out of range", str(error)))
    return isinstance(error, ValueError | AssertionError | IndexError | NotImplementedError)


def failed(error: Exception) -> InputError:
    """One sentence for a trial that went wrong for another reason than `unsupported`."""
    said = " ".join(str(error).split())[:200].rstrip(".")
    return InputError(
        f"The model could not be run on a short trial ({type(error).__name__}: {said}): check its "
        "weights, the device and its memory."
    )


# --- The output head ------------------------------------------------------------------------------


class Head(NamedTuple):
    """logits = softcap · tanh(z ÷ softcap), z = scale · hidden · weightᵀ + bias; without a soft-cap
    z itself. weight (V, width), bias (V,) or None: keywords of `linear_logprob`."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float
    softcap: float | None


def output_head(model) -> Head | None:
    """What turns hidden states into logits; None where only the model's own code can.

    Scale and soft-cap are measured, once a model, by what comes out of the head when its input
    grows; they are believed if they then give the model's own logits, to rounding, on `TRIED`
    tokens, as large as they are and as large as the cap lets them become.
    """
    if not hasattr(model, "_ethical_compression_head"):
        model._ethical_compression_head = _tried(model)
    if model._ethical_compression_head is None:
        return None
    states_scale, scale, softcap = model._ethical_compression_head
    head = model.get_output_embeddings()
    bias = getattr(head, "bias", None)
    bias = bias if bias is None or scale == 1 else bias * scale
    return Head(head.weight, bias, states_scale * scale, softcap)


def next_token(head: Head | None, scored, *, entropy: bool) -> LinearLogprob:
    """`linear_logprob` of the tokens of a `layouts.Scored` under `head`, or of logits in place of
    hidden states where it is None."""
    states, place, targets = scored.states, scored.place, scored.target
    if head is not None:
        how = {"place": place, "argmax": False, "entropy": entropy}
        return linear_logprob(states, targets=targets, **how, **head._asdict())
    log_p = states.float().log_softmax(-1)
    return LinearLogprob(
        log_p[place, targets],
        torch.special.entr(log_p.exp()).sum(-1)[place] if entropy else None,
        log_p.amax(-1)[place],
        None,
    )


@torch.inference_mode()
def _tried(model) -> tuple[float, float, float | None] | None:
    """What the head's input is to the hidden states, scale and soft-cap; see `output_head`."""
    head = model.get_output_embeddings()
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if weight is None or weight.ndim != 2 or not weight.is_floating_point():
        return None
    tokens = min(TRIED, model_length(model) or TRIED)
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, len(weight), (1, tokens), generator=draw).to(model.device)
    fed: list[torch.Tensor] = []
    size = 1.0

    def grown(_, inputs):
        fed.append(inputs[0])
        return (inputs[0] * size, *inputs[1:])

    hook = head.register_forward_pre_hook(grown)
    try:
        states = getattr(backbone(model)(input_ids=ids, use_cache=False), "last_hidden_state", None)
        if states is None:
            return None
        states = states[0].float()
        fed.clear()
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
        if not logits.isfinite().any():
            raise InputError(NOT_FINITE)
        if len(fed) != 1 or fed[0].shape[-1] != weight.shape[1] or logits.shape[-1] != len(weight):
            return None
        given = fed[0].reshape(-1, fed[0].shape[-1]).float()
        if given.shape != states.shape or not given.any():
            return None
        states_scale = _ratio(states, given)
        if _apart(states_scale * states, given) > rounding(model):
            return None
        product = given @ weight.float().T
        offset = 0 if bias is None else bias.float()
        # Far out, a cap shows as a level that is not passed; float16 must not overflow there.
        size = min(1e3 / float(product.abs().max()), 3e4 / float(given.abs().max()))
        far = model(input_ids=ids, use_cache=False).logits[0].float()
        scale = _ratio(product + offset, logits)
        softcap = None
        if _apart(scale * (size * product + offset), far) > 0.1:
            softcap = float(far.abs().max())
            inside = logits.abs() < 0.9 * softcap
            bent = softcap * torch.atanh(logits[inside] / softcap)
            scale = _ratio((product + offset)[inside], bent)
            # Where the cap bends what is below it.
            size = 2 * softcap / float((scale * product).abs().max())
            far = model(input_ids=ids, use_cache=False).logits[0].float()
        for times, wanted in ((1.0, logits), (size, far)):
            ours = scale * (times * product + offset)
            ours = softcap * torch.tanh(ours / softcap) if softcap else ours
            if not _apart(ours, wanted) <= rounding(model):
                return None
    except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
        if isinstance(error, InputError):
            raise
        raise failed(error) from error
    finally:
        hook.remove()
    return _exact(states_scale, model), _exact(scale, model), softcap


def _exact(scale: float, model) -> float:
    """1, or a number that the configuration states, where rounding cannot tell it from `scale`."""
    config = model.config.get_text_config().to_dict()
    stated = [one for one in config.values() if type(one) is float and one]
    near = min([1.0, *stated, *(1 / one for one in stated)], key=lambda one: abs(one - scale))
    return near if abs(near - scale) < rounding(model) / 10 * abs(scale) else scale


def _ratio(x: torch.Tensor, y: torch.Tensor) -> float:
    """The c for which c · x is nearest to y."""
    return float((x.double() * y.double()).sum() / (x.double() ** 2).sum())


def _apart(x: torch.Tensor, y: torch.Tensor) -> float:
    """‖x − y‖ ÷ ‖y‖."""
    return float((x - y).norm() / y.norm())
