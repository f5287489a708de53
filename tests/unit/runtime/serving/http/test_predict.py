"""``POST /v1/predict``: what is asked, what is answered, what is refused."""

import json

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st


def post(client, **body):
    return client.post("/v1/predict", json=body)


@pytest.mark.parametrize("text", ["The parcel was late.", "", "né à 東京 👍 " * 20])
def test_a_text_is_answered_as_by_the_engine(client, engine_of_many_heads, without_texts, text):
    answer = post(client, text=text)
    assert answer.status_code == 200
    assert answer.json() == {"model": "many", **without_texts(engine_of_many_heads(text))}


def test_a_pair_is_a_text_and_its_query(client, engine_of_many_heads, without_texts):
    expected = without_texts(engine_of_many_heads(("is anna late?", "Anna lives in Oslo")))
    answer = post(client, query="is anna late?", text="Anna lives in Oslo")
    assert answer.json() == {"model": "many", **expected}
    assert "answer" in answer.json()["heads"]


def test_a_list_is_answered_in_its_order(client, engine_of_many_heads, without_texts):
    texts = ["anna", ["who?", "anna lives in oslo"], "oslo", "anna"]
    expected = [
        without_texts(engine_of_many_heads(tuple(t) if type(t) is list else t)) for t in texts
    ]
    assert post(client, texts=texts).json() == {"model": "many", "predictions": expected}


def test_an_empty_list_has_no_answers(client):
    assert post(client, texts=[]).json() == {"model": "many", "predictions": []}


def test_heads_and_options_are_those_of_the_engine(client, engine_of_many_heads):
    settings = {"heads": ["topic", "summary"], "options": {"summary": {"k": 2}}}
    text = "The parcel was late. Thanks! Anna lives in Oslo."
    found = post(client, text=text, **settings).json()["heads"]
    expected = engine_of_many_heads(text, **settings).to_dict()["heads"]
    assert found == json.loads(json.dumps(expected))
    assert len(found["summary"]["sentences"]) == 2


def test_offsets_are_code_points_or_utf16(client, engine_of_many_heads, refused):
    text = "👍 👍 Anna lives in Oslo 👍"
    found = engine_of_many_heads(text, heads=["entities"])
    assert found["entities"].spans, "nothing to compare"
    for offsets, expected in (("codepoints", found), ("utf16", found.utf16())):
        answer = post(client, text=text, heads=["entities"], offsets=offsets).json()
        assert answer["heads"]["entities"] == expected.to_dict()["heads"]["entities"]
    assert found != found.utf16()
    detail = refused(post(client, text="a", offsets="bytes"), 400, "MalformedRequest")
    assert "$.offsets" in detail


def test_one_bad_text_is_an_error_in_its_place(client):
    body = (
        b'{"texts": ["anna", null, "\\ud800", ["a"], 7, {"text": "a"}, "oslo"], "heads": ["topic"]}'
    )
    answer = client.post("/v1/predict", content=body)
    assert answer.status_code == 200
    first, *bad, last = answer.json()["predictions"]
    assert first["heads"].keys() == last["heads"].keys() == {"topic"}
    errors = [each["error"] for each in bad]
    assert {error["title"] for error in errors} == {"InvalidText"}
    assert [error["index"] for error in errors] == [1, 2, 3, 4, 5]
    assert all(error["detail"].startswith(f"input {error['index']}:") for error in errors)


def test_a_pair_for_a_head_of_texts_is_an_error_in_its_place(client):
    answer = post(client, texts=["anna", ["a", "b"]], heads=["topic"]).json()
    assert answer["predictions"][1]["error"]["title"] == "WrongInput"
    assert answer["predictions"][0]["heads"]["topic"]["label"]


@pytest.mark.parametrize("body", [{"text": "a"}, {"texts": ["a", "b"]}], ids=["one", "list"])
def test_what_is_wrong_with_all_of_a_request_is_its_status(client, body, refused):
    detail = refused(post(client, heads=["topik"], **body), 422, "UnknownHead")
    assert "Did you mean 'topic'?" in detail
    refused(post(client, options={"topic": {"top": -1}}, **body), 422, "InvalidSetting")
    refused(post(client, options={"topic": {"topp": 1}}, **body), 422, "InvalidSetting")
    refused(post(client, deadline_ms=-1, **body), 422, "InvalidSetting")


