"""``POST /v1/stream``: server-sent events."""

import json
import time

import pytest

from polyhead import load
from polyhead.inference.generation import DecoderSessions

TEXT = "👍 The parcel was late. Anna lives in Oslo."


@pytest.fixture(scope="module")
def client(writing, writing_client):
    with writing_client(writing) as client:
        yield client


def events(answer):
    """Name and data of each event."""
    found = []
    for block in answer.text.split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((lines.get("event"), json.loads(lines["data"])))
    return found


def post(client, **body):
    return client.post("/v1/stream", json=body)


@pytest.mark.parametrize("offsets", ["codepoints", "utf16"])
def test_pieces_and_at_last_the_result(client, writer_engine, offsets):
    answer = post(client, text=TEXT, head="copy", options={"max_tokens": 20}, offsets=offsets)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *pieces, (name, last) = events(answer)
    found = writer_engine(TEXT, options={"copy": {"max_tokens": 20}})
    expected = (found.utf16() if offsets == "utf16" else found)["copy"]
    assert expected.copied
    assert name == "result"
    assert last == {"model": "writer", "head": "copy", "result": expected.to_dict()}
    assert "".join(piece["text"] for _, piece in pieces) == expected.text
    assert len(pieces) > 5


@pytest.mark.parametrize(
    ("body", "status", "title"),
    [
        ({"text": "a"}, 422, "InvalidSetting"),
        ({"text": "a", "head": "shrot"}, 422, "UnknownHead"),
        ({"text": "a", "head": "topic"}, 422, "InvalidSetting"),
        ({"text": "a", "head": "short", "options": {"max_tokens": 0}}, 422, "InvalidSetting"),
        ({"text": "a", "head": "short", "options": {"wanted": 0}}, 422, "InvalidSetting"),
        ({"text": "a", "head": "short", "options": {"text": 0}}, 422, "InvalidSetting"),
        ({"text": "a", "options": {"short": {"beams": 1}}, "head": "short"}, 422, "InvalidSetting"),
        ({"text": "a", "query": "b", "head": "short"}, 422, "WrongInput"),
        ({"texts": ["a"], "head": "short"}, 400, "MalformedRequest"),
        ({"head": "short"}, 400, "MalformedRequest"),
        ({"text": "a", "heads": ["short"]}, 400, "MalformedRequest"),
        ({"text": "a", "model": "other", "head": "short"}, 404, "UnknownModel"),
        ({"text": "a", "head": "short", "deadline_ms": 1e-3}, 504, "DeadlineExceeded"),
    ],
    ids=str,
)
def test_a_wrong_request_is_a_problem_and_no_stream(client, refused, body, status, title):
    refused(post(client, **body), status, title)


def test_a_deadline_in_the_middle_is_an_event(client, monkeypatch):
    step = DecoderSessions.step

    def slow(self, *arguments):
        time.sleep(0.03)
        return step(self, *arguments)

    monkeypatch.setattr(DecoderSessions, "step", slow)
    options = {"max_tokens": 40, "min_tokens": 40}
    answer = post(client, text=TEXT, head="short", options=options, deadline_ms=400)
    found = events(answer)
    name, problem = found[-1]
    assert name == "error"
    assert problem["title"] == "DeadlineExceeded"
    assert len(found) > 1


def test_a_client_that_goes_away_ends_the_work(client, monkeypatch):
    step, steps = DecoderSessions.step, []

    def slow(self, *arguments):
        steps.append(1)
        time.sleep(0.05)
        return step(self, *arguments)

    monkeypatch.setattr(DecoderSessions, "step", slow)
    options = {"max_tokens": 40, "min_tokens": 40}
    body = {"text": TEXT, "head": "short", "options": options}
    with client.stream("POST", "/v1/stream", json=body) as answer:
        next(answer.iter_raw())
    left = len(steps)
    time.sleep(0.6)
    ended = len(steps)
    time.sleep(0.3)
    assert len(steps) == ended  # it stopped
    assert ended < 40
    assert left < 20
    assert post(client, text=TEXT, head="short", options={"max_tokens": 2}).status_code == 200


def test_written_texts_are_in_predictions_too(client, writer_engine):
    answer = client.post("/v1/predict", json={"text": TEXT, "heads": ["short", "topic"]}).json()
    expected = writer_engine(TEXT, heads=["short", "topic"]).to_dict()["heads"]
    assert answer["heads"] == json.loads(json.dumps(expected))


def test_the_description_has_the_route_where_a_head_writes(client, guarded):
    found = client.get("/openapi.json").json()
    assert "text/event-stream" in json.dumps(found["paths"]["/v1/stream"])
    schemas = found["components"]["schemas"]
    assert schemas["copy"]["properties"]["copied"]["type"] == "array"
    options = schemas["Stream.short"]["properties"]["options"]["properties"]
    assert options["max_tokens"]["maximum"] == 40
    assert "beams" not in options
    assert found["x-polyhead-models"][0]["heads"]["short"]["options"]["beams"]["maximum"] == 64


def test_a_server_without_such_heads_does_not_describe_it(client_of, bundle):
    found = client_of(bundle).get("/openapi.json").json()
    assert "/v1/stream" not in found["paths"]
    assert "StreamRequest" not in found["components"]["schemas"]


def test_an_only_head_that_writes_needs_no_name(client_of, writing):

    with load(writing, heads=["short", "topic"], threads=1) as engine:
        answer = post(client_of({"one": engine}), text=TEXT, options={"max_tokens": 3})
        assert events(answer)[-1][1]["head"] == "short"
