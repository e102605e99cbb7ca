"""Children's books: no book in two splits, as many words as asked, and a cut file told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethical_compression.datasets import childrens_books as books
from ethical_compression.datasets import text
from ethical_compression.errors import InputError


def test_every_line_of_every_file_belongs_to_one_book(mirror):
    for file, listed in books.BOOKS.items():
        lines = (mirror / "baby" / file).read_text(encoding="utf-8").split("\n")
        begins = [one.line for one in listed]
        assert begins[0] == 1 and begins == sorted(set(begins)) and begins[-1] < len(lines)
        assert {one.text for one in listed} <= set(books.TEXTS)


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("cbt_dev.txt", 4863, "Golden_Road"),
        ("cbt_dev.txt", 10058, "Nathaniel_Hawthorne"),
        ("cbt_dev.txt", 11643, "Johnny_Chuck"),
        ("children_stories_train.txt", 1394, "The Lion and the Crane"),
        ("children_stories_train.txt", 2004, "CHAPTER V."),
        ("children_stories_train.txt", 3147, "Velveteen Rabbit"),
        ("children_stories_train.txt", 3249, "The Book of DRAGONS"),
        ("children_stories_train.txt", 4061, "OLD TALES FROM THE NORTH"),
        ("children_stories_train.txt", 5019, "AMONG THE FOREST PEOPLE"),
        ("children_stories_train.txt", 5701, "True Stories"),
        ("children_stories_dev.txt", 881, "Sherlock Holmes"),
        ("children_stories_dev.txt", 3720, "PETER PAN"),
        ("children_stories_dev.txt", 4001, "Elephant’s Child"),
        ("children_stories_dev.txt", 4636, "MOBY-DICK"),
    ],
)
def test_the_table_of_books_says_what_the_lines_say(mirror, file, line, words):
    lines = (mirror / "baby" / file).read_text(encoding="utf-8").split("\n")
    assert words in lines[line - 1]


def test_no_sentence_is_trained_on_and_measured_on(mirror):
    """Long sentences: a short one ("Yes.") may stand in two books."""

    def sentences(split):
        lines = "\n".join(books.load("childrens_books", split)).split("\n")
        return {line for line in lines if len(line.split()) > 8}

    train, development, held_out = map(sentences, books.SPLITS)
    assert not train & held_out and not train & development and not development & held_out


def test_what_no_child_is_read_is_a_text_of_its_own(mirror):
    children = " ".join(books.load("childrens_books", "train"))
    measured = " ".join(books.load("childrens_books", "held_out"))
    adults = " ".join(books.load("adults_books", "train"))
    for name, there in (("Sherlock Holmes", adults), ("Mr. Scobell", adults)):
        assert name in there and name not in children and name not in measured
    assert "Queequeg" in books.load("adults_books", "held_out")[0]
    assert "Wendy" in children and "Wendy" not in measured  # Peter Pan is measured on nowhere


@pytest.mark.parametrize("name", books.MIXTURES)
def test_mixtures_have_as_many_words_as_asked(mirror, name):
    found = books.mixture(name, 3_001)
    assert abs(books.words(found) - 3_001) <= 1  # half a word each, at most
    assert books.mixture(name, 3_001) == found != books.mixture(name, 3_001, seed=1)


def test_the_half_of_a_mixture_is_the_beginning_of_the_whole(mirror):
    half = books.mixture("both", 4_000)
    begin = "\n".join(books.mixture("children", 4_000))
    assert begin.startswith("\n".join(half[: len(half) // 2])[:500])


def test_adult_text_that_is_measured_on_is_never_trained_on(mirror):
    parts = [set(books.adult_text(split)) for split in books.SPLITS]
    assert not (parts[0] | parts[1]) & parts[2] and not parts[0] & parts[1]
    article = next(one for one in text.load("xsum", "held_out"))
    assert books.straight(article) in parts[2]
    assert all(not line.startswith(("=", " ")) for one in parts[0] for line in one.split("\n")[:1])


@given(st.lists(st.text("ab \n", max_size=30), max_size=5), st.integers(0, 20))
def test_first_words_are_words_to_the_word_or_an_error(documents, count):
    there = books.words(documents)
    if count > there:
        with pytest.raises(InputError, match=f"has {there} words, not {count}"):
            books.first_words(documents, count)
    else:
        found = books.first_words(documents, count)
        assert books.words(found) == count
        assert all(any(one.startswith(part) for one in documents) for part in found)


@pytest.mark.parametrize(
    ("apart", "together"),
    [
        ("`` I do n't know , '' he said .", '"I don\'t know," he said.'),
        ("said : ' I have come , madam . '", "said: 'I have come, madam.'"),
        ("` That is it , ' shouted the frog .", "'That is it,' shouted the frog."),
        ("the boys ' hats -LRB- all -RRB- were n't", "the boys' hats (all) weren't"),
        ("a well @-@ known 1 @,@ 234 men", "a well-known 1,234 men"),
        ("nothing to join here", "nothing to join here"),
    ],
)
def test_words_and_marks_are_put_together(apart, together):
    assert books.untokenised(apart) == together


def small(tmp_path, lines: int):
    (tmp_path / "baby").mkdir()
    for file in books.BOOKS:
        said = ["_BOOK_TITLE_ : A.txt.out", *(f"Line {number} ." for number in range(2, lines))]
        (tmp_path / "baby" / file).write_text("\n".join(said))
    return tmp_path


def test_files_are_cut_at_titles_and_at_the_ends_of_pieces(tmp_path):
    place = small(tmp_path, 6_100)
    cbt = books.load("childrens_books", "train", data_dir=place, plain=False)[:4]
    assert [len(one.split("\n")) for one in cbt] == [1_999, 2_000, 2_000, 99]
    assert cbt[0].startswith("Line 2 .")
    assert books.load("childrens_books", "train", data_dir=place)[0].startswith("Line 2.")


def test_a_file_that_is_cut_short_or_missing_is_told(tmp_path):
    with pytest.raises(InputError, match="has 2999 lines, and Williams, The Velveteen"):
        books.load("childrens_books", "train", data_dir=small(tmp_path, 3_000))
    (tmp_path / "baby" / "cbt_train.txt").unlink()
    with pytest.raises(InputError, match=r"no file baby/cbt_train\.txt"):
        books.load("childrens_books", "train", data_dir=tmp_path)


def test_unknown_names_and_too_much_are_told(mirror):
    for call in (("fairy_tales", "train"), ("childrens_books", "test")):
        with pytest.raises(InputError, match="choose one of"):
            books.load(*call)
    with pytest.raises(InputError, match="nothing in the split 'development'"):
        books.load("adults_books", "development")
    with pytest.raises(InputError, match="There is no mixture"):
        books.mixture("child", 10)
    with pytest.raises(InputError, match="too few for both"):
        books.mixture("both", 1)
    with pytest.raises(InputError, match=r"has \d+ words, not 10000000"):
        books.mixture("adults", 10_000_000)


def test_where_texts_come_from_is_told_book_by_book(mirror):
    records = books.source_records(["childrens_books", "adult_text"])
    assert next(one["file"] for one in records if "books" in one) == "baby/cbt_train.txt"
    assert {one.get("text") for one in records} == {"childrens_books", "wikitext2", "xsum"}
    assert all(len(one["sha256"]) == 64 for one in records)
