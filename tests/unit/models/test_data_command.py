"""`polyhead data`."""

import json
import re

import pytest

from polyhead.cli.main import main
from polyhead_models import config, encoder
from polyhead_models.data.examples import Example
from polyhead_models.data.statistics import cut_words, report
from polyhead_models.errors import EncoderError

ROWS = {
    "train": [
        {"text": "anna lives in oslo", "topic": "home", "entities": []},
        {"text": "anna lives in oslo", "topic": "praise"},
        {"text": "the " * 60, "topic": "home", "entities": [{"label": "A", "start": 0, "end": 3}]},
    ],
    "validation": [{"text": "thanks", "topic": "praise", "entities": []}],
    "test": [{"text": "anna lives in oslo", "topic": "late", "entities": []}],
}


@pytest.fixture
def described(write_config, write_rows, tmp_path):
    """A configuration over `ROWS`, with a source that no head reads."""
    other = {"other": {"train": "data/test.jsonl"}}
    path = write_config(tmp_path, data=other)
    for split, rows in ROWS.items():
        write_rows(tmp_path / "data" / f"{split}.jsonl", rows)
    return path


@pytest.fixture
def polyhead(capsys):
    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_report_counts_rows_of_every_source(described):
    found = report(config.load(described))
    assert found.rows == {
        "messages": {"train": 3, "validation": 1, "test": 1},
        "other": {"train": 1},
    }


def test_a_report_counts_for_each_head_the_rows_with_a_target(described):
    found = report(config.load(described)).heads
    assert {name: head.splits["train"].rows for name, head in found.items()} == {
        "topic": 3,
        "entities": 2,
    }


def test_a_report_counts_tokens_with_the_encoders_tokenizer(described):
    (tokens, limit) = (report(config.load(described)).heads["topic"].splits["train"].tokens, 48)
    assert (tokens.p50, tokens.max, tokens.over) == (6, 62, 1 / 3)
    assert tokens.max > limit


def test_the_tables_go_to_stdout_and_the_progress_to_stderr(polyhead, described):
    code, out, err = polyhead("data", described)
    tables = [table.splitlines() for table in out.strip().split("\n\n")]
    assert code == 0
    assert [table[0].split()[:2] for table in tables] == [
        ["source", "split"],
        ["head", "split"],
        ["head", "split"],
        ["head", "split"],
        ["head", "split"],
        ["Training:", "2"],
    ]
    first = [table[2].split() for table in tables[:-1]]
    assert first[1] == ["topic", "train", "3", "6", "62", "62", "0.3333", "1", "1"]
    assert first[2] == ["topic", "train", "2", "home", "2,", "praise", "1"]
    assert "A 1, (none) 1" in out
    assert tables[-2][2].split() == ["topic", "test", "train", "1", "1"]
    assert "messages: train: 3 rows" in err
    assert "tokenising" in err


def test_blanks_at_the_edges_of_spans_are_told(polyhead, described, write_rows, tmp_path):
    spans = [{"label": "A", "start": 0, "end": 5}, {"label": "A", "start": 13, "end": 18}]
    row = {"text": "anna lives in oslo", "topic": "late", "entities": spans}
    write_rows(tmp_path / "data" / "test.jsonl", [row])
    _, out, _ = polyhead("data", described)
    table = next(t for t in out.split("\n\n") if "blank at an edge, which is left out" in t)
    assert [line.split() for line in table.splitlines()[2:]] == [["entities", "test", "2"]]
    found = report(config.load(described)).heads
    assert {n: h.splits["test"].blank_edges for n, h in found.items()} == {
        "topic": 0,
        "entities": 2,
    }


def test_without_a_shared_text_it_says_so(polyhead, described, write_rows, tmp_path):
    write_rows(tmp_path / "data" / "test.jsonl", [{"text": "x", "topic": "late", "entities": []}])
    _, out, _ = polyhead("data", described)
    assert "\n\nNo text is in two splits.\n" in out


def test_what_often_is_a_mistake_is_listed(polyhead, described, write_rows, tmp_path):
    inside = {"label": "DATE", "start": 1, "end": 4}
    row = {"text": "anna lives in oslo", "topic": "lat", "entities": [inside]}
    write_rows(tmp_path / "data" / "test.jsonl", [row])
    _, out, _ = polyhead("data", described)
    tables = [table.splitlines() for table in out.split("\n\n")]
    found = next(table[2:] for table in tables if "often a mistake" in table[0])
    assert [re.split(r"  +", line) for line in found] == [
        ["topic", "train", "labels with fewer than 3 rows", "praise 1, home 2"],
        ["topic", "train", "labels of no other split", "home"],
        ["topic", "test", "labels not in training", "lat"],
        ["entities", "train", "labels with fewer than 3 rows", "A 1"],
        ["entities", "train", "labels of no other split", "A"],
        ["entities", "test", "labels not in training", "DATE"],
        [
            *("entities", "test", "spans that cut a word"),
            f"1, the first {tmp_path / 'data' / 'test.jsonl'}:1: a[nna] lives in",
        ],
    ]


@pytest.mark.parametrize(
    ("text", "start", "end", "cut"),
    [
        ("in Oslo now", 3, 7, 0),
        ("in Oslo now", 3, 6, 1),
        ("in Oslo now", 4, 7, 1),
        ("Oslo's", 0, 4, 0),
        ("住在东京吗", 2, 4, 0),
    ],
    ids=["whole", "end", "start", "mark", "cjk"],
)
def test_a_span_cuts_a_word_between_two_letters(text, start, end, cut):
    example = Example("f:1", "s", text, {"it": (("A", start, end),)})
    assert len(cut_words([example], "it")) == cut


def test_the_steps_of_a_training_are_told_with_what_would_make_them_more(polyhead, described):
    _, out, _ = polyhead("data", described)
    assert "Training: 2 epochs of 1 step, 2 in all (batch_tokens = 128" in out
    assert "Warning: only 2 steps" in out
    assert "epochs = 400 would give about 400" in out


def test_json_has_all_figures(polyhead, described):
    code, out, _ = polyhead("data", described, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["rows"]["messages"] == {"train": 3, "validation": 1, "test": 1}
    assert found["heads"]["topic"]["leaks"] == [
        {"split": "test", "also_in": "train", "repeated": {"rows": 1, "differing": 1}}
    ]


def test_what_cannot_be_read_is_a_message_and_an_exit_code(polyhead, described, tmp_path):
    (tmp_path / "data" / "train.jsonl").write_text("{}\n[]\n")
    code, out, err = polyhead("data", described)
    assert (code, out) == (1, "")
    assert "train.jsonl:2: found [], expected a JSON object" in err


def test_a_tokenizer_needs_no_weights(encoder_folder, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((encoder_folder / "tokenizer.json").read_bytes())
    (found,) = encoder.tokenizer(str(tmp_path)).encode(["anna lives"])
    assert len(found) == 4


@pytest.mark.parametrize("name", ["{folder}", "no/such-model"], ids=["folder", "hub"])
def test_an_encoder_without_a_tokenizer_is_refused(tmp_path, name):
    with pytest.raises(EncoderError, match="its tokenizer cannot be loaded"):
        encoder.tokenizer(name.format(folder=tmp_path))
