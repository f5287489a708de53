"""Rows of files in every format: each is in one piece, and comes out as it is."""

import json
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from polyhead import InputError, InvalidSetting
from polyhead.serving.jobs import sources
from polyhead.serving.jobs.formats import ENDINGS, opened
from polyhead.serving.jobs.sources import CHUNK_BYTES, CHUNK_ROWS, find

ROWS = [{"id": n, "text": text} for n, text in enumerate("abcdefghijk")]
WORDS = st.text(st.sampled_from('ab ,"\n\r\t;né東👍\u2028'), min_size=1, max_size=12)


def read(path, *, rows=3, read=("text",), keep=None):
    """Numbers, texts and kept rows of a file, in pieces of so many rows."""
    numbers, texts, kept = [], [], []
    with opened(str(path), read, keep) as source:
        pieces = source.pieces(rows)
        for piece in pieces:
            found = []
            for chunk in source.chunks(piece):
                numbers += chunk.numbers
                found += chunk.texts
                kept += chunk.kept.to_pylist() if source.kept.names else [{}] * len(chunk.texts)
            assert repr([t for some in source.texts(piece) for t in some]) == repr(found)
            texts += found
    assert len(kept) == len(texts)
    return numbers, texts, kept, pieces


@pytest.mark.parametrize("rows", [1, 3, 11, 100])
def test_every_row_is_in_one_piece(write_rows, tmp_path, ending, rows):
    path = write_rows(tmp_path / f"in.{ending}", ROWS)
    numbers, texts, kept, pieces = read(path, rows=rows)
    assert numbers == [*range(11)]
    assert texts == [*"abcdefghijk"]
    ids = [str(n) for n in range(11)] if ending == "csv" else [*range(11)]
    assert [row["id"] for row in kept] == ids
    assert [piece.rows for piece in pieces] == [rows] * (11 // rows) + [11 % rows] * (11 % rows > 0)
    assert [piece.first for piece in pieces] == [*range(0, 11, rows)]


@settings(max_examples=40)
@given(texts=st.lists(WORDS, min_size=1, max_size=30), rows=st.integers(1, 12))
def test_texts_with_quotes_and_line_ends(write_rows, tmp_path_factory, texts, rows):
    folder = tmp_path_factory.mktemp("rows")
    for ending in ("parquet", "jsonl", "csv"):
        path = write_rows(folder / f"in.{ending}", [{"id": 1, "text": text} for text in texts])
        numbers, found, _, pieces = read(path, rows=rows)
        assert found == texts
        assert numbers == [*range(len(texts))]
        assert sum(piece.rows for piece in pieces) == len(texts)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "mark"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_line_ends_marks_and_blank_lines(tmp_path, ending, end, mark, last):
    lines = ['{"text": "a"}', "", '{"text": "b"}'] if ending == "jsonl" else ["a,1", "", "b,2"]
    header = [] if ending == "jsonl" else ["text,n"]
    content = mark + end.join([*header, *lines]) + end * last
    path = tmp_path / f"in.{ending}"
    path.write_bytes(content.encode())
    for rows in (1, 2, 9):
        numbers, texts, _, pieces = read(path, rows=rows)
        assert (numbers, texts) == ([0, 2], ["a", "b"])
        assert sum(piece.rows for piece in pieces) == 3


def test_a_header_between_blank_lines(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b'\xef\xbb\xbf\r\n\r\n"te\r\nxt",id\r\na,1\r\n')
    assert read(path, read=["te\r\nxt"])[:3] == ([0], ["a"], [{"id": "1"}])


@pytest.mark.parametrize("group", [1, 4, 100])
def test_pieces_of_any_row_groups(write_rows, tmp_path, group):
    rows = [{"text": str(n)} for n in range(20)]
    path = write_rows(tmp_path / "in.parquet", rows, row_group_size=group)
    for size in (1, 3, 7, 20):
        assert read(path, rows=size)[1] == [str(n) for n in range(20)]


@pytest.mark.parametrize(
    "type_", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_texts_of_any_string_type(tmp_path, type_):
    column = pa.array(["a", None, "a"], pa.string()).cast(type_)
    parquet.write_table(pa.table({"text": column}), tmp_path / "in.parquet")
    assert read(tmp_path / "in.parquet")[1] == ["a", None, "a"]


def test_pairs(write_rows, tmp_path, ending):
    rows = [{"q": "who?", "c": "Anna"}, {"q": "where?", "c": "Oslo"}]
    path = write_rows(tmp_path / f"in.{ending}", rows)
    assert read(path, read=["q", "c"])[1] == [("who?", "Anna"), ("where?", "Oslo")]


def test_json_lines_that_are_texts_or_lists(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('"a"\n["b", "c"]\n{"text": "d"}\n')
    first, pair, last = read(path)[1]
    assert (first, last) == ("a", "d")
    assert isinstance(pair, InputError)
    path.write_text('["b", "c"]\n["d", "e"]\n')
    assert read(path, read=["q", "c"])[1] == [("b", "c"), ("d", "e")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "not a JSON line"),
        (b'{"text": NaN}', "NaN is none of JSON's numbers"),
        (b'{"text": "\xff"}', "can't decode byte 0xff"),
        (b"[" * 100_000, "not a JSON line"),
        (b'{"other": "a"}', "no text under 'text'"),
        (b'{"text": null}', "no text under 'text'"),
        (b'{"text": 1}', "no text under 'text'"),
        (b"7", "no text under 'text'"),
        (b'{"text": "a", "id": "x"}', "the key 'id': found 'x', expected int64"),
        (b'{"text": "a", "id": true}', "the key 'id': found True, expected int64"),
        (b'{"text": "a", "id": 99999999999999999999}', "more than 64 bits"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, bytes) else "",
)
def test_a_json_line_that_cannot_be_read(tmp_path, line, said):
    path = tmp_path / "in.jsonl"
    good = b"".join(b'{"text": "a", "id": %d}\n' % n for n in range(1_000))
    path.write_bytes(good + line + b'\n{"text": "b", "id": 5}\n')
    with opened(str(path), ["text"], None) as source:
        [piece] = source.pieces(5_000)
        *_, chunk = source.chunks(piece)
    problem = chunk.texts[1_000]
    assert isinstance(problem, InputError)
    assert said in str(problem)
    assert chunk.texts[1_001] == "b"
    assert chunk.kept.column("id").to_pylist()[1_000:] == [None, 5]
    record = chunk.record(1_000)
    assert (bytes.fromhex(record["hex"]) if "hex" in record else record.encode()) == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"a", "found 1 columns, expected 2"),
        (b"a,b,c", "found 3 columns, expected 2"),
        (b",1", "no text in the column 'text'"),
        (b'"a"b,1', "not a row of CSV"),
        (b"a\rb,1", "not a row of CSV"),
        (b"\xff,1", "can't decode byte 0xff"),
    ],
    ids=str,
)
def test_a_row_of_csv_that_cannot_be_read(tmp_path, line, said):
    path = tmp_path / "in.csv"
    path.write_bytes(b"text,id\na,1\n" + line + b"\nb,2\n")
    numbers, (first, problem, last), kept, _ = read(path)
    assert (numbers, first, last) == ([0, 1, 2], "a", "b")
    assert isinstance(problem, InputError)
    assert said in str(problem)
    assert [row["id"] for row in kept] == ["1", None, "2"]


