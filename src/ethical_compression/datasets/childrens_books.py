"""Texts to raise a small model on: children's books, and as many words of what adults read.

The children's books are those of BabyLM (Warstadt et al. 2023) that Proskurina et al. 2023 carry
beside their tokenizer: parts of the Children's Book Test (Hill et al. 2016) and of a corpus of
children's stories, all from Project Gutenberg and in the public domain in the United States. They
come in a mirror folder only, and no text of theirs is in this package. Their files are pieces of
2,000 lines one after the other, so that a story may break off where the next begins; documents are
cut there, at titles, and at the chapters of the table below.

Four books in the files of children's stories are none: two collections and novels for adults, and a
comic history of the United States (`BOOKS`; told by their titles, openings and the names in them).
They are a text of their own here, `adults_books`, of the same age as the children's. The
beginning of *Peter Pan*, which the training files hold too, is left out of what is measured on.

Child-directed speech (`child_directed_speech`: adults who talk to children, CHILDES as BabyLM has
it) has terms of its own, for research that is not commercial as far as we could find out.
"""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ethical_compression.datasets import files, text
from ethical_compression.errors import InputError

SPLITS = ("train", "development", "held_out")
TITLE = re.compile(r"_BOOK_TITLE_ : (.*?)(?:\.txt\.out)?$")
# A book's title, and where a picture was.
LEFT_OUT = re.compile(r"_BOOK_TITLE_ :|-LSB- Illustration|\[Illustration")
PIECE = 2000  # lines of a piece of a training file


class Book(NamedTuple):
    """Where a book begins in its file (line, from 1), and what text and split it belongs to."""

    line: int
    title: str
    text: str = "childrens_books"
    split: str = "train"


_ADULTS = "adults_books"
_GUTENBERG = "public domain in the United States (Project Gutenberg)"
# Lines that have no title mark of the file's own are told by what stands there. A split "" is left
# out. The titles are those of the books that the lines were recognised as.
BOOKS: dict[str, tuple[Book, ...]] = {
    "cbt_train.txt": (
        Book(1, "Children's Book Test: Lang, Barrie, Alcott, Montgomery, Stevenson"),
    ),
    "cbt_dev.txt": (
        Book(1, "Lang, The Grey Fairy Book", split="held_out"),
        Book(4863, "Montgomery, The Golden Road", split="held_out"),
        Book(10058, "Hawthorne, The Vision of the Fountain", split="development"),
        Book(10144, "Burgess, Happy Jack", split="development"),
        Book(11643, "Burgess, The Adventures of Johnny Chuck", split="development"),
    ),
    "children_stories_train.txt": (
        Book(1, "Grimm, Household Tales"),
        Book(1393, "Jacobs, Indian Fairy Tales"),
        Book(2001, "Nye, History of the United States", _ADULTS),
        Book(3145, "Williams, The Velveteen Rabbit"),
        Book(3249, "Nesbit, The Book of Dragons"),
        Book(4001, "The Little Red Hen"),
        Book(4061, "Asbjørnsen and Moe, East of the Sun and West of the Moon"),
        Book(5019, "Pierson, Among the Forest People"),
        Book(5699, "True Stories of Wonderful Deeds"),
    ),
    "children_stories_dev.txt": (
        Book(1, "Wodehouse, The Prince and Betty", _ADULTS),
        Book(881, "Doyle, The Adventures of Sherlock Holmes", _ADULTS),
        Book(3719, "Barrie, Peter Pan", split=""),
        Book(4001, "Kipling, Just So Stories", split="held_out"),
        Book(4636, "Melville, Moby-Dick", _ADULTS, "held_out"),
    ),
    "aochildes_train.txt": (Book(1, "CHILDES", "child_directed_speech"),),
    "aochildes_dev.txt": (
        Book(1, "CHILDES", "child_directed_speech", "development"),
        Book(35_001, "CHILDES", "child_directed_speech", "held_out"),
    ),
}
# tokenised: files whose words and marks stand apart, in the manner of the Penn Treebank.
TOKENISED = ("cbt_train.txt", "cbt_dev.txt")
TEXTS: dict[str, dict[str, str]] = {
    "childrens_books": {"title": "children's books (BabyLM)", "licence": _GUTENBERG},
    "adults_books": {
        "title": "books for adults among BabyLM's children's stories",
        "licence": _GUTENBERG,
    },
    "child_directed_speech": {
        "title": "speech to children (CHILDES in BabyLM)",
        "licence": "research that is not commercial (unsure)",
    },
}


