"""`polyhead run` with pairs and options."""

import json

import pytest

PAIR = ["who was late?", "The parcel was late."]


def rows(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def texts(output: str) -> list[list[str]]:
    return [[row["query"], row["text"]] for row in rows(output)]


def test_run_answers_pairs_of_the_command_line(polyhead, many_heads):
    done = polyhead("run", many_heads, "--pair", *PAIR, "né?", "")
    assert (done.returncode, done.stderr) == (0, "")
    assert texts(done.stdout) == [PAIR, ["né?", ""]]
    assert list(rows(done.stdout)[0]["heads"]) == ["match", "answer"]


def test_two_texts_without_pair_are_two_texts(polyhead, many_heads):
    done = polyhead("run", many_heads, *PAIR)
    assert [row["text"] for row in rows(done.stdout)] == PAIR
    assert "query" not in rows(done.stdout)[0]


def test_run_reads_pairs_and_texts_of_a_file(polyhead, many_heads):
    lines = [json.dumps(PAIR), '"alone"', '["", ""]', '{"text": "kept", "question": "no"}']
    done = polyhead("run", many_heads, "--input", "-", stdin="\n".join(lines).encode())
    assert done.returncode == 0
    found = [(row.get("query"), row["text"]) for row in rows(done.stdout)]
    assert found == [tuple(PAIR), (None, "alone"), ("", ""), (None, "kept")]


def test_two_fields_read_a_pair_in_their_order(polyhead, many_heads, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"context": PAIR[1], "id": 3, "question": PAIR[0]}) + "\n")
    done = polyhead("run", many_heads, "--input", path, "--field", "question,context")
    assert texts(done.stdout) == [PAIR]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        pytest.param('["a"]', "text", id="list_of_one"),
        pytest.param('["a", "b", "c"]', "text", id="list_of_three"),
        pytest.param('["a", 5]', "text", id="half_a_list"),
        pytest.param("[]", "text", id="empty_list"),
        pytest.param('{"text": ["a", "b"]}', "text", id="pair_in_a_field"),
        pytest.param('{"question": "a"}', "question,context", id="half_an_object"),
    ],
)
def test_a_line_that_is_no_text_and_no_pair_is_named(polyhead, many_heads, line, field):
    done = polyhead(
        "run", many_heads, "--input", "-", "--field", field, stdin=f'"fine"\n{line}\n'.encode()
    )
    assert done.returncode == 1
    assert "standard input:2: expected a JSON string, a list of two for a pair" in done.stderr


def test_three_fields_are_refused(polyhead, many_heads):
    done = polyhead("run", many_heads, "--input", "-", "--field", "a,b,c", stdin=b'"fine"')
    assert done.returncode == 1
    assert "--field a,b,c: expected one key, or two for a pair" in done.stderr


@pytest.mark.parametrize(
    "words", [["--pair", "one"], ["--pair", "a", "b", "c"], ["--pair", "--input", "-"]], ids=str
)
def test_pair_needs_two_texts(polyhead, many_heads, words):
    done = polyhead("run", many_heads, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--pair needs TEXT TEXT" in done.stderr


def test_run_passes_options_on(polyhead, many_heads):
    sentences = "It is late. Anna lives. Thanks! Oslo."
    words = ["--option", "summary.ratio=0.5", "--option", "embedding.dimensions=2"]
    [row] = rows(polyhead("run", many_heads, sentences, *words).stdout)
    assert len(row["heads"]["summary"]["sentences"]) == 2
    assert len(row["heads"]["embedding"]["vector"]) == 2
    [row] = rows(polyhead("run", many_heads, "--pair", *PAIR, "--option", "answer.n=3").stdout)
    assert len(row["heads"]["answer"]["candidates"]) == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        pytest.param("summary", "--option summary: expected HEAD.NAME=VALUE", id="name_only"),
        pytest.param("summary=2", "expected HEAD.NAME=VALUE", id="no_dot"),
        pytest.param("summary.k", "expected HEAD.NAME=VALUE", id="no_value"),
        pytest.param(".k=2", "expected HEAD.NAME=VALUE", id="no_head"),
        pytest.param("summary.=2", "expected HEAD.NAME=VALUE", id="no_option"),
        pytest.param("sumary.k=2", "Did you mean 'summary'", id="unknown_head"),
        pytest.param("summary.n=2", "has no option 'n'; allowed: k, ratio", id="unknown_option"),
        pytest.param("summary.k=two", "k='two': expected a whole number", id="text"),
        pytest.param("summary.k=", "k='': expected a whole number", id="nothing"),
        pytest.param("summary.k=0", "k=0: expected a whole number", id="out_of_range"),
        pytest.param("summary.ratio=NaN", "ratio=nan", id="nan"),
        pytest.param("embedding.dimensions=2.0", "dimensions=2.0", id="float"),
    ],
)
def test_a_bad_option_is_reported(polyhead, many_heads, option, message):
    done = polyhead("run", many_heads, "x", "--option", option)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_a_pair_for_a_bundle_that_reads_texts_is_reported(polyhead, bundle):
    done = polyhead("run", bundle, "--pair", *PAIR)
    assert done.returncode == 1
    assert "TEXT 1: found a pair of texts, but the head 'topic' reads a single text" in done.stderr


def test_run_reads_long_texts_in_windows(polyhead, many_heads):
    [row] = rows(polyhead("run", many_heads, "late " * 90, "--heads", "topic").stdout)
    assert (row["windows"] > 1, row["truncated"]) == (True, False)


def test_verify_passes_a_bundle_with_pairs(polyhead, many_heads):
    assert polyhead("verify", many_heads).returncode == 0
    assert polyhead("inspect", many_heads).returncode == 0
