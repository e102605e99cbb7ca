"""The windows of text that methods see."""

import pytest
from tiny_models import tiny_model

from ethical_compression.compress import calibration
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError


def test_windows_longer_than_the_positions_are_one_sentence():
    model = tiny_model("gpt2")
    with pytest.raises(InputError, match="of 512 tokens exceed the 64 positions"):
        calibration.calibration_inputs(Recipe("wanda"), model, None)
