"""A student answers, and its teacher what the student is not sure of."""

import asyncio
import json
import os
import pickle
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

import polyhead
from polyhead import Batcher, Engine, InvalidSetting, ManifestError, TextTooLong, load
from polyhead._model import LoadedModel, SubModel
from polyhead.bundle import read_parts
from polyhead.heads import HeadSpec, decoder
from polyhead.inference.session import OnnxSession
from polyhead.serving import prometheus
from polyhead.text.tokenizer import Tokenizer
from polyhead.verify.golden import verify

WORDS = ["anna", "oslo", "parcel", "thanks", "late", "the", "!", "東京", "lives", "who"]
HEADS = ["topic", "flags", "match"]
FLAGS = HeadSpec(
    kind="multilabel.v1",
    output="logits/flags",
    labels=("no", "yes"),
    activation="sigmoid",
    max_tokens=24,
)


def some_texts():
    draw = random.Random(7)
    texts = [" ".join(draw.choices(WORDS, k=draw.randrange(1, 60))) for _ in range(60)]
    pairs = [(" ".join(draw.choices(WORDS, k=3)), text) for text in texts[:30]]
    return [*texts, "", *texts[:5], *pairs, ("", "")]


TEXTS = some_texts()


@pytest.fixture(scope="module")
def both(cascade):
    with load(cascade, threads=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def student_alone(many_heads):
    with load(many_heads, threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def teacher_alone(teacher):
    with load(teacher, threads=1) as engine:
        yield engine


@pytest.fixture
def counted(monkeypatch):
    """Counts calls of tokenizers and sessions, and texts in these."""
    counts = Counter()
    encode, run = Tokenizer.encode_texts, OnnxSession.run

    def counted_encode(self, *given, **more):
        counts["encode"] += 1
        return encode(self, *given, **more)

    def counted_run(self, outputs, feeds):
        counts["run"] += 1
        counts["rows"] += len(feeds["input_ids"])
        return run(self, outputs, feeds)

    monkeypatch.setattr(Tokenizer, "encode_texts", counted_encode)
    monkeypatch.setattr(OnnxSession, "run", counted_run)
    return counts


def confidence(engine, name, prediction):
    return decoder(name, engine.heads[name]).confidence(prediction[name])


def plain(predictions):
    return [each.to_dict() for each in predictions]


@pytest.mark.parametrize(
    ("logits", "given", "expected"),
    [
        ([2.0, -3.0], ("no",), 1 / (1 + np.exp(-1.0))),
        ([2.0, -1.0], ("no", "yes"), 1 / (1 + np.exp(1.0))),
        ([-8.0, -4.0], (), 1 / (1 + np.exp(-4.0))),
    ],
    ids=["surely left out", "given below a half", "none"],
)
def test_a_set_of_labels_is_as_sure_as_its_least_sure_label(wordpiece, logits, given, expected):
    """The second label is given from a probability of 0.25 on; the first is at a temperature."""
    spec = replace(FLAGS, thresholds=(0.5, 0.25), temperature=(2.0, 1.0))
    head = decoder("flags", spec)
    [encoding] = wordpiece.encode(["anna"])
    result = head.decode(np.array(logits, dtype=np.float32), encoding)
    assert result.labels == given
    assert head.confidence(result) == pytest.approx(expected)


def test_each_answer_is_that_of_the_model_that_gave_it_to_the_bit(
    both, student_alone, teacher_alone
):
    thresholds, seen = both.info()["cascade"]["thresholds"], Counter()
    alone = zip(student_alone.predict(TEXTS), teacher_alone.predict(TEXTS), strict=True)
    for found, (own, other) in zip(both.predict(TEXTS), alone, strict=True):
        assert list(found) == list(own) == list(found.answered_by)
        for name in found:
            sure = name in HEADS and confidence(student_alone, name, own) >= thresholds[name]
            answer, role = (own, "student") if sure else (other, "teacher")
            assert found.answered_by[name] == role
            assert found[name].to_dict() == answer[name].to_dict()
            seen[name, role] += 1
        assert (found.tokens, found.windows) == (own.tokens, own.windows)
    for name in HEADS:
        assert seen[name, "student"] > 5, seen
        assert seen[name, "teacher"] > 5, seen


def test_the_logits_are_those_of_the_model_that_answers(both, student_alone, teacher_alone):
    answers, found = both.predict(TEXTS), both.logits(TEXTS)
    alone = {"student": student_alone.logits(TEXTS), "teacher": teacher_alone.logits(TEXTS)}
    for name, arrays in found.items():
        for row, array in enumerate(arrays):
            role = answers[row].answered_by.get(name, "teacher")
            np.testing.assert_array_equal(array, alone[role][name][row])


@pytest.mark.parametrize("heads", [None, "topic", ["topic", "flags"], ["flags", "entities"]])
def test_a_text_gets_the_same_answer_alone_and_whatever_else_is_asked(both, heads):
    texts = [text for text in TEXTS if isinstance(text, str)]
    found, whole = both.predict(texts, heads=heads), both.predict(texts)
    assert plain(both(text, heads=heads) for text in texts) == plain(found)
    for part, every in zip(found, whole, strict=True):
        for name in part:
            assert part[name].to_dict() == every[name].to_dict()
            assert part.answered_by[name] == every.answered_by[name]


def test_a_sure_student_asks_no_teacher_and_a_text_is_read_once(both, counted):
    before = both.info()["cascade"]
    texts = [text for text in TEXTS if isinstance(text, str) and 0 < len(text) < 60]
    for text in texts:
        counted.clear()
        found = both(text, heads=["topic", "flags"])
        asked = "teacher" in found.answered_by.values()
        assert counted == {"encode": 1, "run": 1 + asked, "rows": 1 + asked}
    escalated = sum(
        "teacher" in both(t, heads=["topic", "flags"]).answered_by.values() for t in texts
    )
    after = both.info()["cascade"]
    assert after["texts"] - before["texts"] == 2 * len(texts)
    assert after["escalated"] - before["escalated"] == 2 * escalated
    assert 0 < escalated < len(texts)


def test_a_list_asks_the_teacher_about_the_unsure_texts_in_one_pass(both, counted):
    texts = sorted({text for text in TEXTS if isinstance(text, str) and 0 < len(text) < 60})
    found = both.predict(texts, heads=["topic"])
    escalated = sum(each.answered_by["topic"] == "teacher" for each in found)
    assert counted["rows"] == len(texts) + escalated
    assert counted["encode"] == len(texts)
    counted.clear()
    both.predict(texts, heads=["topic", "entities"])
    assert counted["rows"] == 2 * len(texts)
    counted.clear()
    before = both.info()["cascade"]
    assert both("anna", heads=["entities"]).answered_by == {"entities": "teacher"}
    assert counted["rows"] == 1
    assert both.info()["cascade"] == before


class Constant:
    """A back end that gives every text the same logits for two labels."""

    inputs = ("input_ids",)

    def __init__(self, *logits):
        self.logits = np.array(logits, dtype=np.float32)

    def run(self, outputs, feeds):
        rows = len(feeds["input_ids"])
        return [np.tile(self.logits, (rows, 1)) for _ in outputs]

    def info(self):
        return {}


@pytest.mark.parametrize("settings", [{}, {"top": 1}], ids=["all scores", "the highest"])
def test_confidence_does_not_depend_on_the_settings_of_a_call(wordpiece, settings):
    """The second label, whose score is not asked for, is the one that is not sure."""
    heads = {"flags": FLAGS}
    parts = [
        SubModel.of(Constant(*logits), wordpiece, heads, 24)
        for logits in ([4.0, -1.0], [-4.0, 4.0])
    ]
    with Engine.of(LoadedModel.of(parts, cascade={"flags": 0.9})) as engine:
        found = engine("anna", options={"flags": settings})
    assert found.answered_by == {"flags": "teacher"}
    assert found["flags"].labels == ("yes",)


def test_a_head_that_one_of_both_has_is_answered_by_that_one(bundle, many_heads):
    with load(bundle, many_heads, cascade={"topic": 0.9}) as engine:
        found = engine("The parcel was late.", heads=["topic", "embedding", "flags"])
        assert found.answered_by["flags"] == found.answered_by["embedding"] == "teacher"
        assert set(engine.heads) == {"topic", "entities", "embedding"} | {
            *("flags", "urgency", "match", "answer", "summary", "short")
        }
    with load(many_heads, bundle, cascade={"topic": 0.9}) as engine, load(many_heads) as own:
        found = engine("The parcel was late.")
        assert found.answered_by["flags"] == found.answered_by["summary"] == "student"
        assert found.answered_by["entities"] == "teacher"
        assert found["flags"].to_dict() == own("The parcel was late.")["flags"].to_dict()
        assert engine(("who?", "anna")).answered_by == dict.fromkeys(("match", "answer"), "student")


def test_without_the_cascade_the_teacher_answers_alone(cascade, teacher_alone, bundle, many_heads):
    with load(cascade, cascade=False) as engine:
        found = engine.predict(TEXTS)
        assert plain(found) == plain(teacher_alone.predict(TEXTS))
        assert not any(each.answered_by for each in found)
        assert "sub_models" not in engine.info()
        assert "cascade" not in engine.info()
    with load(many_heads, bundle, cascade={"topic": 1}, heads=["entities"]) as engine:
        assert "sub_models" not in engine.info()
        assert list(engine("anna")) == ["entities"]


def test_thresholds_of_ones_own_take_the_place_of_those_of_the_bundle(cascade):
    with load(cascade, cascade={"topic": 0.0}) as engine:
        found = engine(TEXTS[0])
        assert found.answered_by["topic"] == "student"
        assert found.answered_by["flags"] == "teacher"
    with load(cascade, cascade=True, prefix=["a-"]) as engine:
        assert set(engine.info()["cascade"]["thresholds"]) == {"a-topic", "a-flags", "a-match"}


@pytest.mark.parametrize(
    ("thresholds", "match"),
    [
        ({}, "empty"),
        ({"topic": 1.01}, "from 0 to 1"),
        ({"topic": float("nan")}, "from 0 to 1"),
        ({"topic": "0.9"}, "expected a number"),
        ({"topics": 0.5}, "the student has no head 'topics'"),
        ({"entities": 0.5}, r"tokens\.v1, whose results have no confidence"),
        ("topic", "expected None, True, False"),
        (True, "polyhead combine STUDENT TEACHER -o BUNDLE --cascade --texts"),
    ],
    ids=["empty", "high", "nan", "text", "unknown", "tokens", "name", "none"],
)
def test_thresholds_that_cannot_be_used_are_refused(many_heads, teacher, thresholds, match):
    with pytest.raises(InvalidSetting, match=match):
        load(many_heads, teacher, cascade=thresholds)


def test_a_cascade_is_of_two(many_heads, teacher, cascade, bundle):
    with pytest.raises(InvalidSetting, match="found 1 sub-models, expected two"):
        load(many_heads, cascade={"topic": 0.5})
    with pytest.raises(InvalidSetting, match="found 3 sub-models, expected two"):
        load(cascade, bundle, prefix=["", "b-"])
    with pytest.raises(polyhead.HeadClash):
        load(many_heads, teacher)


def test_other_labels_are_refused(many_heads, make_bundle, tmp_path, edit_json):
    other = make_bundle(tmp_path / "other")
    edit_json(
        other / "manifest.json",
        lambda data: data["heads"]["topic"].update(labels=["praise", "billing", "delivery"]),
    )
    with pytest.raises(InvalidSetting, match="the labels of the head 'topic' differ"):
        load(many_heads, other, cascade={"topic": 0.5})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data.update(cascade={}), "cascade: empty"),
        (lambda data: data.update(cascade=None), "one head is duplicated"),
        (lambda data: data["cascade"].update(topic=1.5), "found 1.5 for the head 'topic'"),
        (lambda data: data["cascade"].update(topic="high"), "topic"),
        (lambda data: data["cascade"].update(nothing=0.5), "student has no head 'nothing'"),
        (lambda data: data["parts"].pop(), "found 1 parts, expected two"),
        (lambda data: data["parts"][1]["heads"]["topic"].update(input="pair"), "input of the head"),
    ],
    ids=["empty", "none", "high", "text", "unknown", "parts", "input"],
)
def test_a_manifest_that_is_no_cascade_is_refused(cascade, tmp_path, edit_json, change, match):
    folder = Path(shutil.copytree(cascade, tmp_path / "bundle"))
    edit_json(folder / "manifest.json", change)
    with pytest.raises(ManifestError, match=match):
        read_parts(folder)


