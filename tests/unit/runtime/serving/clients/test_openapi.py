"""The OpenAPI document is valid, and what the server answers is what it says."""

import re

import httpx
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import polyhead
from polyhead.serving.http.app import application, service_for
from polyhead.serving.http.openapi import heads as schemas
from polyhead.serving.http.openapi.paths import paths

TEXTS = ["The parcel was late. Thanks!", "", "the parcel was late . " * 9, "né à 東京 👍"]
PAIRS = [["is anna late?", "Anna lives in Oslo"], ["", ""]]


def described(address):
    return httpx.get(f"{address}/openapi.json").json()


def content(document, path, method="post", status="200"):
    """The schema of an answer."""
    answer = document["paths"][path][method]["responses"][status]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    (media,) = answer["content"].values()
    return media["schema"]


def check(document, schema, value):
    """Raises where the value is not of the schema."""
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def check_request(document, value):
    check(document, {"$ref": "#/components/schemas/PredictRequest"}, value)


def ask(address, body, status=200, path="/v1/predict"):
    answer = httpx.post(address + path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_the_document_is_valid(serve, many_heads, demo, several):
    bundles = {"many": many_heads, **({"demo": demo} if several else {})}
    with serve(bundles, api_keys=("k",)) as address:
        answer = httpx.get(f"{address}/openapi.json", headers={"Authorization": "Bearer k"})
    OpenAPIV31SpecValidator(answer.json()).validate()
    assert [model["name"] for model in answer.json()["x-polyhead-models"]] == list(bundles)


@pytest.mark.parametrize(
    "body",
    [
        {"text": TEXTS[0]},
        {"texts": TEXTS},
        {"texts": [*TEXTS, *PAIRS]},
        {"text": PAIRS[0][1], "query": PAIRS[0][0], "offsets": "utf16"},
        {"text": TEXTS[0], "heads": ["topic", "flags"], "options": {"topic": {"min_score": 1}}},
        {"text": TEXTS[0], "options": {"topic": {"top": 1}, "flags": {"top": 1}}},
        {"text": TEXTS[0], "options": {"summary": {"ratio": 0.5}, "embedding": {"dimensions": 2}}},
        {"texts": PAIRS, "heads": ["answer"], "options": {"answer": {"n": 3}}},
        {"text": TEXTS[0], "deadline_ms": 5000, "model": "many"},
    ],
    ids=lambda body: " ".join(body),
)
def test_answers_of_every_kind_are_of_their_schema(many, body):
    document = described(many)
    check_request(document, body)
    check(document, content(document, "/v1/predict"), ask(many, body))


def test_a_bad_text_among_good_ones_is_of_the_schema(many):
    document = described(many)
    answer = ask(many, {"texts": ["a", 7]})
    assert answer["predictions"][1]["error"]["title"] == "InvalidText"
    check(document, content(document, "/v1/predict"), answer)


@pytest.mark.parametrize(
    "body", [{"text": "né à 東京"}, {"texts": [*TEXTS, PAIRS[0]]}], ids=["one", "many"]
)
def test_tokens_are_of_their_schema(many, body):
    document = described(many)
    check(document, {"$ref": "#/components/schemas/TokenizeRequest"}, body)
    answer = ask(many, body, path="/v1/tokenize")
    check(document, content(document, "/v1/tokenize"), answer)


def test_labels_are_enums(tiny):
    document = described(tiny)
    heads = document["components"]["schemas"]
    assert heads["topic"]["properties"]["label"]["enum"] == ["defect", "delivery", "service", None]
    span = heads["entities"]["properties"]["spans"]["items"]
    assert span["properties"]["label"]["enum"] == ["DATE", "PRODUCT"]
    answer = ask(tiny, {"text": "the new radio leaks"})
    check(document, content(document, "/v1/predict"), answer)
    answer["heads"]["topic"]["label"] = "weather"
    with pytest.raises(jsonschema.ValidationError):
        check(document, content(document, "/v1/predict"), answer)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"text": "a", "texts": ["a"]}, 400),
        ({"query": "a", "texts": ["a"]}, 400),
        ({"text": "a", "head": ["topic"]}, 400),
        ({"text": "a", "model": "other"}, 404),
        ({"text": "a", "heads": ["other"]}, 422),
        ({"text": "a", "options": {"topic": {"top": 0}}}, 422),
        ({"text": "a", "options": {"topic": {"min_score": 2}}}, 422),
        ({"text": "a", "options": {"summary": {"ratio": 0}}}, 422),
        ({"text": "a", "options": {"summary": {"ratio": 1, "k": 1}}}, 422),
        ({"text": "a", "options": {"embedding": {"dimensions": 3}}}, 422),
    ],
    ids=str,
)
def test_what_the_document_forbids_is_refused_as_it_says(many, body, status):
    document = described(many)
    with pytest.raises(jsonschema.ValidationError):
        check_request(document, body)
    answer = ask(many, body, status)
    check(document, content(document, "/v1/predict", status=str(status)), answer)


