"""Answers of models that nobody needs to run, since what they are is decided beforehand.

A score of stereotypes that does not give such a model what it is measures something else.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.datasets.bbq import CONDITIONS, Question
from ethical_compression.datasets.stereoset import Triplet
from ethical_compression.metrics.stereotypes import (
    DEFINITIONS,
    bbq_scores,
    stereoset_scores,
    unqover_mu,
    unqover_scores,
)
from ethical_compression.words import signed

SHORT = dict(zip(CONDITIONS, ("s_AMB", "s_DIS"), strict=True))


def imagined_answers(questions: Sequence[Question], seed: int = 0) -> dict[str, list[int]]:
    """To BBQ's questions: {what the model answers: an option a question}.

    Where the data set names no target, the two models that go by it say that they do not know.
    """
    drawn = np.random.default_rng(seed).integers(0, 3, len(questions))

    def against(one: Question) -> int:
        others = {0, 1, 2} - {one.unknown, one.target}
        return others.pop() if one.target is not None else one.unknown

    return {
        "always right": [one.label for one in questions],
        "always “unknown”": [one.unknown for one in questions],
        "always the stereotype": [
            one.unknown if one.target is None else one.target for one in questions
        ],
        "always against it": [against(one) for one in questions],
        "at random": drawn.tolist(),
    }


def imagined_likelihoods(triplets: Sequence[Triplet], seed: int = 0) -> dict[str, np.ndarray]:
    """Of StereoSet's sentences: {what the model finds likely: (items, 3) scores}.

    What the definition gives them (lms, ss, icat): 100, 50, 100 to the first up to the coin's own
    spread, 50, 50, 50 to the one at random, and 100, 100, 0 and 0, 50, 0 to the last two.
    """
    draw = np.random.default_rng(seed)
    n = len(triplets)
    coin = draw.random((n, 2))
    return {
        "sense, by a coin": np.column_stack([1 + coin, np.zeros(n)]),
        "anything, at random": draw.random((n, 3)),
        "the stereotype": np.tile([2.0, 1.0, 0.0], (n, 1)),
        "nonsense": np.column_stack([coin, np.full(n, 2.0)]),
    }


def imagined_preferences(subjects: Sequence[str] = "ABCDEF") -> dict[str, pd.DataFrame]:
    """To UnQover's questions: {what the model goes by: a table for `unqover_scores`}.

    Scores are the probabilities of the two answers. Three attributes, one template, all pairs.
    """

    def asked(prefers) -> pd.DataFrame:
        rows = []
        for attribute in ("first", "second", "third"):
            for i, one in enumerate(subjects):
                for two in subjects[i + 1 :]:
                    for first, second in ((one, two), (two, one)):
                        for negated in (False, True):
                            p = prefers(first < second, negated)
                            rows.append(
                                (f"{one}{two}{attribute}", first, second, attribute, negated, p)
                            )
        columns = ["pair", "first", "second", "attribute", "negated", "score_first"]
        table = pd.DataFrame(rows, columns=columns)
        return table.assign(score_second=1 - table["score_first"])

    # earlier: whether the subject named first is the earlier one in the list.
    return {
        "nothing": asked(lambda earlier, negated: 0.5),
        "the place in the text": asked(lambda earlier, negated: 0.9),
        "the subject alone": asked(lambda earlier, negated: 0.9 if earlier else 0.1),
        "subject and question": asked(lambda earlier, negated: 0.9 if earlier != negated else 0.1),
    }


def known_scores(
    questions: Sequence[Question], answers: Mapping[str, Sequence[int]]
) -> pd.DataFrame:
    """`bbq_scores` over all questions by every definition: `model`, `definition`, and its columns.

    answers: {model: an option a question}, as from `imagined_answers`.
    """
    return pd.concat(
        [
            bbq_scores(questions, chosen, definition=definition, by=None).assign(
                model=model, definition=definition
            )
            for model, chosen in answers.items()
            for definition in DEFINITIONS
        ],
        ignore_index=True,
    )


def side_by_side(scores: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """`known_scores`, a row a `model`, a column a definition and condition: "s_AMB, published".

    names: a title for each definition.
    """
    wide = scores.pivot(index="model", columns=["definition", "condition"], values="score")
    wide = wide.loc[scores["model"].unique(), [(one, c) for one in names for c in CONDITIONS]]
    wide.columns = [f"{SHORT[condition]}, {names[one]}" for one, condition in wide.columns]
    return wide.reset_index()


def stereoset_known(triplets: Sequence[Triplet], seed: int = 0) -> pd.DataFrame:
    """`stereoset_scores` over all items: a row a `model` of `imagined_likelihoods`."""
    return pd.concat(
        [
            stereoset_scores(triplets, likelihoods, by=None).assign(model=model)
            for model, likelihoods in imagined_likelihoods(triplets, seed).items()
        ],
        ignore_index=True,
    )


def unqover_known() -> pd.DataFrame:
    """UnQover's scores: a row a `model` of `imagined_preferences`.

    Columns: `mu`, `gamma` (the largest |γ|), the mean errors `positional` and `attributive`, and
    `mu_of_logs`, of logarithms in place of probabilities, as released by Xu et al. 2024.
    """
    rows = []
    for model, preferences in imagined_preferences().items():
        names = ["score_first", "score_second"]
        found = unqover_scores(preferences)
        logs = preferences.assign(**{name: np.log(preferences[name]) for name in names})
        errors = {name: found[name].mean() for name in ("positional", "attributive")}
        rows.append(
            {"model": model, "mu": unqover_mu(found), "gamma": found["gamma"].abs().max()}
            | errors
            | {"mu_of_logs": unqover_mu(unqover_scores(logs, probabilities=False))}
        )
    return pd.DataFrame(rows)


# --- In words -------------------------------------------------------------------------------------


def known_said(scores: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Where other definitions are furthest from the published one on models that are known.

    scores: from `known_scores`; names: a title for each definition, the published one's first.
    """
    wide = scores.pivot(index=["model", "condition"], columns="definition", values="score")
    first, *others = names
    parts = []
    for name in others:
        gap = (wide[name] - wide[first]).abs()
        if gap.max() >= 0.01:
            model, condition = gap.idxmax()
            score, told = wide.loc[(model, condition), [name, first]]
            parts.append(
                f"{names[name]}, a model that answers {model} has an {SHORT[condition]} of "
                f"{signed(score, 2)} instead of {signed(told, 2)}"
            )
    if not parts:
        return "All definitions agree on all of them."
    return f"The largest differences from the {names[first]} definition: {'; '.join(parts)}."


def targets_said(targets: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """What `bbq_targets` comes to, in a sentence; titles: of the categories."""
    rows = targets[targets["agree"] < targets["n"]]
    if rows.empty:
        return f"The targets are the same in all {len(targets)} categories."
    parts = [
        f"{row.n - row.agree:,} of {row.n:,} questions on {titles[row.category]}"
        for row in rows.itertuples()
    ]
    return (
        f"The targets differ on {' and '.join(parts)}; in the other {len(targets) - len(rows)} "
        "categories they are the same."
    )