def test_errors_are_returned_in_their_places(both, cascade):
    found = both.predict(["anna", None, "oslo " * 90], errors="return")
    assert isinstance(found[1], polyhead.InvalidText)
    assert found[2].windows > 1
    with load(cascade, on_overflow="error") as strict:
        found = strict.predict(["anna", "oslo " * 90], errors="return")
        assert isinstance(found[1], TextTooLong)
        assert found[0].answered_by
    assert both.predict(["anna", "oslo"], wanted=lambda row: row == 1)[0] is None


def test_it_is_reloaded_pickled_and_closed_as_any_engine(cascade):
    texts = TEXTS[:20]
    with load(cascade, threads=1) as engine:
        before = plain(engine.predict(texts))
        engine.reload()
        engine.reload(cascade)
        assert plain(engine.predict(texts)) == before
        with pickle.loads(pickle.dumps(engine)) as again:
            assert plain(again.predict(texts)) == before
    assert engine.info()["cascade"]["escalated"] > 0


def test_warming_up_runs_the_teacher_of_a_sure_student_too(cascade, monkeypatch):
    real, ran = OnnxSession.run, set()

    def run(self, outputs, feeds):
        ran.add(id(self))
        return real(self, outputs, feeds)

    monkeypatch.setattr(OnnxSession, "run", run)
    with load(cascade, heads=HEADS, cascade=dict.fromkeys(HEADS, 0.0)) as engine:
        engine.predict(TEXTS)
        assert len(ran) == 1
        engine.warmup()
        assert len(ran) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_answers_alike_and_counts_its_own(cascade):
    with load(cascade, threads=1) as engine:
        expected = plain(engine.predict(TEXTS[:20]))
        read_end, write_end = os.pipe()
        if os.fork() == 0:
            same = plain(engine.predict(TEXTS[:20])) == expected
            texts = engine.info()["cascade"]["texts"]
            os.write(write_end, json.dumps([same, texts]).encode())
            os._exit(0)
        os.wait()
        assert json.loads(os.read(read_end, 99)) == [True, 20]
        os.close(read_end)
        os.close(write_end)


