"""Targets on windows of long texts, and on words that a text is given as."""

import json
from dataclasses import replace

import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.data.tagging import Words, spans
from polyhead_models.errors import DataError
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.base import IGNORED
from polyhead_models.training import train

TAGS = ("O", "B-PERSON", "I-PERSON", "B-PLACE", "I-PLACE")
SPEC = HeadSpec(kind="tokens.v1", output="logits/x", labels=("PERSON", "PLACE"), max_tokens=16)
TEXT = "anna lives in oslo thanks the parcel was late"  # a token a word


def shown(target):
    return [None if i == IGNORED else TAGS[i] for i in target.tolist()]


@pytest.fixture
def windows(wordpiece):
    """Four of the nine words a window, one shared: 0-3, 3-6, 5-8 (the last ends with the text)."""
    return wordpiece.encode([TEXT])[0].windowed(6, 1)


@pytest.fixture
def head():
    torch.manual_seed(0)
    return NETWORKS["tokens.v1"](SPEC, width=8, depth=3)


def test_a_span_begins_only_in_windows_that_hold_its_beginning(head, windows):
    # "oslo thanks the parcel": the second window begins with its first word, the third inside.
    reference = (("PLACE", TEXT.index("oslo"), TEXT.index(" was")),)
    found = [shown(t) for t in head.targets(reference, windows)]
    assert found == [
        [None, "O", "O", "O", "B-PLACE", None],
        [None, "B-PLACE", "I-PLACE", "I-PLACE", "I-PLACE", None],
        [None, "I-PLACE", "I-PLACE", "O", "O", None],
    ]


def test_a_span_of_another_window_leaves_no_trace(head, windows):
    found = [shown(t) for t in head.targets((("PERSON", 0, 4),), windows)]
    assert found[0] == [None, "B-PERSON", "O", "O", "O", None]
    assert found[1:] == [[None, *["O"] * 4, None]] * 2


def test_a_text_of_one_window_has_one_target(head, wordpiece):
    (encoding,) = wordpiece.encode(["anna"])
    assert [shown(t) for t in head.targets((), encoding)] == [[None, "O", None]]


def test_a_head_that_answers_per_text_learns_from_the_first_window(windows):
    spec = HeadSpec(
        kind="classification.v1", output="x", labels=("a", "b"), pooling="mean", max_tokens=16
    )
    head = NETWORKS["classification.v1"](spec, width=8, depth=3)
    first, *others = head.targets("b", windows)
    assert first.item() == 1
    assert others == [None, None]


def test_parts_of_speech_are_a_span_a_word():
    found = spans(Words(["the", "late", "parcel"]).places, ["DET", "ADJ", "NOUN"], each=True)
    assert found == [
        {"label": "DET", "start": 0, "end": 3},
        {"label": "ADJ", "start": 4, "end": 8},
        {"label": "NOUN", "start": 9, "end": 15},
    ]


def test_parts_of_speech_may_look_like_other_schemes():
    found = spans(Words(["in", "oslo", "is"]).places, ["O", "I-X", "PRP$"], each=True)
    assert [span["label"] for span in found] == ["O", "I-X", "PRP$"]


def test_neighbours_of_one_part_of_speech_stay_apart():
    assert len(spans(Words(["anna", "oslo"]).places, ["PROPN", "PROPN"], each=True)) == 2


@pytest.mark.parametrize("tag", [None, 3, ""])
def test_a_part_of_speech_is_a_text(tag):
    with pytest.raises(ValueError, match="expected a text for each word"):
        spans(Words(["anna", "is"]).places, ["PROPN", tag], each=True)


def test_words_without_characters_have_no_part_of_speech():
    found = spans(Words(["", "anna"]).places, ["_", "PROPN"], each=True)
    assert found == [{"label": "PROPN", "start": 0, "end": 4}]


@pytest.mark.parametrize("joiner", [" ", "", "--"])
def test_words_stand_where_they_say(joiner):
    words = Words(["明天", "", "去", "東京"], joiner)
    assert words.text == joiner.join(["明天", "去", "東京"])
    assert [words.text[a:b] for a, b in words.places] == ["明天", "", "去", "東京"]


@pytest.fixture
def of_rows(write_config, write_rows, tmp_path):
    """`of_rows(rows, source={…}, **head)`: a configuration with one head of kind tokens."""

    def make(rows, source=(), **head):
        it = {"kind": "tokens", "data": "messages", "target": "tags", **head}
        path = write_config(
            tmp_path,
            heads={"topic": None, "entities": None, "embedding": None, "it": it},
            data={"messages": {"validation": None, "test": None, **dict(source)}},
            training={"epochs": 1},
        )
        write_rows(tmp_path / "data" / "train.jsonl", rows)
        return config.load(path)

    return make


def test_chinese_words_are_joined_by_nothing(of_rows):
    rows = [{"text": ["我", "在", "东京", "塔"], "tags": ["O", "O", "B-PLACE", "I-PLACE"]}]
    (found,) = examples.load(of_rows(rows, {"joiner": ""}), "train")
    assert (found.text, found.references) == ("我在东京塔", {"it": (("PLACE", 2, 5),)})


def test_parts_of_speech_are_learnt_and_told(of_rows, tmp_path):
    rows = [{"text": ["the", "late", "parcel"], "tags": ["DET", "ADJ", "NOUN"]}] * 8
    done = train(of_rows(rows, tags="words"), tmp_path / "checkpoint")
    assert checkpoint.describe(done.path).heads["it"].labels == ("ADJ", "DET", "NOUN")


def test_as_many_parts_of_speech_as_words_are_needed(of_rows):
    rows = [{"text": ["the", "parcel"], "tags": ["DET"]}]
    with pytest.raises(DataError, match=r"train\.jsonl:1: 'tags': found 1 tags for 2 words"):
        examples.load(of_rows(rows, tags="words"), "train")


def test_long_texts_are_a_row_a_window_where_a_head_answers_per_token(of_rows, tmp_path, notes):
    text = "anna lives in oslo " * 20
    rows = [{"text": text, "tags": [{"label": "PLACE", "start": 375, "end": 379}]}]
    assert text[375:379] == "oslo"
    made = of_rows(rows)
    done = train(made, tmp_path / "checkpoint")
    assert any("1 of 1 training texts are longer than max_tokens = 48" in note for note in notes())
    # 80 words, 46 a window, 12 of them shared.
    assert json.loads((done.path / "metrics.json").read_text())["rows"] == 2
    encoder = replace(made.encoder, max_tokens=24)
    done = train(replace(made, encoder=encoder), tmp_path / "other")
    # 22 a window, 6 shared: 0, 16, 32, 48, 58.
    assert json.loads((done.path / "metrics.json").read_text())["rows"] == 5
