import copy
import dataclasses
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from ethical_compression.datasets import moral_stories
from ethical_compression.errors import InputError
from ethical_compression.train import adapters, dpo

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def tokenizer():
    """Whole words, w0 to w195: what is tokenised together is what is tokenised apart."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = [*special.values(), *(f"w{i}" for i in range(196))]
    found = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=found, **special)


def some_pairs(count: int, seed: int = 0) -> list[dpo.Pair]:
    generator = np.random.default_rng(seed)

    def text(low, high):
        drawn = generator.integers(0, 196, generator.integers(low, high))
        return " ".join(f"w{i}" for i in drawn)

    return [dpo.Pair(text(5, 12), f" {text(3, 9)} ", f" {text(3, 9)} ") for _ in range(count)]


def peer(model, tokenizer, pairs, place, rank=0, **changes):
    """TRL's trainer over these pairs in the given order, a step for every eight."""
    import datasets
    import peft
    import trl

    class InOrder(trl.DPOTrainer):
        def _get_train_sampler(self, dataset=None):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    arguments = trl.DPOConfig(
        output_dir=str(place),
        per_device_train_batch_size=8,
        num_train_epochs=1,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        **changes,
    )
    adapters = peft.LoraConfig(r=rank, lora_alpha=16, target_modules=PROJECTIONS) if rank else None
    return InOrder(
        model=model,
        ref_model=None if rank else copy.deepcopy(model),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": a, "chosen": b, "rejected": c} for a, b, c in pairs]
        ),
        processing_class=tokenizer,
        peft_config=adapters,
    )


def both(rank, tokenizer, pairs, place, **changes):
    """The peer's trainer and our model, with the same weights and, where asked for, adapters that
    no longer do nothing."""
    model = tiny_model("llama")
    ours = copy.deepcopy(model)
    trainer = peer(model, tokenizer, pairs, place, rank, **changes)
    if rank:
        adapters.add_adapters(ours, rank=rank, alpha=16)
        generator = torch.Generator().manual_seed(1)
        theirs = dict(trainer.model.named_parameters())
        for name, weight in adapters.trained_weights(ours).items():
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
            theirs[f"base_model.model.{name}"].data.copy_(weight)
    return trainer, ours


def named(trainer, rank):
    return {
        name.removeprefix("base_model.model."): weight
        for name, weight in trainer.model.named_parameters()
        if weight.requires_grad
    }


def test_an_old_torchao_is_left_as_it_is_and_stops_nothing(tmp_path):
    """Colab brings one older than peft takes, which asks for it with every layer."""
    (tmp_path / "torchao").mkdir()
    (tmp_path / "torchao" / "__init__.py").write_text("")
    told = tmp_path / "torchao-0.10.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n")
    code = (
        "from importlib.metadata import version\n"
        "from tiny_models import tiny_model\n"
        "from ethical_compression.train import adapters\n"
        "assert version('torchao') == '0.10.0'\n"
        "model = tiny_model('llama')\n"
        "adapters.add_adapters(model, rank=2, alpha=16)\n"
        "assert len(adapters.trained_weights(model)) > 0\n"
        "adapters.merge_adapters(model)\n"
        "assert version('torchao') == '0.10.0'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rank", [0, 4])
def test_loss_rewards_and_gradients_are_those_of_trl(rank, tokenizer, tmp_path):
    pairs = some_pairs(8)
    trainer, ours = both(rank, tokenizer, pairs, tmp_path, beta=0.3)
    encoded = dpo.encode_pairs(tokenizer, pairs)
    if rank:
        plain = tiny_model("llama")
        reference = dpo.reference_logprobs(plain, encoded)
    else:
        reference = dpo.reference_logprobs(ours, encoded)
        for model in (trainer.model, ours):  # away from the reference, where the loss is log 2
            generator = torch.Generator().manual_seed(2)
            for _, weight in sorted(model.named_parameters()):
                weight.data += 0.02 * torch.randn(weight.shape, generator=generator)

    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
    trainer.model.train()
    loss = trainer._compute_loss(trainer.model, batch, return_outputs=False)
    loss.backward()
    truth = {name: values[-1] for name, values in trainer._metrics["train"].items()}

    layout = dpo.choose_layout(ours, encoded)
    assert layout == "tree"
    row = dpo._gradient(
        ours,
        encoded,
        torch.from_numpy(reference),
        list(range(8)),
        layout,
        dpo.Settings(beta=0.3, rank=rank),
        token_budget=64,
    )
    assert row["loss"] != pytest.approx(math.log(2), abs=1e-3)
    assert row["loss"] == pytest.approx(float(loss), abs=1e-5)
    for name, theirs in (
        ("chosen", "rewards/chosen"),
        ("rejected", "rewards/rejected"),
        ("margin", "rewards/margins"),
        ("accuracy", "rewards/accuracies"),
    ):
        assert row[name] == pytest.approx(truth[theirs], abs=1e-5)
    theirs = named(trainer, rank)
    mine = adapters.trained_weights(ours)
    assert mine.keys() == theirs.keys() and len(mine) > 10
    for name, weight in mine.items():
        torch.testing.assert_close(weight.grad, theirs[name].grad, atol=1e-5, rtol=1e-5)
        assert weight.grad.abs().max() > 1e-4, name


