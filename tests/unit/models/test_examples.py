import pytest

from polyhead_models import config
from polyhead_models.data import examples
from polyhead_models.errors import DataError


@pytest.fixture
def load(write_config, write_rows, tmp_path):
    """The training examples of some rows: `load(rows, heads={…})`."""

    def read(rows, split="train", **changes):
        path = write_config(tmp_path, **changes)
        write_rows(tmp_path / "data" / f"{split}.jsonl", rows)
        return examples.load(config.load(path), split)

    return read


@pytest.fixture
def refused(load, tmp_path):
    """The message with which a second row is refused, without the place of the file."""
    good = {"text": "a b", "topic": "x", "entities": []}

    def message(row):
        with pytest.raises(DataError) as caught:
            load([good, {**good, **row}])
        text = str(caught.value)
        start = f"{tmp_path / 'data' / 'train.jsonl'}:2: "
        assert text.startswith(start)
        return text.removeprefix(start)

    return message


def span(label, start, end):
    return {"label": label, "start": start, "end": end}


def test_a_row_is_an_example_with_a_reference_for_each_head(load, tmp_path):
    row = {"text": "Bo lives", "topic": "home", "entities": [span("PERSON", 0, 2)]}
    (found,) = load([row])
    assert found == examples.Example(
        where=f"{tmp_path / 'data' / 'train.jsonl'}:1",
        source="messages",
        text="Bo lives",
        references={"topic": "home", "entities": (("PERSON", 0, 2),)},
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(" \t\n", id="blank"),
        pytest.param(None, id="null"),
        pytest.param(3, id="number"),
        pytest.param([], id="no_words"),
        pytest.param(["a", 3], id="words_with_a_number"),
        pytest.param(["", ""], id="empty_words"),
    ],
)
def test_what_is_no_text_is_refused(refused, value):
    message = refused({"text": value})
    assert message == f"'text': found {value!r}, expected a text or a list of words."


def test_a_missing_text_names_the_nearest_key(load, tmp_path):
    with pytest.raises(DataError, match=r"train\.jsonl:1: no key 'text'; .*Did you mean 'txt'\?"):
        load([{"txt": "a", "topic": "x", "entities": []}])


@pytest.mark.parametrize(
    ("raw", "label"),
    [("late", "late"), (3, "3"), (0, "0"), (True, "True")],
    ids=["text", "number", "zero", "true"],
)
def test_a_label_is_read_as_text(load, raw, label):
    assert load([{"text": "a", "topic": raw, "entities": []}])[0].references["topic"] == label


@pytest.mark.parametrize("raw", ["", 1.5, ["late"], {"a": 1}], ids=repr)
def test_what_is_no_label_is_refused(refused, raw):
    assert refused({"topic": raw}).startswith(f"'topic': found {raw!r}, expected a label")


def test_spans_stand_in_the_order_of_the_text(load):
    spans = [span("PLACE", 3, 4), span("PERSON", 0, 1), span("PERSON", 1, 2)]
    (found,) = load([{"text": "ab c", "topic": "x", "entities": spans}])
    assert found.references["entities"] == (("PERSON", 0, 1), ("PERSON", 1, 2), ("PLACE", 3, 4))


@pytest.mark.parametrize(
    ("spans", "part"),
    [
        pytest.param(
            [span("A", 0, 4)], "from 0 to 4, expected 0 <= start < end <= 3", id="past_end"
        ),
        pytest.param([span("A", -1, 2)], "from -1 to 2", id="negative"),
        pytest.param([span("A", 1, 1)], "from 1 to 1", id="empty"),
        pytest.param([span("A", 2, 1)], "from 2 to 1", id="backwards"),
        pytest.param([span("A", False, 1)], "from False to 1", id="bool_start"),
        pytest.param([span("A", 0, True)], "from 0 to True", id="bool_end"),
        pytest.param([span("A", 0.0, 1)], "from 0.0 to 1", id="float_start"),
        pytest.param([span("A", 0, 1.0)], "from 0 to 1.0", id="float_end"),
        pytest.param([span("A", "0", "1")], "from '0' to '1'", id="text_offsets"),
        pytest.param([span("", 0, 1)], "span label '', expected a text", id="empty_label"),
        pytest.param([span(3, 0, 1)], "span label 3, expected a text", id="number_as_label"),
        pytest.param([{"label": "A", "start": 0}], "expected a table with label", id="no_end"),
        pytest.param([0, 1], "expected a table with label", id="numbers"),
        pytest.param("PERSON", "expected a list of spans", id="text"),
        pytest.param([span("A", 0, 2), span("B", 1, 3)], "overlap", id="overlapping"),
        pytest.param([span("A", 0, 3), span("B", 1, 2)], "overlap", id="nested"),
        pytest.param([span("A", 0, 1), span("A", 0, 1)], "overlap", id="twice"),
    ],
)
def test_a_span_that_cannot_be_used_is_refused(refused, spans, part):
    message = refused({"entities": spans})
    assert message.startswith("'entities': ")
    assert part in message


