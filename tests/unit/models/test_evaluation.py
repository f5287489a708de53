from dataclasses import replace

import pytest

from polyhead_models.data import examples
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import evaluate, figures
from polyhead_models.metrics import METRICS


@pytest.fixture
def engine(learnt):
    return learnt.engine()


@pytest.fixture
def test_set(trained_config):
    return examples.load(trained_config, "test")


@pytest.mark.parametrize(
    ("head", "metric"), [("topic", "classification.v1"), ("entities", "tokens.v1")]
)
def test_the_figures_are_those_of_the_metric_on_the_predictions(engine, test_set, head, metric):
    results = [engine(example.text)[head] for example in test_set]
    expected = METRICS[metric].score(results, [e.references[head] for e in test_set])
    found = evaluate(engine, test_set)[head]
    assert found.figures.items() > expected.items()
    assert set(found.figures) - set(expected) == {"ece", "brier", "log_loss"}
    assert (found.metric, found.value) == (
        METRICS[metric].primary,
        expected[METRICS[metric].primary],
    )


def test_only_texts_with_a_reference_count(engine, test_set):
    partly = [replace(e, references={"topic": e.references["topic"]}) for e in test_set[:2]]
    found = evaluate(engine, [*partly, *test_set[2:]])
    assert {name: f.texts for name, f in found.items()} == {"topic": 6, "entities": 4}


def test_a_head_without_references_is_absent(engine, test_set):
    assert "embedding" not in evaluate(engine, test_set)
    assert evaluate(engine, [Example("a:1", "a", "hello", {})]) == {}


def test_no_texts_show_no_progress(engine, capsys):
    assert evaluate(engine, []) == {}
    assert capsys.readouterr().err == ""


def test_a_reference_of_a_head_that_the_model_lacks_is_passed_over(engine, test_set):
    more = [replace(e, references={**e.references, "mood": "sad"}) for e in test_set]
    assert evaluate(engine, more) == evaluate(engine, test_set)


def test_over_long_texts_are_answered_and_counted(engine, test_set):
    long = replace(test_set[0], text=test_set[0].text + " the" * 60)
    found = evaluate(engine, [long, *test_set[1:]])
    assert [(f.texts, f.windowed) for f in found.values()] == [(6, 1), (6, 1)]


def test_texts_that_fit_are_read_in_one_window(engine, test_set):
    assert [f.windowed for f in evaluate(engine, test_set).values()] == [0, 0]


def test_every_text_needs_its_prediction(engine, test_set):
    predictions = engine.predict([example.text for example in test_set])
    with pytest.raises(ValueError, match="zip"):
        figures(engine.heads, test_set, predictions[:-1])


def test_many_texts_keep_their_order(engine, test_set):
    found = evaluate(engine, test_set * 200)
    assert found["topic"].texts == 1200
    assert found["topic"].figures == pytest.approx(evaluate(engine, test_set)["topic"].figures)


def test_examples_of_heads_that_the_model_lacks_are_passed_over(engine):
    """A pair, which no head of this model reads, stops nothing."""
    known = Example("a:1", "a", "Anna lives in Oslo", {"topic": "home"})
    foreign = Example("a:2", "a", ("Who?", "Anna lives in Oslo"), {"answer": None})
    assert evaluate(engine, [foreign, known]) == evaluate(engine, [known])