def load(
    name: str,
    split: str,
    *,
    plain: bool = True,
    data_dir: str | os.PathLike | None = None,
) -> list[str]:
    """Documents of a text (a name in `TEXTS`) and split ("train", "development", "held_out"), in
    file order, from a mirror folder `baby`. No book is in two splits.

    plain: write the text as people do (`untokenised`, where a file sets words and marks apart;
    `straight`).
    Raises InputError for an unknown name, a missing or empty file, a book whose line a file does
    not have, and a text that has nothing in that split.
    """
    files.known("text of BabyLM", name, TEXTS)
    files.known("split of BabyLM", split, SPLITS)
    found = []
    for file, books in BOOKS.items():
        wanted = [one for one in books if (one.text, one.split) == (name, split)]
        if not wanted:
            continue
        place = files.mirror_file(f"baby/{file}", data_dir)
        lines = files.read_text(place).split("\n")
        ends = [one.line - 1 for one in books[1:]] + [len(lines)]
        for book, end in zip(books, ends, strict=True):
            if book not in wanted:
                continue
            if len(lines) < book.line:
                raise InputError(
                    f"{place} has {len(lines)} lines, and {book.title} begins at line {book.line}: "
                    "fetch the file again."
                )
            some = _documents(lines, book.line - 1, end, pieces="_train" in file)
            if plain:
                some = [untokenised(one) if file in TOKENISED else one for one in some]
            found += [straight(one) for one in some] if plain else some
    if not found:
        raise InputError(f"{TEXTS[name]['title']} has nothing in the split {split!r}.")
    return found


