"""What is measured of a machine, and what is counted while a model is asked."""

import pytest
import torch
from tiny_models import tiny_model

from ethical_compression import models
from ethical_compression.metrics import costs
from ethical_compression.metrics.costs import Rates, Shape, Work
from ethical_compression.score import layouts, loglikelihood, machine
from ethical_compression.score.counted import counted, summed

SMALL = Shape(5, 64, 160, 4, 2, 16, 100)


def test_rates_are_above_zero(tmp_path, monkeypatch):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))
    assert machine.matmul_rate("cpu", "float32", seconds=0) > 1e6
    assert machine.bandwidth("cpu", megabytes=1, seconds=0) > 1e6
    assert machine.disk_rate(megabytes=1) > 1e4
    assert not list(tmp_path.rglob("read")), "the file is gone"


def test_the_best_of_two_measurements_counts_rate_by_rate():
    assert machine.best(Rates(1, 5, 3, 4, 2), Rates(2, 4, 3, 5, 1)) == Rates(2, 5, 3, 5, 2)


def test_the_fastest_of_several_runs_counts():
    for device, paused in (("cpu", 1), ("cuda", 2)):
        taken = iter([(3, 3), (2, 1), (4, 4)])  # by the clock, and by the processor
        clocks = [0, 0]

        def work(taken=taken, clocks=clocks):
            clocks[:] = map(sum, zip(clocks, next(taken), strict=True))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(machine.time, "perf_counter", lambda clocks=clocks: clocks[0])
            patch.setattr(machine.time, "process_time", lambda clocks=clocks: clocks[1])
            patch.setattr(machine, "_wait", lambda device: None)
            assert machine.fastest(work, device) == paused


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_block_has_the_width_of_its_shape_and_computes(dtype):
    model = machine.one_block(SMALL, dtype=dtype, device="cpu")
    one = SMALL._replace(layers=1, vocabulary=machine.WORDS)
    assert costs.shape_of(model.config) == one
    assert model.num_parameters() == costs.parameters(one)
    (ids,) = machine.some_tokens(1, 12, "cpu")
    with torch.inference_mode():
        states = model.model(input_ids=ids).last_hidden_state
    assert states.isfinite().all() and states.dtype == getattr(torch, dtype)
    # Positions are told apart: the same token twice.
    with torch.inference_mode():
        angles = model.model.rotary_emb(states, torch.arange(2)[None])
    assert not torch.equal(angles[0][0, 0], angles[0][0, 1])


def test_blocks_are_timed_up_to_a_size_each():
    shapes = {"small": SMALL, "large": SMALL._replace(layers=20_000)}
    how = {"window": 8, "windows": 2, "group_size": 32, "dtype": "float32", "device": "cpu"}
    limit = costs.parameters(SMALL) / costs.BILLION
    rows = machine.timed_blocks(shapes, largest=2.0, solved=limit, **how)
    assert [(row["what"], row["did"]) for row in rows] == [
        ("small", "block"),
        ("small", "gptq"),
        ("large", "block"),
    ]
    assert all(row["measured"] > 0 for row in rows)
    assert [row["work"].tokens for row in rows] == [8, 16, 8]
    assert machine.timed_blocks(shapes, largest=0, solved=0, **how) == []


def test_what_is_read_is_counted_with_its_padding():
    model = tiny_model("llama")
    encoded = [
        loglikelihood.Encoded(list(range(5, 5 + length)), scored)
        for length, scored in ((12, 3), (9, 2))
    ]
    with counted() as seen:
        loglikelihood.score_encoded(model, encoded, layout="plain")
    # The last token is predicted, never fed; the second row is as long as the first. Of the same
    # tokens, both rows are scored at other places.
    assert summed(seen)[:2] in {(2 * 11, 2 * 11**2), (11 + 8, 11**2 + 8**2)}
    assert summed(seen).places == 5
    assert summed(seen).passes == len(seen)
    assert layouts.scored_states.__module__ == layouts.__name__, "the door is as it was"
    assert summed([]) == Work()
    with counted(dry=True) as again:
        loglikelihood.score_encoded(model, encoded, layout="plain")
    assert again == seen, "what is not run is counted alike"


def test_a_text_is_timed_beside_the_formula():
    loaded = models.load("tiny-random-llama")
    documents = ["The museum opened its new wing on Monday, and many people came. " * 8]
    row = machine.timed_text(loaded, documents, window=16, windows=2)
    assert row["what"] == "tiny-random-llama" and row["did"] == "text"
    assert row["work"].tokens >= 30 and row["work"].places == 30
    assert row["measured"] > 0
