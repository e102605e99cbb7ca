"""Raising small models: the Trainer's losses, a seed's weights, the same after a stop, and nothing
read across documents."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from ethical_compression.errors import InputError
from ethical_compression.train import baby, bpe, windows
from ethical_compression.train.baby import Training

TEXTS = [
    f"Once there was a {who} who went to the {where} and said, 'Good day, {other}!' and sat down. "
    for who in ("cat", "king", "girl", "wolf")
    for where in ("wood", "sea", "town")
    for other in ("owl", "queen")
]
TINY = Training("tiny", steps=6, tokens=64, lengths=(8, 16), learning_rate=3e-3, dropout=0.1)
ENCODER = replace(TINY, shape="tiny-encoder")


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.trained(TEXTS, 300)


@pytest.fixture(scope="module")
def texts(tokenizer):
    found = bpe.encoded(tokenizer, TEXTS)
    return found[:20], found[20:]


def weights(model):
    return torch.cat([one.detach().flatten() for one in model.parameters()])


HALF = replace(TINY, dtype="bfloat16")  # as the larger runs are


@pytest.mark.parametrize("training", [TINY, ENCODER, HALF], ids=["decoder", "encoder", "half"])
def test_a_seed_decides_the_weights_and_a_stopped_run_goes_on_to_them(
    tokenizer, texts, training, tmp_path
):
    once, curve = baby.train(tokenizer, *texts, training, look=3)
    again, _ = baby.train(tokenizer, *texts, training, look=3)
    other, _ = baby.train(tokenizer, *texts, replace(training, seed=1), look=3)
    assert torch.equal(weights(once), weights(again))
    assert not torch.equal(weights(once), weights(other))

    class Stop(Exception):
        pass

    def stop(step):
        if step == 4:
            raise Stop

    kept = {"folder": tmp_path / "run", "every": 2, "look": 3}
    with pytest.raises(Stop):
        baby.train(tokenizer, *texts, training, after=stop, **kept)
    seen = []
    resumed, gone_on = baby.train(tokenizer, *texts, training, after=seen.append, **kept)
    assert seen == [4, 5]  # what came after the last state is made again, and no more
    assert torch.equal(weights(once), weights(resumed))
    assert gone_on["loss"].tolist() == curve["loss"].tolist()
    assert gone_on["development"].tolist()[2::3] == curve["development"].tolist()[2::3]
    read, _ = baby.train(tokenizer, *texts, training, **kept)
    assert torch.equal(weights(read), weights(once))
    with pytest.raises(InputError, match="holds a run with other settings"):
        baby.train(tokenizer, *texts, replace(training, decay=0.2), **kept)


def test_a_damaged_state_is_made_again(tokenizer, texts, tmp_path, capsys):
    kept = {"folder": tmp_path / "run", "every": 2}
    once, _ = baby.train(tokenizer, *texts, TINY, **kept)
    (tmp_path / "run" / "state.safetensors").write_bytes(b"short")
    again, _ = baby.train(tokenizer, *texts, TINY, **kept)
    assert "damaged" in capsys.readouterr().err
    assert torch.equal(weights(once), weights(again))


def test_losses_are_the_trainers(tokenizer, texts, tmp_path):
    """transformers' Trainer on the same windows, from the same weights, without dropout."""
    import transformers

    plain = replace(TINY, dropout=0.0, across=True, decay=0.0)
    _, curve = baby.train(tokenizer, *texts, plain)
    rows = list(islice(windows.batches(texts[0], plain.lengths, plain.tokens, 0), plain.steps))

    class Windows(transformers.Trainer):
        def get_train_dataloader(self):
            return [
                {
                    "input_ids": torch.from_numpy(one[:, :-1].astype(np.int64)),
                    "labels": torch.from_numpy(one[:, 1:].astype(np.int64)),
                }
                for one in rows
            ]

        def compute_loss(self, model, inputs, return_outputs=False, **_said):
            logits = model(input_ids=inputs["input_ids"]).logits
            return torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), inputs["labels"].flatten()
            )

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=plain.steps,
        learning_rate=plain.learning_rate,
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        lr_scheduler_type="constant",
    )
    model = baby.made(plain, tokenizer)
    optimizer = baby._optimizer(dict(model.named_parameters()), plain)
    rates = [plain.rate(step) / plain.learning_rate for step in range(plain.steps + 1)]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rates[step])
    trainer = Windows(model=model, args=arguments, optimizers=(optimizer, schedule))
    trainer.train()
    log = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["loss"] for row in log] == pytest.approx(curve["loss"].tolist(), abs=2e-4)
    assert [row["grad_norm"] for row in log] == pytest.approx(curve["gradient"].tolist(), rel=2e-3)
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[0]


SMALL = {
    "tiny": {},
    "tiny-encoder": {},
    "zlata": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32},
    "bebeshka": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
    },
}


@pytest.fixture(params=SMALL)
def shape(request, monkeypatch):
    """Every architecture, no wider than a test needs."""
    entry = baby.SHAPES[request.param]
    entry = entry | {"config": entry["config"] | SMALL[request.param]}
    monkeypatch.setitem(baby.SHAPES, request.param, entry)
    return request.param