@pytest.mark.parametrize("rank", [0, 4])
def test_ten_steps_lead_where_trl_leads(rank, tokenizer, tmp_path):
    pairs = some_pairs(16)
    how = dpo.Settings(learning_rate=1e-3, epochs=5, rank=rank, seed=3)
    steps = dpo.order(16, how)
    assert len(steps) == 10
    shown = [pairs[i] for step in steps for i in step]
    trainer, ours = both(rank, tokenizer, shown, tmp_path, learning_rate=1e-3)
    start = {
        name: weight.detach().clone() for name, weight in adapters.trained_weights(ours).items()
    }
    reference = dpo.reference_logprobs(tiny_model("llama"), dpo.encode_pairs(tokenizer, pairs))
    reference = np.ascontiguousarray(reference[:, ::-1])[:, ::-1]  # as a table may hand it over
    log = dpo.train(ours, tokenizer, pairs, how, reference=reference)
    trainer.train()
    theirs = named(trainer, rank)
    for name, weight in adapters.trained_weights(ours).items():
        moved = (theirs[name] - start[name]).norm()
        assert (weight - theirs[name]).norm() < 1e-3 * moved, name
    logged = [row for row in trainer.state.log_history if "loss" in row]
    np.testing.assert_allclose(log["loss"], [row["loss"] for row in logged], atol=1e-4)
    np.testing.assert_allclose(
        log["margin"], [row["rewards/margins"] for row in logged], atol=1e-4, rtol=1e-3
    )
    np.testing.assert_allclose(log["gradient"], [row["grad_norm"] for row in logged], rtol=1e-3)


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 4), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_formula_and_turning_a_pair_round_turns_its_margin(values):
    ours, reference = torch.tensor(values, dtype=torch.float64).split(2, dim=1)
    found = dpo.dpo_loss(ours, reference, 0.1)
    margin = 0.1 * ((ours - reference)[:, 0] - (ours - reference)[:, 1])
    torch.testing.assert_close(found.loss, (1 + (-margin).exp()).log())
    turned = dpo.dpo_loss(ours.flip(1), reference.flip(1), 0.1)
    torch.testing.assert_close(turned.chosen - turned.rejected, -margin)
    torch.testing.assert_close(turned.loss - found.loss, margin)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_log_probabilities_do_not_depend_on_how_pairs_are_grouped(family, tokenizer):
    model = tiny_model(family)
    encoded = dpo.encode_pairs(tokenizer, some_pairs(6))
    layout = dpo.choose_layout(model, encoded)
    together = dpo.pair_logprobs(model, encoded, layout)
    for i in range(6):
        alone = dpo.pair_logprobs(model, encoded[2 * i : 2 * i + 2], layout)
        torch.testing.assert_close(together[i : i + 1], alone)
    np.testing.assert_allclose(
        dpo.reference_logprobs(model, encoded), together.detach().numpy(), rtol=1e-5, atol=1e-5
    )


@given(st.integers(1, 40), st.integers(10, 200))
@settings(max_examples=25, deadline=None)
def test_groups_hold_every_pair_once_and_stay_within_the_budget(count, budget):
    from ethical_compression.score.tokens import Encoded

    generator = np.random.default_rng(count)
    encoded = [Encoded([0] * int(n), 3) for n in generator.integers(5, 30, 2 * count)]
    groups = list(dpo.parts(encoded, budget))
    assert sorted(i for group in groups for i in group) == list(range(count))
    for group in groups:
        longest = max(len(encoded[2 * i].ids) + 3 for i in group)
        assert len(group) == 1 or longest * len(group) <= budget


