import json
import os
import pty
import subprocess

import pytest


def on_a_terminal(command, *words: object) -> str:
    """What a person sees: stdout is a pseudo-terminal."""
    start, environment = command
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*start, *map(str, words)], stdin=subprocess.DEVNULL, stdout=theirs, env=environment
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while block := os.read(ours, 65536):
                seen += block
        except OSError:  # Linux answers EIO when the other side is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    return seen.decode().replace("\r\n", "\n")


def rows(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def test_run_prints_a_json_line_a_text(polyhead, bundle):
    done = polyhead("run", bundle, "the parcel was late", "né 👍")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["text"] for row in rows(done.stdout)] == ["the parcel was late", "né 👍"]
    assert list(rows(done.stdout)[0]["heads"]) == ["topic", "entities", "embedding"]


def test_run_prints_a_page_on_a_terminal(command, bundle):
    page = on_a_terminal(command, "run", bundle, "the parcel was late", "--heads", "topic,entities")
    first, topic, entities, *_ = page.splitlines()
    assert first == "the parcel was late"
    assert topic.split()[0] == "topic"
    assert entities.split()[0] == "entities"


def test_run_prints_json_on_a_terminal_when_asked(command, bundle):
    assert rows(on_a_terminal(command, "run", bundle, "x", "--json"))[0]["text"] == "x"


def test_run_answers_only_the_asked_heads(polyhead, bundle):
    done = polyhead("run", bundle, "x", "--heads", "embedding,topic")
    assert list(rows(done.stdout)[0]["heads"]) == ["topic", "embedding"]


def test_run_answers_an_empty_text(polyhead, bundle):
    assert rows(polyhead("run", bundle, "").stdout)[0]["text"] == ""


def test_run_reads_json_lines_from_standard_input(polyhead, bundle):
    done = polyhead("run", bundle, "--input", "-", stdin=b'"a"\n\n{"text": "b", "id": 3}\n')
    assert done.returncode == 0
    assert [row["text"] for row in rows(done.stdout)] == ["a", "b"]
    assert "2 texts" in done.stderr


def test_run_reads_another_field_of_a_file(polyhead, bundle, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"body": "東京"}\n', encoding="utf-8")
    done = polyhead("run", bundle, "--input", tmp_path / "in.jsonl", "--field", "body")
    assert [row["text"] for row in rows(done.stdout)] == ["東京"]


def test_run_keeps_the_order_over_chunks(polyhead, bundle):
    texts = [f"parcel {i}" for i in range(1100)]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = polyhead("run", bundle, "--input", "-", "--heads", "topic", stdin=lines.encode())
    assert [row["text"] for row in rows(done.stdout)] == texts


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b"{", "not a JSON line", id="cut_short"),
        pytest.param(b"3", "expected a JSON string, a list of two", id="number"),
        pytest.param(b'{"body": "x"}', "'text'. Name another key with --field", id="no_field"),
        pytest.param(b'{"text": null}', "expected a JSON string", id="null"),
        pytest.param(b"[" * 100_000, "not a JSON line", id="too_deep"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(polyhead, bundle, tmp_path, line, message):
    (tmp_path / "in.jsonl").write_bytes(b'"fine"\n' + line + b"\n")
    done = polyhead("run", bundle, "--input", tmp_path / "in.jsonl")
    assert done.returncode == 1
    assert f"{tmp_path}/in.jsonl:2: " in done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("name", ["-", "in.jsonl"], ids=["stdin", "file"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_input_of_any_system_is_read(polyhead, bundle, tmp_path, monkeypatch, name, end):
    monkeypatch.chdir(tmp_path)
    lines = ["\ufeff" + json.dumps("Zoé"), "", '"東京 a\u2028b"', ""]
    content = end.join(lines).encode()
    (tmp_path / "in.jsonl").write_bytes(content)
    done = polyhead("run", bundle, "--input", name, stdin=content)
    assert [row["text"] for row in rows(done.stdout)] == ["Zoé", "東京 a\u2028b"]


def test_a_return_in_a_line_is_no_line_end_where_lines_end_otherwise(polyhead, bundle):
    done = polyhead("run", bundle, "--input", "-", stdin=b'{"text":\r"a"}\n"b"\r"c"\n"d"\n')
    assert (done.returncode, done.stdout) == (1, "")
    assert "standard input:2: not a JSON line: Extra data" in done.stderr


@pytest.mark.parametrize("name", ["-", "in.jsonl"], ids=["stdin", "file"])
def test_input_in_another_encoding_is_named(polyhead, bundle, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content = '"a"\n'.encode("utf-16")
    (tmp_path / "in.jsonl").write_bytes(content)
    done = polyhead("run", bundle, "--input", name, stdin=content)
    shown = "standard input" if name == "-" else name
    assert done.returncode == 1
    assert f"{shown}:1: found UTF-16, expected UTF-8" in done.stderr


def test_a_text_that_cannot_be_answered_is_named_with_its_line(polyhead, bundle, tmp_path):
    lines = ['"a"'] * 600 + ["", "", '"\\ud83d"']
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = polyhead("run", bundle, "--input", tmp_path / "in.jsonl", "--heads", "topic")
    assert (done.returncode, len(rows(done.stdout))) == (1, 512)
    assert f"{tmp_path}/in.jsonl:603: " in done.stderr
    assert "a lone surrogate U+D83D" in done.stderr


@pytest.mark.parametrize("name", ["-", "in.jsonl"], ids=["stdin", "file"])
def test_input_that_is_no_utf8_is_named(polyhead, bundle, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_bytes(b'"\xff"\n')
    done = polyhead("run", bundle, "--input", name, stdin=b'"\xff"\n')
    assert done.returncode == 1
    assert done.stderr.startswith("polyhead run: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["x", "--heads", "topics"], "Did you mean 'topic'", id="unknown_head"),
        pytest.param(["x", "--threads", "0"], "threads=0", id="threads"),
        pytest.param(["x " * 90, "--on-overflow", "error"], "TEXT 1: 92 tokens", id="too_long"),
        pytest.param(
            ["--input", "no.jsonl"], "no.jsonl: cannot be read: there is no such", id="absent"
        ),
        pytest.param(["--input", "/"], "/: cannot be read: Is a directory", id="folder"),
    ],
)
def test_a_failed_run_says_why(polyhead, bundle, words, message):
    done = polyhead("run", bundle, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("polyhead run: ")
    assert message in done.stderr


def test_run_truncates_on_demand(polyhead, bundle):
    done = polyhead("run", bundle, "x " * 90, "--on-overflow", "truncate")
    assert rows(done.stdout)[0]["truncated"] is True


@pytest.mark.parametrize("value", ["True", "true"])
def test_an_option_may_be_as_the_guides_write_it(polyhead, writing, value):
    options = ["--option", f"short.early_stopping={value}", "--option", "short.beams=2"]
    done = polyhead("run", writing, "Anna lives in Oslo.", "--heads", "short", *options)
    assert done.returncode == 0, done.stderr
    assert rows(done.stdout)[0]["heads"]["short"]["text"]
