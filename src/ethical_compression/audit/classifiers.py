"""The questions of an audit of classifiers, with the measures of Part I: are decisions the same, is
F1, and is each community that posts mention served as well as before?

Only whether a post is toxic is asked, whatever labels a classifier has.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ethical_compression import words
from ethical_compression.audit.checks import Check, answered
from ethical_compression.audit.said import ONE_IN_TWENTY
from ethical_compression.datasets import hate_speech
from ethical_compression.metrics import classifier_harms
from ethical_compression.score import runs, text_classifiers
from ethical_compression.score.runs import Battery
from ethical_compression.score.text_classifiers import Asked
from ethical_compression.statistics import auc
from ethical_compression.train import judge

# The posts of each set that no training here has seen: (split, source).
POSTS = {"redditbias": ("test", "embedded"), "hatexplain": ("validation", "mirror")}
PART_I = "what the chapters of Part I call no change worth the name"
AREAS = {
    "subgroup": "of two posts that mention a group, the toxic one is told worse from the other",
    "bpsn": "harmless posts that mention a group pass for toxic ones about others",
    "bnsp": "toxic posts that mention a group pass for harmless ones about others",
}
TITLES = {"subgroup": "its own posts", "bpsn": "flagged wrongly", "bnsp": "let through"}
NOT_MEASURED = (
    "what the labels beside toxic and not toxic say, and how well probabilities are calibrated",
    "languages but English, and groups that these posts do not mention",
    "whether the classifier was trained on these posts: of HateXplain they are the validation "
    "split, and of RedditBias, which has no splits, a fifth drawn for this book",
    "uses: who is moderated, by whom, at which threshold, and what an error costs them",
)


@functools.cache
def _posts(data: str, each: int, seed: int) -> tuple[Asked, ...]:
    split, source = POSTS[data]
    limit = each * len(hate_speech.DATASETS[data]["communities"])
    return tuple(
        Asked(post.id, judge.text_of(post), judge.is_toxic(data, post), post.communities)
        for post in hate_speech.load(data, split, source=source, limit=limit, seed=seed)
    )


def _with_text(found: pd.DataFrame, items: Sequence[Asked]) -> pd.DataFrame:
    """Answers that hold the post: alone they say nothing."""
    texts = {one.id: one.text for one in items}
    said = found["answer"] + ": " + found["cluster"].map(texts)
    return found.assign(answer=said)


def _flipped(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    found = answered(before, after)
    return found.assign(value=(found["before"] != found["after"]).astype(float))


def checks(toxic: Sequence[str] | None) -> Mapping[str, Check]:
    """What is asked, by name. toxic: the labels that count as toxic, None for those whose names say
    so."""
    found = {}
    for data, (split, source) in POSTS.items():
        entry = hate_speech.DATASETS[data]
        made = functools.partial(_check, data, toxic, split, source)
        f1 = made(
            "damage",
            f"{entry['title']}, F1",
            "toxic posts and others are told apart less well: macro F1 falls",
            0.02,
            PART_I,
            lambda table, _: classifier_harms.f1_lost(table),
        )
        flips = replace(
            f1,
            title=f"{entry['title']}, flipped decisions",
            question="posts are decided otherwise",
            measure="",
            unit="share of posts",
            margin=0.05,
            reason=ONE_IN_TWENTY,
            values=lambda table, items: _with_text(classifier_harms.wrong(table), items),
            change=_flipped,
        )
        found |= {f"{data}_flips": flips, f"{data}_f1": f1}
        for metric, question in AREAS.items():
            found[f"{data}_{metric}"] = made(
                "harm",
                f"{entry['title']}, {TITLES[metric]}",
                question,
                0.02,
                PART_I,
                functools.partial(_area, data, metric),
                unit="of the AUC",
                measure="AUC",
            )
    return found


def _area(data: str, metric: str, table: pd.DataFrame, items: Sequence[Asked]) -> pd.DataFrame:
    communities = hate_speech.DATASETS[data]["communities"]
    return _with_text(classifier_harms.auc_lost(table, items, communities, metric), items)


def _check(
    data: str,
    toxic: Sequence[str] | None,
    split: str,
    source: str,
    stage: str,
    title: str,
    question: str,
    margin: float,
    reason: str,
    values: Callable[[pd.DataFrame, Sequence], pd.DataFrame],
    unit: str = "of F1",
    measure: str = "macro F1",
) -> Check:
    def asked(each: int, seed: int) -> Battery:
        return text_classifiers.battery(data, _posts(data, each, seed), toxic)

    def records() -> list:
        return [hate_speech.source_record(data, split, source)]

    said = (stage, title, question, unit, margin, reason)
    return Check(*said, asked, values, records, measure=measure)


def _with_interval(area: auc.Auc, level: float) -> str:
    return words.interval(area.auc, area.ci_low, area.ci_high, level=level, sign=False)


def notes(found) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of an audit (`run.Audit`): on which posts the full classifier does no better than guessing,
    so that changes there mean little; and which communities have too few posts for a row."""
    asked, known, missing = set(found.floors["check"]), [], []
    groups = found.verdicts.groupby("check")["group"].agg(set)
    for data in POSTS:
        entry, names = hate_speech.DATASETS[data], [f"{data}_{metric}" for metric in AREAS]
        if not any(name.startswith(f"{data}_") for name in asked):
            continue
        battery = text_classifiers.battery(
            data, _posts(data, found.each, found.seed), found.full.toxic
        )
        table = runs.measure(found.full, battery, progress=False)
        area = auc.auc(table["score"], table["toxic"], level=found.level)
        if not area.ci_low > 0.5:
            known.append(
                f"On {entry['title']} the full classifier tells toxic posts from others no better "
                f"than guessing does: its AUC over {len(table):,} posts is "
                f"{_with_interval(area, found.level)}, that "
                "of guessing 0.5. How areas change there says little of whom it serves."
            )
        few: dict[tuple[str, ...], list[str]] = {}
        for name, title in zip(names, TITLES.values(), strict=True):
            left = tuple(one for one in entry["communities"] if one not in groups.get(name, ()))
            if name in asked and left:
                few.setdefault(left, []).append(f"“{title}”")
        missing += [
            f"{entry['title']}, {words.listed(titles)}: {words.listed(list(left))}, with fewer "
            f"than {classifier_harms.LEAST} toxic posts, or others, among these"
            for left, titles in few.items()
        ]
    return tuple(known), tuple(missing)
