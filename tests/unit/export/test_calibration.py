import json
from dataclasses import replace

import pytest

from polyhead_export.errors import CalibrationError
from polyhead_export.texts import CalibrationTexts, load, sample
from polyhead_models import checkpoint as checkpoints

TEXTS = [f"parcel {n} was late" for n in range(20)]


def test_a_sample_is_reproducible():
    assert sample(TEXTS, count=5, seed=3) == sample(TEXTS, count=5, seed=3)


def test_a_sample_does_not_depend_on_the_order_of_the_texts():
    assert sample(TEXTS, count=5, seed=3) == sample(TEXTS[::-1], count=5, seed=3)


def test_another_seed_gives_another_sample():
    assert sample(TEXTS, count=5, seed=3).texts != sample(TEXTS, count=5, seed=4).texts


def test_a_sample_holds_different_texts_of_the_given_ones():
    found = sample([*TEXTS[:4]] * 9, count=256, seed=0)
    assert sorted(found.texts) == TEXTS[:4]


@pytest.mark.parametrize("count", [2, 7, 20])
def test_a_sample_holds_as_many_as_asked_for(count):
    assert len(sample(TEXTS, count=count, seed=0).texts) == count


def test_no_texts_are_refused_with_a_next_step():
    with pytest.raises(CalibrationError, match=r"no texts.*--config"):
        sample([], count=5, seed=0)


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(("b", "a"), id="order"),
        pytest.param(("a", "c"), id="text"),
        pytest.param(("a",), id="number"),
        pytest.param(("ab",), id="where_texts_end"),
        pytest.param(("a", "b", ""), id="empty_text"),
    ],
)
def test_the_digest_tells_texts_apart(others):
    assert CalibrationTexts(others, 0).digest != CalibrationTexts(("a", "b"), 0).digest


def test_the_digest_is_of_the_texts_alone():
    assert CalibrationTexts(("a", "b"), 0).digest == CalibrationTexts(("a", "b"), 9).digest


def test_texts_that_are_all_alike_are_refused_with_a_next_step():
    with pytest.raises(CalibrationError, match=r"all 9 texts .*'late'; int8 needs.*--config"):
        sample(["late"] * 9, count=5, seed=0)


def test_a_float_graph_needs_no_second_text():
    assert sample(["late"] * 9, count=5, seed=0, least=1).texts == ("late",)


def test_training_texts_are_measured_where_no_validation_label_is_known(checkpoint, tmp_path):
    loaded = checkpoints.load(checkpoint)
    config, name = loaded.description.config, "validation.jsonl"
    (tmp_path / name).write_text(json.dumps({"text": "late", "topic": "unheard of"}))
    source = replace(config.data["mail"], validation=str(tmp_path / name))
    heads = {"topic": config.heads["topic"]}
    found = load(loaded, replace(config, data={"mail": source}, heads=heads))
    assert (found.split, found.measured) == ("train", found.train)
