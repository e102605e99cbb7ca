"""Which small models are raised on which texts, each kept when it is done and gone on with where it
was stopped."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ethical_compression import store
from ethical_compression.datasets import childrens_books
from ethical_compression.errors import InputError
from ethical_compression.models.reading import quiet
from ethical_compression.train import baby, bpe
from ethical_compression.train.baby import Training

CURVE, NOTE = "curve.parquet", "raised.json"
DEVELOPMENT = 20_000  # words
LOOK = 40  # steps between two looks at them


class Texts(NamedTuple):
    """A tokenizer, and documents of tokens to raise a model on and to look at meanwhile."""

    tokenizer: Any
    documents: Sequence[Any]
    development: Sequence[Any]


@dataclass(frozen=True)
class Raising:
    """One model: so many words of a mixture (a name in `childrens_books.MIXTURES`), and how.

    read_by: the mixture whose words the tokenizer was trained on; one for all, so that no mixture
    has the better one. vocabulary: its entries. development: words to look at, of the mixture's own
    development split.
    """

    mixture: str
    words: int
    training: Training = field(default_factory=Training)
    read_by: str = "both"
    vocabulary: int = 8192
    development: int = DEVELOPMENT

    @property
    def label(self) -> str:
        """What tables call it: "children, seed 0"."""
        encoder = ", encoder" if self.training.masked else ""
        return f"{self.mixture}{encoder}, seed {self.training.seed}"

    def texts(self, *, data_dir=None) -> Texts:
        """Tokenizer and texts. The words and the tokenizer are the same for every seed.

        Raises as `childrens_books.mixture` and `bpe.trained`.
        """
        words = self.words
        read_by = childrens_books.mixture(self.read_by, words, data_dir=data_dir)
        tokenizer = bpe.trained(read_by, self.vocabulary)
        documents = childrens_books.mixture(self.mixture, words, data_dir=data_dir)
        development = childrens_books.mixture(
            self.mixture, self.development, split="development", data_dir=data_dir
        )
        some = (bpe.encoded(tokenizer, one) for one in (documents, development))
        return Texts(tokenizer, *some)

    def key(self) -> str:
        """The name under which it is kept."""
        return store.key("raised", asdict(self), __name__)

    def folder(self) -> Path:
        """Where it is kept."""
        return store.cache_dir() / "raised" / self.key()


def raised(run: Raising, *, data_dir=None, progress: bool = False, every: int = 50):
    """(the folder of the model, as transformers writes it, in float32; its learning curve).

    Read from the store where it was raised before; otherwise trained, from the last state that was
    kept (`every` so many steps). What the texts are counts in that state, so that it is not gone on
    with on others. Raises as `Raising.texts` and `baby.train`.
    """
    import pandas as pd

    place = run.folder()
    if _whole(run, place):
        return place, pd.read_parquet(place / CURVE)
    texts = run.texts(data_dir=data_dir)
    model, curve = baby.train(
        texts.tokenizer,
        texts.documents,
        texts.development,
        run.training,
        folder=place.with_name(f"{place.name}-state"),
        every=every,
        look=LOOK,
        progress=run.label if progress else None,
    )
    _keep(run, place, model, texts.tokenizer, curve)
    return place, pd.read_parquet(place / CURVE)


def is_raised(run: Raising) -> bool:
    """Whether `raised` would read it from the store."""
    return _whole(run, run.folder())


def untrained(run: Raising, *, data_dir=None) -> Path:
    """The folder of the same model with its first, random weights: what its shape alone gives."""
    place = run.folder().with_name(f"{run.key()}-untrained")
    if not _whole(run, place):
        tokenizer = run.texts(data_dir=data_dir).tokenizer
        _keep(run, place, baby.made(run.training, tokenizer), tokenizer)
    return place


def _whole(run: Raising, place: Path) -> bool:
    return store.read_note(f"model {run.label}", place / NOTE) is not None


def _keep(run: Raising, place: Path, model, tokenizer, curve=None) -> None:
    """Write a model, whole or not at all, with what it came of."""
    with store.whole_or_nothing(place, folder=True) as new, quiet():
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        if curve is not None:
            curve.to_parquet(new / CURVE, index=False)
        store.write_note(new / NOTE, sorted(new.iterdir()), run=asdict(run))


def exported(folder: Path, place: Path, card: str, *, megabytes: float = 30) -> None:
    """Write the model in `folder` (of `raised`) to `place` as it is given away: float16
    safetensors, configuration, tokenizer, and `card` as README.md; whole or not at all.

    transformers alone reads it. Raises InputError for weights that float16 does not hold, and where
    the files are larger than `megabytes`, in millions of bytes.
    """
    import torch
    import transformers

    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    half = model.half()
    if not all(one.isfinite().all() for one in half.parameters()):
        raise InputError("A weight is too large for float16: keep the model in float32.")
    with store.whole_or_nothing(place, folder=True) as new:
        with quiet():
            half.save_pretrained(new)
            tokenizer.save_pretrained(new)
        (new / "README.md").write_text(card, encoding="utf-8")
        size = sum(one.stat().st_size for one in new.iterdir()) / 1e6
        if size > megabytes:
            raise InputError(
                f"The model has {size:.1f} MB, more than {megabytes:g}: choose a smaller shape."
            )
