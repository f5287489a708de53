import json

import pytest

from polyhead.heads.base import trimmed
from polyhead_models import config
from polyhead_models.data import examples
from polyhead_models.data.bad_rows import BadRows
from polyhead_models.errors import DataError
from polyhead_models.heads.answer import AnswerNetwork


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
    message, ways_out = refused({"text": value}).splitlines()
    assert "skip_bad_rows" in ways_out
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
        pytest.param([span("A", 0, 3), span("B", 1, 3)], "overlap", id="overlapping"),
        pytest.param([span("A", 0, 3), span("B", 2, 3)], "overlap", id="nested"),
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


@pytest.mark.parametrize(("start", "held"), [(3, True), (4, False)])
def test_the_text_of_a_span_has_to_be_at_its_offsets(load, start, held):
    stated = [{"label": "PLACE", "start": start, "end": start + 2, "text": "東京"}]
    rows = [{"text": "👍🏽 東京 by", "topic": "x", "entities": stated}]
    if held:
        assert load(rows)[0].references["entities"] == (("PLACE", 3, 5),)
    else:
        with pytest.raises(DataError, match="Offsets count code points"):
            load(rows)


def test_a_row_without_a_target_gives_no_reference(load):
    rows = [
        {"text": "a", "topic": "x"},
        {"text": "b", "entities": []},
        {"text": "c", "topic": None, "entities": None},
    ]
    assert [sorted(e.references) for e in load(rows)] == [["topic"], ["entities"], []]


def test_a_target_that_no_row_has_is_refused(load, tmp_path):
    rows = [{"text": "a", "topik": "x", "entities": []}]
    match = r"no row has a target 'topic' for the head 'topic'; the keys are 'text', 'topik'"
    with pytest.raises(DataError, match=match):
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
            "head 'topic': no row that it learns from has the label 'delivry'. Did you mean"
            " 'delivery'?",
            id="classification",
        ),
        pytest.param(
            {"text": "ab", "topic": "praise", "entities": [span("PLACES", 0, 1)]},
            "head 'entities': no row that it learns from has the label 'PLACES'. Did you mean"
            " 'PLACE'?",
            id="tokens",
        ),
    ],
)
def test_a_label_that_training_did_not_see_may_be_an_error(
    load, write_config, tmp_path, row, message
):
    good = {"text": "ab", "topic": "praise", "entities": [span("PERSON", 0, 1)]}
    found = load([good, row], split="validation")
    known = {"topic": ("delivery", "praise"), "entities": ("PERSON", "PLACE")}
    refusing = {name: {"unseen": "error"} for name in known}
    with pytest.raises(DataError) as caught:
        examples.seen(config.load(write_config(tmp_path, heads=refusing)), found, known)
    where = f"{tmp_path / 'data' / 'validation.jsonl'}:2: "
    assert str(caught.value).startswith(where + message)
    assert 'unseen = "drop" under [heads.' in str(caught.value)


def test_labels_that_training_did_not_see_are_left_out_and_counted(
    load, write_config, tmp_path, notes
):
    known = {"topic": ("delivery", "praise"), "entities": ("PERSON", "PLACE")}
    rows = [
        {"text": "ab", "topic": "late", "entities": [span("PERSON", 0, 1), span("DATE", 1, 2)]},
        {"text": "ab", "topic": "praise", "entities": [span("DATE", 0, 1)]},
    ]
    found = load(rows, split="validation")
    found = examples.seen(config.load(write_config(tmp_path)), found, known)
    assert [example.references for example in found] == [
        {"entities": (("PERSON", 0, 1),)},
        {"topic": "praise", "entities": ()},
    ]
    assert notes() == [
        "topic: left out 1 label that the head has not learnt: 'late' 1",
        "entities: left out 2 labels that the head has not learnt: 'DATE' 2",
    ]


@pytest.mark.parametrize(
    ("text", "given", "kept"),
    [
        pytest.param("Bo lives", (0, 3), "Bo", id="behind"),
        pytest.param("in Oslo", (2, 7), "Oslo", id="before"),
        pytest.param("in \u3000東京\u00a0\n now", (2, 8), "東京", id="ideographic and no-break"),
        pytest.param("Bo  Li", (0, 6), "Bo  Li", id="inside they stay"),
        pytest.param("Zoe\u0301 is", (0, 3), "Zoe\u0301", id="an accent goes with its letter"),
    ],
)
def test_blanks_at_the_edges_of_references_are_left_out_as_in_answers(load, text, given, kept):
    start, end = given
    expected = text.index(kept), text.index(kept) + len(kept)
    assert trimmed(text, start, end) == expected
    (example,) = load([{"text": text, "topic": "x", "entities": [span("A", start, end)]}])
    assert example.references["entities"] == (("A", *expected),)
    edges = int(text[start:end] != text[start:end].strip())
    assert example.blank_edges == ({"entities": edges} if edges else {})
    answers = AnswerNetwork.reference([{"text": text[start:end], "start": start}], text)
    assert (answers.spans, answers.texts) == ((expected,), (kept,))


def test_neighbours_may_share_a_blank(load):
    spans = [span("A", 0, 2), span("B", 1, 3)]
    (example,) = load([{"text": "a b", "topic": "x", "entities": spans}])
    assert example.references["entities"] == (("A", 0, 1), ("B", 2, 3))
    assert example.blank_edges == {"entities": 2}


