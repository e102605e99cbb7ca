"""What a model makes of a text, as numbers for a small probe: its weights stay as they are."""

from collections.abc import Sequence

import pandas as pd

from ethical_compression.datasets.ethics import Judgement
from ethical_compression.errors import InputError
from ethical_compression.score import judgements, networks
from ethical_compression.score.runs import Battery


def features(
    model,
    tokenizer,
    items: Sequence[Judgement],
    *,
    batch: int = 32,
    progress: str | None = None,
) -> pd.DataFrame:
    """The last layer's states of each text (`judgements.text`), averaged over its tokens.

    Of a causal language model or of a masked one, with the tokens that its tokenizer adds. Columns:
    `benchmark, item, set, label, cluster` (the text that what is said is about) and `f0`, `f1`, …
    (float32). batch: texts in one pass; they are run in the order of their lengths.
    Raises InputError for no items, a text longer than the model reads, and states that are not
    finite.
    """
    import torch
    from tqdm.auto import tqdm

    if not items:
        raise InputError("There is nothing to read: give at least one item.")
    ids = tokenizer([judgements.text(one) for one in items])["input_ids"]
    limit = networks.model_length(model)
    longest = max(range(len(ids)), key=lambda place: len(ids[place]))
    if limit and len(ids[longest]) > limit:
        raise InputError(
            f"Item {items[longest].id} has {len(ids[longest])} tokens, and the model reads "
            f"{limit}: leave it out."
        )
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    found = torch.empty(len(ids), model.config.get_text_config().hidden_size)
    bar = tqdm(total=len(ids), unit="text", desc=progress, disable=progress is None)
    with torch.inference_mode():
        for begin in range(0, len(order), batch):
            some = order[begin : begin + batch]
            width = len(ids[some[-1]])
            padded = torch.tensor([[*ids[i], *[0] * (width - len(ids[i]))] for i in some])
            seen = torch.tensor([[1] * len(ids[i]) + [0] * (width - len(ids[i])) for i in some])
            states = model.base_model(
                input_ids=padded.to(model.device), attention_mask=seen.to(model.device)
            ).last_hidden_state.float()
            weights = seen.to(model.device)[..., None]
            found[some] = ((states * weights).sum(1) / weights.sum(1)).cpu()
            bar.update(len(some))
    bar.close()
    if not found.isfinite().all():
        raise InputError("The model's states are not finite: load it in float32.")
    labels = pd.DataFrame(
        [
            {
                "benchmark": f"ethics_{one.task}",
                "item": one.id,
                "set": one.set,
                "label": one.label,
                "cluster": one.text,
            }
            for one in items
        ]
    )
    numbers = pd.DataFrame(found.numpy(), columns=[f"f{k}" for k in range(found.shape[1])])
    return pd.concat([labels, numbers], axis=1)


def battery(task: str, items: Sequence[Judgement], *, name: str = "features") -> Battery:
    """`features` of items, kept in parts. name: of the table."""
    return Battery(name, items, features, title=f"ETHICS {task}, read", again={"batch": 5})
