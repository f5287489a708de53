"""In every format, whatever system wrote the file: a text comes back as it was, with its line."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from polyhead_models import config as configs
from polyhead_models.data.rows import FileLayout, read
from polyhead_models.errors import ConfigError, DataError

TEXTS = ["007", "1e5", "NA", "null", "None", "true", "2024-01-01", "-", "1,5", "NaN", "0x1F", "+1"]
TEXTS += ["a\u2028b", "a\x85b", "a\x1cb", "ﬁ İ ß 東京 👩\u200d💻", "\u00a0a\u00a0", "[SEP] a"]
TEXTS += ["[1]", "[]", "[null]", '["a","b"]', "{}", '{"a":1}', "0", "False", '"a"']
FORMATS = ("jsonl", "csv", "tsv", "json", "conll", "parallel", "squad", "parquet")


def _csv(texts):
    quoted = (text.replace('"', '""') for text in ["text", *texts])
    return "".join(f'"{text}"\n' for text in quoted)


def _squad(texts):
    paragraphs = [
        {"context": text, "qas": [{"id": i, "question": "q", "answers": []}]}
        for i, text in enumerate(texts)
    ]
    return json.dumps({"data": [{"paragraphs": paragraphs}]}, ensure_ascii=False, indent=1)


LINES = {
    "jsonl": lambda texts: "".join(
        f"{json.dumps({'text': t}, ensure_ascii=False)}\n" for t in texts
    ),
    "csv": _csv,
    "tsv": lambda texts: "".join(f"{text}\tx\n" for text in ["text", *texts]),
    "json": lambda texts: json.dumps([{"text": t} for t in texts], ensure_ascii=False, indent=1),
    "conll": lambda texts: "".join(f"{text}\tO\n\n" for text in texts),
    "parallel": lambda texts: "".join(f"{text}\n" for text in texts),
    "squad": _squad,
}
LAYOUTS = {
    "conll": FileLayout(columns=("text", "tags")),
    "parallel": FileLayout(columns=("text",)),
}


def texts_of(rows):
    found = [row.fields.get("text", row.fields.get("context")) for row in rows]
    return ["".join(text) if isinstance(text, list) else text for text in found]


@pytest.mark.parametrize("format", FORMATS)
def test_a_text_is_never_taken_for_a_number_a_date_or_nothing(tmp_path, format):
    path = tmp_path / "rows"
    if format == "parquet":
        parquet.write_table(pyarrow.table({"text": TEXTS}), path)
    else:
        path.write_bytes(LINES[format](TEXTS).encode())
    found = texts_of(read(path, format, LAYOUTS.get(format)))
    # A parallel file's lines are without white space at their ends.
    assert found == [text.strip() if format == "parallel" else text for text in TEXTS]


@pytest.mark.parametrize("format", LINES)
@pytest.mark.parametrize("end", ["\r\n", "\r"], ids=["windows", "old mac"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
def test_line_ends_and_marks_of_other_systems(tmp_path, format, end, mark):
    content = LINES[format](["a", "b c", "ü"]).replace("\n", end)
    path = tmp_path / "rows"
    path.write_bytes(mark + content.encode())
    assert texts_of(read(path, format, LAYOUTS.get(format))) == ["a", "b c", "ü"]


@pytest.mark.parametrize("format", LINES)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(tmp_path, format, encoding):
    path = tmp_path / "rows"
    path.write_bytes(LINES[format](["a", "b"]).encode(encoding))
    with pytest.raises(DataError, match=r"rows:1: found UTF-(16|32).*, expected UTF-8"):
        read(path, format, LAYOUTS.get(format))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_a_csv_record_is_where_it_begins(tmp_path, end):
    path = tmp_path / "rows.csv"
    path.write_bytes(end.join(["text,n", "", '"a', "", 'b",1', "", "c,2", "d"]).encode())
    with pytest.raises(DataError, match=r"rows\.csv:8: found 1 columns"):
        read(path)
    path.write_bytes(end.join(["text,n", "", '"a', "", 'b",1', "", "c,2"]).encode())
    rows = read(path)
    assert [row.where for row in rows] == [f"{path}:3", f"{path}:7"]
    assert rows[0].fields["text"] == end.join(["a", "", "b"])


@pytest.mark.parametrize("format", ["jsonl", "conll", "tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_blank_lines_count(tmp_path, format, end):
    bad = {"jsonl": '{"text": 1', "conll": "b", "tsv": "b"}[format]
    good = {"jsonl": '{"text": "a"}', "conll": "a\tO", "tsv": "a\tO"}[format]
    path = tmp_path / "rows"
    path.write_bytes(end.join([good, "", "", bad, ""]).encode())
    layout = None if format == "jsonl" else FileLayout(columns=("text", "tags"))
    with pytest.raises(DataError, match="rows:4: "):
        read(path, format, layout)


@pytest.mark.parametrize("value", ["1", "1.5", "true", "[1]", "{}"])
def test_what_is_no_text_is_refused_as_a_text(write_config, tmp_path, value):
    from polyhead_models.data import examples

    path = write_config(tmp_path)
    (tmp_path / "data" / "train.jsonl").write_text(f'{{"text": {value}}}\n', "utf-8")
    with pytest.raises(DataError, match=r"train\.jsonl:1: 'text': found .*, expected a text"):
        examples.load(configs.load(path), "train")


def test_parquet_text_that_is_no_utf_8_is_refused(tmp_path):
    column = pyarrow.array([b"a", b"caf\xe9"], pyarrow.binary())
    table = pyarrow.table(
        {"text": pyarrow.Array.from_buffers(pyarrow.string(), 2, column.buffers())}
    )
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows\.parquet, row 1: not valid Parquet: 'utf-8' codec"):
        read(tmp_path / "rows.parquet")


def test_a_configuration_may_begin_with_a_mark(write_config, tmp_path):
    path = write_config(tmp_path)
    expected = configs.load(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert configs.load(path) == expected
    path.write_bytes(path.read_bytes().decode("utf-8-sig").encode("utf-16"))
    with pytest.raises(ConfigError, match=r"config\.toml:1: found UTF-16, expected UTF-8"):
        configs.load(path)
