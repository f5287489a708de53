"""Whatever a body says, it is answered or refused, and the server goes on."""

import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

ANY = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**70), 2**70)
    | some.floats()
    | some.text(some.characters(exclude_categories=()), max_size=9),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=6,
)
TEXTS = some.lists(some.text(max_size=9) | ANY, max_size=3)
HEADS = some.sampled_from(["topic", "entities", "embedding", "summary", "answer", "x"])
OPTIONS = some.sampled_from(["topic.top", "topic.min_score", "summary.k", "embedding.dimensions"])
PARAMETERS = some.dictionaries(
    some.sampled_from(["json", "timeout", "binary_data_output", "binary_data_size"]) | OPTIONS,
    some.integers(0, 3) | some.booleans() | ANY,
    max_size=2,
)
TENSOR = some.fixed_dictionaries(
    {"name": some.sampled_from(["text", "query"]), "datatype": some.just("BYTES")},
    optional={
        "shape": some.lists(some.integers(0, 3), max_size=2) | ANY,
        "data": TEXTS | ANY,
        "parameters": PARAMETERS | ANY,
    },
)
BODIES = {
    "/v2/models/many/infer": some.fixed_dictionaries(
        {"inputs": some.lists(TENSOR, max_size=2) | ANY},
        optional={
            "outputs": some.lists(some.fixed_dictionaries({"name": HEADS | ANY}), max_size=2),
            "parameters": PARAMETERS | ANY,
            "id": ANY,
        },
    ),
    "/v1/embeddings": some.fixed_dictionaries(
        {"input": TEXTS | ANY, "model": some.sampled_from(["many", "many:embedding"]) | ANY},
        optional={
            "dimensions": some.integers(0, 5) | ANY,
            "encoding_format": some.sampled_from(["float", "base64"]) | ANY,
        },
    ),
}


@pytest.fixture(scope="module")
def client(many):
    with httpx.Client(base_url=many) as found:
        yield found


@pytest.mark.parametrize("path", BODIES)
@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=some.data(), behind=some.binary(max_size=9))
def test_any_body_is_answered_or_refused(client, path, data, behind):
    head = json.dumps(data.draw(BODIES[path] | ANY)).encode()
    answer = client.post(path, content=head)
    assert answer.status_code < 500, answer.text
    assert (answer.status_code == 200) != ("error" in answer.json())
    if path.startswith("/v2"):
        length = {"Inference-Header-Content-Length": str(len(head))}
        answer = client.post(path, content=head + behind, headers=length)
        assert answer.status_code < 500, answer.text
