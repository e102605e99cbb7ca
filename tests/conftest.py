"""What several test files share: one cache for slow conversions, and the embedded model."""

import os
import sys
from pathlib import Path

import pytest

# Threads that spin while they wait take the processor from whoever else computes; read by torch
# once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Converting the embedded model takes most of a minute: kept between runs, as `make` keeps it.
CACHE = Path(__file__).parent.parent / "_build" / "cache"
os.environ.setdefault("ETHICAL_COMPRESSION_CACHE", str(CACHE))


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """A test that draws leaves no figure behind, which would be kept in memory and counted."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="session")
def smollm2():
    """The embedded model, loaded once: do not change its weights."""
    from ethical_compression import models

    return models.load("smollm2-135m")


@pytest.fixture(scope="session")
def mirror():
    """Folder of the benchmark files that are not embedded; without it the test is skipped."""
    named = os.environ.get("ETHICAL_COMPRESSION_DATA")
    if not named:
        pytest.skip("ETHICAL_COMPRESSION_DATA names no mirror folder")
    return Path(named)
