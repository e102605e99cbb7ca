"""Fine-tuning on a tiny random BERT: determinism, the losses by hand, and runs that are kept."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from ethical_compression import store
from ethical_compression.datasets.hate_speech import Post
from ethical_compression.errors import InputError
from ethical_compression.train import classifier, encoders, pruned
from ethical_compression.train.classifier import Data, Run, Training

TINY = "tiny-random-bert"
FAST = Training(learning_rate=3e-2, epochs=6, batch_size=8, max_length=16)


def post(i: int) -> Post:
    words = ("kind", "words", "for", "you") if i % 2 else ("vile", "words", "for", "them", "all")
    mask = None if i % 2 else (1, 0, 0, 1, 0)
    return Post(str(i), (*words, f"n{i % 5}")[: len(words)], (i + 1) % 2, ("some",), mask)


@pytest.fixture(scope="module")
def data():
    posts = tuple(map(post, range(24)))
    return Data(posts[:16], posts[16:], ("fine", "toxic"), ("toxic",))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))
    classifier.trained.cache_clear()


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
    found = classifier.predictions([Run(TINY, 2)], data, longer, progress=False)
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
        classifier.predictions([Run(TINY)], data, wild, progress=False)
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


def layers(*rows):
    """One layer a row: (1 post, 2 heads, n, n), the first token's attention being `row`."""
    found = []
    for row in rows:
        attention = torch.full((1, 2, len(row), len(row)), 0.123)
        attention[0, :, 0] = torch.tensor(row)
        found.append(attention)
    return found


def test_published_loss_by_hand():
    attentions = layers([0.97, 0.01, 0.01, 0.01], [0.1, 0.2, 0.3, 0.4])
    # Heads differ; their mean is the last layer's row.
    attentions[1][0, 0, 0] = torch.tensor([0.1, 0.1, 0.4, 0.4])
    attentions[1][0, 1, 0] = torch.tensor([0.1, 0.3, 0.2, 0.4])
    marked, seen = torch.tensor([[0, 1, 1, 0]]), torch.ones(1, 4, dtype=torch.long)
    found = classifier.attention_loss(attentions, marked, seen)
    assert float(found) == pytest.approx(-(math.log(0.2) + math.log(0.3)) / 2)


def evenly(n, length, marks=(), heads=1):
    """One post of n tokens in `length`, attended evenly: (attention, marked, seen)."""
    seen = (torch.arange(length) < n).long()[None]
    marked = torch.zeros(1, length, dtype=torch.long)
    marked[0, list(marks)] = 1
    attention = (seen / n).double().expand(1, heads, length, length).clone().requires_grad_()
    return attention, marked, seen


@pytest.mark.parametrize("width", [12, 20, 128])
def test_the_released_loss_has_the_value_and_the_gradient_of_the_released_code(width):
    """12 tokens in 128: what running that code gives, however wide our own batch is padded."""
    for marks, value in (((5, 6, 7), 36.20), ((), 51.75)):
        attention, marked, seen = evenly(12, width, marks)
        found = classifier.attention_loss([attention], marked, seen, how="released")
        assert float(found.detach()) == pytest.approx(value, abs=0.006)
        (gradient,) = torch.autograd.grad(found, attention)
        assert gradient.abs().max() < 1e-13


def by_the_book(weights, target, mask):
    """The released arithmetic, post by post: both indexed by the mask, −Σ t·log-softmax, a mean."""
    total = 0
    for row, goal, one in zip(weights, target, mask, strict=True):
        total += -(goal[one] * torch.log_softmax(row[one], 0)).sum()
    return total / len(mask)


