"""`polyhead run` over files: what is read, kept, left out, written and told."""

import csv
import io
import json
import signal
import subprocess
from types import SimpleNamespace

import pytest

from polyhead.cli import output
from polyhead.cli.texts import read, rows

ROWS = [
    {"id": 7, "text": "the parcel was late", "lang": "en"},
    {"id": 8, "text": "Anna lives in Oslo", "lang": "no"},
]


@pytest.fixture
def given(tmp_path):
    """Writes a file of rows, or of what is given, and gives its path."""

    def write(name="in.jsonl", content=None):
        path = tmp_path / name
        if content is None:
            content = "".join(json.dumps(row) + "\n" for row in ROWS)
        path.write_text(content, encoding="utf-8")
        return path

    return write


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def table(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


class TestRead:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.csv", 'id,text\n1,"two\nlines, one"\n\n2,né à 東京\n'),
            ("a.CSV", '\ufeffid,text\r\n1,"two\nlines, one"\r\n2,né à 東京\r\n'),
            ("a.jsonl", '{"id": "1", "text": "two\\nlines, one"}\n{"id":"2","text":"né à 東京"}'),
        ],
    )
    def test_texts_with_their_columns(self, given, name, content):
        found = list(rows(str(given(name, content)), "text"))
        assert [row.text for row in found] == ["two\nlines, one", "né à 東京"]
        assert [row.fields["id"] for row in found] == ["1", "2"]

    def test_a_line_of_tsv_has_no_quotes(self, given):
        path = given("a.tsv", 'text\tid\n"quoted"\t3\n')
        assert [row.text for row in rows(str(path), "text")] == ['"quoted"']

    def test_a_text_a_line(self, given):
        path = given("a.txt", "one, two\n\n  \n three \n")
        assert [*read(str(path), "text")] == [(f"{path}:1", "one, two"), (f"{path}:4", " three ")]

    def test_two_columns_are_a_pair(self, given):
        path = given("a.csv", "question,id,context\nwho?,1,Anna\n")
        assert [row.text for row in rows(str(path), "question,context")] == [("who?", "Anna")]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            pytest.param(
                "id,body\n1,a\n", ":1: no key or column 'text'; there is 'id', 'body'", id="column"
            ),
            pytest.param("id,texts\n1,a\n", "Did you mean 'texts'", id="nearest"),
            pytest.param("id,text\n1,\n", ":2: no text in the column 'text'", id="empty_cell"),
            pytest.param("id,text\n1\n", ":2: found 1 columns, expected 2: id, text", id="short"),
            pytest.param('id,text\n1,"open\n', ":2: not valid CSV", id="open_quote"),
        ],
    )
    def test_a_bad_table_is_named(self, polyhead, bundle, given, content, message):
        path = given("in.csv", content)
        done = polyhead("run", bundle, "--input", path)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{path}{message}" in done.stderr.replace("\n", " ") or message in done.stderr