def test_the_other_protocols_answer_as_it_says(tiny):
    document = described(tiny)
    asked = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    check(document, {"$ref": "#/components/schemas/InferRequest"}, asked)
    path = "/v2/models/{model}/infer"
    found = ask(tiny, asked, path="/v2/models/tiny/infer")
    check(document, content(document, path), found)
    refused = ask(tiny, asked, 404, "/v2/models/other/infer")
    check(document, content(document, path, status="404"), refused)
    for form in ("float", "base64"):
        asked = {"model": "tiny", "input": ["a", "b"], "encoding_format": form}
        check(document, {"$ref": "#/components/schemas/EmbeddingsRequest"}, asked)
        found = ask(tiny, asked, path="/v1/embeddings")
        check(document, content(document, "/v1/embeddings"), found)
    refused = ask(tiny, {"model": "tiny", "input": []}, 400, "/v1/embeddings")
    check(document, content(document, "/v1/embeddings", status="400"), refused)


def test_what_can_be_read_is_as_it_says(tiny):
    document = described(tiny)
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        answer = httpx.get(tiny + path.format(model="tiny", version="1"))
        assert answer.status_code == 200, path
        (media,) = methods["get"]["responses"]["200"]["content"]
        assert answer.headers["content-type"].partition(";")[0] == media
        if media == "application/json":
            check(document, content(document, path, "get"), answer.json())


@pytest.mark.parametrize("keys", [(), ("k",)], ids=["open", "with keys"])
def test_all_routes_are_described(demo, keys):
    service = service_for({"tiny": demo}, {"api_keys": keys})
    routes = {
        re.sub(r":\w+}", "}", route.path): route.methods - {"HEAD"}
        for route in application(service).routes
    }
    told = paths(["tiny"], service.settings, streams=True)
    assert {
        path: {name.upper() for name in methods if name != "parameters"}
        for path, methods in told.items()
    } == routes
    # Nothing to stream where no head writes.
    assert told.keys() - paths(["tiny"], service.settings).keys() == {"/v1/stream"}


def test_models_with_the_same_heads_are_told_apart(serve, demo, many_heads):
    with serve({"a": demo, "b": many_heads}) as address:
        document = described(address)
        for body in ({"text": "a"}, {"text": "a", "model": "b"}):
            check_request(document, body)
            check(document, content(document, "/v1/predict"), ask(address, body))
        only_second = {"text": "a", "heads": ["flags"]}
        with pytest.raises(jsonschema.ValidationError):
            check_request(document, only_second)
        ask(address, only_second, 422)
        check_request(document, {**only_second, "model": "b"})


def test_every_built_in_kind_has_a_schema_for_its_options(many_heads, writing):
    kinds = set()
    for bundle in (many_heads, writing):
        with polyhead.load(bundle, threads=1) as engine:
            kinds |= {spec.kind for spec in engine.heads.values()}
    assert kinds == set(schemas.RESULTS)


def test_names_of_heads_become_names_of_components():
    assert schemas.component("topic", ()) == "topic"
    assert schemas.component("thé me/1", ()) == "th__me_1"
    assert schemas.component("a b", ["a_b"]) == "a_b_2"
    assert schemas.component("", ()) == "_"


def test_a_plugins_head_answers_an_object():
    spec = polyhead.HeadSpec(kind="haiku.v1", output="x", max_tokens=8)
    assert schemas.result(spec) == {"type": "object"}
    assert schemas.options(spec, ("lines",))["properties"] == {"lines": {}}
