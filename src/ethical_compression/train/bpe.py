"""A tokenizer of one's own: byte-level BPE, trained on what a small model is raised on."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ethical_compression.errors import InputError

# Begins every document and ends the one before; WikiText's rare words; hidden from an encoder.
BEGIN, UNKNOWN, MASK = "<|endoftext|>", "<unk>", "<mask>"
LEAST = 256 + 3  # bytes and the above


def trained(documents: Sequence[str], size: int = 8192) -> Any:
    """A `transformers.PreTrainedTokenizerFast` of `size` entries: all bytes, the three above, and
    the pairs that were joined most often (Sennrich et al. 2016; of bytes, Radford et al. 2019).

    Any text can be written in it and is read back as it was. `BEGIN` is its first, last and padding
    token. The same documents give the same entries. Raises InputError for no text, and for a size
    that is too small or larger than the documents can fill.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if size < LEAST:
        raise InputError(f"{size} entries cannot hold all bytes: ask for {LEAST} or more.")
    if not any(one.strip() for one in documents):
        raise InputError("There is no text to train a tokenizer on.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BEGIN, UNKNOWN, MASK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with _one_thread():
        # WikiText writes its mark into the text: no pair is to be learnt from its letters.
        tokenizer.train_from_iterator((one.replace(UNKNOWN, " ") for one in documents), trainer)
    if tokenizer.get_vocab_size() < size:
        raise InputError(
            f"These documents give {tokenizer.get_vocab_size()} entries, not {size}: ask for fewer."
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=BEGIN,
        pad_token=BEGIN,
        mask_token=MASK,
        clean_up_tokenization_spaces=False,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """tokenizers without its own threads: each would ask this one for the next document, and where
    another thread of Python runs beside them (a progress bar's), all were seen to wait for ever."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def encoded(tokenizer, documents: Sequence[str]) -> list[Any]:
    """Each document as a numpy array of int32 tokens, with `BEGIN` before it."""
    import numpy as np

    begin = tokenizer.bos_token_id
    found = tokenizer(list(documents), add_special_tokens=False)["input_ids"]
    return [np.array([begin, *ids], dtype=np.int32) for ids in found]
