"""json with lists inside tables, and squad."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_models.data.formats.json_files import items
from polyhead_models.data.rows import FileLayout, Row, files, read
from polyhead_models.errors import DataError

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": "Anna lives in Oslo.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Where?",
                            "answers": [{"text": "Oslo", "answer_start": 14}],
                        },
                        {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


@pytest.fixture
def file(tmp_path):
    def write(content, name="rows.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_a_list_of_objects_is_rows_with_their_lines(file):
    path = file('[\n {"text": "a"},\n\n {"text":\n "b"}]')
    assert read(path) == [Row(f"{path}:2", {"text": "a"}), Row(f"{path}:4", {"text": "b"})]


def test_a_key_picks_a_list_of_arrays(file):
    path = file('{"x": {"train": 1}, "train":\n[["a",\n "t"],\n ["b", "u"]], "y": []}')
    rows = read(f"{path}#train", None, FileLayout(columns=("text", "label")))
    assert rows == [
        Row(f"{path}:2", {"text": "a", "label": "t"}),
        Row(f"{path}:4", {"text": "b", "label": "u"}),
    ]


def test_a_file_whose_name_has_the_mark_is_itself(file):
    path = file([{"text": "a"}], "rows#1.json")
    assert len(read(path)) == 1
    assert files(str(path)) == [path]


def test_the_files_of_a_key_are_its_file(tmp_path):
    assert files(f"{tmp_path}/a.json#train") == [tmp_path / "a.json"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), JSON), st.lists(JSON), st.sampled_from((None, 0, 2)))
def test_the_items_are_those_of_the_list(tmp_path_factory, before, values, indent):
    path = tmp_path_factory.mktemp("json") / "rows.json"
    text = json.dumps({**before, "the key": values, "z": 1}, indent=indent)
    path.write_text(text)
    found = list(items(path, "the key"))
    assert [item for _, item in found] == values
    first = {None: "", 0: "", 2: "    "}[indent]
    if indent is not None:
        lines = text.split("\n")
        assert all(lines[n - 1].startswith(first + json.dumps(v)[0]) for n, v in found)


@pytest.mark.parametrize(
    ("content", "key", "line", "part"),
    [
        pytest.param('[\n{"a": 1},\n{"b" 2}]', "", 3, "not valid JSON: .* at column 6", id="cut"),
        pytest.param('{"a": [], "b": 1}', "", 1, "as in 'rows.json#KEY'; .* a, b", id="table"),
        pytest.param('{"train": []}', "#trian", 1, "no key 'trian'.*mean 'train'", id="no_key"),
        pytest.param('{"train": 3}', "#train", 1, "found '3', expected a list", id="number"),
        pytest.param('"text"', "", 1, "found 'text', expected a list", id="text"),
        pytest.param("[1]", "#train", 1, "found no table", id="key_of_a_list"),
        pytest.param('[\n["a", "b"]]', "", 2, "expected an object. Name its parts", id="array"),
        pytest.param('[{},\n\n"a"]', "", 3, 'found "a", expected an object', id="item"),
    ],
)
def test_what_is_no_list_of_rows_is_named(file, content, key, line, part):
    path = file(content)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}:{line}: .*{part}"):
        read(f"{path}{key}")


@pytest.mark.parametrize("item", [["a"], ["a", "b", "c"], {"text": "a"}], ids=repr)
def test_an_array_of_another_length_than_the_columns_is_named(file, item):
    path = file([["a", "b"], item])
    with pytest.raises(DataError, match=r"rows\.json:1: found .* array of 2: text, label\."):
        read(path, None, FileLayout(columns=("text", "label")))


def test_deep_nesting_is_an_error_of_the_file(file):
    with pytest.raises(DataError, match=r"rows\.json:1: not valid JSON"):
        read(file("[" * 100_000))


def test_a_question_of_squad_is_a_row(file):
    path = file(SQUAD)
    context = "Anna lives in Oslo."
    assert read(path, "squad") == [
        Row(
            f"{path}:1, question 'q1'",
            {
                "id": "q1",
                "question": "Where?",
                "context": context,
                "answers": [{"text": "Oslo", "start": 14}],
                "impossible": False,
            },
        ),
        Row(
            f"{path}:1, question 'q2'",
            {"id": "q2", "question": "Why?", "context": context, "answers": [], "impossible": True},
        ),
    ]


@pytest.mark.parametrize(
    "answers", [[], [{"text": "Oslo", "answer_start": 14}], [{"text": ""}], None], ids=repr
)
def test_an_impossible_question_has_no_answer(file, answers):
    squad = json.loads(json.dumps(SQUAD))
    squad["data"][0]["paragraphs"][0]["qas"][1]["answers"] = answers
    assert read(file(squad), "squad")[1].fields["answers"] == []


@pytest.mark.parametrize("value", ["false", 1], ids=repr)
def test_impossible_is_true_or_false(file, value):
    squad = json.loads(json.dumps(SQUAD))
    squad["data"][0]["paragraphs"][0]["qas"][0]["is_impossible"] = value
    with pytest.raises(DataError, match="question 'q1': no 'is_impossible' of the form"):
        read(file(squad), "squad")


@pytest.mark.parametrize("key", ["paragraphs", "context", "qas", "answer_start", "question", "id"])
def test_a_part_of_squad_that_is_missing_is_named(file, key):
    path = file(json.dumps(SQUAD, indent=1).replace(f'"{key}"', '"other"'))
    with pytest.raises(DataError, match=rf"rows\.json:4.*: no '{key}' of the form that SQuAD has"):
        read(path, "squad")
