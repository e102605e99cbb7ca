"""What kinds of model can be audited: what each is asked, and how one reads a text and is timed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ethical_compression import models
from ethical_compression.audit import classifiers
from ethical_compression.audit.checks import CHECKS, NOT_MEASURED, Check
from ethical_compression.train import encoders

# Reads of a post whose quartiles are told.
TIMED = 24
POST = "the museum opened its new wing on monday and many people came to see it"


@dataclass(frozen=True)
class Kind:
    """checks: the questions by name. read: (what was loaded, a text) reads it once. timed: what is
    timed, in words, and {name: what was loaded} -> {name: `low`, `median` and `high` seconds}.
    not_measured: what a reader might expect and does not find. task: the hub's name of it.
    describe: where a model of a name is from, and what must be known of it. notes: of an audit,
    what must be known of the full model on these items, and whom too few of them are about."""

    checks: Mapping[str, Check]
    read: Callable[[Any, str], Any]
    timed: tuple[str, Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, float]]]]
    not_measured: tuple[str, ...]
    task: str
    describe: Callable[[str], Mapping[str, Any]]
    notes: Callable[[Any], tuple[tuple[str, ...], tuple[str, ...]]] = lambda found: ((), ())

    @property
    def classifies(self) -> bool:
        """Whether its models are classifiers."""
        return self.task == "text-classification"


def _score(loaded, text: str) -> None:
    from ethical_compression.score.loglikelihood import loglikelihoods

    loglikelihoods(loaded.model, loaded.tokenizer, [(".", text)])


def _written(loaded: Mapping[str, Any]) -> Mapping[str, Mapping[str, float]]:
    import torch

    from ethical_compression.compress import report

    models = {name: one.model for name, one in loaded.items()}
    prompt = torch.tensor([next(iter(loaded.values())).tokenizer("The question was")["input_ids"]])
    return report.latency(models, prompt.to(next(iter(models.values())).device))


def _classify(loaded, text: str) -> None:
    """In pieces as long as posts are."""
    from ethical_compression.score.text_classifiers import toxic_scores

    pieces = [text[at : at + 140] for at in range(0, len(text), 140)]
    toxic_scores(loaded.model, loaded.tokenizer, pieces, [0])


def _classified(loaded: Mapping[str, Any]) -> Mapping[str, Mapping[str, float]]:
    from ethical_compression.compress import report

    def seconds(name: str) -> float:
        started = time.perf_counter()
        _classify(loaded[name], POST)
        return time.perf_counter() - started

    return report.by_turns(seconds, loaded, TIMED)


CAUSAL = Kind(
    CHECKS,
    _score,
    ("a generated token", _written),
    NOT_MEASURED,
    "text-generation",
    models.describe,
)


def classifier(toxic: Sequence[str] | None = None) -> Kind:
    """Classifiers of posts. toxic: the labels that mean toxic, None where their names say so."""
    return Kind(
        classifiers.checks(toxic),
        _classify,
        ("a post of 15 words", _classified),
        classifiers.NOT_MEASURED,
        "text-classification",
        encoders.describe,
        classifiers.notes,
    )
