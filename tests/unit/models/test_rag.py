"""The example that retrieves and reads."""

import importlib.util
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from polyhead import Engine, HeadSpec

RECIPE = Path(__file__).parents[3] / "models" / "recipes" / "rag"
PASSAGES = ["Anna lives in Oslo", "the parcel was late", "thanks, thanks!"]


@contextmanager
def script(name):
    spec = importlib.util.spec_from_file_location(name, RECIPE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def rag():
    with script("retrieve_and_read") as module:
        yield module


class Backend:
    """A vector that counts tokens, and an answer that is the first token of the second text."""

    inputs = ("input_ids", "token_type_ids")

    def run(self, outputs, feeds):
        ids, types = feeds["input_ids"], feeds["token_type_ids"]
        counts = np.stack([np.bincount(row, minlength=200)[:200] for row in ids])
        first = (np.cumsum(types, axis=1) == 1) & (types == 1)
        made = {
            "logits/embedding": counts.astype(np.float32),
            "logits/answer": np.repeat(first[..., None], 2, axis=2).astype(np.float32) * 9,
        }
        return [made[name] for name in outputs]

    def info(self):
        return {}


@pytest.fixture
def engine(wordpiece):
    heads = {
        "embedding": HeadSpec(
            kind="embedding.v1", output="logits/embedding", pooling="mean", max_tokens=64
        ),
        "answer": HeadSpec(
            kind="answer.v1",
            output="logits/answer",
            activation="span",
            input="pair",
            max_tokens=64,
            longest=30,
        ),
    }
    with Engine(Backend(), wordpiece, heads, max_tokens=64) as made:
        yield made


def test_the_nearest_passage_is_found_and_read(rag, engine):
    reader = rag.Reader(engine, PASSAGES)
    assert [near[0] for near in reader.retrieve(["who lives in oslo", "thanks!"], k=2)] == [0, 2]
    found = reader.answer("Anna lives in Oslo", k=1)
    assert (found.text, found.passage, found.retrieved) == ("Anna", 0, (0,))
    assert len(reader.answer("late", k=9).retrieved) == 3
    with pytest.raises(ValueError, match="found none"):
        rag.Reader(engine, [])


def test_figures_of_a_file(rag, engine, tmp_path):
    def asked(question, text):
        return {"question": question, "answers": [{"text": text, "answer_start": 0}]}

    paragraphs = [
        {"context": PASSAGES[0], "qas": [asked("Anna lives in Oslo", "Anna")]},
        {"context": PASSAGES[2], "qas": [asked("thanks, thanks!", "thanks")]},
    ]
    file = tmp_path / "questions.json"
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    figures = rag.evaluate(engine, file, ks=(1, 2))
    assert (figures["recall@1"], figures["recall@2"], figures["oracle_f1"]) == (1, 1, 1)
    assert figures["f1"] > 0
    assert figures["ms_p99"] >= figures["ms_p50"] > 0


def test_an_export_gets_questions_passages_and_pairs_in_both_its_halves(rag, tmp_path):
    asked = [{"question": q, "answers": [{"text": "Anna"}]} for q in ("who", "who else", "where")]
    file = tmp_path / "questions.json"
    paragraphs = [{"context": PASSAGES[0], "qas": asked}]
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    with script("texts") as texts:
        lines = list(texts.lines(file, count=2))
        assert len(list(texts.lines(file, count=9))) == 9
    question, passage, pair, *_ = made = [json.loads(line) for line in lines]
    assert (passage, pair) == (PASSAGES[0], [question, PASSAGES[0]])
    for half in (made[::2], made[1::2]):
        assert {type(text) for text in half} == {str, list}


def test_exact_search_gives_the_nearest_first(rag):
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    found = rag.Exact(vectors).search(vectors[:5], 7)
    scores = vectors[:5] @ vectors.T
    np.testing.assert_array_equal(found, np.argsort(-scores, axis=1)[:, :7])
    assert rag.Exact(vectors).search(vectors[:1], 99).shape == (1, 50)


def test_many_passages_are_searched_approximately(rag):
    pytest.importorskip("usearch")
    vectors = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = rag.Approximate(vectors).search(vectors[:50], 1)
    assert (found[:, 0] == np.arange(50)).mean() > 0.9