@pytest.mark.parametrize("how", classifier.SUPERVISIONS[1:])
@pytest.mark.parametrize(("heads", "row"), [(1, 0), (2, 0), (1, 3)])
def test_the_released_loss_is_that_of_indexing_by_the_padding_mask(how, heads, row):
    torch.manual_seed(0)
    seen = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    marked = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    layer = torch.rand(2, 3, 5, 5).masked_fill(seen[:, None, None] == 0, -math.inf).softmax(-1)
    length = 7
    wide = torch.nn.functional.pad(layer, (0, 2))
    mask = torch.nn.functional.pad(seen, (0, 2))
    mask = mask if how == "released" else mask.bool()
    e = math.e
    target = torch.tensor([[1, e, e, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0]])
    target = target / target.sum(1, keepdim=True)
    expected = sum(by_the_book(wide[:, h, row], target, mask) for h in range(heads))
    found = classifier.attention_loss(
        [layer, layer.flip(-1)], marked, seen, how=how, length=length, heads=heads, row=row
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_the_released_gradient_reaches_tokens_0_and_1_alone_and_booleans_reach_all():
    attention, marked, seen = evenly(12, 128, (1, 6))
    for how, reached in (("released", [0, 1]), ("released, boolean mask", list(range(12)))):
        loss = classifier.attention_loss([attention], marked, seen, how=how)
        (gradient,) = torch.autograd.grad(loss, attention)
        assert gradient[0, 0, 0].nonzero().flatten().tolist() == reached
        assert not gradient[0, 0, 1:].any()


def test_the_released_loss_asks_for_one_difference_between_tokens_1_and_0():
    for marks, apart in (((5, 6), 0.0), ((1, 5), 1.0)):
        _, marked, seen = evenly(6, 16, marks)
        loss = {}
        for more in (-0.5, 0.0, 0.5, 1.0, 1.5):
            row = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
            row[..., 1] = more
            found = classifier.attention_loss([row], marked, seen, how="released", length=16)
            loss[more] = float(found)
        assert min(loss, key=loss.get) == apart


def test_posts_without_a_mark_count_in_the_released_loss_alone():
    both = [torch.cat([one, one]) for one in layers([0.1, 0.2, 0.7])]
    seen, marked = torch.ones(2, 3, dtype=torch.long), torch.tensor([[0, 1, 0], [0, 0, 0]])
    for how in classifier.SUPERVISIONS:
        alone = [
            classifier.attention_loss(
                layers([0.1, 0.2, 0.7]), marked[[i]], seen[[i]], how=how, length=8
            )
            for i in (0, 1)
        ]
        found = classifier.attention_loss(both, marked, seen, how=how, length=8)
        if how == "published":
            assert float(alone[1]) == 0 and float(found) == pytest.approx(float(alone[0]))
        else:
            assert float(alone[1]) > 0 and float(found) == pytest.approx(float(sum(alone)) / 2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=9), st.data())
def test_published_loss_is_least_on_the_marked_words(raw, draw):
    n = len(raw)
    mask = draw.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(any))
    marked, seen = torch.tensor([mask]), torch.ones(1, n, dtype=torch.long)
    row = (torch.tensor(raw) / sum(raw)).tolist()
    target = (marked[0] / marked.sum()).tolist()
    least = classifier.attention_loss(layers(target), marked, seen)
    assert float(least) == pytest.approx(math.log(sum(mask)), abs=1e-5)
    assert float(classifier.attention_loss(layers(row), marked, seen)) >= float(least) - 1e-5


def test_a_harmless_posts_marks_are_no_target_of_the_released_loss(data):
    odd = classifier.replace(data.train[1], rationale=(0, 1, 0, 0))
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


# --- Tables ---------------------------------------------------------------------------------------


