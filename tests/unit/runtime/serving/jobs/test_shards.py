"""A shard of rows in, a file of their answers out."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from polyhead import InputError, InvalidSetting, load
from polyhead.bundle import manifest_digest
from polyhead.serving.jobs import shards

TEXTS = (
    "The parcel was late. Thanks!",
    'a "quoted" one, with a comma',
    "two\nlines",
    "né à 東京 👍",
    "Anna lives in Oslo",
    "the parcel was late . " * 9,
)


class Asked:
    """An engine that counts the texts that it is asked."""

    def __init__(self, engine):
        self._engine, self.texts = engine, Counter()

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def __call__(self, *given, **asked):
        return self._engine(*given, **asked)

    def predict(self, texts, **asked):
        self.texts.update(texts)
        return self._engine.predict(texts, **asked)


def test_every_row_has_the_answers_of_predict(
    write_rows, write_shards, folder, engine_of_many_heads, tmp_path, ending
):
    path = write_rows(
        tmp_path / f"in.{ending}", [{"id": n, "text": t} for n, t in enumerate(TEXTS)]
    )
    counts = write_shards(path, shard_rows=4)
    assert (counts.rows, counts.answered, counts.bad) == (6, 6, 0)
    assert [parquet.read_metadata(part).num_rows for part in folder.parts()] == [4, 2]
    found = folder.rows()
    assert folder.numbers() == [(str(path), n) for n in range(6)]
    for text, row in zip(TEXTS, found, strict=True):
        prediction = engine_of_many_heads(text)
        assert row["topic"] == prediction["topic"].label
        assert row["topic_score"] == np.float32(prediction["topic"].score)
        assert row["flags"] == [*prediction["flags"].labels]
        np.testing.assert_array_equal(np.float32(row["embedding"]), prediction["embedding"].vector)
        spans = [(s["label"], s["text"], s["start"], s["end"]) for s in row["entities"]]
        assert spans == [(s.label, s.text, s.start, s.end) for s in prediction["entities"].spans]


def test_pairs(write_rows, write_shards, folder, engine_of_many_heads, tmp_path, ending):
    rows = [{"q": "who?", "c": text} for text in TEXTS]
    write_shards(write_rows(tmp_path / f"in.{ending}", rows), read=("q", "c"), heads=("answer",))
    for text, row in zip(TEXTS, folder.rows(), strict=True):
        answer = engine_of_many_heads(("who?", text))["answer"]
        assert (row["answer"], row["answer_start"]) == (answer.text, answer.start)


def test_bad_rows_go_to_a_side_file_with_their_reasons(
    write_rows, write_shards, folder, many_heads, tmp_path
):
    rows = [{"id": 1, "text": "a"}, {"id": 2, "text": None}, {"id": 3, "text": "late " * 99}]
    path = write_rows(tmp_path / "in.parquet", rows)
    with load(many_heads, threads=1, on_overflow="error") as engine:
        counts = write_shards(path, engine)
    assert (counts.rows, counts.answered, counts.bad) == (3, 1, 2)
    assert [row["id"] for row in folder.rows()] == [1]
    none, long = folder.bad()
    assert none["record"] == {"id": 2, "text": None}
    assert none["error"] == "InvalidText"
    assert none["reason"].startswith("found a missing value (None)")
    assert long["error"] == "TextTooLong"
    assert long["record"]["text"] == "late " * 99
    assert folder.numbers() == [(str(path), n) for n in range(3)]


def test_what_is_no_unicode_is_kept_in_the_side_file(write_shards, folder, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "\\ud800"}\n{"text": "\xff"}\n')
    assert write_shards(path).bad == 2
    surrogate, byte = folder.bad()
    assert surrogate["record"] == '{"text": "\\ud800"}'
    assert bytes.fromhex(byte["record"]["hex"]) == b'{"text": "\xff"}'
    assert folder.rows() == []


def test_no_side_file_without_bad_rows(write_rows, write_shards, folder, tmp_path):
    path = write_rows(tmp_path / "in.jsonl", [{"text": "a"}, {"text": None}])
    assert write_shards(path).bad == 1
    write_rows(path, [{"text": "a"}, {"text": "b"}])
    assert write_shards(path).bad == 0
    assert not list(folder.path.glob("_bad-*"))


def test_equal_texts_are_computed_once_however_far_apart(
    write_rows, write_shards, folder, engine_of_many_heads, tmp_path, monkeypatch, ending
):
    for module in ("parquet_rows", "line_rows"):
        monkeypatch.setattr(f"polyhead.serving.jobs.{module}.CHUNK_ROWS", 4)
    texts = [*"abcab", *"dddef", *"ghija"]
    path = write_rows(tmp_path / f"in.{ending}", [{"text": text} for text in texts])
    engine = Asked(engine_of_many_heads)
    counts = write_shards(path, engine)
    assert engine.texts == Counter("abcdefghij")
    assert (counts.computed, counts.answered) == (10, 15)
    expected = [engine_of_many_heads(text)["topic"].score for text in texts]
    assert [row["topic_score"] for row in folder.rows()] == [*np.float32(expected)]


def test_bad_texts_are_asked_once_as_well(write_rows, write_shards, engine_of_many_heads, tmp_path):
    path = write_rows(tmp_path / "in.parquet", [{"text": None}, {"text": "a"}, {"text": None}])
    engine = Asked(engine_of_many_heads)
    assert write_shards(path, engine).bad == 2
    assert engine.texts == Counter([None, "a"])


def test_only_so_many_answers_are_remembered(
    write_rows, write_shards, folder, engine_of_many_heads, tmp_path, monkeypatch
):
    monkeypatch.setattr("polyhead.serving.jobs.parquet_rows.CHUNK_ROWS", 5)
    monkeypatch.setattr(shards, "_MOST_REMEMBERED", 2)
    path = write_rows(tmp_path / "in.parquet", [{"text": text} for text in "abcdeabcde"])
    engine = Asked(engine_of_many_heads)
    assert write_shards(path, engine).computed == 8
    assert sum(engine.texts.values()) == 8
    assert len(folder.rows()) == 10


def test_the_file_says_who_answered(write_rows, write_shards, folder, many_heads, tmp_path):
    write_shards(write_rows(tmp_path / "in.csv", [{"text": "a"}]), heads=("topic",))
    [part] = folder.parts()
    told = parquet.read_metadata(part).metadata
    assert told[b"polyhead.bundle"].decode() == manifest_digest(many_heads)
    assert json.loads(told[b"polyhead.settings"])["heads"] == ["topic"]
    assert json.loads(told[b"polyhead.input"])["path"] == str(tmp_path / "in.csv")


def test_kept_columns_keep_their_types(write_shards, folder, tmp_path):
    words = pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), ["x", "y"])
    table = pa.table(
        {
            "text": ["a", None, "b"],
            "when": pa.array([1, 2, 3], pa.timestamp("us", tz="UTC")),
            "word": words,
            "deep": [[{"k": 1}], None, []],
        }
    )
    parquet.write_table(table, tmp_path / "in.parquet")
    write_shards(tmp_path / "in.parquet", keep=("when", "word", "deep"), heads=("topic",))
    found = parquet.read_table(folder.parts()[0])
    for name in ("when", "word", "deep"):
        assert found.schema.field(name).type == table.schema.field(name).type
        assert found[name].to_pylist() == table[name].take(pa.array([0, 2])).to_pylist()


def test_row_groups_are_large(write_rows, write_shards, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("polyhead.serving.jobs.parquet_rows.CHUNK_ROWS", 10)
    write_shards(write_rows(tmp_path / "in.parquet", [{"text": "a"}] * 100))
    assert parquet.read_metadata(folder.parts()[0]).num_row_groups == 1
    monkeypatch.setattr(shards, "_GROUP_BYTES", 1)
    write_shards(tmp_path / "in.parquet")
    assert parquet.read_metadata(folder.parts()[0]).num_row_groups == 10


@pytest.mark.parametrize("name", ["topic", "input_row"])
def test_a_kept_column_is_never_covered(write_rows, write_shards, folder, tmp_path, name):
    path = write_rows(tmp_path / "in.csv", [{"text": "a", name: "b"}])
    with pytest.raises(InvalidSetting, match=f"the column '{name}' is there already"):
        write_shards(path, keep=(name,))
    assert not folder.parts()
    if name == "topic":
        write_shards(path, keep=(name,), prefix="our_")
        assert folder.rows()[0]["topic"] == "b"


def test_a_file_that_changes_meanwhile_has_no_answers(
    write_rows, write_shards, folder, engine_of_many_heads, tmp_path
):
    class Late(Asked):
        def predict(self, texts, **asked):
            write_rows(path, [{"text": "another"}])
            return super().predict(texts, **asked)

    path = write_rows(tmp_path / "in.csv", [{"text": "a"}])
    with pytest.raises(InputError, match="changed since the job was planned"):
        write_shards(path, Late(engine_of_many_heads))
    assert not folder.parts()


def test_an_error_leaves_no_file(write_rows, write_shards, folder, engine_of_many_heads, tmp_path):
    class Broken(Asked):
        def predict(self, texts, **asked):
            if "b" in texts:
                raise RuntimeError
            return super().predict(texts, **asked)

    path = write_rows(tmp_path / "in.csv", [{"text": "a"}, {"text": "b"}])
    with pytest.raises(RuntimeError):
        write_shards(path, Broken(engine_of_many_heads))
    assert [each.name for each in folder.path.iterdir()] == [".lock"]
