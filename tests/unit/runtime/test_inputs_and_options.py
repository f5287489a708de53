"""Which head reads which input, and settings of heads for one call."""

import pytest

from polyhead import Engine, InputError, InvalidSetting, InvalidText, UnknownHead, WrongInput, load
from polyhead.inference.session import OnnxSession

TEXT = "Anna lives in Oslo. The parcel was late. Thanks!"
PAIR = ("who was late?", "The parcel was late.")


@pytest.fixture(scope="module")
def engine(engine_of_many_heads):
    return engine_of_many_heads


@pytest.mark.parametrize(
    ("inputs", "heads", "message", "index"),
    [
        pytest.param(
            [PAIR, TEXT],
            ["answer"],
            "input 1: found a single text, but the head 'answer' reads a pair of texts",
            1,
            id="text_for_answer",
        ),
        pytest.param(
            [TEXT, TEXT, PAIR],
            ["topic"],
            "input 2: found a pair of texts, but the head 'topic' reads a single text",
            2,
            id="pair_for_topic",
        ),
        pytest.param([PAIR], ["answer", "topic"], "input 0: .*'topic'", 0, id="both_for_a_pair"),
        pytest.param([TEXT], ["answer", "topic"], "input 0: .*'answer'", 0, id="both_for_a_text"),
    ],
)
def test_an_input_that_an_asked_head_does_not_read_is_named(engine, inputs, heads, message, index):
    for call in (engine.predict, engine.logits):
        with pytest.raises(WrongInput, match=message) as caught:
            call(inputs, heads=heads)
        assert caught.value.index == index


@pytest.mark.parametrize("text", ["", " \n\u3000"], ids=ascii)
def test_a_text_without_a_token_is_an_error_in_its_place(bundle_copy, edit_json, reseal, text):
    edit_json(bundle_copy / "tokenizer.json", lambda data: data.update(post_processor=None))
    reseal(bundle_copy)
    with load(bundle_copy) as engine:
        found = engine.predict(["anna", text, "oslo"], errors="return")
        assert [found[0], found[2]] == engine.predict(["anna", "oslo"])
        assert isinstance(found[1], InvalidText)
        assert found[1].index == 1
        with pytest.raises(InvalidText, match="input 0: no token"):
            engine(text)


def test_a_pair_that_no_head_reads_is_named(bundle):
    with load(bundle) as engine, pytest.raises(WrongInput, match="input 1: found a pair") as caught:
        engine.predict(["fine", PAIR])
    assert caught.value.index == 1


def test_a_text_that_no_head_reads_is_named(many_heads, engine):
    for_pairs = {name: spec for name, spec in engine.heads.items() if spec.input == "pair"}
    session = OnnxSession(many_heads / "model.onnx")
    with Engine(session, engine.tokenizer, for_pairs, max_tokens=24) as other:
        assert list(other(PAIR)) == ["match", "answer"]
        with pytest.raises(WrongInput, match=r"input 1: found a single text, .*'match'") as caught:
            other.predict([PAIR, "fine"])
    assert caught.value.index == 1


def test_two_texts_of_a_call_are_a_pair_and_of_a_list_two_inputs(engine):
    assert engine(PAIR).query == PAIR[0]
    assert [found.text for found in engine.predict(PAIR)] == list(PAIR)
    assert engine.predict([list(PAIR)])[0].query == PAIR[0]


def test_a_prediction_of_a_pair_says_both_texts(engine):
    data = engine(PAIR).to_dict()
    assert (data["query"], data["text"]) == PAIR
    assert "query" not in engine(TEXT).to_dict()


def test_an_error_of_the_callers_own_names_is_raised(engine):
    def names():
        yield "topic"
        raise TypeError("no name")

    with pytest.raises(TypeError, match="no name"):
        engine("anna", heads=names())


def test_no_heads_answer_any_input_with_nothing(engine):
    assert [dict(found) for found in engine.predict([TEXT, PAIR], heads=[])] == [{}, {}]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, 1),
        ({}, 1),
        ({"summary": {}}, 1),
        ({"summary": {"k": 2}}, 2),
        ({"summary": {"ratio": 1.0}}, 3),
    ],
    ids=str,
)
def test_an_option_holds_for_its_head_and_one_call(engine, options, expected):
    assert len(engine(TEXT, options=options)["summary"].sentences) == expected
    assert len(engine(TEXT)["summary"].sentences) == 1


def test_options_of_several_heads(engine):
    options = {"answer": {"n": 3}, "embedding": {"dimensions": 2}}
    text, pair = engine.predict([TEXT, PAIR], options=options)
    assert text["embedding"].vector.shape == (2,)
    assert len(pair["answer"].candidates) == 3


def test_a_label_below_the_least_score_is_not_given_in_one_call(engine):
    options = {"topic": {"min_score": 1.0, "top": 2}, "flags": {"top": 1}}
    found = engine(TEXT, options=options)
    assert (found["topic"].label, len(found["topic"].scores)) == (None, 2)
    assert len(found["flags"].scores) == max(1, len(found["flags"].labels))
    assert engine(TEXT)["topic"].label is not None


def test_an_unknown_head_in_the_options_is_named(engine):
    with pytest.raises(UnknownHead, match=r"no head 'sumary'; .*Did you mean 'summary'\?"):
        engine(TEXT, options={"sumary": {"k": 1}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"summary": {"ratios": 1}},
            r"head 'summary' has no option 'ratios'; allowed: k, ratio\. Did you mean 'ratio'\?",
            id="near",
        ),
        pytest.param(
            {"entities": {"k": 1}}, "'entities' has no option 'k'; allowed: none", id="none"
        ),
        pytest.param(
            {"short": {"k": 1}},
            "'short' has no option 'k'; allowed: words, characters, ratio, sentences",
            id="of_another_head",
        ),
        pytest.param({"short": {"words": 0}}, "words=0: expected a whole number", id="no_words"),
        pytest.param({"summary": {5: 1}}, "has no option 5; allowed: k, ratio", id="number"),
        pytest.param({"summary": {"k": 0}}, "k=0: expected", id="k"),
        pytest.param({"summary": {"k": 1, "ratio": 0.5}}, "give one of them", id="both"),
        pytest.param({"embedding": {"dimensions": 3}}, "trained for 2, 4", id="dimensions"),
        pytest.param({"embedding": {"dimensions": 2.0}}, r"dimensions=2\.0", id="float_dimensions"),
    ],
)
def test_a_bad_option_is_named(engine, options, message):
    with pytest.raises(InvalidSetting, match=message):
        engine(TEXT, options=options)


@pytest.mark.parametrize("options", [["summary"], "summary", {"summary": 2}, 5], ids=str)
def test_options_of_another_shape_are_an_error_of_the_tree(engine, options):
    with pytest.raises(InputError):
        engine(TEXT, options=options)


def test_options_are_checked_without_a_text_too(engine):
    with pytest.raises(UnknownHead):
        engine.predict([], options={"zzz": {}})
    with pytest.raises(InvalidSetting):
        engine.predict([], options={"summary": {"zzz": 1}})
