"""Posts against rows written by hand, and against the sources' own counts."""

import csv
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethical_compression.datasets import hate_speech as hs
from ethical_compression.errors import InputError

ROW = {
    "id": "7_gab",
    "annotators": {
        "label": [0, 2, 0],
        "annotator_id": [1, 2, 3],
        "target": [["Women", "Islam"], ["Islam", "Islam"], ["None"]],
    },
    "rationales": [[0, 1, 0, 0], [0, 0, 0, 1]],
    "post_tokens": ["a", "b", "c", "d"],
}


def test_majority_label_two_annotators_a_community_and_the_union_of_rationales():
    post = hs.parse("hatexplain", "validation", ROW)
    assert post == hs.Post("7_gab", ("a", "b", "c", "d"), 0, ("Islam",), (0, 1, 0, 1))


def test_a_post_on_which_all_three_differ_is_left_out():
    row = ROW | {"annotators": ROW["annotators"] | {"label": [0, 1, 2]}}
    assert hs.parse("hatexplain", "validation", row) is None


@pytest.mark.parametrize("marks", [[], [[0, 0, 0, 0]], [[1, 1, 1]]])
def test_no_mark_or_a_mask_of_another_text_is_no_rationale(marks):
    assert hs.parse("hatexplain", "validation", ROW | {"rationales": marks}).rationale is None


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=3, max_size=3), st.randoms())
def test_the_order_of_annotators_makes_no_difference(labels, random):
    votes = list(zip(labels, ROW["annotators"]["target"], strict=True))
    random.shuffle(votes)
    shuffled = {"label": [v for v, _ in votes], "target": [t for _, t in votes]}
    before = ROW | {"annotators": ROW["annotators"] | {"label": labels}}
    assert hs.parse("hatexplain", "validation", before) == hs.parse(
        "hatexplain", "validation", ROW | {"annotators": shuffled}
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"post_tokens": None}, "lacks the column 'post_tokens'"),
        ({"post_tokens": []}, "needs tokens"),
        ({"annotators": {"label": [7, 7, 0], "target": [[], [], []]}}, "number 7 of 3"),
        ({"annotators": {"label": [0.7, 0.7, 0], "target": [[], [], []]}}, "no whole number"),
        ({"annotators": {"target": []}}, "Row 4 of the data is not a HateXplain post"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(change, said):
    with pytest.raises(InputError, match=said):
        hs.parse("hatexplain", "validation", ROW | change, number=4)


def test_rebuilt_row_has_a_rationale_only_where_its_span_is_known():
    row = {
        "row": 5,
        "post_id": None,
        "tokens": ["x", "y"],
        "label": "offensive",
        "targets_any": None,
        "targets_axis": ["Women"],
        "rationale_union": [0, 1],
        "rationale_source": "span",
    }
    expected = hs.Post("rebuilt-5", ("x", "y"), 2, ("Women",), (0, 1))
    assert hs.parse("hatexplain", "rebuilt_train", row) == expected
    bag = row | {"rationale_source": "bag", "rationale_union": None, "targets_any": ["None"]}
    post = hs.parse("hatexplain", "rebuilt_train", bag)
    assert post.rationale is None and post.communities == ()
    with pytest.raises(InputError, match="rationale is 1 tokens long, the post 2"):
        hs.parse("hatexplain", "rebuilt_train", row | {"rationale_union": [1]})


def test_mirror_has_the_official_validation_split(mirror):
    posts = hs.load("hatexplain", "validation", source="mirror")
    # Mathew et al. 2021: 1,922 posts; majority labels as in their released split.
    assert Counter(post.label for post in posts) == {0: 593, 1: 781, 2: 548}
    harmless = hs.DATASETS["hatexplain"]["labels"].index("normal")
    assert all(post.rationale is None for post in posts if post.label == harmless)
    found = Counter(name for post in posts for name in post.communities)
    assert {name for name, _ in found.most_common(11)} - {"Other"} == set(
        hs.DATASETS["hatexplain"]["communities"]
    )


def test_rebuilt_training_posts_are_not_those_of_the_validation_split(mirror):
    train = hs.load("hatexplain", "rebuilt_train", source="mirror")
    held_out = hs.load("hatexplain", "validation", source="mirror")
    assert len(train) == 15_383 and len({post.id for post in train}) == len(train)
    assert not {post.id for post in train} & {post.id for post in held_out}
    record = hs.source_record("hatexplain", "rebuilt_train", "mirror")
    assert "rebuilt" in record["caveat"] and len(record["sha256"]) == 64


# --- RedditBias -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reddit():
    return {split: hs.load("redditbias", split) for split in hs.SHARES}


def test_splits_hold_every_labelled_comment_once(reddit):
    comments = Counter()
    labels = {}
    for part in hs._REDDIT_FILES.values():
        text = hs.files.path("embedded", part).read_bytes()
        for row in csv.DictReader(
            text.decode(part.get("encoding", "utf-8")).splitlines(keepends=True)
        ):
            if (label := row["bias_sent"][:3]) in ("0", "1", "0.0", "1.0"):
                comments[row["comment"]] += 1
                labels.setdefault(row["comment"], set()).add(label[0])
    assert comments.total() == 11_492
    kept = {" ".join(c.split()) for c, found in labels.items() if len(found) == 1}
    posts = [post for part in reddit.values() for post in part]
    assert Counter(" ".join(post.tokens) for post in posts) == Counter(kept)
    assert len({post.id for post in posts}) == len(posts)


def test_splits_have_the_same_shares_of_labels_and_groups(reddit):
    total = sum(map(len, reddit.values()))
    for split, share in hs.SHARES.items():
        assert len(reddit[split]) / total == pytest.approx(share, abs=0.002)
    rates = {
        split: {
            group: sum(post.label for post in posts if group in post.communities)
            / sum(group in post.communities for post in posts)
            for group in hs.DATASETS["redditbias"]["communities"]
        }
        for split, posts in reddit.items()
    }
    for group, rate in rates["train"].items():
        assert rates["test"][group] == pytest.approx(rate, abs=0.01)


def test_a_rationale_is_a_window_of_a_biased_comment(reddit):
    marked = [post for post in reddit["test"] if post.rationale]
    assert len(marked) > 1000 and all(post.label == 1 for post in marked)
    for post in marked:
        text = "".join(map(str, post.rationale)).strip("0")
        assert len(post.rationale) == len(post.tokens) and set(text) == {"1"}


def row(comment, label, phrase="", biased="1"):
    return {"comment": comment, "bias_sent": label, "phrase": phrase, "bias_phrase": biased}


def test_comments_of_two_groups_are_one_post_and_contradictions_none():
    found = hs._redditbias(
        [
            ("jews", row("they said so again", "1", "said so")),
            ("muslims", row("they said so again", "1.0", "they")),
            ("jews", row("both", "1")),
            ("black", row("both", "0")),
            ("black", row("a question", "fact?")),
            ("black", row("not so", "0.0", "not", "1")),
        ],
        ("unbiased", "biased"),
    )
    assert found == [
        hs.Post("jews-0", ("they", "said", "so", "again"), 1, ("jews", "muslims"), (1, 1, 1, 0)),
        hs.Post("black-1", ("not", "so"), 0, ("black",), None),
    ]


def test_limits_are_nested_and_seeded(reddit):
    small, large = (hs.load("redditbias", "test", limit=n, seed=3) for n in (20, 50))
    assert set(small) < set(large) < set(reddit["test"])
    assert hs.load("redditbias", "test", limit=20, seed=4) != small


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hatexplian", "train", "hub"), "did you mean 'hatexplain'"),
        (("redditbias", "train", "mirror"), "no source of redditbias: 'mirror'"),
        (("hatexplain", "train", "mirror"), "rebuilt_train"),
    ],
)
def test_unknown_names_are_said(arguments, said):
    name, split, source = arguments
    with pytest.raises(InputError, match=said):
        hs.load(name, split, source=source)


def test_record_names_every_file_and_the_split():
    record = hs.source_record("redditbias", "test")
    assert len(record["files"]) == 5 and record["part"] == "test"
    assert all(len(one["sha256"]) == 64 for one in record["files"])
