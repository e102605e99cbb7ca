"""Small language models raised here, from the first random weight: a decoder or a masked encoder.

A plain loop, because the transformers Trainer pads where this packs and draws its random numbers
from a state that a stopped run has to restore: here a step's windows, dropout and masks follow from
the seed and the step's number, so that a run that was stopped goes on to the same weights. The loss
of a step is the Trainer's to rounding (tests/train/test_baby.py). In bfloat16 a step is made with
a copy of the weights, and AdamW moves the float32 ones; more that saves time is in `token_loss`.

AdamW (weight decay on matrices only), gradients clipped to a norm of 1, a learning rate that rises
in a straight line and falls along a cosine to a tenth. A token is predicted from those of its own
document in its window alone, unless `across` says otherwise.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ethical_compression.datasets.files import known
from ethical_compression.errors import InputError
from ethical_compression.memory import keep_freed_memory
from ethical_compression.score.runs import fingerprint
from ethical_compression.train import state, windows
from ethical_compression.train.token_loss import dropout, root_mean_square, token_loss


def _sized(width: int, inner: int, depth: int, heads: int) -> dict[str, Any]:
    """Sizes in the names that the configurations of Llama, BERT and RoFormer share."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }


# kind: "causal" or "masked". config: of transformers, without the vocabulary.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"kind": "causal", "architecture": "llama", "config": _sized(32, 64, 2, 2)},
    # Multiples of 128 throughout: groups of weights come out even.
    "small": {"kind": "causal", "architecture": "llama", "config": _sized(256, 640, 4, 4)},
    "book": {"kind": "causal", "architecture": "llama", "config": _sized(384, 1024, 6, 6)},
    "tiny-encoder": {"kind": "masked", "architecture": "bert", "config": _sized(32, 64, 2, 2)},
    "small-encoder": {"kind": "masked", "architecture": "bert", "config": _sized(256, 1024, 6, 4)},
    # Proskurina et al. 2023; what the text leaves open is transformers' default. Relative positions
    # are rotary here.
    "zlata": {
        "kind": "causal",
        "architecture": "gpt2",
        "config": {"n_embd": 768, "n_layer": 6, "n_head": 12, "n_positions": 512},
    },
    "bebeshka": {"kind": "masked", "architecture": "roformer", "config": _sized(560, 1412, 4, 8)},
}
DROPOUTS = (
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)
DTYPES = ("float32", "bfloat16")
MASKED, REPLACED, KEPT = 0.15, 0.1, 0.1  # shares: of tokens; of these a random token, and the same


@dataclass(frozen=True)
class Training:
    """How a model is raised.

    shape: a name in `SHAPES`. steps: of `tokens` predicted tokens each (of a masked encoder, read).
    lengths: of windows. warmup: share of the steps in which the learning rate rises. decay: of
    matrices. dtype: of the products ("bfloat16": of what flows between them too; the weights that
    AdamW moves and the loss's sums stay float32).
    across: read over the borders of documents. seed: of everything. device: as torch names it.
    """

    shape: str = "small"
    steps: int = 1000
    tokens: int = 4096
    lengths: tuple[int, ...] = (64, 128, 256)
    learning_rate: float = 1e-3
    warmup: float = 0.05
    decay: float = 0.1
    dropout: float = 0.1
    clip: float = 1.0
    dtype: str = "float32"
    across: bool = False
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self):
        known("shape of model", self.shape, SHAPES)
        known("dtype of training", self.dtype, DTYPES)
        for name in ("steps", "tokens", "learning_rate", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"Training needs a positive {name}, not {getattr(self, name)}.")
        for name in ("warmup", "decay", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it lies from 0 to below 1.")

    @property
    def masked(self) -> bool:
        """Whether the model is a masked encoder."""
        return SHAPES[self.shape]["kind"] == "masked"

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, self.steps - rising)
        return self.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)


# --- Models ---------------------------------------------------------------------------------------


def made(training: Training, tokenizer):
    """A model of the shape with random weights, in training mode: the same seed, the same weights.

    Raises InputError for windows longer than the model reads.
    """
    import torch
    import transformers

    entry = SHAPES[training.shape]
    config = transformers.AutoConfig.for_model(
        entry["architecture"],
        **entry["config"],
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, training.dropout)
    if max(training.lengths) > config.max_position_embeddings:
        raise InputError(
            f"Windows of {max(training.lengths)} tokens are longer than the model reads, "
            f"{config.max_position_embeddings}: choose shorter ones."
        )
    kind = (
        transformers.AutoModelForMaskedLM if training.masked else transformers.AutoModelForCausalLM
    )
    torch.manual_seed(training.seed)
    model = kind.from_config(config).train()
    if entry["architecture"] == "llama" and training.dropout:
        _with_dropout(model, training.dropout)
    return model