def _documents(lines: Sequence[str], begin: int, end: int, *, pieces: bool) -> list[str]:
    """Lines from `begin` to before `end`, cut before titles and, of a file of pieces, there."""
    cuts = {begin, end}
    cuts |= {place for place in range(begin, end) if TITLE.match(lines[place])}
    if pieces:
        cuts |= set(range(PIECE * (begin // PIECE + 1), end, PIECE))
    cuts = sorted(cuts)
    found = []
    for first, last in pairwise(cuts):
        kept = (line.strip() for line in lines[first:last] if not LEFT_OUT.match(line))
        if said := "\n".join(line for line in kept if line):
            found.append(said)
    return found


# --- Written as people write ----------------------------------------------------------------------

# Brackets' names in the Penn Treebank, WikiText's marks within a word, quotation marks, what is put
# before a mark, what behind one: in this order.
_JOINED = (
    (r"-L[RSC]B- ?", "("),
    (r"-R[RSC]B-", ")"),
    (r" @([-,.])@ ", r"\1"),
    (r"(?m)(^|\s)(?:``|\u201c) ?", r'\1"'),
    (r" ?(?:''|\u201d)", '"'),
    (r"(?m)(^|\s)` ", r"\1'"),
    (r"(?m)(^|: )' (?=\S)", r"\1'"),
    (r" (n't|'(?:s|S|m|d|ll|LL|re|ve|t|em))\b", r"\1"),
    (r" ([,.;:!?%)])", r"\1"),
    (r" '(?!\w)", "'"),
    (r"([($£]) ", r"\1"),
)
_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


def straight(text: str) -> str:
    """With straight quotation marks and apostrophes, as the benchmarks have them: a small model has
    no words to spare on learning that both kinds are one."""
    return text.translate(_STRAIGHT)


def untokenised(text: str) -> str:
    """A text whose words and marks stand apart, as people write it: `do n't , '' he` becomes
    `don't," he`. A convenience, not an inverse: an opening single quotation mark that is written
    as a closing one is known at the beginning of a line and behind a colon only."""
    for pattern, instead in _JOINED:
        text = re.sub(pattern, instead, text)
    return text


# --- Mixtures -------------------------------------------------------------------------------------

# What the same number of words is taken from. adult: WikiText-2 and XSum, the parts that no page
# measures on.
ADULT = (("wikitext2", "mirror"), ("xsum", "embedded"))
MIXTURES: dict[str, dict[str, float]] = {
    "children": {"childrens_books": 1.0},
    "adults": {"adult_text": 1.0},
    "both": {"childrens_books": 0.5, "adult_text": 0.5},
}


def adult_text(split: str, *, data_dir: str | os.PathLike | None = None) -> list[str]:
    """Documents of encyclopaedia and news (`ADULT`): "train" and "development" are parts of the
    calibration halves of `datasets.text`, every tenth document the latter, and "held_out" is the
    other half, which no page of this book trains on."""
    files.known("split of adult text", split, SPLITS)
    half = "held_out" if split == "held_out" else "calibration"
    found = []
    for name, source in ADULT:
        some = text.load(name, half, source=source, data_dir=data_dir)
        if name == "wikitext2":
            some = [untokenised(_without_headings(one)) for one in some]
        if split != "held_out":
            tenth = split == "development"
            some = [one for place, one in enumerate(some) if (place % 10 == 9) == tenth]
        found += [straight(one) for one in some]
    return found


def documents_of(name: str, split: str, *, data_dir: str | os.PathLike | None = None) -> list[str]:
    """Documents of "adult_text" (`adult_text`), or of a text in `TEXTS` (`load`)."""
    if name == "adult_text":
        return adult_text(split, data_dir=data_dir)
    return load(name, split, data_dir=data_dir)


def _without_headings(article: str) -> str:
    """An article of WikiText without the marks of its headings, empty lines and outer spaces."""
    lines = (line.strip().strip("=").strip(" =") for line in article.split("\n"))
    return "\n".join(line for line in lines if line)


def words(documents: Sequence[str]) -> int:
    """How many words: runs of what is no white space."""
    return sum(len(one.split()) for one in documents)


def mixture(
    name: str,
    count: int,
    *,
    split: str = "train",
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[str]:
    """Documents of a mixture (a name in `MIXTURES`), `count` words in all and to the word.

    Each part gives its share of the words: documents in a seeded order, the last one cut after a
    word. Whatever is in one mixture twice as much is its beginning in the other.
    Raises InputError for an unknown name, fewer than a word a part, and a part with too few words.
    """
    files.known("mixture", name, MIXTURES)
    parts = MIXTURES[name]
    if count < len(parts):
        raise InputError(f"{count} words are too few for {name}: ask for one a part at least.")
    found = []
    for part, share in parts.items():
        documents = documents_of(part, split, data_dir=data_dir)
        found += first_words(documents, round(share * count), part, seed=seed)
    return found


def first_words(
    documents: Sequence[str], count: int, what: str = "the text", *, seed: int = 0
) -> list[str]:
    """Documents in a seeded order up to `count` words, the last cut after a word.

    Raises InputError where there are fewer. what: the text's name, for the error.
    """
    import numpy as np

    found, left = [], count
    for place in np.random.default_rng(seed).permutation(len(documents)):
        if not left:
            break
        ends = [one.end() for one in re.finditer(r"\S+", documents[place])]
        take = min(left, len(ends))
        if take:
            found.append(documents[place][: ends[take - 1]])
        left -= take
    if left:
        raise InputError(
            f"{what} has {count - left} words, not {count}: ask for fewer, the same of every "
            "mixture."
        )
    return found


def source_records(
    names: Sequence[str], *, data_dir: str | os.PathLike | None = None
) -> list[dict[str, Any]]:
    """Where texts (names in `TEXTS`, and "adult_text") come from: JSON-ready, a record a file, with
    the books in it, their text and their split."""
    found = []
    for name in names:
        if name == "adult_text":
            found += [
                text.source_record(one, half, source=source, data_dir=data_dir)
                for one, source in ADULT
                for half in text.SPLITS
            ]
            continue
        files.known("text of BabyLM", name, TEXTS)
        for file, books in BOOKS.items():
            if any(one.text == name for one in books):
                found.append(
                    {
                        "text": name,
                        **TEXTS[name],
                        "citation": "Warstadt et al. 2023, BabyLM; Proskurina et al. 2023",
                        "books": [one._asdict() for one in books],
                        **files.record("mirror", {"file": f"baby/{file}"}, data_dir=data_dir),
                    }
                )
    return found