def test_nothing_is_read_across_documents_unless_said(tokenizer, shape):
    training = Training(shape, tokens=16, lengths=(16,), dropout=0.0)
    model = baby.made(training, tokenizer).eval()
    for weight in model.parameters():  # large enough that a leak would show
        if weight.dim() > 1 and weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3)
    begin = tokenizer.bos_token_id
    row = np.array([[*range(40, 46), begin, *range(50, 59)]], dtype=np.int32)
    other = row.copy()
    other[0, :6] += 60
    alone = row[:, 6:]

    def states(tokens, **how):
        with torch.no_grad():
            return model(**baby.inputs_of(model, tokens, begin, **how)).logits[0]

    second = states(row)[6:]
    assert torch.allclose(second, states(other)[6:], atol=1e-4)
    assert torch.allclose(second, states(alone), atol=1e-4)
    over = states(row, across=True)[6:] - states(other, across=True)[6:]
    assert over.abs().max() > 0.01
    if not training.masked:  # and nothing from behind
        changed = row.copy()
        changed[0, 12:] += 30
        assert torch.allclose(states(row)[:12], states(changed)[:12], atol=1e-5)


def test_every_shape_is_trained_kept_and_read_back(tokenizer, texts, shape, tmp_path):
    training = Training(shape, steps=2, tokens=32, lengths=(8, 16))
    once, curve = baby.train(tokenizer, *texts, training, folder=tmp_path / "run", every=1)
    again, _ = baby.train(tokenizer, *texts, training, folder=tmp_path / "run", every=1)
    assert torch.equal(weights(once), weights(again))
    assert curve["development"].notna().tolist() == [False, True]


def test_dropout_is_there_in_training_and_gone_from_what_is_saved(tokenizer, shape, tmp_path):
    training = Training(shape, tokens=16, lengths=(16,), dropout=0.5)
    model = baby.made(training, tokenizer)
    row = np.arange(40, 56, dtype=np.int32)[None]
    given = baby.inputs_of(model, row, tokenizer.bos_token_id)
    with torch.no_grad():
        assert not torch.allclose(model(**given).logits, model(**given).logits)
        model.eval()
        once = model(**given).logits
        model.save_pretrained(tmp_path)
        again = type(model).from_pretrained(tmp_path).eval()
        assert torch.allclose(again(**given).logits, once, atol=1e-6)


def test_an_encoder_is_asked_for_hidden_tokens_only(tokenizer, texts):
    row = np.tile(np.concatenate(texts[0])[:600], 3).reshape(72, 25)
    read, asked = baby.hidden(row, tokenizer, [0, 1])
    assert 0.11 < asked.mean() < 0.19
    assert (read[~asked] == row[~asked]).all()
    assert not asked[row == tokenizer.bos_token_id].any()
    masked = (read[asked] == tokenizer.mask_token_id).mean()
    assert 0.7 < masked < 0.9
    assert (baby.hidden(row, tokenizer, [0, 1])[0] == read).all()
    assert (baby.hidden(row, tokenizer, [0, 2])[0] != read).any()


def test_development_loss_is_the_mean_over_every_token(tokenizer, texts):
    model = baby.made(replace(TINY, dropout=0.0), tokenizer).eval()
    total = count = 0.0
    for document in texts[1]:
        for begin in range(0, len(document) - 1, 16):
            piece = torch.from_numpy(document[begin : begin + 17].astype(np.int64))
            with torch.no_grad():
                log_p = model(input_ids=piece[None, :-1]).logits[0].log_softmax(-1)
            total -= float(log_p.gather(1, piece[1:, None]).sum())
            count += len(piece) - 1
    found = baby.development_loss(model, tokenizer, texts[1], TINY)
    assert found == pytest.approx(total / count, abs=1e-4)


def test_half_precision_products_are_near_and_weights_stay_whole(tokenizer, texts):
    whole, curve = baby.train(tokenizer, *texts, replace(TINY, dropout=0.0))
    half, other = baby.train(tokenizer, *texts, replace(TINY, dropout=0.0, dtype="bfloat16"))
    assert half.dtype == whole.dtype == torch.float32
    assert other["loss"].tolist() == pytest.approx(curve["loss"].tolist(), abs=0.03)
    assert other["loss"].tolist() != curve["loss"].tolist()


def test_the_rate_rises_and_falls_to_a_tenth():
    training = Training(steps=200, learning_rate=1.0, warmup=0.1)
    rates = [training.rate(step) for step in range(200)]
    assert rates[0] == pytest.approx(1 / 20) and max(rates) == rates[19] == 1.0
    assert rates[:20] == sorted(rates[:20]) and rates[19:] == sorted(rates[19:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize("name", baby.SHAPES)
def test_shapes_are_as_large_as_they_say(name, tokenizer):
    import transformers

    entry = baby.SHAPES[name]
    config = transformers.AutoConfig.for_model(
        entry["architecture"], **entry["config"], vocab_size=8192, pad_token_id=0,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    kind = {
        "causal": transformers.AutoModelForCausalLM,
        "masked": transformers.AutoModelForMaskedLM,
    }[entry["kind"]]
    with torch.device("meta"):
        millions = kind.from_config(config).num_parameters() / 1e6
    if not name.startswith("tiny"):
        assert 5 <= millions <= {"zlata": 50, "bebeshka": 17}.get(name, 15), f"{millions:.1f} M"
    if name == "book":
        assert millions * 2 <= 30  # megabytes of float16


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": "smal"}, "did you mean 'small'"),
        ({"dtype": "float16"}, "There is no dtype of training"),
        ({"steps": 0}, "positive steps"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_settings_that_make_no_sense_are_told(changes, said):
    with pytest.raises(InputError, match=said):
        Training(**changes)


def test_texts_that_do_not_fit_and_losses_that_are_none_are_told(tokenizer, texts):
    with pytest.raises(InputError, match="longer than the model reads"):
        baby.train(tokenizer, *texts, Training("tiny", tokens=1024, lengths=(1024,)))
    with pytest.raises(InputError, match="is not a finite number"):
        baby.train(tokenizer, *texts, replace(TINY, learning_rate=1e30, clip=1e30))
