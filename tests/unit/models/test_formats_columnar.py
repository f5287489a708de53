"""parquet, and data sets of the hub."""

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from polyhead_models.data.rows import FORMATS, FileLayout, Row, read
from polyhead_models.errors import DataError


def test_parquet_is_rows_with_their_numbers(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"words": [["a", "b"], None], "n": [1, 2]}), path)
    assert read(path) == [
        Row(f"{path}, row 1", {"words": ["a", "b"], "n": 1}),
        Row(f"{path}, row 2", {"words": None, "n": 2}),
    ]


@pytest.mark.parametrize("content", [b"", b"text", b"PAR1" + b"\0" * 64 + b"PAR1"], ids=len)
def test_what_is_no_parquet_is_refused(tmp_path, content):
    (tmp_path / "rows.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.parquet, row 1: not valid Parquet"):
        read(tmp_path / "rows.parquet")


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("hub", "parallel")])
def test_a_missing_file_of_any_format_is_named(tmp_path, format):
    columns = ("a", "b") if FORMATS[format].columns == "needed" else ()
    with pytest.raises(DataError, match=r"absent: no such file"):
        read(tmp_path / "absent", format, FileLayout(columns=columns))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A data set in a folder, as the datasets library reads one; its cache beside."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "mood": datasets.ClassLabel(names=["bad", "good"]),
            "tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-A"])),
        }
    )
    values = {"text": ["a", "b"], "mood": [1, -1], "tags": [[0, 1], []]}
    made = datasets.Dataset.from_dict(values, features=features)
    folder = tmp_path / "moods"
    folder.mkdir()
    made.to_parquet(folder / "train.parquet")
    made.select([0]).to_parquet(folder / "test.parquet")
    return folder


def test_label_numbers_of_the_hub_become_names(hub):
    assert read(str(hub), "hub") == [
        Row(f"{hub}, row 1", {"text": "a", "mood": "good", "tags": ["O", "B-A"]}),
        Row(f"{hub}, row 2", {"text": "b", "mood": None, "tags": []}),
    ]


@pytest.mark.parametrize(
    ("rest", "split", "count"),
    [("", "train", 2), ("", "test", 1), (":default", "test", 1), (":default/test", "train", 1)],
    ids=["train", "test", "configuration", "split"],
)
def test_a_place_of_the_hub_may_name_configuration_and_split(hub, rest, split, count):
    assert len(read(f"{hub}{rest}", "hub", FileLayout(split=split))) == count


@pytest.mark.parametrize("rest", [":other", ":default/other"], ids=["configuration", "split"])
def test_what_a_data_set_does_not_have_is_refused(hub, rest):
    with pytest.raises(DataError, match=r"moods:.*: cannot be loaded as a data set of the hub"):
        read(f"{hub}{rest}", "hub")


def test_a_data_set_that_is_not_here_says_what_to_do_without_a_network(hub):
    with pytest.raises(DataError, match=r"some/set: cannot .* Without a network, load it once"):
        read("some/set", "hub")
