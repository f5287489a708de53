"""The client of the Open Inference Protocol that others wrote, with and without binary data."""

import gzip
import json

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import polyhead

TEXTS = ["The new radio leaks.", "", "né à 東京 👍"]
PAIRS = [("is anna late?", "Anna lives in Oslo"), ("", "")]


def tensor(name, texts, shape=None, *, binary=True):
    found = triton.InferInput(name, shape or [len(texts)], "BYTES")
    array = np.array([text.encode() for text in texts], dtype=object).reshape(shape or -1)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


@pytest.fixture
def client(many):
    with triton.InferenceServerClient(many.removeprefix("http://")) as found:
        yield found


@pytest.fixture(scope="module")
def engine(many_heads):
    with polyhead.load(many_heads, threads=1) as found:
        yield found


def refused(client, *inputs, **asked):
    with pytest.raises(InferenceServerException) as caught:
        client.infer("many", list(inputs), **asked)
    return caught.value


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("many")
    assert client.is_model_ready("many", "1")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    told = client.get_model_metadata("many", "1")
    assert [each["name"] for each in told["inputs"]] == ["query", "text"]
    outputs = {each["name"]: each for each in told["outputs"]}
    assert outputs["topic"]["datatype"] == "FP32"
    assert outputs["topic"]["parameters"]["labels"] == ["billing", "delivery", "praise"]
    assert outputs["entities"]["datatype"] == "BYTES"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_numbers_are_those_of_the_engine(client, engine, binary):
    names = ["topic", "flags", "urgency", "embedding"]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    found = client.infer("many", [tensor("text", TEXTS, binary=binary)], outputs=outputs)
    expected = engine.predict(TEXTS, heads=names)
    for name, rows in {
        "topic": [list(each["topic"].scores.values()) for each in expected],
        "flags": [list(each["flags"].scores.values()) for each in expected],
        "urgency": [[each["urgency"].value] for each in expected],
        "embedding": [each["embedding"].vector for each in expected],
    }.items():
        array = found.as_numpy(name)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.array(rows, np.float32), name)


def test_no_outputs_are_all_heads_that_read_texts(client, engine):
    found = client.infer("many", [tensor("text", TEXTS, [3, 1])], request_id="7")
    answer = found.get_response()
    expected = engine.predict(TEXTS)
    assert answer["id"] == "7"
    assert [each["name"] for each in answer["outputs"]] == list(expected[0].results)
    spans = [json.loads(each) for each in found.as_numpy("entities")]
    assert spans == [each["entities"].to_dict() for each in expected]


def test_pairs_have_two_inputs(client, engine):
    queries, texts = zip(*PAIRS, strict=True)
    inputs = [tensor("query", queries), tensor("text", texts)]
    found = client.infer("many", inputs)
    answers = [json.loads(each) for each in found.as_numpy("answer")]
    assert answers == [each["answer"].to_dict() for each in engine.predict(PAIRS)]
    assert found.as_numpy("match").shape == (2, 2)


def test_options_are_parameters(client, engine):
    asked = {"embedding.dimensions": 2, "summary.k": 2, "timeout_is": "not ours"}
    found = client.infer("many", [tensor("text", TEXTS)], parameters=asked)
    assert found.as_numpy("embedding").shape == (3, 2)
    expected = engine.predict(TEXTS, options={"summary": {"k": 2}})
    summaries = [json.loads(each) for each in found.as_numpy("summary")]
    assert summaries == [each["summary"].to_dict() for each in expected]


def test_results_can_all_be_json(client, engine):
    outputs = [triton.InferRequestedOutput("topic")]
    asked = {"json": True, "topic.top": 1}
    found = client.infer("many", [tensor("text", TEXTS)], outputs=outputs, parameters=asked)
    expected = engine.predict(TEXTS, heads=["topic"], options={"topic": {"top": 1}})
    topics = [json.loads(each) for each in found.as_numpy("topic")]
    assert topics == [each["topic"].to_dict() for each in expected]


