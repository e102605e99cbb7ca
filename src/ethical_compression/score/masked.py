"""Masked language models, for which CrowS-Pairs was made: the subject, and the battery's score."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from ethical_compression.datasets.contrast import Contrast
from ethical_compression.errors import InputError
from ethical_compression.models import causal, reading, sources
from ethical_compression.score.harms import contrast_labels
from ethical_compression.score.token_tree import padded


@dataclass(frozen=True)
class Masked:
    """A masked language model as a subject: a folder or a hub id with safetensors weights.

    model: the base model; place: what is read, by default the base model itself; label: what tables
    call it.
    """

    model: str
    place: str = ""
    label: str = "full"
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def compression(self) -> str:
        """The label."""
        return self.label

    def _folder(self) -> Path:
        name = self.place or self.model
        kind = sources.kind_of(name, None)
        if kind == "folder":
            return Path(name).expanduser()
        if kind == "hub":
            return sources.hub_folder(name, sources.CONTENT, None)
        raise InputError(f"{name} is no masked language model: give a folder, or a hub id.")

    def inputs(self) -> dict[str, Any]:
        """What decides its numbers: JSON-ready."""
        found = sources.folder_fingerprint(self._folder())
        return {"masked": found, "dtype": self.dtype, "device": self.device}

    def load(self, *, progress: bool = False) -> causal.Loaded:
        """The model in eval mode and its tokenizer.

        Raises InputError for weights that are missing (an encoder without a head for masked words
        has random ones there), not safetensors, or cannot be read.
        """
        import transformers

        folder, name = self._folder(), self.place or self.model
        if not any(folder.glob("*.safetensors")):
            raise InputError(f"{name} has no safetensors weights: choose a model that has them.")
        with reading.one_sentence(name), reading.quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, found = transformers.AutoModelForMaskedLM.from_pretrained(
                folder,
                dtype=self.dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        if found["missing_keys"]:
            raise InputError(
                f"{name} lacks {len(found['missing_keys'])} weights that a masked language model "
                f"has, such as {min(found['missing_keys'])}: choose another model."
            )
        source = {"name": name, "fingerprint": sources.folder_fingerprint(folder)}
        return causal.Loaded(model.to(self.device).eval(), tokenizer, source)


def masked_contrasts(
    model, tokenizer, items: Sequence[Contrast], *, batch: int = 64, progress: str | None = None
) -> pd.DataFrame:
    """As `harms.contrasts`, by a masked model: the pseudo-log-likelihood of the tokens that both
    texts share, Σ log p(u | the text with u masked) (Nangia et al. 2020, eq. 1).

    Shared tokens are the matching blocks of both sequences (Python's `difflib`, as in the released
    code); what the tokenizer adds to a text is never masked. `tokens`: how many are shared.
    batch: masked sequences in one pass.
    Raises InputError for a tokenizer without a mask and a pair that shares no token.
    """
    mask = getattr(tokenizer, "mask_token_id", None)
    if mask is None:
        raise InputError("This tokenizer has no mask: score contrasts by whole sentences instead.")
    rows, jobs = [], []  # a job: (row, the sequence, the place to mask)
    for one in items:
        texts = [tokenizer(text, return_special_tokens_mask=True) for text in one.texts]
        ids, added = (
            [text[name] for text in texts] for name in ("input_ids", "special_tokens_mask")
        )
        blocks = difflib.SequenceMatcher(None, *ids, autojunk=False).get_matching_blocks()
        shared = [(b.a + k, b.b + k) for b in blocks for k in range(b.size)]
        shared = [(a, b) for a, b in shared if not added[0][a]]
        if not shared:
            raise InputError(f"The texts of {one.benchmark} {one.id} share no token: leave it out.")
        for option in range(2):
            rows.append(
                contrast_labels(one)
                | {"measure": "pseudo-log-likelihood of the shared tokens", "option": option}
                | {"side": one.sides[option], "tokens": len(shared), "logprob": 0.0}
                | {"bytes": len(one.texts[option].encode()), "repeated": False}
            )
            jobs += [(len(rows) - 1, ids[option], places[option]) for places in shared]
    jobs.sort(key=lambda job: len(job[1]))
    bar = tqdm(total=len(jobs), unit="mask", desc=progress, disable=progress is None)
    with torch.inference_mode():
        for begin in range(0, len(jobs), batch):
            some = jobs[begin : begin + batch]
            width = max(len(ids) for _, ids, _ in some)
            fill = tokenizer.pad_token_id or 0
            device = model.device
            inputs = padded((ids for _, ids, _ in some), width, device, fill)
            seen = padded(([1] * len(ids) for _, ids, _ in some), width, device)
            places = torch.tensor([place for *_, place in some], device=device)
            wanted = inputs[range(len(some)), places]
            inputs[range(len(some)), places] = mask
            logits = model(input_ids=inputs, attention_mask=seen).logits[range(len(some)), places]
            found = logits.float().log_softmax(-1).gather(1, wanted[:, None])
            for (row, *_), value in zip(some, found[:, 0].double().tolist(), strict=True):
                rows[row]["logprob"] += value
            bar.update(len(some))
    bar.close()
    return pd.DataFrame(rows)
