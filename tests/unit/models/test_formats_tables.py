"""csv and tsv: a header or named columns."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_models.data.rows import FileLayout, Row, read
from polyhead_models.errors import DataError


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode())
        return path

    return write


def test_the_first_line_of_a_tsv_names_its_columns(file):
    path = file("rows.tsv", "text\ttopic\nlate, again\tdelivery\n")
    assert read(path) == [Row(f"{path}:2", {"text": "late, again", "topic": "delivery"})]


def test_a_quote_in_a_tsv_is_a_character(file):
    path = file("rows.tsv", '"What?" she said\t1\r\n"open\t0')
    rows = read(path, None, FileLayout(columns=("text", "label")))
    assert [dict(row.fields) for row in rows] == [
        {"text": '"What?" she said', "label": "1"},
        {"text": '"open', "label": "0"},
    ]


def test_a_cell_of_a_csv_may_be_long(file):
    text = "late again, " * 20_000
    (row,) = read(file("rows.csv", f'text,topic\n"{text}",delivery\n'))
    assert row.fields["text"] == text


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("header", "places"),
    [(None, [1, 2]), (False, [1, 2]), (True, [2])],
    ids=["default", "none", "header"],
)
def test_named_columns_mean_no_header_unless_it_is_said(file, ending, header, places):
    path = file(f"rows.{ending}", "a,b\nc,d\n".replace(",", "," if ending == "csv" else "\t"))
    rows = read(path, None, FileLayout(columns=("text", "label"), header=header))
    assert [row.where for row in rows] == [f"{path}:{line}" for line in places]
    assert rows[-1].fields == {"text": "c", "label": "d"}


@pytest.mark.parametrize("name", ["", "_"])
def test_a_column_without_a_name_is_left_out(file, name):
    path = file("rows.tsv", "1\ta\n2\tb\n")
    rows = read(path, None, FileLayout(columns=(name, "text")))
    assert [dict(row.fields) for row in rows] == [{"text": "a"}, {"text": "b"}]


def test_an_empty_tsv_cell_is_an_absent_value_and_a_blank_line_is_none(file):
    path = file("rows.tsv", "a\tb\n\n\tx\n")
    assert read(path) == [Row(f"{path}:3", {"a": None, "b": "x"})]


@pytest.mark.parametrize(
    ("content", "layout", "line", "part"),
    [
        pytest.param(
            "a\tb\nc\n", FileLayout(), 2, "found 1 columns, expected 2: a, b", id="too_few"
        ),
        pytest.param(
            "a\tb\tc\n", FileLayout(columns=("x", "y")), 1, "found 3 columns", id="too_many"
        ),
        pytest.param(
            "a\tb\n1\t2\n",
            FileLayout(columns=("x",), header=True),
            1,
            "found a header of 2 columns (a, b), but columns names 1: x",
            id="header",
        ),
        pytest.param(
            "a\ta\n1\t2\n", FileLayout(), 1, "'a' is duplicated in the header", id="twice"
        ),
    ],
)
def test_what_does_not_fit_the_columns_is_named(file, content, layout, line, part):
    path = file("rows.tsv", content)
    with pytest.raises(DataError, match=rf"^{re.escape(f'{path}:{line}: ')}.*{re.escape(part)}"):
        read(path, None, layout)


CELL = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.tuples(CELL, CELL | st.sampled_from(("[]", '["a"]', "[1, 2]"))), min_size=1))
def test_every_cell_of_a_tsv_comes_back(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("table") / "rows.tsv"
    path.write_bytes("".join(f"x{a}\t{b}\n" for a, b in pairs).encode())
    rows = read(path, None, FileLayout(columns=("a", "b")))
    assert [(row.fields["a"], row.fields["b"]) for row in rows] == [(f"x{a}", b) for a, b in pairs]
