"""The plain pass against trees, on a tiny model."""

import pytest
import torch
from tiny_models import tiny_model

from ethical_compression.score import referee
from ethical_compression.score.tokens import Encoded


@pytest.fixture(scope="module")
def requests():
    torch.manual_seed(0)
    trunk = torch.randint(3, 90, (9,)).tolist()
    return [Encoded([*trunk, 5, 7, 9], 3), Encoded([*trunk, 5, 8], 2)]


def test_a_plain_pass_is_the_sum_of_log_probabilities(requests):
    model = tiny_model("llama").double()
    for one in requests:
        with torch.no_grad():
            logp = model(torch.tensor([one.ids])).logits[0].log_softmax(-1)
        expected = sum(logp[i - 1, one.ids[i]] for i in range(9, len(one.ids)))
        assert referee.plainly(model, one) == pytest.approx(float(expected))


def test_a_tree_reads_what_answers_share_once(requests):
    alone, together = referee.tokens_read(requests, "tree", 64)
    assert alone == 11 + 10
    # The trunk of nine, the answers' common first token, and one more of the longer: no last ones.
    assert together == 9 + 1 + 1