def test_a_quote_that_is_never_closed_takes_what_follows_with_it(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b'text,id\na,1\n"b,2\nc,3\n')
    for rows in (1, 9):
        numbers, (text, problem), _, _ = read(path, rows=rows)
        assert (numbers, text) == ([0, 1], "a")
        assert "not a row of CSV" in str(problem)


def test_the_types_of_kept_keys(tmp_path):
    path = tmp_path / "in.jsonl"
    lines = [
        {"text": "a", "n": 1, "x": 1, "b": True, "s": "é", "o": {"k": [1]}, "m": 1, "z": None},
        {"text": "a", "x": 0.5, "m": "one"},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with opened(str(path), ["text"], [*"nxbsomz"]) as source:
        kept = source.kept
        [piece] = source.pieces(10)
        [chunk] = source.chunks(piece)
    types = [pa.int64(), pa.float64(), pa.bool_(), *[pa.string()] * 4]
    assert kept == pa.schema(zip("nxbsomz", types, strict=True))
    first, second = chunk.kept.to_pylist()
    expected = {"n": 1, "x": 1.0, "b": True, "s": "é", "o": '{"k": [1]}', "m": "1", "z": None}
    assert first == expected
    assert second == {**dict.fromkeys("nxbsoz"), "x": 0.5, "o": "null", "m": '"one"'}


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_all_columns_are_kept(write_rows, tmp_path, ending):
    path = write_rows(tmp_path / f"in.{ending}", ROWS)
    assert [*read(path, keep=["all"])[2][0]] == ["id", "text"]


def test_all_keys_of_json_lines_are_not_known(write_rows, tmp_path):
    path = write_rows(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(InvalidSetting, match="Name those to keep"):
        read(path, keep=["all"])


@pytest.mark.parametrize("asked", [{"read": ["txet"]}, {"keep": ["txet"]}], ids=["read", "kept"])
def test_a_column_that_is_not_there(write_rows, tmp_path, ending, asked):
    path = write_rows(tmp_path / f"in.{ending}", ROWS)
    said = r"in\.\w+: no column 'txet'; there is 'id', 'text'\. Did you mean 'text'\?"
    with pytest.raises(InputError, match=said):
        read(path, **asked)


def test_a_column_of_numbers_is_no_text(write_rows, tmp_path):
    path = write_rows(tmp_path / "in.parquet", ROWS)
    with pytest.raises(InputError, match="'id' is of the type int64, expected string"):
        read(path, read=["id"])


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "in.parquet").write_text("text")
    with pytest.raises(InputError, match=r"in\.parquet: cannot be read as Parquet"):
        read(tmp_path / "in.parquet")


@pytest.mark.parametrize("content", [b"", b"\n", b"text\n"], ids=["empty", "blank", "header"])
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_file_without_rows(tmp_path, ending, content):
    path = tmp_path / f"in.{ending}"
    path.write_bytes(b"" if ending == "jsonl" and content == b"text\n" else content)
    assert read(path)[1] == []


def test_a_chunk_is_bounded_in_rows_and_in_bytes(write_rows, tmp_path, ending):
    short = write_rows(tmp_path / f"short.{ending}", [{"text": "a"}] * (CHUNK_ROWS + 1))
    rng = np.random.default_rng(1)
    texts = ["".join(map(chr, rng.integers(97, 123, 20_000))) for _ in range(40)]
    long = write_rows(tmp_path / f"long.{ending}", [{"text": text} for text in texts])
    sizes = {}
    for path in (short, long):
        with opened(str(path), ["text"], None) as source:
            [piece] = source.pieces(10_000)
            sizes[path] = [len(chunk.texts) for chunk in source.chunks(piece)]
    assert sizes[short] == [CHUNK_ROWS, 1]
    assert max(sizes[long]) * 20_000 <= CHUNK_BYTES + 20_000
    assert sum(sizes[long]) == 40


@contextmanager
def longest(size, monkeypatch):
    from polyhead.serving.jobs import line_rows

    with monkeypatch.context() as changed:
        changed.setattr(line_rows, "_LONGEST", size)
        changed.setattr(line_rows, "_BLOCK", size // 4)
        yield


def test_a_row_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "' + b"a" * 10_000 + b'"}')
    with longest(1_000, monkeypatch), pytest.raises(InputError, match="a row of over 1,000 bytes"):
        read(path)


def test_a_file_that_is_cut_short_meanwhile(write_rows, tmp_path):
    path = write_rows(tmp_path / "in.jsonl", ROWS)
    with opened(str(path), ["text"], None) as source:
        [piece] = source.pieces(100)
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(InputError, match="shorter than it was"):
            list(source.chunks(piece))


def test_files_of_a_folder(tmp_path):
    names = ["b.csv", "a.parquet", "sub/c.jsonl", "_state.jsonl", ".x.csv", "_d/e.csv", "read.me"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find([str(tmp_path), str(tmp_path / "b.csv")], ENDINGS)
    assert found == [str(tmp_path / name) for name in ("a.parquet", "b.csv", "sub/c.jsonl")]


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "no such file or folder"), ("x.txt", r"ends in \.parquet"), ("", "no file in this")],
)
def test_what_is_no_input(tmp_path, name, said):
    (tmp_path / "x.txt").touch()
    with pytest.raises(InputError, match=said):
        find([str(tmp_path / name)], ENDINGS)


def test_files_at_an_url(write_rows, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="optional")
    content = write_rows(tmp_path / "in.jsonl", ROWS).read_bytes()
    memory = fsspec.filesystem("memory")
    memory.pipe("/lake/day/in.jsonl", content)
    try:
        [path] = find(["memory://lake"], ENDINGS)
        assert path == "memory:///lake/day/in.jsonl"
        assert read(path)[1] == [*"abcdefghijk"]
    finally:
        memory.rm("/lake", recursive=True)
    assert sources.InputFile.at(str(tmp_path / "in.jsonl")).size == len(content)
