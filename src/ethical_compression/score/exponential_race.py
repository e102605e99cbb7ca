"""The luck that models share when they draw the next token.

An *exponential race* (the Gumbel-max trick; Maddison et al. 2014): every token v of the vocabulary
draws a time E_v ~ Exp(1), and the one with the smallest E_v ÷ p(v) is said next. That is an exact
draw from p. The times depend on the prompt, the position and a seed, and on nothing else: models
share them, so equal distributions give equal tokens, and two that are δ apart in total variation
give the same token with probability (1 − δ) ÷ (1 + δ) at least (Daliri et al. 2024).
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch


def race(prompt: str, position: int, vocabulary: int, seed: int) -> np.ndarray:
    """The times E_v that the tokens draw for one place of one prompt's continuation: (vocabulary,).

    float32, positive. The first V of a larger vocabulary are those of a vocabulary of V.
    """
    digest = np.frombuffer(hashlib.sha256(prompt.encode()).digest(), dtype=np.uint32)
    times = np.random.default_rng([seed, position, *digest]).standard_exponential(
        vocabulary, dtype=np.float32
    )
    return np.maximum(times, np.finfo(np.float32).tiny)


def races(luck: Sequence[tuple[str, int]], position: int, vocabulary: int) -> np.ndarray:
    """`race` of every (prompt, seed), on as many threads as torch uses: (texts, vocabulary)."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return np.stack([*pool.map(lambda one: race(one[0], position, vocabulary, one[1]), luck)])
