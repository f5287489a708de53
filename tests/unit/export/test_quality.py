"""Which texts a head is measured on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from polyhead_export.gate import Limits, judge
from polyhead_export.quality import ReferenceModel, short_queries
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import DataConfig
from polyhead_models.data import examples
from polyhead_models.data.examples import Example


@pytest.fixture(scope="module")
def engine(checkpoint):
    return checkpoints.load(checkpoint).engine()


@pytest.fixture
def rows(checkpoint, tmp_path):
    """Examples of which only the first three have a topic, and the last two entities."""
    path = tmp_path / "validation.jsonl"
    lines = [{"text": f"late {n}", "topic": "delivery"} for n in range(3)]
    lines += [{"text": f"thanks {n}", "entities": []} for n in range(2)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    config = checkpoints.describe(checkpoint).config
    source = DataConfig(train=config.data["mail"].train, validation=str(path))
    return examples.load(replace(config, data={"mail": source}), "validation")


def test_a_head_is_measured_on_its_own_texts_and_an_untrained_one_on_all(engine, rows):
    reference = ReferenceModel(engine, rows, "validation")
    found = reference.compare(engine).quality
    assert {name: q.texts for name, q in found.items()} == {
        "topic": 3,
        "first": 3,
        "highest": 3,
        "entities": 2,
        "embedding": 5,
    }


def test_a_model_compared_with_itself_has_changed_nothing(engine, rows):
    reference = ReferenceModel(engine, rows, "validation")
    comparison = reference.compare(engine)
    for name, found in comparison.quality.items():
        assert found.drop in (None, 0)
        assert found.changed == pytest.approx(0, abs=1e-6)
        assert found.max_logit_error == found.mean_logit_error == 0
        assert (found.drop_interval is None) == (name == "embedding")
        assert found.changed_interval[0] == 0
        assert (found.near_ties is None) == (name == "embedding")


def test_few_texts_without_a_difference_leave_much_open(engine, rows):
    found = ReferenceModel(engine, rows, "validation").compare(engine).quality["topic"]
    open_ends = 1 - 0.05 ** (1 / 3)
    assert found.drop_interval == pytest.approx((-100 * open_ends, 100 * open_ends))
    assert found.changed_interval == pytest.approx((0, open_ends))


def test_near_ties_of_the_model_are_left_out(engine, rows):
    every = ReferenceModel(engine, rows, "validation", tie_margin=1.0)
    found = every.compare(engine).quality["topic"]
    assert (found.decisions, found.near_ties) == (0, 3)
    assert found.changed_interval == (0, 1)


class Altered:
    """The same engine with other logits of the topics."""

    def __init__(self, engine, change):
        self.heads, self.encode = engine.heads, engine.encode
        self._engine, self._change = engine, change

    def logits(self, texts):
        found = self._engine.logits(texts)
        return {**found, "topic": [self._change(row) for row in found["topic"]]}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_no_number_is_an_infinite_error(engine, rows, value):
    graph = Altered(engine, lambda row: np.where(row == row.max(), value, row))
    with np.errstate(invalid="ignore"):
        found = ReferenceModel(engine, rows, "validation").compare(graph).quality
    assert found["topic"].max_logit_error == np.inf
    assert found["first"].max_logit_error == 0
    assert judge("static", found, Limits(max_drop=100, max_flips=100)).failed == ("topic",)


def test_the_disturbance_grows_as_decisions_come_nearer_to_another(engine, rows):
    reference = ReferenceModel(engine, rows, "validation")
    found = [
        reference.disturbance(Altered(engine, lambda row, by=by: row[::-1] * by + row), ["topic"])
        for by in (0.0, 0.1, 0.5)
    ]
    assert found[0] == 0
    assert found[0] < found[1] < found[2] <= 1
    assert reference.disturbance(Altered(engine, lambda row: row * np.nan), ["topic"]) == 1
    assert reference.disturbance(Altered(engine, lambda row: -row), ["first"]) == 0


def test_short_queries_are_a_word_or_two_of_longer_texts_each_once():
    texts = ["where is it", "where is it", "thanks", "thank you", ("who", "anna lives"), "where to"]
    made = short_queries([Example(f"x:{i}", "x", text, {}) for i, text in enumerate(texts)])
    assert [example.text for example in made] == ["where", "where is"]
    assert not any(example.references for example in made)


def test_the_vectors_of_short_queries_count_as_changed_and_for_nothing_else(engine, rows):
    class Forgetful:
        """Gives other vectors to texts of one word."""

        heads, encode = engine.heads, engine.encode

        def logits(self, texts):
            found = engine.logits(texts)
            turned = zip(texts, found["embedding"], strict=True)
            vectors = [-row if " " not in text else row for text, row in turned]
            return {**found, "embedding": vectors}

    reference = ReferenceModel(engine, rows, "validation")
    found = reference.compare(Forgetful()).quality
    assert found["embedding"].changed == pytest.approx(2 / 7)  # five texts, "late", "thanks"
    assert found["embedding"].agreement == pytest.approx(1)
    assert found["embedding"].max_logit_error == 0
    assert {name for name, q in found.items() if q.changed > 1e-6} == {"embedding"}


def test_a_graph_is_compared_without_encoding_the_texts_again(engine, rows):
    class Counting:
        """The same engine; each text it is given is noted."""

        def __init__(self):
            self.heads, self.encoded, self.asked = engine.heads, [], []

        def encode(self, texts):
            self.encoded += texts
            return engine.encode(texts)

        def logits(self, texts):
            self.asked += texts
            return engine.logits(texts)

    reference, graph = Counting(), Counting()
    model = ReferenceModel(reference, rows, "validation")
    model.compare(graph)
    assert len(reference.encoded) == len(reference.asked) == len(graph.asked) == 7
    assert graph.encoded == []