def test_one_text_that_is_bad_is_refused(client, refused):
    answer = client.post("/v1/predict", content=b'{"text": "\\ud800"}')
    refused(answer, 422, "InvalidText")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON in UTF-8"),
        (b'"anna"', "Expected `object`"),
        (b"{}", "neither of 'text' and 'texts'"),
        (b'{"text": "a", "texts": []}', "both of 'text' and 'texts'"),
        (b'{"texts": ["a"], "query": "b"}', "'query' belongs to one 'text'"),
        (b'{"text": 7}', "$.text"),
        (b'{"text": "a", "head": ["topic"]}', "unknown field `head`"),
        (b'{"text": "a", "heads": "topic"}', "$.heads"),
        (b'{"text": "a", "options": {"topic": 1}}', "$.options"),
        (b'{"text": "a", "deadline_ms": NaN}', "not valid JSON"),
        (b"[" * 100_000, "body"),
        (b'{"texts": ' + b"[" * 100_000, "body"),
    ],
)
def test_a_body_that_says_something_else_is_refused(client, body, told, refused):
    assert told in refused(client.post("/v1/predict", content=body), 400, "MalformedRequest")


def test_a_model_that_is_not_served(client, refused):
    assert "many" in refused(post(client, text="a", model="man"), 404, "UnknownModel")
    assert post(client, text="a", model="many").json()["model"] == "many"


def test_several_models_by_name(client_of, many_heads, bundle):
    client = client_of({"one": many_heads, "two": bundle})
    assert "answer" not in post(client, text="a", model="two").json()["heads"]
    assert post(client, query="a", text="a").json()["model"] == "one"
    assert list(client.get("/info").json()["models"]) == ["one", "two"]


def test_limits_of_bodies_texts_and_characters(client_of, many_heads, refused):
    client = client_of(many_heads, max_body=2_000, max_texts=3, max_characters=50)
    refused(post(client, texts=["a"] * 4), 422, "TooManyTexts")
    assert post(client, texts=["a"] * 3).status_code == 200
    refused(post(client, text="a" * 51), 422, "TextTooLong")
    found = post(client, texts=["a" * 51, "a"]).json()["predictions"]
    assert found[0]["error"]["title"] == "TextTooLong"
    refused(post(client, text="a" * 2_000), 413, "BodyTooLarge")


def test_a_body_that_does_not_say_its_length_is_limited_too(client_of, many_heads, refused):
    client = client_of(many_heads, max_body=2_000)
    answer = client.post("/v1/predict", content=(b" " * 500 for _ in range(5)))
    refused(answer, 413, "BodyTooLarge")
    parts = [b'{"te', b'xt": "anna"', b"}"]
    assert client.post("/v1/predict", content=iter(parts)).status_code == 200


def test_other_paths_and_methods_are_problems_too(client, refused):
    refused(client.get("/v1/predictions"), 404, "NotFound")
    answer = client.get("/v1/predict")
    refused(answer, 405, "MethodNotAllowed")
    assert answer.headers["allow"] == "POST"


def test_a_bug_is_a_problem_without_a_stack_trace(client_of, stand_in, caplog, refused):
    engine = stand_in(fails=lambda text: ZeroDivisionError("a secret"))
    engine.gate.set()
    client = client_of({"broken": engine})
    for body in ({"text": "a"}, {"texts": ["a", "b"]}):
        answer = post(client, **body)
        refused(answer, 500, "InternalError")
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        {"model": "\ud800"},
        {"offsets": "\ud800"},
        {"heads": ["\ud800"]},
        {"options": {"\ud800": {}}},
        {"options": {"topic": {"\ud800": 1}}},
        {"\ud800": 1},
    ],
    ids=ascii,
)
def test_half_a_character_in_a_name_is_the_callers_fault(client, body):
    for path in ("/v1/predict", "/v1/tokenize"):
        answer = client.post(path, content=json.dumps({"text": "a", **body}).encode())
        assert answer.status_code in (400, 404, 422), answer.text


WORDS = st.text(st.characters(exclude_categories=()))  # halves of characters too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(WORDS, parts, max_size=3),
    max_leaves=8,
)
FIELDS = ("text", "query", "texts", "heads", "options", "offsets", "deadline_ms", "model")
BODIES = (
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda value: json.dumps(value).encode())
)


@given(body=BODIES)
@hypothesis.settings(max_examples=150)
def test_no_body_makes_it_fail(client, body):
    for path in ("/v1/predict", "/v1/tokenize"):
        answer = client.post(path, content=body)
        assert answer.status_code in (200, 400, 404, 422, 429), (body, answer.text)
        assert answer.json()
