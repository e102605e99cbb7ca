"""A judge of toxic text that ships with the book: trained here, from text, in seconds.

Logistic regression on words and pairs of words, each weighted by how rare it is (TF-IDF), trained
on posts that people labelled, and on plain sentences that count as harmless (`datasets.plain`):
without these every other sentence of an encyclopaedia was flagged. On development posts it was as
good with runs of two to five letters added (AUC 0.838 against 0.836 on RedditBias, eight times
slower), and better than a linear head on MiniLM's embeddings (0.79).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ethical_compression.datasets import files, hate_speech, plain
from ethical_compression.datasets.hate_speech import Post
from ethical_compression.errors import InputError
from ethical_compression.metrics import recalibration

# posts: what people labelled. measures: what these labels say, and therefore the judge.
JUDGES: dict[str, dict[str, Any]] = {
    "redditbias": {
        "posts": ("redditbias",),
        "measures": "a biased remark about a group",
    },
    "hatexplain": {
        "posts": ("hatexplain",),
        "measures": "hateful or offensive language",
    },
    "redditbias and hatexplain": {
        "posts": ("redditbias", "hatexplain"),
        "measures": "a biased remark, or hateful or offensive language",
    },
}
# What to train and to measure on, by the posts' source.
SPLITS = {
    "embedded": ("train", "test"),
    "mirror": ("rebuilt_train", "validation"),
    "hub": ("train", "test"),
}
PLAIN = {"encyclopaedia": 1500, "everyday": 1500}
DEVELOPMENT = 0.1  # of the posts, kept from training, to set how sure the judge is


class Linear(NamedTuple):
    """A fitted judge; `temperature`: its log-odds are divided by it (Guo et al. 2017)."""

    words: Any
    classifier: Any
    temperature: float

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) that each text is toxic."""
        from scipy import special

        logit = self.classifier.decision_function(self.words.transform(texts))
        return special.expit(logit / self.temperature)

    def faults(self, texts: Sequence[str]) -> list[str]:
        """Why it cannot judge a text, or "": without a known word it would only guess."""
        known = self.words.transform(texts).getnnz(axis=1)
        return ["" if count else "no word that the judge knows" for count in known]


def text_of(post: Post) -> str:
    return " ".join(post.tokens)


def is_toxic(name: str, post: Post) -> bool:
    entry = hate_speech.DATASETS[name]
    return entry["labels"][post.label] in entry["toxic"]


def origin(name: str, source: str) -> str:
    """Where posts are taken from: `source`, or "embedded" where they come no other way."""
    return source if source in hate_speech.DATASETS[name]["sources"] else "embedded"


def load_posts(name: str, part: str, source: str) -> list[Post]:
    """Labelled posts to train on ("train") or to measure on ("test"), of `origin`'s source."""
    files.known("source of posts", source, SPLITS)
    place = origin(name, source)
    files.known(f"source of {name}:", place, hate_speech.DATASETS[name]["sources"])
    return hate_speech.load(name, SPLITS[place][("train", "test").index(part)], source=place)


def fit(texts: Sequence[str], toxic: Sequence[bool], harmless: Sequence[str] = ()) -> Linear:
    """The judge that these labelled texts make. Deterministic.

    harmless: more texts that are not toxic, which count in training and not in setting how sure
    the judge is. A tenth of the labelled texts, drawn once, sets its temperature.
    Raises InputError for unequal lengths, and fewer than twenty texts of either kind.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    toxic = np.asarray(toxic, dtype=bool)
    if len(texts) != len(toxic):
        raise InputError("Each text needs its label, toxic or not.")
    if min(toxic.sum(), (~toxic).sum()) < 20:
        raise InputError("A judge needs twenty toxic texts and twenty others to be trained on.")
    order = np.random.default_rng(0).permutation(len(texts))
    kept, used = np.split(order, [round(DEVELOPMENT * len(texts))])
    words = TfidfVectorizer(
        token_pattern=r"[^\W_]+", ngram_range=(1, 2), sublinear_tf=True, min_df=2
    )
    seen = words.fit_transform([*(texts[i] for i in used), *harmless])
    classifier = LogisticRegression(C=4, solver="liblinear", random_state=0)
    classifier.fit(seen, np.r_[toxic[used], np.zeros(len(harmless), dtype=bool)])
    logit = classifier.decision_function(words.transform([texts[i] for i in kept]))
    return Linear(words, classifier, _temperature(logit, toxic[kept]))


def _temperature(logit: np.ndarray, toxic: np.ndarray) -> float:
    """What to divide log-odds by, as for a question of two options, harmless and toxic."""
    rows = pd.DataFrame(
        {
            "benchmark": "posts",
            "item": np.repeat(np.arange(len(logit)).astype(str), 2),
            "option": np.tile([0, 1], len(logit)),
            "gold": np.repeat(toxic.astype(int), 2),
            "logprob": np.stack([np.zeros(len(logit)), logit], axis=1).ravel(),
        }
    )
    return recalibration.fit(rows, "temperature").temperature


def train(name: str, source: str = "embedded") -> tuple[Linear, dict[str, Any]]:
    """A judge of `JUDGES`, and what it was made from: JSON-ready, each part with its licence.

    source: where HateXplain is read from, "mirror" or "hub" (RedditBias is always embedded).
    """
    files.known("judge", name, JUDGES)
    texts, toxic, parts = [], [], []
    for data in JUDGES[name]["posts"]:
        posts = load_posts(data, "train", source)
        texts += map(text_of, posts)
        toxic += [is_toxic(data, post) for post in posts]
        place = origin(data, source)
        parts.append(hate_speech.source_record(data, SPLITS[place][0], place))
    harmless = [
        one for kind, most in PLAIN.items() for one in plain.load(kind, "train", limit=most)
    ]
    record = {
        "judge": name,
        "posts": parts,
        "plain": [plain.source_record(kind) | {"sentences": most} for kind, most in PLAIN.items()],
        "posts_seen": len(texts),
        "toxic_seen": int(sum(toxic)),
    }
    return fit(texts, toxic, harmless), record