@pytest.mark.parametrize("rank", [0, 4])
def test_a_run_that_was_killed_goes_on_to_the_same_weights(rank, tokenizer, tmp_path, monkeypatch):
    pairs = some_pairs(12)
    how = dpo.Settings(learning_rate=1e-3, epochs=3, batch=4, rank=rank)
    whole = tiny_model("llama")
    log = dpo.train(whole, tokenizer, pairs, how)
    assert (
        log["step"].tolist() == list(range(1, 10))
        and log["epoch"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    )

    folder, calls, gradient = tmp_path / "run", [], dpo._gradient

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return gradient(*arguments)

    monkeypatch.setattr(dpo, "_gradient", killed)
    with pytest.raises(KeyboardInterrupt):
        dpo.train(tiny_model("llama"), tokenizer, pairs, how, folder=folder, every=2)
    assert len(json.loads((folder / "notes.json").read_text())["log"]) == 4
    again = tiny_model("llama")
    resumed = dpo.train(again, tokenizer, pairs, how, folder=folder, every=2)
    assert len(calls) == 7 + 5  # steps 5 to 9, and none of those before
    assert resumed.equals(log)
    for name, weight in adapters.trained_weights(whole).items():
        assert torch.equal(weight, adapters.trained_weights(again)[name]), name

    # What is finished is read back, not trained; and not under other settings.
    monkeypatch.setattr(dpo, "_gradient", None)
    read = tiny_model("llama")
    assert dpo.train(read, tokenizer, pairs, how, folder=folder).equals(log)
    for name, weight in adapters.trained_weights(whole).items():
        assert torch.equal(weight, adapters.trained_weights(read)[name]), name
    with pytest.raises(InputError, match="other settings"):
        other = dataclasses.replace(how, beta=0.2)
        dpo.train(tiny_model("llama"), tokenizer, pairs, other, folder=folder)


def test_a_damaged_state_is_not_trusted(tokenizer, tmp_path, capsys):
    pairs, how = some_pairs(4), dpo.Settings(rank=2, epochs=1)
    model = tiny_model("llama")
    dpo.train(model, tokenizer, pairs, how, folder=tmp_path / "run")
    file = tmp_path / "run" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    again = tiny_model("llama")
    dpo.train(again, tokenizer, pairs, how, folder=tmp_path / "run")
    assert "damaged" in capsys.readouterr().err
    for name, weight in adapters.trained_weights(model).items():
        assert torch.equal(weight, adapters.trained_weights(again)[name])


def test_a_diverging_loss_stops_and_keeps_the_last_good_state(tokenizer, tmp_path):
    pairs = some_pairs(8)
    how = dpo.Settings(learning_rate=1e30, epochs=4, batch=4)
    model = tiny_model("llama")
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=r"step \d+ of 8 .* lower the learning rate \(1e\+30\)"):
        dpo.train(model, tokenizer, pairs, how, folder=tmp_path / "run", every=1)
    # The first step already led astray, so that nothing after it was worth keeping.
    assert not (tmp_path / "run").exists()
    assert not all(torch.equal(start[name], value) for name, value in model.state_dict().items())


def test_a_loss_that_breaks_later_leaves_the_state_before(tokenizer, tmp_path, monkeypatch):
    pairs, how = some_pairs(8), dpo.Settings(learning_rate=1e-3, epochs=4, batch=4)
    calls, gradient = [], dpo._gradient

    def breaks(*arguments):
        calls.append(1)
        return gradient(*arguments) | ({"loss": math.nan} if len(calls) == 6 else {})

    monkeypatch.setattr(dpo, "_gradient", breaks)
    model = tiny_model("llama")
    with pytest.raises(InputError, match="earlier step is kept in run"):
        dpo.train(model, tokenizer, pairs, how, folder=tmp_path / "run", every=2)
    notes = json.loads((tmp_path / "run" / "notes.json").read_text())
    assert len(notes["log"]) == 4
    kept = tiny_model("llama")
    dpo.prepared(kept, how, tmp_path / "run")
    for name, value in kept.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]) and value.isfinite().all()


def test_training_does_what_it_is_for(tokenizer):
    pairs = some_pairs(8)
    model = tiny_model("llama")
    log = dpo.train(model, tokenizer, pairs, dpo.Settings(learning_rate=3e-3, epochs=12, rank=4))
    assert abs(log["margin"].iloc[0]) < 1e-5
    assert log["loss"].iloc[0] == pytest.approx(math.log(2))
    assert log["loss"].iloc[-1] < 0.3 and log["accuracy"].iloc[-1] == 1


