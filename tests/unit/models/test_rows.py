import re

import pytest

from polyhead_models.data.rows import FileLayout, Row, read
from polyhead_models.errors import DataError


@pytest.fixture
def file(tmp_path):
    """Writes a file: `file("rows.csv", "a,b\\n")`."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_json_lines_are_rows_with_their_places(file):
    path = file("rows.jsonl", '{"text": "né", "n": [1]}\n{"text": "b"}\n')
    assert read(path, None) == [
        Row(f"{path}:1", {"text": "né", "n": [1]}),
        Row(f"{path}:2", {"text": "b"}),
    ]


def test_blank_json_lines_are_passed_over_and_counted(file):
    path = file("rows.jsonl", '\n{"text": "a"}\n  \n{"text": "b"}\n\n')
    assert [row.where for row in read(path, None)] == [f"{path}:2", f"{path}:4"]


def test_the_last_json_line_needs_no_end(file):
    path = file("rows.jsonl", '{"text": "a"}\r\n{"text": "b"}')
    assert [row.fields["text"] for row in read(path, None)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        pytest.param('{"text": ', "not a JSON line", id="cut"),
        pytest.param("text", "not a JSON line", id="bare_word"),
        pytest.param('{"a": 1} {"b": 2}', "not a JSON line", id="two_objects"),
        pytest.param('{"a": ' + "[" * 100_000, "not a JSON line", id="nested_too_deeply"),
        pytest.param('["text"]', 'found ["text"], expected a JSON object', id="list"),
        pytest.param('"text"', "expected a JSON object", id="string"),
        pytest.param("null", "expected a JSON object", id="null"),
    ],
)
def test_a_line_that_is_no_json_object_is_named(file, line, part):
    path = file("rows.jsonl", f'{{"text": "a"}}\n\n{line}\n')
    with pytest.raises(DataError) as caught:
        read(path, None)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert part in str(caught.value)


def test_csv_rows_have_their_places(file):
    path = file("rows.csv", 'text,topic\n"late, again",delivery\nthanks,praise\n')
    assert read(path, None) == [
        Row(f"{path}:2", {"text": "late, again", "topic": "delivery"}),
        Row(f"{path}:3", {"text": "thanks", "topic": "praise"}),
    ]


def test_a_csv_cell_may_hold_lines(file):
    path = file("rows.csv", 'text,topic\n"two\nlines",a\n')
    assert read(path, None)[0].fields["text"] == "two\nlines"


def test_a_byte_order_mark_in_csv_is_no_part_of_the_first_key(file):
    path = file("rows.csv", b"\xef\xbb\xbftext,topic\r\na,b\r\n")
    assert read(path, None)[0].fields == {"text": "a", "topic": "b"}


def test_blank_csv_lines_are_passed_over_and_counted(file):
    path = file("rows.csv", "text,topic\n\na,b\n\nc,d\n")
    assert [row.where for row in read(path, None)] == [f"{path}:3", f"{path}:5"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        pytest.param('"[""Anna"", ""lives""]"', '["Anna", "lives"]', id="list_stays_text"),
        pytest.param("12", "12", id="number_stays_text"),
        pytest.param("", None, id="empty_is_absent"),
    ],
)
def test_a_csv_cell(file, cell, value):
    assert read(file("rows.csv", f"text,target\na,{cell}\n"), None)[0].fields["target"] == value


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        pytest.param(
            "text,topic\na,b\nc\n", 3, "found 1 columns, expected 2: text, topic", id="few"
        ),
        pytest.param(
            "text,topic\na,b,c\n", 2, "found 3 columns, expected 2: text, topic", id="many"
        ),
        pytest.param('text,topic\na,b\n"c,d\ne,f\n', 3, "not valid CSV", id="unclosed_quote"),
        pytest.param('text,topic\n"a"b,c\n', 2, "not valid CSV", id="text_after_quote"),
    ],
)
def test_a_csv_row_that_cannot_be_read_is_named(file, content, line, part):
    path = file("rows.csv", content)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}:{line}: .*{part}"):
        read(path, None)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "json"])
def test_what_is_not_utf_8_is_refused(file, ending):
    path = file(f"rows.{ending}", b'{"text,a": "a"}\n{"text,a": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r":2: not UTF-8: byte 0xe9 at byte 16 .*Convert the file"):
        read(path, None)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "json"])
def test_a_byte_order_mark_is_dropped(file, ending):
    content = {"jsonl": '{"a": 1}', "csv": "a\n1\n", "tsv": "a\n1\n", "json": '[{"a": 1}]'}[ending]
    path = file(f"rows.{ending}", b"\xef\xbb\xbf" + content.encode())
    assert list(read(path)[0].fields) == ["a"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("rows.jsonl", "", id="jsonl"),
        pytest.param("rows.jsonl", "\n \n", id="blank_jsonl"),
        pytest.param("rows.csv", "", id="csv"),
        pytest.param("rows.csv", "text,topic\n", id="csv_header"),
    ],
)
def test_a_file_without_rows_is_refused(file, name, content):
    with pytest.raises(DataError, match=rf"{name}: no rows; expected at least one"):
        read(file(name, content), None)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_missing_file_is_named(tmp_path, ending):
    with pytest.raises(DataError, match=rf"absent\.{ending}: no such file"):
        read(tmp_path / f"absent.{ending}", None)


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(DataError, match=r"rows\.jsonl: a folder"):
        read(tmp_path / "rows.jsonl", None)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("rows.jsonlines", " Did you mean 'jsonl'?", id="near"),
        pytest.param("rows.xml", "parquet, hub.", id="far"),
        pytest.param("rows", "parquet, hub.", id="none"),
    ],
)
def test_an_unknown_ending_is_refused(file, name, hint):
    with pytest.raises(DataError, match="cannot tell the format from its ending") as caught:
        read(file(name, '{"text": "a"}\n'), None)
    assert str(caught.value).endswith(hint)


def test_a_named_format_goes_before_the_ending(file):
    path = file("rows.txt", '{"text": "a"}\n')
    assert read(path, "jsonl")[0].fields == {"text": "a"}


def test_files_of_a_list_are_read_one_after_another(file):
    places = [file("b.jsonl", '{"n": 1}\n'), file("a.jsonl", '{"n": 2}\n')]
    assert [row.fields["n"] for row in read([str(place) for place in places])] == [1, 2]


@pytest.mark.parametrize(
    ("format", "layout", "part"),
    [
        pytest.param("conll", FileLayout(), "needs the names of its columns", id="conll"),
        pytest.param("parallel", FileLayout(), "needs the names of its columns", id="parallel"),
        pytest.param("jsonl", FileLayout(columns=("a",)), "names its fields itself", id="jsonl"),
        pytest.param("json", FileLayout(header=True), "has no header; leave header out", id="json"),
    ],
)
def test_a_layout_that_the_format_does_not_take_is_refused(file, format, layout, part):
    path = file("rows.txt", '{"text": "a"}\n')
    with pytest.raises(DataError, match=rf"rows\.txt: format '{format}' {part}"):
        read(path, format, layout)
