"""Long texts and pairs through the engine, in windows."""

import itertools
import json
import random

import numpy as np
import pytest

from polyhead import TextTooLong, load
from polyhead.heads import decoder

LONG = "the parcel was late . " * 20
PAIR = ("who was late ?", "né Oslo 東京 . " * 20)
FOR_TEXTS = ["topic", "flags", "urgency", "entities", "summary", "embedding", "short"]
WORDS = ("the", "parcel", "was", "late", "Oslo", "né", "東京", "👍", ".", "?")


def random_inputs(seed, count):
    """Texts and pairs, short and long, in one list."""
    pick = random.Random(seed)
    texts = [" ".join(pick.choices(WORDS, k=pick.choice([0, 3, 22, 23, 70]))) for _ in range(count)]
    return [(pick.choice(["", "who ?"]), text) if pick.random() < 0.4 else text for text in texts]


def bits(engine, inputs):
    arrays = engine.logits(inputs)
    return [
        [(found[i].shape, found[i].tobytes()) for found in arrays.values()]
        for i in range(len(inputs))
    ]


@pytest.fixture(scope="module")
def engine(engine_of_many_heads):
    return engine_of_many_heads


@pytest.fixture(scope="module", params=[(2, 16), (4, 1), (3, 500)], ids=str)
def another_engine(request, many_heads):
    threads, batch_tokens = request.param
    with load(many_heads, threads=threads, batch_tokens=batch_tokens) as engine:
        yield engine


@pytest.mark.parametrize(
    ("item", "heads"), [(LONG, FOR_TEXTS), (PAIR, ["match", "answer"])], ids=["text", "pair"]
)
def test_a_long_input_is_read_in_windows_by_every_head_for_it(engine, item, heads):
    [encoding] = engine.encode([item])
    found = engine(item)
    assert list(found) == heads
    assert found.windows == len(encoding.windows) > 3
    assert (found.tokens, found.truncated) == (24 * found.windows, False)


def test_logits_have_a_row_a_window_or_a_row_a_token(engine):
    found = engine.logits([LONG, PAIR, "late"])
    text, pair, _ = (len(e.windows) for e in engine.encode([LONG, PAIR, "late"]))
    assert {head: [a.shape for a in arrays] for head, arrays in found.items()} == {
        "topic": [(text, 3), (0,), (3,)],
        "flags": [(text, 2), (0,), (2,)],
        "urgency": [(text, 1), (0,), (1,)],
        "entities": [(24 * text, 5), (0,), (3, 5)],
        "match": [(0,), (pair, 2), (0,)],
        "answer": [(0,), (24 * pair, 2), (0,)],
        "summary": [(24 * text, 1), (0,), (3, 1)],
        "embedding": [(text, 8), (0,), (8,)],
        "short": [(24 * text, 1), (0,), (3, 1)],
    }
    assert {a.dtype for a in itertools.chain(*found.values())} == {np.dtype(np.float32)}


def test_neighbours_share_the_largest_stride_of_the_heads_for_that_kind(engine):
    for item, stride in ((LONG, 4), (PAIR, 3)):
        [encoding] = engine.encode([item])
        room = int((~encoding.special[encoding.windows[0]]).sum())
        steps = {b - a for a, b in itertools.pairwise(encoding.firsts[:-1])}
        assert steps == {room - stride}


@pytest.mark.parametrize("item", [LONG, PAIR], ids=["text", "pair"])
def test_the_windows_do_not_depend_on_the_asked_heads(engine, item):
    for head in engine(item):
        alone, together = engine.logits([item], heads=[head]), engine.logits([item])
        assert np.array_equal(alone[head][0], together[head][0])


@pytest.mark.parametrize("item", [LONG, PAIR], ids=["text", "pair"])
def test_answers_are_those_of_the_windows_by_hand(engine, item):
    [encoding] = engine.encode([item])
    found, backend = engine(item), engine._model.parts[0].backend
    for head in found:
        spec = engine.heads[head]
        rows = [
            backend.run([spec.output], part.feeds(backend.inputs))[0][0]
            for part in encoding.split()
        ]
        logits = np.concatenate(rows) if rows[0].ndim == 2 else np.stack(rows)
        assert np.array_equal(engine.logits([item], heads=[head])[head][0], logits)
        by_hand = decoder(head, spec).decode(logits, encoding)
        assert json.dumps(found[head].to_dict()) == json.dumps(by_hand.to_dict())


