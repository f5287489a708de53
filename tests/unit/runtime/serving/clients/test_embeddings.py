"""OpenAI's client against heads that embed."""

import base64

import httpx
import numpy as np
import openai
import pytest

import polyhead

TEXTS = ["The parcel was late. Thanks!", "", "the parcel was late . " * 9, "né à 東京 👍"]


@pytest.fixture
def client(many):
    with openai.OpenAI(base_url=f"{many}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def engine(many_heads):
    with polyhead.load(many_heads, threads=1) as found:
        yield found


@pytest.mark.parametrize("form", [openai.omit, "float", "base64"], ids=["default", "float", "b64"])
def test_a_list_is_embedded_in_its_order(client, engine, form):
    found = client.embeddings.create(model="many", input=TEXTS, encoding_format=form)
    expected = engine.predict(TEXTS, heads=["embedding"])
    assert [each.index for each in found.data] == [0, 1, 2, 3]
    for each, prediction in zip(found.data, expected, strict=True):
        given = each.embedding
        if form == "base64":
            given = np.frombuffer(base64.b64decode(given), "<f4")
        vector = np.array(given, np.float32)
        np.testing.assert_array_equal(vector, prediction["embedding"].vector)
    tokens = sum(prediction.tokens for prediction in expected)
    assert found.usage.prompt_tokens == found.usage.total_tokens == tokens
    assert found.model == "many"


def test_one_text_needs_no_list(client, engine):
    found = client.embeddings.create(model="many", input=TEXTS[0])
    assert len(found.data) == 1
    vector = np.array(found.data[0].embedding, np.float32)
    np.testing.assert_array_equal(vector, engine(TEXTS[0])["embedding"].vector)


def test_dimensions_are_those_of_the_head(client):
    found = client.embeddings.create(model="many", input="a", dimensions=4)
    vector = np.array(found.data[0].embedding)
    assert vector.shape == (4,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    with pytest.raises(openai.BadRequestError, match="trained for 2, 4") as caught:
        client.embeddings.create(model="many", input="a", dimensions=3)
    assert caught.value.code == "InvalidSetting"
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "given", [[], [1, 2], [[1, 2]], ["a", None], 1, None, {}], ids=lambda given: repr(given)
)
def test_what_is_no_text_is_a_bad_request(client, given):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="many", input=given)
    assert caught.value.code == "MalformedRequest"


def test_another_model_is_named(client):
    with pytest.raises(openai.NotFoundError, match=r"there are many\.") as caught:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "UnknownModel"


def test_models_are_those_that_embed(client):
    assert [each.id for each in client.models.list()] == ["many"]


def test_a_body_that_is_no_json_has_an_error_of_this_form(many):
    answer = httpx.post(f"{many}/v1/embeddings", content=b"{")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "MalformedRequest"


def test_several_models_are_called_by_their_names(serve, many_heads, demo):
    with (
        serve({"first": many_heads, "second": demo}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
        polyhead.load(demo, threads=1) as engine,
    ):
        assert [each.id for each in client.models.list()] == ["first", "second"]
        found = client.embeddings.create(model="second:embedding", input="the radio leaks")
        vector = np.array(found.data[0].embedding, np.float32)
        expected = engine("the radio leaks")["embedding"].vector
        np.testing.assert_array_equal(vector, expected)
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="second:topic", input="a")