def test_no_texts_give_no_rows(client):
    outputs = [triton.InferRequestedOutput("topic", binary_data=False)]
    found = client.infer("many", [tensor("text", [], [0], binary=False)], outputs=outputs)
    assert found.get_output("topic")["data"] == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"parameters": {"topic.top": 1}}, "leaves out columns"),
        ({"parameters": {"topic.depth": 1}}, "no option 'depth'"),
        ({"parameters": {"json": 1}}, "expected true or false"),
        ({"outputs": [triton.InferRequestedOutput("topics")]}, "Did you mean 'topic'?"),
        ({"outputs": [triton.InferRequestedOutput("match")]}, "reads a pair"),
        ({"model_version": "2"}, "version: found '2'"),
    ],
    ids=["columns", "option", "parameter", "head", "input", "version"],
)
def test_errors_are_where_the_client_looks(client, asked, message):
    problem = refused(client, tensor("text", TEXTS), **asked)
    assert message in problem.message()
    assert problem.status().startswith("4")


def test_another_model_is_named(many):
    with (
        triton.InferenceServerClient(many.removeprefix("http://")) as client,
        pytest.raises(InferenceServerException, match="served are many"),
    ):
        client.infer("other", [tensor("text", TEXTS)])


TEXT = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
BROKEN = {
    "no inputs": ({}, b""),
    "wrong name": ({"inputs": [{**TEXT, "name": "x"}]}, b""),
    "no text": ({"inputs": [{**TEXT, "name": "query"}]}, b""),
    "twice": ({"inputs": [TEXT, TEXT]}, b""),
    "numbers": ({"inputs": [{**TEXT, "datatype": "FP32", "data": [1]}]}, b""),
    "shape": ({"inputs": [{**TEXT, "shape": [2]}]}, b""),
    "no shape": ({"inputs": [{**TEXT, "shape": []}]}, b""),
    "no data": ({"inputs": [{**TEXT, "data": None}]}, b""),
    "bytes of nobody": ({"inputs": [TEXT]}, b"\0\0\0\0"),
    "half a character": ({"inputs": [TEXT], "id": "\ud800"}, b""),
}
for name, size, behind in (
    ("too few bytes", 9, b"\0\0\0\0"),
    ("negative size", -1, b"\0\0\0\0"),
    ("cut off length", 3, b"\0\0\0"),
    ("cut off text", 5, b"\2\0\0\0a"),
    ("endless text", 4, b"\xff\xff\xff\xff"),
):
    BROKEN[name] = ({"inputs": [{**TEXT, "parameters": {"binary_data_size": size}}]}, behind)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_request_is_told_so(many, name):
    told, behind = BROKEN[name]
    head = json.dumps(told).encode()
    answer = httpx.post(
        f"{many}/v2/models/many/infer",
        content=head + behind,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] == answer.json()["detail"]


@pytest.mark.parametrize("length", ["9999", "-1", "x", "²", "9" * 5000], ids=len)
def test_a_wrong_header_length_is_told_so(many, length):
    headers = {"Inference-Header-Content-Length": length.encode()}
    answer = httpx.post(f"{many}/v2/models/many/infer", content=b"{}", headers=headers)
    assert answer.status_code == 400, answer.text


def test_what_is_no_utf8_is_the_fault_of_its_text(many):
    head = json.dumps({"inputs": [{**TEXT, "parameters": {"binary_data_size": 5}}]}).encode()
    answer = httpx.post(
        f"{many}/v2/models/many/infer",
        content=head + b"\1\0\0\0\xff",
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.status_code == 422
    assert answer.json()["title"] == "InvalidText"


def test_a_head_that_answers_no_numbers_has_no_numbers_for_no_texts(many):
    asked = {"inputs": [{**TEXT, "shape": [0], "data": []}], "outputs": [{"name": "entities"}]}
    answer = httpx.post(f"{many}/v2/models/many/infer", json=asked).json()
    assert answer["outputs"] == [
        {"name": "entities", "shape": [0], "datatype": "BYTES", "data": []}
    ]


def test_a_compressed_body_is_no_json(many):
    """The client can compress what it sends, which this server does not read."""
    body = gzip.compress(json.dumps({"inputs": []}).encode())
    headers = {"Content-Encoding": "gzip"}
    answer = httpx.post(f"{many}/v2/models/many/infer", content=body, headers=headers)
    assert answer.status_code == 400
