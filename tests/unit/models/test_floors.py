from dataclasses import replace

import pytest

from polyhead_models.data import examples
from polyhead_models.data.examples import Example
from polyhead_models.training.floors import Floor, floors, warn


@pytest.fixture(scope="module")
def found(trained_config, learnt):
    train, validation = (examples.load(trained_config, split) for split in ("train", "validation"))
    return floors(learnt.model.specs, ["topic", "entities"], train, validation)


def test_a_head_has_the_floors_of_its_kind(found):
    assert found["topic"].chance == pytest.approx(1 / 3)
    assert 0 < found["topic"].tfidf <= 1
    assert found["topic"].rows == 36
    assert found["entities"].chance == 0
    assert 0 < found["entities"].tfidf <= 1


def test_the_linear_model_of_many_labels_learns_from_fewer_rows(trained_config, learnt):
    train = examples.load(trained_config, "train")
    spec = learnt.model.specs["topic"]
    many = replace(spec, labels=(*spec.labels, *(f"label {i}" for i in range(50_000))))
    assert floors({"topic": many}, ["topic"], train, train)["topic"].rows == 9


@pytest.mark.parametrize("head", ["topic", "entities"])
def test_texts_without_a_word_have_no_linear_model(learnt, head):
    reference = {"topic": "home", "entities": ()}[head]
    some = [Example(f"f:{i}", "mail", text, {head: reference}) for i, text in enumerate("!?")]
    found = floors(learnt.model.specs, [head], some, some)[head]
    assert (found.tfidf, found.rows) == (None, 0)


@pytest.mark.parametrize(
    ("value", "chance", "told"),
    [
        (0.3, 0.3, "has learnt nothing"),
        (0.5, 0.3, "is weak"),
        (0.8, 0.3, None),
        (1.0, 1.0, "all have the same answer"),
    ],
    ids=["chance", "below", "above", "one_answer"],
)
def test_heads_below_a_floor_are_named(notes, value, chance, told):
    floor = Floor(chance=chance, tfidf=0.6, rows=9)
    warn({"it": {"value": value, "metric": "accuracy"}}, {"it": floor})
    assert [told in note for note in notes()] == [True] * (told is not None)