def test_heads_that_answer_per_text_give_the_weighted_mean_of_the_windows(engine):
    [encoding] = engine.encode([LONG])
    logits, found = engine.logits([LONG]), engine(LONG)
    weights = (
        np.array([len(rows) for rows in encoding.owned]) / (~encoding.special)[encoding.body].sum()
    )
    odds = np.exp(logits["topic"][0])
    expected = weights @ (odds / odds.sum(axis=1, keepdims=True))
    assert list(found["topic"].scores.values()) == pytest.approx(expected, abs=1e-6)
    flags = weights @ (1 / (1 + np.exp(-logits["flags"][0])))
    assert list(found["flags"].scores.values()) == pytest.approx(flags, abs=1e-6)
    urgency = (weights @ logits["urgency"][0])[0] * 2 + 3
    assert found["urgency"].value == pytest.approx(urgency, abs=1e-5)
    vector = weights @ logits["embedding"][0]
    assert found["embedding"].vector == pytest.approx(vector / np.linalg.norm(vector), abs=1e-6)


@pytest.mark.parametrize("item", [LONG, PAIR], ids=["text", "pair"])
def test_every_span_of_a_long_text_is_a_part_of_it(engine, item):
    found = engine(item).results
    text = item if isinstance(item, str) else item[1]
    spans = (
        [*found["entities"].spans, *found["summary"].sentences]
        if item is LONG
        else [found["answer"]]
    )
    assert spans
    assert all(span.text == text[span.start : span.end] for span in spans)


@pytest.mark.parametrize("seed", range(3))
def test_logits_are_the_same_bits_alone_and_in_a_mixed_list(engine, seed):
    inputs = random_inputs(seed, 40)
    assert bits(engine, inputs) == [bits(engine, [item])[0] for item in inputs]


def test_logits_are_the_same_bits_for_any_threads_and_batches(engine, another_engine):
    inputs = random_inputs(7, 60)
    assert bits(engine, inputs) == bits(another_engine, inputs)


def test_texts_and_pairs_of_one_list_are_answered_in_their_places(engine):
    inputs = random_inputs(3, 50)
    for item, found in zip(inputs, engine.predict(inputs), strict=True):
        assert found.text == (item if isinstance(item, str) else item[1])
        assert found.query == (None if isinstance(item, str) else item[0])
        assert json.dumps(found.to_dict()) == json.dumps(engine(item).to_dict())


def test_an_empty_text_and_an_empty_pair_are_answered(engine):
    text, pair = engine.predict(["", ("", "")])
    assert (text.tokens, pair.tokens, text.windows, pair.windows) == (2, 3, 1, 1)
    assert text["entities"].spans == text["summary"].sentences == ()
    assert (pair["answer"].text, pair["answer"].no_answer) == ("", 1.0)


def test_a_very_long_text_is_answered(engine):
    found = engine("the parcel was late . " * 4000, heads=["topic", "summary"])
    assert found.windows > 1000
    assert len(found["summary"].sentences) == 1


@pytest.mark.parametrize("on_overflow", ["window", "truncate", "error"])
def test_a_first_text_that_leaves_no_room_is_refused(many_heads, on_overflow):
    with load(many_heads, on_overflow=on_overflow) as engine:
        fits = ("late " * 15, "late " * 6)  # 24 tokens in all, 6 of them the second text's
        assert engine(fits).tokens == 24
        for query, room in ((16, 5), (21, 0), (300, 0)):
            with pytest.raises(TextTooLong, match=rf"input 1: .*leaves {room} of 24 .*6") as caught:
                engine.predict(["fine", ("late " * query, "late " * 9)])
            assert caught.value.index == 1


def test_a_long_pair_is_refused_on_demand(many_heads):
    with (
        load(many_heads, on_overflow="error") as engine,
        pytest.raises(TextTooLong, match=r"input 1: 129 tokens; this encoder reads 24\."),
    ):
        engine.predict(["fine", PAIR])


def test_truncation_keeps_the_first_text_of_a_pair(many_heads):
    with load(many_heads, on_overflow="truncate") as engine:
        found = engine(PAIR)
        beginning = " ".join(PAIR[1].split()[:10])
        assert not engine((PAIR[0], beginning)).truncated
        assert (found.truncated, found.tokens, found.windows) == (True, 24, 1)
        assert (found.query, found.text) == PAIR
        assert bits(engine, [PAIR]) == bits(engine, [(PAIR[0], beginning)])