def test_a_span_may_begin_with_a_mark(load):
    """A vowel sign of Thai that is a word of its own, as some corpora have it."""
    spans = [span("A", 0, 1), span("B", 1, 3)]
    (example,) = load([{"text": "กิน", "topic": "x", "entities": spans}])
    assert example.references["entities"] == (("A", 0, 2), ("B", 1, 3))


def test_a_span_of_blanks_alone_is_left_out(load):
    spans = [span("A", 0, 1), span("B", 1, 2)]
    (example,) = load([{"text": "a b", "topic": "x", "entities": spans}])
    assert example.references["entities"] == (("A", 0, 1),)
    assert example.blank_edges == {"entities": 1}


def test_answers_that_differ_in_blanks_are_one():
    raw = [{"text": "Bo", "start": 0}, {"text": "Bo ", "start": 0}, {"text": "lives", "start": 3}]
    found = AnswerNetwork.reference(raw, "Bo lives")
    assert (found.spans, found.texts) == (((0, 2), (3, 8)), ("Bo", "lives"))
    assert AnswerNetwork.blank_edges(raw, "Bo lives") == 1


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Bo \ud83d"},
        {"topic": "late\ud83d"},
        {"entities": [span("A\ud83d", 0, 1)]},
    ],
    ids=["text", "label", "label of a span"],
)
def test_a_lone_surrogate_is_refused_where_it_is_used(write_config, tmp_path, row):
    good = {"text": "a b", "topic": "x", "entities": []}
    path = write_config(tmp_path)
    file = tmp_path / "data" / "train.jsonl"
    file.write_text(json.dumps(good) + "\n" + json.dumps({**good, **row}) + "\n", "utf-8")
    with pytest.raises(DataError, match=r"train\.jsonl:2: .* a lone surrogate at character"):
        examples.load(config.load(path), "train")


def test_escaped_surrogate_pairs_and_unused_keys_are_read(write_config, tmp_path):
    path = write_config(tmp_path)
    row = {"text": "\U0001f44d", "topic": "x", "entities": [], "id": "\ud83d"}
    (tmp_path / "data" / "train.jsonl").write_text(json.dumps(row), "utf-8")
    (example,) = examples.load(config.load(path), "train")
    assert example.text == "\U0001f44d"


BAD = [
    {"text": "", "topic": "praise", "entities": []},
    {"text": "ab", "topic": "praise", "entities": []},
    {"text": "ab", "topic": "praise", "entities": [{"label": "A", "start": 0, "end": 9}]},
    {"text": "ab", "topic": {}, "entities": []},
]


def test_all_bad_rows_are_listed_in_one_error(load, tmp_path):
    with pytest.raises(DataError) as caught:
        load(BAD)
    first, *listed, last = str(caught.value).splitlines()
    assert first == "3 rows cannot be used:"
    file = tmp_path / "data" / "train.jsonl"
    assert [line.partition(": ")[0] for line in listed] == [f"{file}:{n}" for n in (1, 3, 4)]
    assert "skip_bad_rows = true" in last


def test_an_error_lists_as_many_rows_as_were_asked_for(write_config, write_rows, tmp_path):
    made = config.load(write_config(tmp_path))
    write_rows(tmp_path / "data" / "train.jsonl", BAD)
    with pytest.raises(DataError, match=r"^2 or more \('polyhead data --max-errors'") as caught:
        examples.load(made, "train", BadRows(2))
    assert "jsonl:4" not in str(caught.value)


def test_bad_rows_may_be_passed_over_and_are_counted(write_config, tmp_path, notes):
    path = write_config(tmp_path, data={"messages": {"skip_bad_rows": True}})
    lines = ['{"text": "ab", "topic"', *map(json.dumps, BAD)]
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(lines))
    found = examples.load(config.load(path), "train")
    assert [example.where.rpartition(":")[2] for example in found] == ["3"]
    assert notes()[0].startswith("passed over 4 bad rows; the first: ")


def test_a_split_of_bad_rows_alone_is_refused(write_config, write_rows, tmp_path):
    path = write_config(tmp_path, data={"messages": {"skip_bad_rows": True}})
    write_rows(tmp_path / "data" / "train.jsonl", BAD[:1])
    with pytest.raises(DataError, match=r"train\.jsonl: no row of 1 can be used"):
        examples.load(config.load(path), "train")


def test_a_bad_row_of_a_share_is_listed_once(write_config, write_rows, tmp_path):
    path = write_config(tmp_path, data={"messages": {"validation": None, "validation_share": 0.5}})
    rows = [BAD[1]] * 3
    write_rows(tmp_path / "data" / "train.jsonl", rows)
    with (tmp_path / "data" / "train.jsonl").open("a") as file:
        file.write("\nnonsense\n")
    made, bad = config.load(path), BadRows()
    with pytest.raises(DataError, match="not a JSON line") as caught, bad:
        _ = [examples.load(made, split, bad) for split in ("train", "validation")]
    assert len(str(caught.value).splitlines()) == 2  # the row, and the ways out


def test_texts_that_belong_together_have_a_reference_that_stays(write_config, tmp_path):
    made = config.load(write_config(tmp_path))
    example = examples.Example("f:1", "messages", "a", {"embedding": None}, twin="b")
    assert examples.seen(made, [example], {"embedding": ()}) == [example]
