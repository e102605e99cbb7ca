"""Distances gathered by model and benchmark: intervals over questions, not over tokens."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression.metrics import distances


def test_tokens_of_one_question_belong_together():
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {"compression": "GPTQ 3-bit", "benchmark": "piqa", "item": np.repeat(list("abcd"), 5)}
        | {"js_distance": draw.uniform(size=20)}
    )
    (row,) = distances.summary({"vocabulary": table}).to_dict("records")
    by_item = table["js_distance"].to_numpy().reshape(4, 5).mean(1)
    low, high = stats.t.interval(0.95, 3, by_item.mean(), stats.sem(by_item))
    assert row["questions"] == 4
    assert [row["ci_low"], row["ci_high"]] == pytest.approx([low, high])
    assert row["median"] == np.median(table["js_distance"])
    assert row["p95"] == pytest.approx(np.quantile(table["js_distance"], 0.95))
