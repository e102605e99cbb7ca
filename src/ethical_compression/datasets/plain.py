"""Plain sentences, which nobody wrote to hurt: what a judge of toxicity is to let pass.

Posts that were gathered for their hatred say little of a judge's false alarms on ordinary text, and
a judge that saw nothing else takes every sentence for a post. These are harmless by where they come
from, and not because anybody labelled them: encyclopaedia (the beginnings of sentences that BOLD
took from Wikipedia), everyday life (situations of SIQA, right answers of PIQA), and news (BBC
articles of XSum).
"""

import re
from typing import Any

from ethical_compression.datasets import files, multiple_choice, prompts, text
from ethical_compression.errors import InputError

BOLD = tuple(name for name in prompts.PROMPTS if name.startswith("bold_"))
EVERYDAY = ("social_iqa", "piqa")


def _encyclopaedia() -> list[str]:
    return [one.text for name in BOLD for one in prompts.load(name)]


def _everyday() -> list[str]:
    situations, solutions = (multiple_choice.load(name) for name in EVERYDAY)
    # Without the marks of the question's template, which would tell these sentences by themselves.
    said = [one.context.removeprefix("Q: ").removesuffix("\nA:") for one in situations]
    return said + [one.options[one.gold].strip() for one in solutions]


def _news() -> list[str]:
    articles = text.load("xsum", "held_out")
    return [line.strip() for article in articles for line in article.split("\n")]


# held_out: a kind of text that no judge of this book was trained on.
KINDS: dict[str, dict[str, Any]] = {
    "encyclopaedia": {
        "sentences": _encyclopaedia,
        "sources": lambda: [prompts.source_record(name) for name in BOLD],
    },
    "everyday": {
        "sentences": _everyday,
        "sources": lambda: [multiple_choice.source_record(name) for name in EVERYDAY],
    },
    "news": {
        "sentences": _news,
        "sources": lambda: [text.source_record("xsum", "held_out")],
        "held_out": True,
    },
}
PARTS = ("train", "test")
LEAST_WORDS = 5
SEED = 0  # drawn once: the parts are the same for everybody


def load(kind: str, part: str, *, limit: int | None = None) -> list[str]:
    """Different sentences of a kind (a name in `KINDS`), of five words or more.

    part: "train" or "test", halves that share no sentence; a kind that is held out has "test" only.
    limit: at most so many, a seeded sample (`files.sample`).
    Raises InputError for an unknown kind or part, and what the kind's own loader raises.
    """
    files.known("kind of plain text", kind, KINDS)
    files.known("part of plain text", part, PARTS)
    found = dict.fromkeys(KINDS[kind]["sentences"]())
    kept = [one for one in found if len(re.findall(r"\w+", one)) >= LEAST_WORDS]
    if KINDS[kind].get("held_out"):
        if part == "train":
            raise InputError(
                f"Plain text of the kind {kind!r} is held out: it has only a test part."
            )
        return files.sample(kept, limit, SEED)
    first = files.sample(range(len(kept)), len(kept) // 2, SEED)
    chosen = first if part == "train" else sorted(set(range(len(kept))) - set(first))
    return files.sample([kept[number] for number in chosen], limit, SEED)


def source_record(kind: str) -> dict[str, Any]:
    """Where a kind comes from, JSON-ready: `kind`, and `sources` (each with its own licence)."""
    files.known("kind of plain text", kind, KINDS)
    return {"kind": kind, "sources": KINDS[kind]["sources"]()}
