"""Repetition, divergence and survival of texts, by hand and against statsmodels."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethical_compression.errors import InputError
from ethical_compression.metrics import generated_text


def tokens(**texts):
    """A table of tokens by compression: a list of texts, each a list of ids; 2 ends a text."""
    rows = [
        {
            "model": "m",
            "compression": model,
            "prompt": prompt,
            "position": position,
            "token_id": token,
            "piece": "" if token == 2 else f"{token} ",
            "logprob": math.log(0.5),
            "entropy": math.log(2),
            "full_logprob": math.log(0.25),
            "end": token == 2,
        }
        for model, some in texts.items()
        for prompt, ids in enumerate(some)
        for position, token in enumerate(ids)
    ]
    return pd.DataFrame(rows)


def test_first_divergence_and_survival_by_hand():
    full = [[5, 6, 7, 8], [5, 6, 2], [9, 9, 9, 9], [5, 6, 7, 8]]
    other = [[5, 6, 8, 8], [5, 6, 2], [9, 9, 9, 9], [5, 2]]
    found = generated_text.first_divergence(tokens(full=full, other=other))
    assert found["same"].tolist() == [2, 3, 4, 1]
    assert found["diverged"].tolist() == [True, False, False, True]
    curve = generated_text.survival(found, 4)
    assert curve["same"].tolist() == [1, 1, 0.75, 0.5, 0.5]
    assert (curve["low"] <= curve["same"]).all() and (curve["high"] >= curve["same"]).all()


def test_distance_by_text_is_the_mean_over_its_tokens():
    table = pd.DataFrame(
        [("a", 0, 0, 1.0, 0.5), ("a", 0, 1, 3.0, 0.1), ("a", 1, 0, 4.0, 0.2)],
        columns=["compression", "prompt", "position", "kl", "js_distance"],
    ).assign(model="m")
    assert generated_text.per_text_distance(table)["kl"].tolist() == [2, 4]


def test_each_base_model_is_compared_with_itself():
    full, other = [[5, 6, 7, 8]], [[5, 6, 8, 8]]
    small = tokens(full=full, half=other)
    large = tokens(full=other, half=full[:1] + full).assign(model="large")
    both = pd.concat([small, large], ignore_index=True)
    apart = [generated_text.first_divergence(one) for one in (small, large[large["prompt"] == 0])]
    found = generated_text.first_divergence(both[both["prompt"] == 0])
    pd.testing.assert_frame_equal(found, pd.concat(apart, ignore_index=True))
    assert found["model"].tolist() == ["m", "large"]
    curve = generated_text.survival(found, 4)
    assert curve.groupby("model")["n"].unique().map(list).to_dict() == {"m": [1], "large": [1]}
    assert generated_text.per_text(both)["model"].tolist() == ["m", "m", "large", "large", "large"]


def test_survival_is_that_of_kaplan_and_meier():
    from statsmodels.duration.survfunc import SurvfuncRight

    rng = np.random.default_rng(0)
    same = np.minimum(rng.geometric(0.1, 60) - 1, 12)
    told = {"model": "m", "compression": "a", "prompt": range(60)}
    found = pd.DataFrame(told | {"same": same, "diverged": same < 12})
    curve = generated_text.survival(found, 12).set_index("position")["same"]
    # The text is another from the token after those in common.
    theirs = SurvfuncRight(same + 1, same < 12)
    for time, alive in zip(theirs.surv_times, theirs.surv_prob, strict=True):
        assert curve[time] == pytest.approx(alive)


def test_repetition_by_hand():
    ids = [1, 2, 3, 1, 2, 3, 1, 2]
    # Four-grams 1231 2312 3123 1231 2312: three of five are different.
    assert generated_text.seq_rep(ids, 4) == pytest.approx(2 / 5)
    assert generated_text.distinct(ids, 1) == pytest.approx(3 / 8)
    assert generated_text.distinct(ids, 2) == pytest.approx(3 / 7)
    assert generated_text.rep(ids, 16) == pytest.approx(5 / 8)
    assert generated_text.rep(ids, 2) == 0
    assert generated_text.rep([4, 4, 5, 4], 1) == pytest.approx(1 / 4)
    assert math.isnan(generated_text.seq_rep([1, 2, 3], 4)) and math.isnan(
        generated_text.rep([], 16)
    )


@given(st.lists(st.integers(0, 5), min_size=4, max_size=30), st.integers(1, 4))
def test_repetition_properties(ids, n):
    assert 0 <= generated_text.seq_rep(ids, n) < 1
    assert generated_text.seq_rep(ids, n) == pytest.approx(1 - generated_text.distinct(ids, n))
    assert generated_text.distinct(range(len(ids)), n) == 1
    # Renaming the tokens changes nothing; a wider window finds more.
    assert generated_text.seq_rep([10 - t for t in ids], n) == generated_text.seq_rep(ids, n)
    assert (
        generated_text.rep(ids, n)
        <= generated_text.rep(ids, n + 1)
        <= generated_text.rep(ids, len(ids))
    )
    # Over the whole text, what repeats is all but the first of each kind.
    assert generated_text.rep(ids, len(ids)) == pytest.approx(generated_text.seq_rep(ids, 1))


def test_a_text_in_a_row():
    table = generated_text.per_text(tokens(full=[[5, 6, 5, 2]], other=[[5, 6, 5, 6]]))
    first, second = table.to_dict("records")
    assert first["text"] == "5 6 5 " and first["ended"] and not second["ended"]
    assert first["tokens"] == 4
    assert first["rep_16"] == pytest.approx(1 / 3) and second["rep_16"] == pytest.approx(1 / 2)
    assert math.isnan(first["seq_rep_4"]) and second["seq_rep_4"] == 0
    assert first["confidence"] == pytest.approx(0.5) and first["entropy_bits"] == pytest.approx(1)
    assert math.exp(first["full_nll"]) == pytest.approx(4)


def test_divergence_from_nobody_is_refused():
    with pytest.raises(InputError, match="no model 'full'"):
        generated_text.first_divergence(tokens(other=[[1, 2]]))