def test_offsets_count_code_points(load):
    spans = [span("PLACE", 3, 5)]
    (found,) = load([{"text": "👍🏽 東京", "topic": "x", "entities": spans}])
    ((_, start, end),) = found.references["entities"]
    assert found.text[start:end] == "東京"


def test_a_row_without_a_target_gives_no_reference(load):
    rows = [
        {"text": "a", "topic": "x"},
        {"text": "b", "entities": []},
        {"text": "c", "topic": None, "entities": None},
    ]
    assert [sorted(e.references) for e in load(rows)] == [["topic"], ["entities"], []]


def test_a_target_that_no_row_has_is_refused(load, tmp_path):
    rows = [{"text": "a", "topik": "x", "entities": []}]
    with pytest.raises(DataError, match=r"no row has a target 'topic' for the head 'topic'"):
        load(rows)


def test_heads_that_read_other_texts_have_other_examples(load):
    heads = {"topic": {"text": "subject"}}
    row = {"text": "Bo", "subject": "late", "topic": "x", "entities": []}
    found = load([row], heads=heads)
    assert {e.text: sorted(e.references) for e in found} == {"late": ["topic"], "Bo": ["entities"]}


def test_a_source_that_no_head_reads_is_left_out(load):
    row = {"text": "a", "topic": "x", "entities": []}
    other = {"other": {"train": "absent.jsonl"}}
    assert len(load([row], data=other)) == 1


def test_a_source_without_the_split_gives_no_examples(load):
    data = {"messages": {"validation": None}}
    assert load([], split="validation", data=data) == []


def test_references_are_those_of_the_rows_by_head(load, write_config, tmp_path):
    rows = [
        {"text": "ab", "topic": "b", "entities": [span("PLACE", 0, 1), span("DAY", 1, 2)]},
        {"text": "ab", "topic": "a", "entities": [span("PLACE", 0, 1)]},
    ]
    found = examples.references(config.load(write_config(tmp_path)), load(rows))
    assert found == {
        "topic": ["b", "a"],
        "entities": [(("PLACE", 0, 1), ("DAY", 1, 2)), (("PLACE", 0, 1),)],
        "embedding": [],
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(
            {"text": "ab", "topic": "delivry", "entities": []},
            "head 'topic': unknown label 'delivry'; training has delivery, praise."
            " Did you mean 'delivery'?",
            id="classification",
        ),
        pytest.param(
            {"text": "ab", "topic": "praise", "entities": [span("PLACES", 0, 1)]},
            "head 'entities': unknown label 'PLACES'; training has PERSON, PLACE."
            " Did you mean 'PLACE'?",
            id="tokens",
        ),
    ],
)
def test_a_label_that_training_did_not_see_is_refused(load, write_config, tmp_path, row, message):
    good = {"text": "ab", "topic": "praise", "entities": [span("PERSON", 0, 1)]}
    found = load([good, row], split="validation")
    known = {"topic": ("delivery", "praise"), "entities": ("PERSON", "PLACE")}
    with pytest.raises(DataError) as caught:
        examples.check(config.load(write_config(tmp_path)), found, known)
    assert str(caught.value) == f"{tmp_path / 'data' / 'validation.jsonl'}:2: {message}"