def test_a_batcher_gives_the_same_answers(both):
    async def ask():
        async with Batcher(both) as batcher:
            return await asyncio.gather(*(batcher.predict(text) for text in TEXTS[:30]))

    assert plain(asyncio.run(ask())) == plain(both.predict(TEXTS[:30]))


def test_prometheus_reads_how_often_the_teacher_was_asked(both):
    registry = CollectorRegistry()
    prometheus.register(Batcher(both), registry)
    counts = both.info()["cascade"]
    shown = generate_latest(registry).decode().splitlines()
    assert f"polyhead_cascade_texts_total {float(counts['texts'])}" in shown
    assert f"polyhead_cascade_escalated_total {float(counts['escalated'])}" in shown


def test_golden_answers_of_both_are_checked(cascade):
    found = verify(cascade, stability=True)
    assert found.passed
    assert {"topic of the student", "topic of the teacher"} <= {c.head for c in found.heads}
    load(cascade, verify="golden").close()


def test_the_command_line_says_who_answered(polyhead, cascade, many_heads):
    done = polyhead("run", cascade, TEXTS[0], "--heads", "topic,entities", "--json")
    found = json.loads(done.stdout)
    assert found["answered_by"]["entities"] == "teacher"
    assert list(found["heads"]) == list(found["answered_by"]) == ["topic", "entities"]
    assert "answered_by" not in polyhead("run", many_heads, TEXTS[0], "--json").stdout
    assert "flags     0.9600" in polyhead("inspect", cascade).stdout


def test_a_stand_in_engine_has_no_cascade(wordpiece, student_alone):
    with Engine(
        student_alone._model.parts[0].backend, wordpiece, student_alone.heads, max_tokens=24
    ) as engine:
        assert engine("anna").answered_by == {}
