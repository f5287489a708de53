import csv
import json

import pytest

from polyhead.heads import (
    Answer,
    Classification,
    Compressed,
    Embedding,
    Entities,
    MultiLabel,
    Regression,
    Span,
    Summary,
)
from polyhead.heads.summary import Sentence
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import Answered
from polyhead_models.heads.answer import AnswerSpans
from polyhead_models.heads.compress import Shortened
from polyhead_models.heads.summary import Salient
from polyhead_models.mistakes import mistakes, write

TEXT = "Anna lives in Oslo"
ANNA, OSLO = ("PERSON", 0, 4), ("PLACE", 14, 18)


def answered(result, reference, text=TEXT, line=1):
    return Answered(Example(f"a:{line}", "a", text, {}), result, reference, 1)


def entities(*spans, score=0.75):
    return Entities(tuple(Span(label, "", start, end, score) for label, start, end in spans))


def span(place):
    label, start, end = place
    return {"label": label, "start": start, "end": end, "text": TEXT[start:end]}


def told(text, score=0.5):
    return Answer(text, 0, len(text), score, 0.1, 0.0, ())


@pytest.mark.parametrize(
    ("kind", "result", "reference", "gold", "answer", "score"),
    [
        pytest.param(
            *("classification.v1", Classification("b", 0.9, {}), "a", "a", "b", 0.9),
            id="classification",
        ),
        pytest.param(
            "multilabel.v1",
            MultiLabel(("a", "b"), {"a": 0.9, "b": 0.6, "c": 0.2}),
            ("a", "c"),
            ["a", "c"],
            ["a", "b"],
            0.8,  # sure that there is no c, more than that there is b
            id="multilabel",
        ),
        pytest.param(
            *("tokens.v1", entities(ANNA), (OSLO,), [span(OSLO)], [span(ANNA)], 0.75), id="spans"
        ),
        pytest.param(
            *("tokens.v1", entities(ANNA), (ANNA, OSLO), [span(ANNA), span(OSLO)], [span(ANNA)]),
            None,
            id="a_missed_span",
        ),
        pytest.param(
            *("answer.v1", told("Oslo"), AnswerSpans(((0, 4),), ("Anna",)), ["Anna"], "Oslo", 0.5),
            id="answer",
        ),
        pytest.param(
            *("answer.v1", told("Oslo"), AnswerSpans((), ()), [], "Oslo", 0.5), id="no_answer"
        ),
        pytest.param(
            "summary.v1",
            Summary((Sentence("Anna lives.", 0, 11, 0.5),)),
            Salient((), ("Bo sings.",)),
            ["Bo sings."],
            "Anna lives.",
            None,
            id="summary",
        ),
        pytest.param(
            "compress.v1",
            Compressed("Anna lives", ()),
            Shortened(("Bo sings.",), 4),
            ["Bo sings."],
            "Anna lives",
            None,
            id="shorter",
        ),
        pytest.param(*("regression.v1", Regression(2.5), 1.0, 1.0, 2.5, None), id="regression"),
    ],
)
def test_a_wrong_answer_beside_its_reference(kind, result, reference, gold, answer, score):
    (found,) = mistakes(kind, "head", [answered(result, reference)])
    assert (found.where, found.head, found.text) == ("a:1", "head", TEXT)
    assert (found.gold, found.answer) == (gold, answer)
    assert found.score == (None if score is None else pytest.approx(score))


@pytest.mark.parametrize(
    ("kind", "result", "reference"),
    [
        pytest.param("classification.v1", Classification("a", 0.9, {}), "a", id="classification"),
        pytest.param("multilabel.v1", MultiLabel((), {"a": 0.1}), (), id="no_label"),
        pytest.param("tokens.v1", entities(), (), id="no_span"),
        pytest.param("tokens.v1", entities(ANNA), (ANNA,), id="spans"),
        pytest.param("answer.v1", told(""), AnswerSpans((), ()), id="no_answer"),
        pytest.param("regression.v1", Regression(1.0), 1.0, id="regression"),
        pytest.param("embedding.v1", (Embedding([1.0]),) * 2, 0.5, id="a_kind_without"),
        pytest.param("somebody.v1", "x", "y", id="kind_of_a_plugin"),
    ],
)
def test_a_right_answer_is_no_mistake(kind, result, reference):
    assert mistakes(kind, "head", [answered(result, reference)]) == []


def test_the_surest_wrong_label_is_the_first():
    scores = (0.4, 0.9, 0.6)
    rows = [answered(Classification("b", s, {}), "a", line=i) for i, s in enumerate(scores)]
    assert [found.score for found in mistakes("classification.v1", "head", rows)] == [0.9, 0.6, 0.4]


def test_the_text_with_the_fewest_right_spans_is_the_first():
    rows = [
        answered(entities(ANNA, score=0.9), (ANNA, OSLO), line=1),
        answered(entities(ANNA, score=0.1), (OSLO,), line=2),
        answered(entities(OSLO, score=0.5), (ANNA,), line=3),
    ]
    found = mistakes("tokens.v1", "head", rows)
    assert [one.where for one in found] == ["a:3", "a:2", "a:1"]


def test_the_number_farthest_off_is_the_first():
    rows = [answered(Regression(v), 1.0, line=i) for i, v in enumerate((1.5, -3.0, 4.0))]
    assert [one.answer for one in mistakes("regression.v1", "head", rows)] == [-3.0, 4.0, 1.5]


ODD = 'say "a|b",\nor\r\n東京 👍;\ttab'


def odd_mistakes():
    pair = answered(Classification(ODD, 0.5, {}), 'a "label"|', ("question", ODD))
    return [
        *mistakes("classification.v1", "topic", [pair]),
        *mistakes("tokens.v1", "entities", [answered(entities(), (OSLO,))]),
    ]


def test_json_lines_hold_what_was_found(tmp_path):
    write(tmp_path / "errors.jsonl", odd_mistakes())
    lines = (tmp_path / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    topic, entities = map(json.loads, lines)
    assert topic == {
        "where": "a:1",
        "head": "topic",
        "text": ["question", ODD],
        "gold": 'a "label"|',
        "answer": ODD,
        "score": 0.5,
    }
    assert (entities["gold"], entities["answer"], entities["score"]) == ([span(OSLO)], [], None)


def test_csv_holds_what_was_found(tmp_path):
    write(tmp_path / "errors.csv", odd_mistakes())
    with (tmp_path / "errors.csv").open(encoding="utf-8", newline="") as file:
        topic, entities = csv.DictReader(file)
    assert (topic["gold"], topic["answer"], topic["score"]) == ('a "label"|', ODD, "0.5")
    assert json.loads(topic["text"]) == ["question", ODD]
    assert (entities["text"], entities["answer"], entities["score"]) == (TEXT, "[]", "")
    assert json.loads(entities["gold"]) == [span(OSLO)]


@pytest.mark.parametrize(
    ("name", "content"),
    [("none.jsonl", ""), ("none.csv", "where,head,text,gold,answer,score\n")],
)
def test_without_a_mistake_the_file_is_empty(tmp_path, name, content):
    write(tmp_path / name, [])
    assert (tmp_path / name).read_text(encoding="utf-8") == content
