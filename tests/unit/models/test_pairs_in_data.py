"""`polyhead data` and reading over sources of pairs, answers and summaries."""

import json

import pytest

from polyhead.cli.main import main
from polyhead_models import config
from polyhead_models.data import examples
from polyhead_models.data.statistics import report

HEADS = {
    "answer": {"kind": "answer", "data": "squad", "text": ["question", "context"]},
    "summary": {"kind": "summary", "data": "papers", "text": "source", "summaries": "tldr"},
    "same": {"kind": "classification", "data": "pairs", "text": ["one", "two"]},
    "vectors": {"kind": "embedding", "data": "pairs", "text": ["one", "two"]},
}
TARGETS = {"answer": "answers", "summary": "marks", "same": "label", "vectors": "score"}
PAIRS = [
    {"one": "late parcel", "two": "parcel late", "label": "yes", "score": 0.9},
    {"one": "late parcel", "two": "in oslo", "label": "no", "score": -0.5},
    {"one": "late parcel", "two": "in oslo", "label": "yes", "score": 0.5},
]
PAPERS = [
    {"source": ["Anna.", "Late in Oslo."], "marks": [0, 1], "tldr": ["Oslo."]},
    {"source": ["Thanks!"], "marks": [0]},
]


def squad(*questions):
    context = "the parcel was late in oslo"
    answers = {"where": [{"text": "oslo", "answer_start": 23}], "who": []}
    qas = [
        {"id": str(i), "question": q, "answers": answers[q], "is_impossible": not answers[q]}
        for i, q in enumerate(questions)
    ]
    return {"version": "2.0", "data": [{"paragraphs": [{"context": context, "qas": qas}]}]}


@pytest.fixture
def path(write_config, write_rows, tmp_path):
    data = tmp_path / "data"
    found = write_config(
        tmp_path,
        data={
            "messages": None,
            "squad": {"train": "data/squad.json", "format": "squad"},
            "papers": {"train": "data/papers.jsonl"},
            "pairs": {"train": "data/pairs.jsonl", "validation": "data/pairs.jsonl"},
        },
        heads={
            **dict.fromkeys(("topic", "entities", "embedding")),
            **{name: {**head, "target": TARGETS[name]} for name, head in HEADS.items()},
        },
    )
    write_rows(data / "pairs.jsonl", PAIRS)
    write_rows(data / "papers.jsonl", PAPERS)
    (data / "squad.json").write_text(json.dumps(squad("where", "who", "where")))
    return found


def test_pairs_and_twins_are_examples_of_their_own(path):
    found = examples.load(config.load(path), "train")
    assert [(e.text, e.twin, set(e.references)) for e in found if e.source == "pairs"][::3] == [
        (("late parcel", "parcel late"), None, {"same"}),
        ("late parcel", "parcel late", {"vectors"}),
    ]
    questions = [e for e in found if e.source == "squad"]
    assert questions[0].text == ("where", "the parcel was late in oslo")
    assert [e.references["answer"].texts for e in questions] == [("oslo",), (), ("oslo",)]


def test_summaries_stand_beside_the_marks(path):
    found = [e for e in examples.load(config.load(path), "train") if e.source == "papers"]
    assert [e.text for e in found] == ["Anna. Late in Oslo.", "Thanks!"]
    assert [e.references["summary"].spans for e in found] == [((6, 19),), ()]
    assert [e.references["summary"].texts for e in found] == [("Oslo.",), ()]


def test_repeated_pairs_are_counted(path):
    found = report(config.load(path)).heads
    for name in ("same", "vectors"):
        assert (found[name].splits["train"].duplicates.rows) == 1
        assert (found[name].splits["train"].duplicates.differing) == 1
        assert found[name].leaks[0].repeated.rows == 3
    assert found["answer"].splits["train"].duplicates.rows == 1
    assert found["answer"].splits["train"].duplicates.differing == 0


def test_lengths_are_of_what_the_encoder_reads(path):
    found = {name: h.splits["train"].tokens for name, h in report(config.load(path)).heads.items()}
    assert found["same"].max == 2 + 2 + 3  # both texts in one input
    assert found["answer"].max >= 6 + 1 + 3
    assert found["vectors"].max == 2 + 2  # each text is an input by itself


def test_scores_and_labels_of_pairs_are_described(path):
    found = report(config.load(path)).heads
    assert found["same"].splits["train"].target.counts == {"yes": 2, "no": 1}
    assert found["vectors"].splits["train"].target.minimum == -0.5


def test_the_command_shows_them_all(path, capsys):
    assert main(["data", str(path)]) == 0
    out = capsys.readouterr().out
    assert {line.split()[0] for line in out.splitlines() if line} >= set(HEADS)
    assert main(["data", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["heads"]["answer"]["splits"]["train"]["rows"] == 3
