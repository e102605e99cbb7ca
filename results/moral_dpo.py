"""Make moral_dpo.parquet: how many pairs turn the embedded model on the stories of the mirror.

    python results/moral_dpo.py               (ETHICAL_COMPRESSION_DATA names the mirror's folder)

Moral Stories in English: 8, 84 and 640 pairs in both directions, tested on other stories of it,
and the first seed on HistoiresMorales in both languages; then 84 pairs of HistoiresMorales, in
English or in French. The learning rate is the one that turns `DEVELOPMENT` stories most surely,
which are then neither trained on nor tested. The table holds scores only; a story is its number in
the test set. Every piece is stored when it is done: a run that was stopped goes on where it was.
"""

import pandas as pd

from ethical_compression import kept_tables, models, store
from ethical_compression.datasets import moral_stories, multiple_choice, text
from ethical_compression.metrics import confidence
from ethical_compression.score import moral
from ethical_compression.score.loglikelihood import perplexity
from ethical_compression.statistics import dose_response
from ethical_compression.train import dpo, dpo_runs

MODEL = "smollm2-135m"
HELD_OUT, DEVELOPMENT, PARALLEL = 150, 100, 100  # stories
RATES = [3e-4, 1e-3, 3e-3]
TRIED = 84  # pairs on which a learning rate is tried, and what the parallel stories allow
SEEDS = {8: range(3), 84: range(3), 640: range(1)}
ITEMS, WINDOWS = 200, 20
SETTINGS = {"epochs": 2, "batch": 8, "rank": 16}
READ = [("moral_stories", "en"), ("histoires_morales", "en"), ("histoires_morales", "fr")]


def sides():
    """Stories of the mirror by what they are for, none of them on two sides of a comparison:
    `pool`, `development` and `tested` of Moral Stories, and for each language of the parallel
    stories `pool LANGUAGE` and `tested LANGUAGE`, the latter outside Moral Stories."""
    english, *parallel = (
        moral_stories.load(language, corpus=corpus, source="mirror") for corpus, language in READ
    )
    rest, tested = dpo.split(moral_stories.without(english, parallel[0]), HELD_OUT)
    pool, development = dpo.split(rest, DEVELOPMENT)
    found = {"pool": pool, "development": development, "tested": tested}
    _, apart = dpo.split(moral_stories.without(parallel[0], english), PARALLEL)
    for (_, language), stories in zip(READ[1:], parallel, strict=True):
        found[f"pool {language}"] = moral_stories.without(stories, apart)
        found[f"tested {language}"] = moral_stories.without(stories, found[f"pool {language}"])
    return found


def run(pool, rate, direction=None, size=0, seed=0, **changes):
    """A run on `size` pairs of `pool` at learning rate `rate`; without a direction, on none."""
    settings = dpo.Settings(learning_rate=rate, seed=seed, **SETTINGS)
    return dpo_runs.Run(MODEL, tuple(pool), direction, size, settings, **changes)


def preferences(one, **sets):
    """Scores of a run on each test set, stories by their number there."""
    tables = []
    for corpus, stories in sets.items():
        table = dpo_runs.scores(one, stories)[0]
        number = {story.id: place for place, story in enumerate(stories)}
        tables.append(table.assign(corpus=corpus, story=table["story"].map(number)))
    print(one.compression, one.settings.seed, flush=True)
    return pd.concat(tables, ignore_index=True)


def learning_rates(stories):
    """What each of `RATES` does to the development stories: a row a rate and direction."""
    sets = {"development": stories["development"]}
    found = []
    for rate in RATES:
        runs = [run(stories["pool"], rate)]
        runs += [run(stories["pool"], rate, one, TRIED) for one in moral_stories.DIRECTIONS]
        verdicts = moral.judged(pd.concat([preferences(one, **sets) for one in runs]))
        turned = dose_response.against_base(verdicts, ["direction", "size", "language"])
        found.append(turned.assign(learning_rate=rate))
    return pd.concat(found, ignore_index=True)


def costs(stories, rate):
    """Perplexity and accuracy elsewhere, of the model before and of the largest runs."""
    questions = {"piqa": multiple_choice.load("piqa", source="mirror", limit=ITEMS)}
    running = text.load("wikitext2", "held_out", source="mirror")
    rows = []
    for direction in (None, *moral_stories.DIRECTIONS):
        one = run(stories["pool"], rate, direction, max(SEEDS) if direction else 0)
        _, items, windows = dpo_runs.scores(
            one, [], benchmarks=questions, text=running, max_windows=WINDOWS
        )
        accuracy = float(confidence.per_item(items)["correct"].mean())
        row = {"compression": one.compression, "direction": direction or "none"}
        row |= {"perplexity": perplexity(windows), "windows": len(windows)}
        rows.append(row | {"accuracy": accuracy, "items": len(questions["piqa"])})
    return rows


def main():
    stories = sides()
    rates = learning_rates(stories)
    # The rate that turns more surely in the direction in which it turns less surely.
    surely = rates.assign(d_z=rates["d_z"].abs()).groupby("learning_rate")["d_z"].min()
    rate = float(surely.idxmax())
    parallel = {"histoires_morales": [*stories["tested en"], *stories["tested fr"]]}
    english = [run(stories["pool"], rate)]
    english += [
        run(stories["pool"], rate, direction, size, seed)
        for size, seeds in SEEDS.items()
        for seed in seeds
        for direction in moral_stories.DIRECTIONS
    ]
    tables = []
    for one in english:  # to ask every seed in both languages would take half as long again
        sets = {"moral_stories": stories["tested"]} | ({} if one.settings.seed else parallel)
        tables.append(preferences(one, **sets).assign(trained="moral_stories en"))
    for _, language in READ[1:]:
        for direction in moral_stories.DIRECTIONS:
            one = run(stories[f"pool {language}"], rate, direction, TRIED)
            tables.append(
                preferences(one, **parallel).assign(trained=f"histoires_morales {language}")
            )
    kept_tables.keep_larger(
        "moral_dpo",
        pd.concat(tables, ignore_index=True),
        command="python results/moral_dpo.py",
        model=models.describe(MODEL),
        settings=SETTINGS | {"learning_rate": rate, "beta": dpo.Settings().beta},
        rates=rates.to_dict("records"),
        stories={name: len(some) for name, some in stories.items()},
        costs=costs(stories, rate),
        minutes=round(store.seconds_spent() / 60, 1),
        data=[
            *(
                moral_stories.source_record(language, corpus=corpus, source="mirror")
                for corpus, language in READ
            ),
            multiple_choice.source_record("piqa", "mirror"),
            text.source_record("wikitext2", "held_out", source="mirror"),
        ],
    )


if __name__ == "__main__":
    main()