def test_predictions_are_kept_run_by_run(data, monkeypatch):
    runs = [Run(TINY, 2, seed=s) for s in (0, 1)]
    found = classifier.predictions(runs, data, FAST, progress=False)
    assert len(found) == 2 * len(data.test) and found["seed"].tolist() == [0] * 8 + [1] * 8
    assert found[["p_fine", "p_toxic"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert (found["toxic_score"] == found["p_toxic"]).all()
    assert found["toxic"].tolist() == [one.label == 1 for one in data.test] * 2
    assert set(found["depth"]) == {2} and set(found["layers"]) == {4}
    monkeypatch.setattr(classifier, "train", None)
    classifier.trained.cache_clear()
    again = classifier.predictions(runs, data, FAST, progress=False)
    assert again.equals(found)


def test_runs_that_are_the_same_classifier_have_one_name():
    full = classifier.canonical(Run(TINY))
    assert classifier.canonical(Run(TINY, 4, "bottom")) == full
    assert classifier.canonical(Run(TINY, supervision="released", strength=0.0)) == full
    assert classifier.canonical(Run(TINY, 2, "bottom")) != classifier.canonical(Run(TINY, 2))


def test_explanations_have_a_row_a_post_with_a_rationale(data):
    found = classifier.explanations(
        [Run(TINY, 2)], data, FAST, explainers=["attention", "random"], limit=3, progress=False
    )
    expected = [one.id for one in data.test if one.rationale][:3]
    assert found["id"].tolist() == expected * 2
    assert found["token_f1"].between(0, 1).all() and found["marked"].eq(2).all()
    with pytest.raises(InputError, match="No test post has a rationale"):
        bare = Data(data.train, data.test[1::2], data.labels, data.toxic)
        classifier.explanations([Run(TINY)], bare, FAST, progress=False)
    pieces = classifier.explanations(
        [Run(TINY, 2)], data, FAST, explainers=[classifier.PIECES], limit=3, progress=False
    )
    tokenizer = encoders.load(TINY, data.labels).tokenizer
    rows = classifier.encoded([p for p in data.test if p.rationale][:3], tokenizer, 16)
    assert pieces["words"].tolist() == [len(row["input_ids"]) for row in rows]
    assert pieces["marked"].tolist() == [sum(row["marked"]) for row in rows]
    assert "comprehensiveness" not in pieces or pieces["comprehensiveness"].isna().all()
    with pytest.raises(InputError, match="explainer 'lime'"):
        classifier.explanations([Run(TINY)], data, FAST, explainers=["lime"], progress=False)


def test_predictions_and_explanations_come_from_one_training(data, monkeypatch):
    trained, train = [], classifier.train
    monkeypatch.setattr(
        classifier, "train", lambda run, *rest: trained.append(run) or train(run, *rest)
    )
    runs = [Run(TINY, 2, seed=s) for s in (0, 1)]
    found, words = classifier.predictions_and_explanations(
        runs, data, FAST, explainers=["random"], limit=2
    )
    assert trained == runs
    assert found.equals(classifier.predictions(runs, data, FAST, progress=False))
    assert words["seed"].tolist() == [0, 0, 1, 1]


# --- Pruning afterwards ---------------------------------------------------------------------------


def test_pruned_classifiers_are_as_small_as_fewer_layers(data):
    found = pruned.predictions([Run(TINY, 2)], data, FAST, progress=False)
    short = classifier.predictions([Run(TINY, 2)], data, FAST, progress=False)
    size = short["parameters"].iloc[0]
    magnitude = found.loc[found["method"] == "magnitude", "parameters"].iloc[0]
    assert abs(magnitude - size) <= 4 * 6  # rounded down, layer by layer
    assert set(found["depth"]) == {2} and set(found["position"]) == {"none"}
    # Wanda rounds down row by row: of 16 or 32 inputs, less than one each.
    wanda = found.loc[found["method"] == "wanda", "parameters"].iloc[0]
    assert 0 <= wanda - size <= 4 * (5 * 16 + 32)


def test_pruning_leaves_the_kept_classifier_alone(data):
    before = weights(classifier.trained(Run(TINY), data, FAST)).clone()
    pruned.predictions([Run(TINY, 2)], data, FAST, progress=False)
    assert torch.equal(before, weights(classifier.trained(Run(TINY), data, FAST)))


@pytest.mark.parametrize("depth", [0, 5])
def test_a_size_that_the_model_does_not_have_is_refused(depth):
    model = encoders.load(TINY, ("a", "b")).model
    with pytest.raises(InputError, match="cannot be matched: this model has 4"):
        pruned.sparsity_for(model, depth)