class TestKeep:
    @pytest.mark.parametrize("name", ["in.jsonl", "in.csv"])
    def test_id_is_kept_and_what_is_named(self, polyhead, bundle, given, name):
        content = None if name == "in.jsonl" else "id,text,lang\n7,late,en\n8,Anna,no\n"
        words = ("run", bundle, "--input", given(name, content), "--heads", "topic")
        found = lines(polyhead(*words).stdout)
        assert [str(row["id"]) for row in found] == ["7", "8"]
        assert "lang" not in found[0]
        kept = lines(polyhead(*words, "--keep", "lang").stdout)
        assert [list(row)[:2] for row in kept] == [["id", "lang"]] * 2
        assert [row["lang"] for row in kept] == ["en", "no"]
        assert [row["text"] for row in kept] == [row["text"] for row in found]

    def test_a_key_that_a_row_lacks_is_null(self, polyhead, bundle, given):
        path = given(content='{"text": "a", "lang": "en"}\n{"text": "b"}\n"c"\n')
        found = lines(polyhead("run", bundle, "--input", path, "--keep", "lang").stdout)
        assert [row["lang"] for row in found] == ["en", None, None]
        assert "id" not in found[0]

    def test_a_key_that_the_first_good_row_lacks_is_named(self, polyhead, bundle, given):
        path = given(content='{"lagn": 1}\n{"text": "a", "lang": "en"}\n')
        words = ("run", bundle, "--input", path, "--errors", "skip", "--keep")
        assert polyhead(*words, "lang").returncode == 0
        done = polyhead(*words, "lagn")
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{path}:2: no key or column 'lagn'; there is 'text', 'lang'" in done.stderr
        assert "Did you mean 'lang'" in done.stderr

    def test_a_column_that_a_table_lacks_is_named(self, polyhead, bundle, given):
        path = given("in.csv", "id,text,lang\n1,a,en\n")
        done = polyhead("run", bundle, "--input", path, "--keep", "lagn")
        assert done.returncode == 1
        assert "no key or column 'lagn'" in done.stderr
        assert "Did you mean 'lang'" in done.stderr

    def test_what_is_read_need_not_be_kept(self, polyhead, bundle, given):
        words = ("run", bundle, "--input", given(), "--keep", "id,text")
        assert [row["id"] for row in lines(polyhead(*words).stdout)] == [7, 8]

    def test_a_name_that_the_answer_has_cannot_be_kept(self, polyhead, bundle, given):
        path = given(content='{"text": "a", "tokens": 3}\n')
        done = polyhead("run", bundle, "--input", path, "--keep", "tokens")
        assert done.returncode == 1
        assert "'tokens' cannot be kept" in done.stderr


