"""Fine-tuning on a tiny random BERT: determinism, what is learnt, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from ethical_compression import store
from ethical_compression.datasets.hate_speech import Post
from ethical_compression.errors import InputError
from ethical_compression.train import classifier, classifier_runs, encoders
from ethical_compression.train.classifier import Data, Run, Training

pytestmark = pytest.mark.usefixtures("own_store")

TINY = "tiny-random-bert"
FAST = Training(learning_rate=3e-2, epochs=6, batch_size=8, max_length=16)


def weights(loaded):
    return torch.cat([weight.flatten() for weight in loaded.model.parameters()])


# --- Training -------------------------------------------------------------------------------------


def test_a_run_is_the_same_every_time_and_its_seed_matters(data):
    one, again, other = (classifier.train(Run(TINY, 2, seed=s), data, FAST) for s in (0, 0, 1))
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(other))
    assert not one.model.training


def test_training_learns_what_can_be_learnt(data):
    longer = Training(learning_rate=1e-2, epochs=15, batch_size=8, max_length=16)
    found = classifier_runs.predictions([Run(TINY, 2)], data, longer, progress=False)
    assert ((found["toxic_score"] > 0.5) == found["toxic"]).mean() >= 0.9


def test_frozen_embeddings_stay_and_the_rest_moves(data):
    frozen = Training(3e-2, 1, 8, 16, frozen_embeddings=True)
    before = encoders.load(TINY, data.labels, seed=0).model
    after = classifier.train(Run(TINY), data, frozen).model
    assert torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
    assert not torch.equal(before.classifier.weight, after.classifier.weight)


def test_a_loss_that_is_not_finite_ends_in_a_sentence_and_keeps_nothing(data):
    wild = Training(learning_rate=1e30, epochs=2, batch_size=4, max_length=16)
    with pytest.raises(InputError, match="NaN or infinite at step"):
        classifier_runs.predictions([Run(TINY)], data, wild, progress=False)
    assert not list(store.cache_dir().rglob("*.parquet"))


def test_class_weights_are_scikit_learns_and_a_missing_class_is_named():
    labels = [0, 0, 0, 1, 2, 2]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert classifier.class_weights(labels, 3) == pytest.approx(expected)
    with pytest.raises(InputError, match="label number 2"):
        classifier.class_weights([0, 1], 3)


def test_class_weights_can_be_those_of_the_test_posts(data):
    skewed = Data(data.train, data.test[:3], data.labels, data.toxic)
    one = classifier.train(Run(TINY), skewed, FAST)
    other = classifier.train(Run(TINY), skewed, Training(3e-2, 6, 8, 16, class_weights="test"))
    assert not torch.equal(weights(one), weights(other))


@pytest.mark.parametrize(
    ("run", "training", "said"),
    [
        (Run(TINY, supervision="publised", strength=1), FAST, "did you mean 'published'"),
        (Run(TINY), Training(class_weights="both"), "class weights 'both'"),
        (Run(TINY, depth=9), FAST, "9 layers cannot be kept"),
    ],
)
def test_unknown_settings_are_said(data, run, training, said):
    with pytest.raises(InputError, match=said):
        classifier.train(run, data, training)


def test_supervision_without_any_rationale_is_refused(data):
    plain = Data(data.train[1::2] + data.train[1::2], data.test, data.labels, data.toxic)
    with pytest.raises(InputError, match="No training post has a rationale"):
        classifier.train(Run(TINY, supervision="published", strength=1), plain, FAST)


# --- Attention supervision ------------------------------------------------------------------------


def test_a_harmless_posts_marks_are_no_target_of_the_released_loss(data):
    odd = dataclasses.replace(data.train[1], rationale=(0, 1, 0, 0))
    given = Data((data.train[0], odd, *data.train[2:]), data.test, data.labels, data.toxic)
    run = Run(TINY, 2, supervision="released, boolean mask", strength=5.0)
    one, other = (classifier.train(run, some, FAST) for some in (data, given))
    assert torch.equal(weights(one), weights(other))


def test_supervision_pulls_attention_to_the_marked_words(data):
    from ethical_compression.score import rationales

    on_marked = []
    for supervision, strength in (("none", 0.0), ("published", 5.0)):
        run = Run(TINY, 2, supervision=supervision, strength=strength)
        loaded = classifier.train(run, data, FAST)
        posts = [one for one in data.test if one.rationale]
        found = rationales.attention(
            loaded.model, loaded.tokenizer, [one.tokens for one in posts], max_length=16
        )
        on_marked.append(
            np.mean(
                [a[np.array(p.rationale, bool)].sum() for a, p in zip(found, posts, strict=True)]
            )
        )
    assert on_marked[1] > on_marked[0] + 0.2


# --- Encoding -------------------------------------------------------------------------------------


def test_marks_follow_sub_words_and_stop_where_the_post_is_cut(data):
    tokenizer = encoders.load(TINY, data.labels).tokenizer
    long = Post("x", ("unbelievableness", "you", "again"), 0, (), (1, 0, 1))
    row = classifier.encoded([long], tokenizer, 64)[0]
    pieces = len(tokenizer("unbelievableness", add_special_tokens=False)["input_ids"])
    assert pieces > 1 and row["marked"] == [0, *[1] * pieces, 0, 1, 0]
    cut = classifier.encoded([long], tokenizer, pieces + 2)[0]
    assert cut["marked"] == [0, *[1] * pieces, 0]


def test_probabilities_do_not_depend_on_who_shares_the_batch(data):
    loaded = encoders.load(TINY, data.labels)
    together = classifier.probabilities(loaded.model, loaded.tokenizer, data.test)
    alone = [classifier.probabilities(loaded.model, loaded.tokenizer, [one]) for one in data.test]
    assert np.allclose(together, np.concatenate(alone), atol=1e-6)
    assert np.allclose(together.sum(1), 1)
