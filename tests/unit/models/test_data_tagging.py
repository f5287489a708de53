"""Tag schemes: whatever writes them, they mean the same spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_models.data.tagging import Words, spans, to_bio

LABELS = ("PER", "LOC", "ORDER-ID")


@st.composite
def sentences(draw):
    """Spans in a sentence: a label (None: outside) and a number of words each."""
    return draw(st.lists(st.tuples(st.sampled_from((None, *LABELS)), st.integers(1, 4))))


def bio(parts):
    tags = []
    for label, count in parts:
        if label is None:
            tags += ["O"] * count
        else:
            tags += [f"B-{label}"] + [f"I-{label}"] * (count - 1)
    return tags


def iob1(parts):
    tags, before = [], None
    for label, count in parts:
        if label is None:
            tags += ["O"] * count
        else:
            tags += [f"{'B' if before == label else 'I'}-{label}"] + [f"I-{label}"] * (count - 1)
        before = label
    return tags


def with_ends(parts, *, inside, last, single):
    tags = []
    for label, count in parts:
        if label is None:
            tags += ["O"] * count
        elif count == 1:
            tags.append(f"{single}-{label}")
        else:
            middle = [f"{inside}-{label}"] * (count - 2)
            tags += [f"B-{label}", *middle, f"{last}-{label}"]
    return tags


def bioes(parts):
    return with_ends(parts, inside="I", last="E", single="S")


def bilou(parts):
    return with_ends(parts, inside="I", last="L", single="U")


def bmes(parts):
    return with_ends(parts, inside="M", last="E", single="S")


@pytest.mark.parametrize("write", [bio, iob1, bioes, bilou, bmes])
@given(parts=sentences())
def test_every_scheme_becomes_the_same_bio(write, parts):
    assert to_bio(write(parts)) == bio(parts)


@given(sentences())
def test_bio_stays_as_it_is(parts):
    assert to_bio(to_bio(bio(parts))) == bio(parts)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        pytest.param(["E-A"], ["B-A"], id="end_without_begin"),
        pytest.param(["S-A", "I-A"], ["B-A", "B-A"], id="inside_after_single"),
        pytest.param(["B-A", "E-A", "E-A"], ["B-A", "I-A", "B-A"], id="two_ends"),
        pytest.param(["B-A", "L-B"], ["B-A", "B-B"], id="end_of_another"),
        pytest.param([], [], id="no_tags"),
    ],
)
def test_what_no_scheme_writes_is_read_without_losing_a_word(tags, found):
    assert to_bio(tags) == found


@pytest.mark.parametrize("tag", ["", "B", "B-", "X-A", "BI-A", "b-A", "-A", 1, None], ids=repr)
def test_what_is_no_tag_is_refused(tag):
    with pytest.raises(ValueError, match=r"found the tag .*, expected O, B-LABEL or I-LABEL"):
        to_bio(["O", tag])


def test_words_of_no_characters_are_no_part_of_the_text():
    assert spans(Words(["明", "", "天"]).places, ["B-DAY", "O", "O"]) == [
        {"label": "DAY", "start": 0, "end": 1}
    ]
    assert spans(Words(["", "a"]).places, ["O", "S-X"]) == [{"label": "X", "start": 0, "end": 1}]


def test_a_word_of_no_characters_in_a_span_is_refused():
    with pytest.raises(ValueError, match="at a word of no characters, expected O"):
        spans(Words(["a", ""]).places, ["O", "B-DAY"])
