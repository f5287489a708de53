import itertools
import json
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyhead import Engine, EngineClosed, InvalidSetting, Prediction, TextTooLong, load

WORDS = (
    *("the", "parcel", "was", "not", "late", "anna", "lives", "in", "Oslo", "thanks"),
    *("né", "東京", "👍", ",", ".", "!"),
)


@pytest.fixture(scope="module")
def engine(bundle):
    with load(bundle, threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def engine_of_two_threads(bundle):
    with load(bundle, threads=2, batch_tokens=16) as engine:
        yield engine


def random_texts(seed, count):
    random_ = random.Random(seed)
    return [" ".join(random_.choices(WORDS, k=random_.randint(0, 7))) for _ in range(count)]


def same(left: Prediction, right: Prediction) -> bool:
    return json.dumps(left.to_dict()) == json.dumps(right.to_dict())


def bits(engine: Engine, texts):
    arrays = engine.logits(texts)
    return [[arrays[head][i].tobytes() for head in arrays] for i in range(len(texts))]


@settings(max_examples=30)
@given(texts=st.lists(st.text(max_size=12) | st.sampled_from(WORDS), max_size=12))
def test_logits_are_the_same_bits_alone_and_in_a_list(engine, texts):
    assert bits(engine, texts) == [bits(engine, [text])[0] for text in texts]


@pytest.mark.parametrize("seed", range(3))
def test_logits_are_the_same_bits_in_a_shuffled_list(engine, seed):
    texts = random_texts(seed, 60)
    order = random.Random(seed).sample(range(60), 60)
    whole = bits(engine, texts)
    assert bits(engine, [texts[i] for i in order]) == [whole[i] for i in order]


@pytest.mark.parametrize("seed", range(3))
def test_logits_are_the_same_bits_with_one_thread_and_two(engine, engine_of_two_threads, seed):
    texts = random_texts(seed, 60)
    assert bits(engine, texts) == bits(engine_of_two_threads, texts)


def test_predictions_are_the_same_alone_and_in_a_list(engine):
    texts = random_texts(5, 40)
    assert all(map(same, engine.predict(texts), map(engine, texts)))


def test_eight_threads_that_share_an_engine_get_the_answers_of_one(engine, engine_of_two_threads):
    lists = [random_texts(seed, 25) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(engine_of_two_threads.predict, lists))
    for texts, predictions in zip(lists, found, strict=True):
        assert all(map(same, predictions, engine.predict(texts)))


def test_results_stand_in_the_order_of_the_texts(engine):
    texts = random_texts(7, 50)
    assert [prediction.text for prediction in engine.predict(texts)] == texts


@pytest.mark.parametrize("texts", [[], ()], ids=["list", "tuple"])
def test_no_texts_give_no_predictions(engine, texts):
    assert engine.predict(texts) == []
    assert engine.logits(texts) == {"topic": [], "entities": [], "embedding": []}


def test_a_tuple_of_texts_is_a_list_of_texts(engine):
    assert [p.text for p in engine.predict(("a", "b"))] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "\0",
        "\t\r\n",
        "👍🏽",
        "👩\u200d💻",
        "עברית",
        "عربي",
        "e\u0301",
        "東京",
        "\ufffd",
    ],
    ids=ascii,
)
def test_any_text_is_answered_by_every_head(engine, text):
    prediction = engine(text)
    assert prediction.text == text
    assert list(prediction) == ["topic", "entities", "embedding"]
    assert prediction["topic"].label in ("billing", "delivery", "praise")
    assert np.linalg.norm(prediction["embedding"].vector) == pytest.approx(1)
    assert all(span.text == text[span.start : span.end] for span in prediction["entities"].spans)


def test_a_prediction_says_what_was_read(engine):
    prediction = engine("anna lives")
    assert (prediction.tokens, prediction.windows, prediction.truncated) == (4, 1, False)
    assert len(prediction) == 3


def test_a_prediction_goes_through_json(engine):
    data = json.loads(json.dumps(engine("anna").to_dict(), allow_nan=False))
    assert data["text"] == "anna"
    assert list(data["heads"]) == ["topic", "entities", "embedding"]


def test_a_prediction_is_a_line_a_head(engine):
    lines = str(engine("anna lives in oslo")).splitlines()
    assert [line.split()[0] for line in lines] == ["topic", "entities", "embedding"]


def test_logits_have_the_shapes_of_their_kinds(engine):
    found = engine.logits(["anna lives", ""])
    assert [a.shape for a in found["topic"]] == [(3,), (3,)]
    assert [a.shape for a in found["entities"]] == [(4, 5), (2, 5)]
    assert [a.shape for a in found["embedding"]] == [(8,), (8,)]
    assert {a.dtype for a in itertools.chain(*found.values())} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        pytest.param(None, ["topic", "entities", "embedding"], id="all"),
        pytest.param(["entities"], ["entities"], id="one"),
        pytest.param("entities", ["entities"], id="one_as_str"),
        pytest.param(["embedding", "topic"], ["topic", "embedding"], id="in_the_engines_order"),
        pytest.param(["topic", "topic"], ["topic"], id="twice"),
        pytest.param(iter(["topic"]), ["topic"], id="iterator"),
        pytest.param([], [], id="none"),
    ],
)
def test_only_the_asked_heads_answer(engine, heads, expected):
    assert list(engine("anna", heads=heads)) == expected


