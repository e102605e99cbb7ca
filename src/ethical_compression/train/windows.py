"""Documents packed into windows, so that no step is spent on padding and no token is lost.

The documents, each after a token that begins it, are one endless line, shuffled anew in every
round. It is cut into windows one after the other, of lengths drawn from `lengths`; each overlaps
the next by one token, so that every token is predicted once a round. Windows of one length fill a
batch. A batch has the same number of tokens whatever the documents, and depends on the seed and its
number alone, so that training can go on from any step.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from ethical_compression.errors import InputError


def windows(
    documents: Sequence[np.ndarray], lengths: Sequence[int], seed: int
) -> Iterator[list[np.ndarray]]:
    """Round after round, without end: the windows that begin in it, in the order of the line.

    A window of length L has L + 1 tokens: L to read, and L to predict, each the next one. What is
    left of a round at its end, shorter than the longest window, begins the next.
    """
    rest = np.zeros(0, dtype=np.int32)
    number = 0
    while True:
        draw = np.random.default_rng([seed, number])
        order = draw.permutation(len(documents))
        line = np.concatenate([rest, *(documents[place] for place in order)])
        found, at = [], 0
        while len(line) - at > max(lengths):
            length = int(draw.choice(lengths))
            found.append(line[at : at + length + 1])
            at += length
        rest = line[at:]
        number += 1
        yield found


def batches(
    documents: Sequence[np.ndarray], lengths: Sequence[int], tokens: int, seed: int
) -> Iterator[np.ndarray]:
    """Without end: (tokens ÷ L, L + 1) arrays of windows of one length L; a round's are shuffled.

    documents: arrays of tokens (`bpe.encoded`). tokens: to be predicted in a batch. Raises
    InputError for documents shorter, all together, than a window, and for tokens that are no
    multiple of every length.
    """
    if not lengths or any(length < 1 or tokens % length for length in lengths):
        raise InputError(
            f"{tokens} tokens a step are no multiple of every length in {list(lengths)}: choose "
            "others."
        )
    if sum(map(len, documents)) <= max(lengths):
        raise InputError(
            f"These documents are shorter than one window of {max(lengths)} tokens: give more."
        )
    waiting = defaultdict(list)
    for number, found in enumerate(windows(documents, lengths, seed)):
        for place in np.random.default_rng([seed, number, 1]).permutation(len(found)):
            window = found[place]
            length = len(window) - 1
            waiting[length].append(window)
            if len(waiting[length]) * length == tokens:
                yield np.stack(waiting.pop(length))


def in_order(documents: Sequence[np.ndarray], length: int) -> list[np.ndarray]:
    """Every document in windows of at most `length` tokens to predict, none across two documents:
    for measuring. Documents of one token are left out."""
    return [
        document[begin : begin + length + 1]
        for document in documents
        for begin in range(0, len(document) - 1, length)
    ]


def segments(tokens: np.ndarray, begin: int) -> np.ndarray:
    """Of each token in windows (n, L), the number of its document in the window, from 0."""
    return np.cumsum(tokens == begin, axis=1) - (tokens[:, :1] == begin)


def positions(numbers: np.ndarray) -> np.ndarray:
    """Of each token (n, L), its place in its document or, of one that began before, the window."""
    places = np.broadcast_to(np.arange(numbers.shape[1]), numbers.shape)
    first = np.diff(numbers, axis=1, prepend=numbers[:, :1] - 1) > 0
    return places - np.maximum.accumulate(np.where(first, places, 0), axis=1)