def _with_dropout(model, share: float) -> None:
    """Dropout where GPT-2 has it, which Llama has not: behind the embedding and every block's two
    outputs. As hooks, so that what is saved is a plain Llama."""

    def hook(module, _inputs, output):
        return dropout(output, share, module.training)

    for name, module in model.named_modules():
        if name.endswith(("embed_tokens", "o_proj", "down_proj")):
            module.register_forward_hook(hook)


def working(model, training: Training):
    """What steps are made with: the model itself or, for bfloat16, a copy whose weights are in that
    type, to be brought up to date after each step (`_step`).

    The embedding stays float32: a frequent word's gradient is a sum of very many.
    """
    import torch

    if training.dtype == "float32":
        return model
    half = copy.deepcopy(model)
    half.set_attn_implementation("eager")  # on a CPU half the time of sdpa's backward pass
    wide = half.get_input_embeddings().weight
    for weight in half.parameters():
        if weight is not wide:
            weight.data = weight.data.bfloat16()
    for module in half.modules():
        if isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(lambda _m, _i, out: out.bfloat16(), prepend=True)
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = partial(root_mean_square, module.weight, module.variance_epsilon)
    return half


def inputs_of(model, tokens: np.ndarray, begin: int, *, across: bool = False) -> dict[str, Any]:
    """What the model is called with to read windows (n, L): a mask and positions only where a
    window holds the border of two documents, since reading without them is faster.

    begin: the token that begins a document.
    """
    import torch

    given = {"input_ids": torch.from_numpy(tokens.astype(np.int64)).to(model.device)}
    numbers = windows.segments(tokens, begin)
    if across or not numbers.any():
        return given
    told = torch.from_numpy(numbers).to(model.device)
    seen = told[:, :, None] == told[:, None, :]
    family = model.config.model_type
    if family not in ("bert", "roformer"):
        seen = seen.tril()
    seen = seen[:, None]
    if model.config._attn_implementation == "eager":  # adds its mask
        flowing = next(one.dtype for one in model.parameters() if one.dim() == 1)
        seen = torch.where(seen, 0.0, torch.finfo(flowing).min).to(flowing)
    if family == "roformer":  # turns by relative positions
        return given | {"attention_mask": seen}
    places = torch.from_numpy(windows.positions(numbers)).to(model.device)
    return given | {"attention_mask": seen, "position_ids": places}


