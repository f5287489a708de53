"""Rows of a source: lists, names, shares and limits."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_models.config import DataConfig
from polyhead_models.data import sources
from polyhead_models.errors import DataError


@pytest.fixture(scope="session")
def numbered(tmp_path_factory):
    """A file with the numbers below `count`, one a row."""

    def write(count):
        path = tmp_path_factory.mktemp("numbered") / "rows.csv"
        path.write_text("n\n" + "".join(f"{n}\n" for n in range(count)))
        return str(path)

    return write


@pytest.fixture
def table(tmp_path):
    """A source over one tsv with the columns text and labels: `table(["a\\t1"], lists={…})`."""

    def make(lines, **changes):
        path = tmp_path / "rows.tsv"
        path.write_text("".join(f"{line}\n" for line in lines))
        return DataConfig(train=str(path), columns=("text", "labels"), **changes)

    return make


def numbers(data, split):
    return [int(row.fields["n"]) for row in sources.load(data, split)]


def labels(data):
    return [row.fields["labels"] for row in sources.load(data, "train")]


@pytest.mark.parametrize(
    ("separator", "cell", "parts"),
    [
        pytest.param(",", "1, 2", ["1", "2"], id="comma"),
        pytest.param(" ", " a  b\u00a0c ", ["a", "b", "c"], id="any_white_space"),
        pytest.param("||", "a || b", ["a", "b"], id="two_characters"),
        pytest.param(",", "", None, id="absent"),
    ],
)
def test_a_cell_holds_several_values(table, separator, cell, parts):
    assert labels(table([f"a\t{cell}"], lists={"labels": separator})) == [parts]


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("joy\nanger \n\n")
    return str(path)


def test_numbers_become_names_alone_and_in_lists(table, names):
    assert labels(table(["a\t1"], names={"labels": names})) == ["anger"]
    both = table(["a\t1,0", "b\t", "c\t0"], lists={"labels": ","}, names={"labels": names})
    assert labels(both) == [["anger", "joy"], None, ["joy"]]


@pytest.mark.parametrize("cell", ["2", "-1", "x", "1.0", "²"])
def test_a_number_without_a_name_is_refused(table, names, cell):
    data = table(["a\t0", f"b\t{cell}"], names={"labels": names})
    message = f"{data.train}:2: column 'labels': found {cell!r}, expected a number from 0 to 1"
    with pytest.raises(DataError, match=f"^{re.escape(message)}.*names.txt has 2 names"):
        sources.load(data, "train")


def test_an_empty_value_in_a_list_is_refused(table):
    with pytest.raises(DataError, match=r"rows\.tsv:1: column 'labels': found '1,,2', which has"):
        labels(table(["a\t1,,2"], lists={"labels": ","}))


@pytest.mark.parametrize("key", ["lists", "names"])
def test_a_column_that_no_row_has_is_refused(table, names, key):
    changes = {key: {"label": names}}
    with pytest.raises(DataError, match=rf"{key} speaks of .* Did you mean 'labels'\?"):
        labels(table(["a\t1"], **changes))


@pytest.mark.parametrize(
    ("content", "part"),
    [("", "1: found an empty line"), ("a\n\nb\n", "2: found an empty line"), (None, " cannot be")],
    ids=["empty", "gap", "missing"],
)
def test_a_file_without_names_is_refused(table, tmp_path, content, part):
    path = tmp_path / "none.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=rf"none\.txt:{part}"):
        labels(table(["a\t1"], names={"labels": str(path)}))


@given(
    count=st.integers(20, 90),
    validation=st.sampled_from((0.0, 0.1, 0.3)),
    test=st.sampled_from((0.0, 0.05, 0.5)),
    seed=st.integers(0, 5),
)
def test_the_splits_hold_every_row_once(numbered, count, validation, test, seed):
    data = DataConfig(
        train=numbered(count), validation_share=validation, test_share=test, seed=seed
    )
    found = {split: numbers(data, split) for split in ("train", "validation", "test")}
    assert sorted(n for split in found.values() for n in split) == list(range(count))
    assert all(split == sorted(split) for split in found.values())
    assert len(found["validation"]) == round(validation * count)
    assert len(found["test"]) == round(test * count)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"validation_share": 0.4}, id="other_share"),
        pytest.param({"limit": {"train": 5}}, id="limit"),
        pytest.param({"columns": ("m",), "header": True}, id="column"),
    ],
)
def test_a_share_is_the_same_rows_whatever_else_changes(numbered, changes):
    place = numbered(50)
    before = sources.load(DataConfig(train=place, test_share=0.2), "test")
    after = sources.load(DataConfig(train=place, test_share=0.2, **changes), "test")
    assert [row.where for row in after] == [row.where for row in before]


def test_a_share_is_the_same_rows_on_every_machine(numbered):
    assert numbers(DataConfig(train=numbered(20), test_share=0.2), "test") == [3, 7, 12, 15]


def test_another_seed_takes_other_rows(numbered):
    place = numbered(50)
    found = [numbers(DataConfig(train=place, test_share=0.2, seed=s), "test") for s in (0, 1)]
    assert found[0] != found[1]


def test_a_source_without_a_split_has_no_rows(numbered):
    assert sources.load(DataConfig(train=numbered(3)), "test") == []


@pytest.mark.parametrize(("count", "split"), [(2, "test"), (1, "train")])
def test_a_split_without_rows_is_refused(numbered, count, split):
    shares = {"test_share": 0.1} if split == "test" else {"test_share": 0.9}
    with pytest.raises(
        DataError, match=rf"{count} rows leave none for {split}; found .*test_share"
    ):
        sources.load(DataConfig(train=numbered(count), **shares), "train")


def test_a_limit_is_a_sample_that_grows(numbered):
    place = numbered(50)
    found = [numbers(DataConfig(train=place, limit={"train": n}), "train") for n in (5, 9, 99)]
    assert [len(split) for split in found] == [5, 9, 50]
    assert set(found[0]) < set(found[1])
    assert found[0] == sorted(found[0]) != list(range(5))


def test_a_limit_is_for_its_split_alone(numbered):
    data = DataConfig(train=numbered(50), test_share=0.5, limit={"test": 3})
    assert [len(numbers(data, split)) for split in ("train", "test")] == [25, 3]
