"""Make hatexplain_minilm.parquet: MiniLM on HateXplain, three classes and ten communities.

    python results/hatexplain_minilm.py       (ETHICAL_COMPRESSION_DATA names the mirror's folder)

Trained on a part of the *rebuilt* train split, measured on the official validation split: the full
encoder, and its lower three of six layers.
The table holds the bias AUCs of every run, its provenance the scores over all posts.
"""

from dataclasses import replace

import pandas as pd

from ethical_compression import results
from ethical_compression.datasets import hate_speech
from ethical_compression.score import groups
from ethical_compression.score.classification import RUN, explained, overall
from ethical_compression.train import classifier, encoders
from ethical_compression.train.classifier import Run, Training

NAME, MODEL, SEEDS, POSTS = "hatexplain", "minilm", (0, 1, 2), 600
TRAINING = Training(learning_rate=2e-4, epochs=2, max_length=48, frozen_embeddings=True)
EXPLAINED = 40

data = classifier.data(
    NAME, "mirror", train_split="rebuilt_train", test_split="validation", train_posts=POSTS
)
members = groups.membership(data.test, hate_speech.DATASETS[NAME]["communities"])
tables, scores, words = [], [], []
settings = (
    Run(MODEL),
    Run(MODEL, depth=3, position="upper"),
)
for setting in settings:
    for run in (replace(setting, seed=seed) for seed in SEEDS):
        predictions = classifier.predictions([run], data, TRAINING, progress=False)
        found = classifier.explanations([run], data, TRAINING, limit=EXPLAINED, progress=False)
        for background in groups.BACKGROUNDS:
            aucs = groups.by_run(predictions, members, RUN, background=background)
            tables.append(aucs.assign(background=background))
        scores.append(overall(predictions, data.labels))
        words.append(explained(found))
        print(run, flush=True)
results.keep_larger(
    "hatexplain_minilm",
    pd.concat(tables, ignore_index=True),
    command="python results/hatexplain_minilm.py",
    model=encoders.describe(MODEL),
    training=vars(TRAINING) | {"posts": POSTS},
    minutes=round(results.seconds_spent() / 60, 1),
    overall=pd.concat(scores).to_dict("records"),
    explanations=pd.concat(words).to_dict("records"),
    data=[
        hate_speech.source_record(NAME, split, "mirror")
        for split in ("rebuilt_train", "validation")
    ],
)