class TestOutput:
    def test_json_lines_are_those_of_stdout(self, polyhead, bundle, given, tmp_path):
        path, target = given(), tmp_path / "new" / "out.jsonl"
        shown = polyhead("run", bundle, "--input", path)
        done = polyhead("run", bundle, "--input", path, "--output", target)
        assert (done.returncode, done.stdout) == (0, "")
        assert target.read_text(encoding="utf-8") == shown.stdout

    def test_csv_has_a_column_a_value(self, polyhead, bundle, given, tmp_path):
        words = ("run", bundle, "--input", given(), "--keep", "lang", "--round", "3")
        assert polyhead(*words, "--output", tmp_path / "out.csv").returncode == 0
        found = table(tmp_path / "out.csv")
        columns = ["id", "lang", "text", "topic", "topic_score", "entities", "embedding"]
        assert list(found[0]) == columns
        assert [row["text"] for row in found] == [row["text"] for row in ROWS]
        answers = lines(polyhead(*words).stdout)
        for row, answer in zip(found, answers, strict=True):
            heads = answer["heads"]
            assert row["topic"] == heads["topic"]["label"]
            assert float(row["topic_score"]) == heads["topic"]["score"]
            assert json.loads(row["entities"]) == heads["entities"]["spans"]
            assert json.loads(row["embedding"]) == heads["embedding"]["vector"]

    def test_csv_of_texts_and_pairs_is_refused(self, polyhead, many_heads, given, tmp_path):
        path = given(content='"a"\n["b", "c"]\n')
        done = polyhead("run", many_heads, "--input", path, "--output", tmp_path / "out.csv")
        assert done.returncode == 1
        assert f"{path}:2: " in done.stderr
        assert "--output FILE.jsonl" in done.stderr

    def test_a_column_that_is_there_twice_is_refused(self, polyhead, bundle, given):
        path = given("rows.csv", "text,text,more,more\na,b,c,d\n")
        done = polyhead("run", bundle, "--input", path)
        assert done.returncode == 1
        assert f"{path}:1: the column 'text' is duplicated in the header" in done.stderr

    @pytest.mark.parametrize("name", ["out.parquet", "out", "out.txt"])
    def test_another_ending_is_a_usage_error(self, polyhead, bundle, tmp_path, name):
        done = polyhead("run", bundle, "a", "--output", tmp_path / name)
        assert done.returncode == 2
        assert "ends in .jsonl or .csv" in done.stderr

    def test_the_input_is_not_overwritten(self, polyhead, bundle, given):
        path = given()
        before = path.read_bytes()
        done = polyhead("run", bundle, "--input", path, "--output", path)
        assert (done.returncode, path.read_bytes()) == (2, before)

    def test_a_bundle_that_cannot_be_loaded_leaves_the_older_file(self, polyhead, tmp_path, given):
        target = given("out.jsonl", "older\n")
        assert polyhead("run", tmp_path, "a", "--output", target).returncode == 1
        assert target.read_text() == "older\n"

    @pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
    def test_an_older_file_stays_until_there_is_an_answer(self, polyhead, bundle, given, name):
        target, bad, empty = given(name, "older\n"), given("bad.txt", ""), given("empty.txt", "")
        bad.write_bytes(b"\xff\n")
        for words in (["--errors", "stop"], ["--errors", "skip"], ["--option", "typo.k=1"]):
            done = polyhead("run", bundle, "--input", bad, "--output", target, *words)
            assert (done.returncode, target.read_text()) == (1, "older\n")
        assert polyhead("run", bundle, "--input", empty, "--output", target).returncode == 0
        assert target.read_text() == ""

    @pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
    def test_an_interrupted_job_leaves_whole_lines(self, command, bundle, tmp_path, name):
        start, environment = command
        target = tmp_path / name
        words = [*start, "run", bundle, "--input", "-", "--heads", "topic", "--output", target]
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(
            [*map(str, words)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        signal.signal(signal.SIGINT, before)
        process.stdin.write(b'"a long enough text"\n' * 2048)
        process.stdin.flush()
        while not target.exists() or target.stat().st_size < 10_000:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=100)
        assert process.returncode == 130
        content = target.read_text(encoding="utf-8")
        assert content.endswith("\n")
        if name == "out.jsonl":
            assert {row["text"] for row in lines(content)} == {"a long enough text"}
        else:
            assert {row["text"] for row in table(target)} == {"a long enough text"}


class TestErrors:
    CONTENT = '"a"\n{\n{"text": null}\n"\\ud83d"\n"b"\n'

    def test_bad_rows_are_left_out_and_named_at_the_end(self, polyhead, bundle, given):
        path = given(content=self.CONTENT)
        done = polyhead("run", bundle, "--input", path, "--errors", "skip", "--quiet")
        assert done.returncode == 0
        assert [row["text"] for row in lines(done.stdout)] == ["a", "b"]
        first, *named = done.stderr.splitlines()
        assert first == "polyhead run: left out 3 rows:"
        assert [line.split(": ")[0].strip() for line in named] == [f"{path}:{n}" for n in (2, 3, 4)]
        assert "a lone surrogate" in named[-1]
        assert "input" not in named[-1]

    def test_many_bad_rows_are_counted(self, polyhead, bundle, given):
        path = given(content='"a"\n' + "{\n" * 30)
        done = polyhead("run", bundle, "--input", path, "--errors", "skip", "--quiet")
        assert done.stderr.splitlines()[0] == "polyhead run: left out 30 rows:"
        assert done.stderr.splitlines()[-1] == "  … and 20 more"

    def test_nothing_answered_is_a_failure(self, polyhead, bundle, given):
        done = polyhead("run", bundle, "--input", given(content="{\n"), "--errors", "skip")
        assert (done.returncode, done.stdout) == (1, "")

    def test_an_option_that_is_wrong_ends_the_job_all_the_same(self, polyhead, many_heads, given):
        words = ("--errors", "skip", "--option", "summary.k=0")
        done = polyhead("run", many_heads, "--input", given(), *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "k=0" in done.stderr

    def test_a_number_that_json_does_not_have_is_a_bad_row(self, polyhead, bundle, given):
        path = given(content='{"text": "a", "id": NaN}\n{"text": "b", "id": 1}\n')
        done = polyhead("run", bundle, "--input", path, "--errors", "skip")
        assert [row["id"] for row in lines(done.stdout)] == [1]
        assert f"{path}:1: not a JSON line: NaN" in done.stderr


class TestShort:
    def test_top_keeps_the_highest_scores(self, polyhead, many_heads):
        [whole] = lines(polyhead("run", many_heads, "late").stdout)
        [short] = lines(polyhead("run", many_heads, "late", "--top", "2").stdout)
        scores = whole["heads"]["topic"]["scores"]
        best = sorted(scores, key=lambda label: -scores[label])[:2]
        assert list(short["heads"]["topic"]["scores"]) == best
        assert short["heads"]["topic"]["label"] == whole["heads"]["topic"]["label"]
        assert short["heads"]["embedding"] == whole["heads"]["embedding"]

    def test_labels_that_are_given_keep_their_scores(self, polyhead, many_heads):
        asked = ("run", many_heads, "late", "--heads", "flags", "--top", "1")
        [found] = lines(polyhead(*asked).stdout)
        flags = found["heads"]["flags"]
        assert len(flags["scores"]) == max(1, len(flags["labels"]))
        assert {*flags["labels"]} <= flags["scores"].keys()

    def test_round_cuts_every_number(self, polyhead, many_heads):
        [row] = lines(polyhead("run", many_heads, "late", "--round", "2").stdout)
        [whole] = lines(polyhead("run", many_heads, "late").stdout)
        assert row["heads"]["topic"]["score"] == round(whole["heads"]["topic"]["score"], 2)
        vector = whole["heads"]["embedding"]["vector"]
        assert row["heads"]["embedding"]["vector"] == [round(x, 2) for x in vector]
        assert row["tokens"] == whole["tokens"]

    @pytest.mark.parametrize(("option", "value"), [("--top", "0"), ("--round", "-1")])
    def test_what_is_out_of_range_is_a_usage_error(self, polyhead, bundle, option, value):
        assert polyhead("run", bundle, "a", option, value).returncode == 2


class TestProgress:
    @pytest.fixture
    def told(self, monkeypatch):
        """A progress line whose clock the test turns, and what it told."""
        clock = [100.0]
        monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: clock[0]))
        told = []
        monkeypatch.setattr(output, "progress", told.append)
        with output.log_to_stderr():
            yield clock, told

    def test_it_tells_rate_share_and_time_left_now_and_then(self, told):
        clock, lines = told
        with output.ProgressLine(1000) as line:
            for done in range(1, 6):
                clock[0] += 4
                line.update(done * 100, done * 100)
        assert lines == ["300 texts, 25/s, 30%, 0:00:28 left", "500 texts in 0:00:20, 25/s"]

    def test_without_a_length_it_tells_no_time_left(self, told):
        clock, lines = told
        with output.ProgressLine(None) as line:
            clock[0] += 7200
            line.update(1_000_000, 5)
        assert lines == ["1,000,000 texts, 139/s", "1,000,000 texts in 2:00:00, 139/s"]

    def test_an_error_has_no_last_line(self, told):
        _, lines = told
        line = output.ProgressLine(9)
        line.update(1, 1)
        line.__exit__(ZeroDivisionError)
        assert lines == []

    def test_a_terminal_has_one_line(self, told, monkeypatch):
        clock, lines = told
        shown = io.StringIO()
        shown.isatty = lambda: True
        monkeypatch.setattr(output.sys, "stderr", shown)
        with output.ProgressLine(10) as line:
            for done in (5, 10):
                clock[0] += 1
                line.update(done, done)
        first, *updates = shown.getvalue().split("\r")
        assert (first, lines) == ("", [])
        assert updates[0] == "5 texts, 5/s, 50%, 0:00:01 left"
        assert updates[-1].rstrip() == "10 texts in 0:00:02, 5/s"
        assert shown.getvalue().endswith("\n")
