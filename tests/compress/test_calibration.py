"""The windows of text that methods see."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from ethical_compression.compress import calibration
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError


def by_letter(text, add_special_tokens):
    """A tokenizer that gives each letter the number of its place, so that places can be read."""
    assert not add_special_tokens
    return {"input_ids": list(range(len(text)))}


@settings(deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 9), st.integers(0, 5), st.integers(1, 4), st.integers(0, 40)
)
def test_windows_are_whole_and_none_overlaps_another(samples, length, seed, batch, more):
    documents = ["a" * (samples * length + more), "b"]
    asked = {"samples": samples, "length": length, "seed": seed, "batch": batch}
    windows = calibration.calibration_windows(by_letter, documents, **asked)
    assert [len(one) for one in windows[:-1]] == [batch] * (len(windows) - 1)
    drawn = torch.cat(windows)
    assert drawn.shape == (samples, length) and drawn.dtype == torch.int64
    assert drawn.unique().numel() == samples * length
    assert (drawn.diff(dim=1) == 1).all()
    again = calibration.calibration_windows(by_letter, documents, **asked)
    assert all(map(torch.equal, windows, again))


def test_another_seed_draws_other_windows_and_too_short_a_text_is_told():
    one, other = (
        calibration.calibration_windows(by_letter, ["a" * 999], samples=9, length=9, seed=seed)
        for seed in (0, 1)
    )
    assert not torch.equal(torch.cat(one), torch.cat(other))
    with pytest.raises(InputError, match="needs 3 windows of 9 tokens but the text holds 2: give"):
        calibration.calibration_windows(by_letter, ["a" * 26], samples=3, length=9)


def test_windows_longer_than_the_positions_are_one_sentence():
    model = tiny_model("gpt2")
    with pytest.raises(InputError, match="of 512 tokens exceed the 64 positions"):
        calibration.calibration_inputs(Recipe("wanda"), model, None)
    assert calibration.calibration_inputs(Recipe("magnitude"), model, None) == []
