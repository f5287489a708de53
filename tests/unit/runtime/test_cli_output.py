"""Tables for people, and where the log goes."""

import logging

import pytest

from polyhead.cli import output


def test_columns_are_aligned_by_what_is_seen():
    table = output.table(["head", "n"], [["東京", 3], ["a", None]])
    assert table.splitlines() == ["head  n", "----  -", "東京  3", "a     -"]


def test_a_markdown_table_escapes_bars_and_line_ends():
    table = output.markdown_table(["a|b", "n"], [["x|y\nz", 0.5], ["", None]])
    assert table.splitlines() == [
        "| a\\|b | n |",
        "| --- | ---: |",
        "| x\\|y z | 0.5000 |",
        "|  | - |",
    ]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("a\\|b", r"a\\\|b"),
        ("`x`", r"\`x\`"),
        ("<b>", r"\<b>"),
        ("a < b & c_d", "a < b & c_d"),
        ("__x__", r"\_\_x\_\_"),
        ("a\r\nb\u2028c", "a b c"),
    ],
)
def test_a_cell_is_shown_as_it_is(cell, shown):
    assert output.markdown_table(["a"], [[cell]]).splitlines()[-1] == f"| {shown} |"


def test_a_markdown_table_without_rows_has_its_header():
    assert output.markdown_table(["a", "b"], []) == "| a | b |\n| --- | --- |"


@pytest.mark.parametrize("logger", ["polyhead.inference", "polyhead_export.passes"])
@pytest.mark.parametrize("quiet", [False, True], ids=["progress", "quiet"])
def test_messages_of_every_distribution_go_to_stderr(capsys, logger, quiet):
    with output.log_to_stderr(quiet=quiet):
        logging.getLogger(logger).info("half of it")
        logging.getLogger(logger).warning("too slow")
        logging.getLogger("another.library").warning("not ours")
    logging.getLogger(logger).info("afterwards")
    found = capsys.readouterr()
    assert found.out == ""
    lines = found.err.splitlines()
    assert [line for line in lines if line != "not ours"] == ["half of it"] * (not quiet) + [
        "too slow"
    ]
