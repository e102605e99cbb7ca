"""Small models that a page raises while it is made: in minutes, on news without the books."""

from dataclasses import dataclass

from ethical_compression.datasets import childrens_books, text
from ethical_compression.errors import InputError
from ethical_compression.train import bpe
from ethical_compression.train.baby import Training
from ethical_compression.train.baby_runs import Raising, Texts

NEWS = "news"


@dataclass(frozen=True)
class News(Raising):
    """A model raised on news alone (XSum), which comes with the installation."""

    def texts(self, *, data_dir=None) -> Texts:
        documents = text.load("xsum", "calibration")
        parts = (
            childrens_books.first_words(documents[:-200], self.words, "XSum"),
            childrens_books.first_words(documents[-200:], self.development, "XSum"),
        )
        tokenizer = bpe.trained(parts[0], self.vocabulary)
        return Texts(tokenizer, *(bpe.encoded(tokenizer, one) for one in parts))


def runs(
    mixtures: list[str], words: int, training: Training, *, vocabulary: int, development: int = 2000
) -> tuple[list[Raising], str]:
    """(a run a mixture, why there is another one instead or ""). Without the books, one on news.

    Raises InputError for an unknown mixture.
    """
    sizes = {"vocabulary": vocabulary, "development": development}
    some = [Raising(one, words, training, **sizes) for one in mixtures]
    for one in some:
        childrens_books.files.known("mixture", one.mixture, childrens_books.MIXTURES)
    try:
        childrens_books.load("childrens_books", "held_out")
        return some, ""
    except InputError as error:
        return [News(NEWS, words, training, **sizes)], str(error)