def test_a_subset_gives_the_same_bits(engine):
    text = "the parcel was late"
    assert np.array_equal(
        engine.logits([text], heads=["topic"])["topic"][0], engine.logits([text])["topic"][0]
    )


LONG = "the parcel was late . " * 20


def test_a_text_that_is_too_long_is_refused_on_demand_with_numbers(bundle):
    with (
        load(bundle, on_overflow="error") as engine,
        pytest.raises(TextTooLong, match=r"input 1: 102 tokens; this encoder reads 24\.") as caught,
    ):
        engine.predict(["short", LONG])
    assert caught.value.index == 1


def test_the_longest_text_that_fits_is_answered(bundle):
    with load(bundle, on_overflow="error") as engine:
        assert engine("x " * 22).tokens == 24
        with pytest.raises(TextTooLong):
            engine("x " * 23)


def test_truncation_leaves_the_end_out_and_says_so(bundle):
    with load(bundle, on_overflow="truncate") as engine:
        short, long = engine.predict(["anna", LONG])
    assert (short.truncated, short.tokens) == (False, 3)
    assert (long.truncated, long.tokens, long.text) == (True, 24, LONG)
    assert list(long) == ["topic", "entities", "embedding"]


def test_a_truncated_text_is_answered_as_its_beginning(bundle):
    beginning = " ".join(LONG.split()[:22])
    with load(bundle, on_overflow="truncate") as engine:
        assert bits(engine, [LONG]) == bits(engine, [beginning])


def test_a_closed_engine_says_so(bundle):
    engine = load(bundle, threads=2)
    engine.close()
    engine.close()
    for call in (lambda: engine("a"), lambda: engine.predict([]), lambda: engine.logits(["a"])):
        with pytest.raises(EngineClosed, match=r"polyhead\.load"):
            call()


def test_the_context_manager_closes(bundle):
    with load(bundle) as engine:
        assert engine("a")
    with pytest.raises(EngineClosed):
        engine("a")


def test_info_goes_through_json(engine, bundle):
    info = json.loads(json.dumps(engine.info()))
    assert info["source"] == str(bundle)
    assert info["threads"] == 1
    assert info["max_tokens"] == 24
    assert info["heads"] == ["topic", "entities", "embedding"]
    assert info["provider"] == "CPUExecutionProvider"


def test_the_heads_of_an_engine_cannot_be_changed_from_outside(engine):
    engine.heads.clear()
    assert list(engine.heads) == ["topic", "entities", "embedding"]


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        pytest.param({"threads": 0}, "threads=0", id="no_threads"),
        pytest.param({"threads": -2}, "threads=-2", id="negative_threads"),
        pytest.param({"batch_tokens": 0}, "batch_tokens=0", id="no_batch"),
        pytest.param(
            {"on_overflow": "cut"},
            "on_overflow='cut': allowed: window, truncate, error",
            id="overflow",
        ),
        pytest.param({"on_overflow": None}, "on_overflow=None", id="overflow_none"),
    ],
)
def test_a_bad_setting_is_refused(bundle, settings_, message):
    with pytest.raises(InvalidSetting, match=message):
        load(bundle, **settings_)


class Counting:
    """A back end that counts the rows that it computes."""

    def __init__(self, backend):
        self._backend, self.rows = backend, 0
        self.inputs = backend.inputs

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def run(self, outputs, feeds):
        self.rows += len(feeds["input_ids"])
        return self._backend.run(outputs, feeds)


@pytest.fixture
def counted(bundle):
    with load(bundle, threads=1) as engine:
        (part,) = engine._model.parts
        backend = Counting(part.backend)
        yield Engine(backend, part.tokenizer, part.specs, max_tokens=part.max_tokens), backend


def test_equal_texts_of_a_list_are_computed_once_and_answered_each(counted, engine):
    counting, backend = counted
    texts = ["the parcel was late", "thanks", "the parcel was late", "anna", "thanks", "thanks"]
    found = counting.predict(texts)
    assert backend.rows == 3
    assert all(map(same, found, map(engine, texts)))
    assert len({id(prediction) for prediction in found}) == len(texts)
    backend.rows = 0
    arrays = counting.logits(texts)
    assert backend.rows == 3
    assert all(len(of_head) == len(texts) for of_head in arrays.values())
    assert not any(np.shares_memory(rows[0], rows[2]) for rows in arrays.values())
    assert bits(counting, texts) == bits(engine, texts)


def test_a_text_is_computed_while_one_of_its_equals_is_wanted(counted):
    counting, backend = counted
    found = counting.predict(["thanks", "anna", "thanks", "anna"], wanted=lambda row: row == 2)
    assert backend.rows == 1
    assert [each is not None for each in found] == [False, False, True, False]


def test_a_bad_text_among_equals_is_named_by_its_own_place(counted):
    counting, _ = counted
    found = counting.predict(["\ud800", "thanks", "\ud800"], errors="return")
    assert [getattr(each, "index", None) for each in found] == [0, None, 2]


def test_answers_are_the_same_whether_a_head_needs_offsets_or_not(engine):
    """Labels alone are found without offsets, together with spans with them."""
    texts = [*random_texts(11, 20), "", "né 東京 👍", "the parcel was late " * 30]
    alone, together = engine.predict(texts, heads=["topic"]), engine.predict(texts)
    for one, both in zip(alone, together, strict=True):
        assert one["topic"] == both["topic"]
        assert (one.tokens, one.windows) == (both.tokens, both.windows)