def hidden(tokens: np.ndarray, tokenizer, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(what an encoder reads, which tokens it is asked for) of windows (n, L), as Devlin et al.
    2019 have it: 15% of the tokens, of which 80% are masked, 10% another one and 10% left; never
    the token that begins a document."""
    draw = np.random.default_rng(seed)
    asked = (draw.random(tokens.shape) < MASKED) & (tokens != tokenizer.bos_token_id)
    if not asked.any():
        asked[:, -1] = True
    fate = draw.random(tokens.shape)
    others = draw.integers(0, len(tokenizer), tokens.shape)
    read = np.where(asked & (fate >= KEPT + REPLACED), tokenizer.mask_token_id, tokens)
    read = np.where(asked & (fate < REPLACED), others, read)
    return read.astype(tokens.dtype), asked


def loss_of(model, tokenizer, batch: np.ndarray, training: Training, seed: Sequence[int]):
    """Mean negative log-likelihood (nats) of what a batch (n, L + 1) asks: the next token of each,
    or the hidden ones of the first L. seed: of what is hidden."""
    import torch

    def tensor(array):
        return torch.from_numpy(array).to(model.device)

    text = batch[:, :-1]
    given = inputs_of(model, text, tokenizer.bos_token_id, across=training.across)
    if training.masked:
        # What is hidden never hides a border: the borders are those of the text.
        read, asked = hidden(text, tokenizer, seed)
        given["input_ids"] = tensor(read.astype(np.int64))
    else:
        given["use_cache"] = False
    half = training.dtype == "bfloat16"
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half):
        states = model.base_model(**given).last_hidden_state
        if training.masked:
            states = model.cls.predictions.transform(states[tensor(asked)])
    head = model.get_output_embeddings()
    wanted = tensor((text[asked] if training.masked else batch[:, 1:]).astype(np.int64))
    return token_loss(states.flatten(0, -2), head.weight, wanted.flatten(), head.bias)


# --- Training -------------------------------------------------------------------------------------


def train(
    tokenizer,
    documents: Sequence[np.ndarray],
    development: Sequence[np.ndarray],
    training: Training,
    *,
    folder: Path | None = None,
    every: int = 100,
    look: int = 100,
    progress: str | None = None,
    after: Callable[[int], None] | None = None,
):
    """(a model raised on documents, in eval mode; its learning curve). The same inputs give the
    same weights, on one machine.

    documents, development: arrays of tokens (`bpe.encoded`). folder: where the state is kept every
    `every` steps and at the end, whole or not at all; a run that was stopped goes on from it, and a
    finished one is read back. look: steps between two looks at the development part; the last step
    has one. after: called with each step's number when it is done (a clock, say).

    The curve is a DataFrame, a row a step: `step` (from 1), `tokens` (seen so far), `rate`, `loss`
    (nats a token, in training, with dropout), `gradient` (norm before clipping), and `development`
    (nats a token, without dropout; missing where nobody looked).
    Raises InputError for texts too short, a folder of another run, and a loss that is not finite.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    keep_freed_memory()
    model = made(training, tokenizer).to(training.device)
    # Without tables of sines, which are no weights.
    weights = {name: one for name, one in model.named_parameters() if one.requires_grad}
    optimizer = _optimizer(weights, training)
    said = _inputs(tokenizer, documents, development, training, look)
    log = state.read(folder, weights, optimizer, said) if folder else []
    half = working(model, training)
    line = windows.batches(documents, training.lengths, training.tokens, training.seed)
    bar = tqdm(
        total=training.steps,
        initial=len(log),
        unit="step",
        desc=progress,
        disable=progress is None,
    )
    for step, batch in enumerate(islice(line, len(log), training.steps), start=len(log)):
        last = step + 1 == training.steps
        row = _step(half, tokenizer, batch, training, step, weights, optimizer)
        if (step + 1) % look == 0 or last:
            row["development"] = development_loss(half, tokenizer, development, training)
        log.append(row)
        if after:
            after(step)
        if folder and ((step + 1) % every == 0 or last):
            state.write(folder, weights, None if last else optimizer, said, log)
        bar.update()
        bar.set_postfix(loss=f"{row['loss']:.3f}")
    bar.close()
    return model.eval(), pd.DataFrame(log)


def _step(model, tokenizer, batch, training, step, weights, optimizer) -> dict[str, Any]:
    """One step in place, and its row of the log. model: of `working`, with the weights' names."""
    import torch

    moved = {name: one for name, one in model.named_parameters() if name in weights}

    # Dropout follows from the step's number: no random state to keep.
    torch.manual_seed(training.seed * 1_000_003 + step)
    loss = loss_of(model, tokenizer, batch, training, [training.seed, step])
    loss.backward()
    loss = float(loss.detach())
    for name, weight in weights.items():
        if weight is not moved[name]:
            weight.grad, moved[name].grad = moved[name].grad.float(), None
    gradient = float(torch.nn.utils.clip_grad_norm_(weights.values(), training.clip))
    if not (math.isfinite(loss) and math.isfinite(gradient)):
        raise InputError(
            f"The loss of step {step + 1} is not a finite number: lower the learning rate "
            f"({training.learning_rate:g})."
        )
    for group in optimizer.param_groups:
        group["lr"] = training.rate(step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, weight in weights.items():
            if weight is not moved[name]:
                moved[name].copy_(weight)
    return {
        "step": step + 1,
        "tokens": (step + 1) * training.tokens,
        "rate": training.rate(step),
        "loss": loss,
        "gradient": gradient,
        "development": math.nan,
    }


def _optimizer(weights: Mapping[str, Any], training: Training):
    import torch

    matrices = [weight for weight in weights.values() if weight.dim() > 1]
    others = [weight for weight in weights.values() if weight.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": training.decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, 0.95), fused=True)


def _inputs(tokenizer, documents, development, training: Training, look: int) -> dict[str, Any]:
    """What a run is told from others by: JSON-ready."""
    texts = [[one.tolist() for one in part] for part in (documents, development)]
    said = asdict(training) | {"lengths": list(training.lengths), "look": look}
    return said | {"texts": fingerprint(texts), "vocabulary": fingerprint(tokenizer.get_vocab())}


def development_loss(
    model, tokenizer, documents: Sequence[np.ndarray], training: Training
) -> float:
    """Nats a token of documents that are not trained on, by windows of the longest length, without
    dropout; of an encoder, of hidden tokens that are the same at every look."""
    import torch

    length = max(training.lengths)
    rows = sorted(windows.in_order(documents, length), key=len)
    total = count = 0
    was = model.training
    model.eval()
    size = max(1, training.tokens // length)
    with torch.no_grad():
        for some in _of_one_length(rows, size):
            batch = np.stack(some)
            loss = loss_of(model, tokenizer, batch, training, [0, count])
            total, count = total + float(loss) * batch[:, 1:].size, count + batch[:, 1:].size
    model.train(was)
    return total / count


def _of_one_length(rows: Sequence[np.ndarray], size: int):
    """Rows sorted by length in groups of one length, `size` at most."""
    group: list[np.ndarray] = []
    for one in rows:
        if group and (len(one) != len(group[0]) or len(group) == size):
            yield group
            group = []
        group.append(one)
    if group:
        yield group