def test_merged_adapters_compute_the_same(tokenizer):
    pairs = some_pairs(8)
    model = tiny_model("llama")
    names = [name for name, _ in model.named_parameters()]
    dpo.train(model, tokenizer, pairs, dpo.Settings(learning_rate=1e-2, rank=4))
    encoded = dpo.encode_pairs(tokenizer, pairs)
    before = dpo.reference_logprobs(model, encoded)
    assert np.abs(before - dpo.reference_logprobs(tiny_model("llama"), encoded)).max() > 0.1
    adapters.merge_adapters(model)
    assert [name for name, _ in model.named_parameters()] == names
    np.testing.assert_allclose(dpo.reference_logprobs(model, encoded), before, atol=1e-4)


def test_gradients_through_a_4_bit_base_are_those_through_its_dequantised_weights(tokenizer):
    from ethical_compression.compress import bits_and_bytes
    from ethical_compression.compress.blocks import linear_layers
    from ethical_compression.models.anatomy import transformer_blocks

    pytest.importorskip("bitsandbytes")
    pairs = some_pairs(8)
    # Rows of two blocks and more: with one, scales that are out of order look as if they were in.
    base, plain = (tiny_model("llama", hidden_size=128, head_dim=32) for _ in range(2))
    bits_and_bytes.quantize_model(base, "nf4")
    with torch.no_grad():
        for quantized, block in zip(*map(transformer_blocks, (base, plain)), strict=True):
            for name, layer in linear_layers(block).items():
                layer.weight.copy_(bits_and_bytes.dequantize(quantized.get_submodule(name)))
    # A pass after which weights would be packed, where the processor is one that does.
    encoded = dpo.encode_pairs(tokenizer, pairs)
    dpo.reference_logprobs(base, encoded)
    how = dpo.Settings(learning_rate=3e-3, epochs=12, rank=4)
    logs = [dpo.train(model, tokenizer, pairs, how) for model in (base, plain)]
    np.testing.assert_allclose(logs[0]["gradient"], logs[1]["gradient"], rtol=1e-3)
    np.testing.assert_allclose(logs[0]["margin"], logs[1]["margin"], atol=1e-3)
    for log in logs:
        assert log["loss"].iloc[-1] < 0.4 < log["loss"].iloc[0]
    with pytest.raises(InputError, match="stay beside it"):
        adapters.merge_adapters(base)


def test_splits_keep_stories_apart_and_together_across_languages():
    english, french = (moral_stories.load(language) for language in ("en", "fr"))
    sides = [dpo.split(stories, 44, seed=1) for stories in (english, french)]
    for train, test in sides:
        assert len(train) == 84 and len(test) == 44
        assert not {story.id for story in train} & {story.id for story in test}
    assert {story.id for story in sides[0][1]} == {story.id for story in sides[1][1]}
    other = dpo.split(english, 44, seed=2)[1]
    assert {story.id for story in other} != {story.id for story in sides[0][1]}
    drawn = [story.id for story in dpo.draw(sides[0][0], 32, 0)]
    assert [story.id for story in dpo.draw(sides[0][0], 8, 0)] == drawn[:8]
    assert [story.id for story in dpo.draw(sides[0][0], 8, 1)] != drawn[:8]
    for size in (0, 85):
        with pytest.raises(InputError, match="to train on"):
            dpo.draw(sides[0][0], size, 0)
    with pytest.raises(InputError, match="held out"):
        dpo.split(english, 128)


def test_directions_are_mirror_images():
    stories = moral_stories.load("fr")[:5]
    for moral, immoral in zip(
        dpo.pairs(stories, "moral"), dpo.pairs(stories, "immoral"), strict=True
    ):
        assert moral == (immoral.prompt, immoral.rejected, immoral.chosen)
    assert dpo.pairs(stories, "moral")[2].chosen == f" {stories[2].moral_action}"
    with pytest.raises(InputError, match="direction"):
        dpo.pairs(stories, "amoral")


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "no pairs"),
        ([dpo.Pair("w1", " ", " w2")], "Pair 0 has an empty chosen"),
        ([dpo.Pair("w1", " w2", " w2")], "two equal answers"),
        ([dpo.Pair("w1", " w2", " w3"), dpo.Pair("", " w2", " w3")], "Pair 1 has an empty prompt"),
    ],
)
def test_pairs_that_teach_nothing_are_refused(pairs, words, tokenizer):
    with pytest.raises(InputError, match=words):
        dpo.train(tiny_model("llama"), tokenizer, pairs, dpo.Settings())


@pytest.mark.parametrize(
    "wrong", [{"beta": 0}, {"learning_rate": math.nan}, {"epochs": 0}, {"rank": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        dpo.Settings(**wrong)


def test_all_weights_in_float16_are_refused(tokenizer):
    with pytest.raises(InputError, match="float16"):
        dpo.train(tiny_model("llama").half(), tokenizer, some_pairs(2), dpo.Settings())
