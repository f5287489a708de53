"""What every request passes: keys, traces, metrics, and health without them."""

import re
import sys
import threading
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest

KEYS = ("first-key", "second-key")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("key", KEYS)
def test_each_key_opens(guarded, key):
    found = guarded.post(
        "/v1/predict", json={"text": "a"}, headers={"Authorization": f"Bearer {key}"}
    )
    assert found.status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer first", "Basic first-key", "Bearer é"]
)
@pytest.mark.parametrize(
    "path", ["/v1/predict", "/v1/tokenize", "/admin/reload", "/info", "/metrics", "/nothing"]
)
def test_without_a_key_nothing_is_told(guarded, path, header, refused):
    headers = {} if header is None else {"Authorization": header.encode()}
    method = "GET" if path in ("/info", "/metrics", "/nothing") else "POST"
    answer = guarded.request(method, path, headers=headers)
    refused(answer, 401, "NotAuthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_needs_no_key(guarded, path):
    assert guarded.get(path).status_code == 200


def test_a_server_without_keys_cannot_be_told_to_reload(client_of, stand_in, refused):
    refused(client_of({"model": stand_in()}).post("/admin/reload"), 404, "NotFound")


def test_the_trace_context_is_passed_on(client):
    answer = client.post("/v1/predict", json={"text": "a"}, headers={"traceparent": TRACE})
    assert answer.headers["traceparent"] == TRACE
    answer = client.post("/v1/predict", json={"text": "a"}, headers={"traceparent": "<script>"})
    assert "traceparent" not in answer.headers


def test_the_time_that_it_took_is_a_header(client):
    found = client.post("/v1/predict", json={"text": "a"}).headers["server-timing"]
    assert re.fullmatch(r"total;dur=\d+\.\d\d", found)


def test_spans_of_open_telemetry(client_of, stand_in, monkeypatch):
    """With a stand-in for its API, which this environment need not have."""
    spans, ended = [], threading.Event()

    class Tracer:
        @contextmanager
        def start_as_current_span(self, name, *, context, kind):
            found = {"name": name, "context": context, "kind": kind}
            yield SimpleNamespace(set_attribute=found.__setitem__)
            spans.append(found)
            ended.set()

    package, trace, propagate = (
        ModuleType(f"opentelemetry{name}") for name in ("", ".trace", ".propagate")
    )
    trace.get_tracer = lambda name: Tracer()
    trace.SpanKind = SimpleNamespace(SERVER="server")
    propagate.extract = lambda carrier: carrier["traceparent"]
    package.trace, package.propagate = trace, propagate
    for module in (package, trace, propagate):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    client = client_of({"model": stand_in(seconds=1e-4)})
    body = {"text": "a", "heads": ["topic"]}
    client.post("/v1/predict", json=body, headers={"traceparent": TRACE})
    assert ended.wait(30)
    assert spans == [
        {
            "name": "POST /v1/predict",
            "context": TRACE,
            "kind": "server",
            "polyhead.model": "model",
            "polyhead.head_set": "topic",
            "polyhead.outcome": "ok",
        }
    ]


def test_metrics_by_head_set_and_outcome(client_of, many_heads):
    client = client_of({"many": many_heads})
    for heads in (None, ["topic"], ["entities", "topic"], ["topic", "entities"], ["topik"]):
        client.post("/v1/predict", json={"texts": ["anna", "oslo"], "heads": heads})
    client.post("/v1/predict", json={"texts": ["anna", None]})
    client.post("/v1/predict", content=b"{")
    lines = client.get("/metrics").text.splitlines()
    count = 'polyhead_request_seconds_count{{head_set="{}",model="{}",outcome="{}"}} {}'
    assert count.format("all", "many", "ok", 2.0) in lines
    assert count.format("topic", "many", "ok", 1.0) in lines
    assert count.format("entities+topic", "many", "ok", 2.0) in lines
    assert count.format("other", "many", "UnknownHead", 1.0) in lines
    assert count.format("none", "none", "MalformedRequest", 1.0) in lines
    assert 'polyhead_texts_total{model="many",outcome="ok"} 9.0' in lines
    assert 'polyhead_texts_total{model="many",outcome="InvalidText"} 1.0' in lines
    assert 'polyhead_texts_total{model="many",outcome="UnknownHead"} 2.0' in lines
    assert 'polyhead_queue_seconds_count{head_set="topic",model="many"} 2.0' in lines
    assert 'polyhead_waiting_texts{model="many"} 0.0' in lines
    for name in ("tokenize_seconds", "compute_seconds", "batch_tokens", "tokens", "windows"):
        assert any(line.startswith(f"polyhead_{name}") for line in lines), name


def test_strangers_cannot_bring_forth_metrics_without_end(client_of, many_heads):
    client = client_of({"many": many_heads})
    names = ["topic", "flags", "urgency", "entities", "summary", "embedding", "short"]
    for number in range(80):
        heads = [name for place, name in enumerate(names) if number >> place & 1]
        client.post("/v1/predict", json={"text": "a", "heads": [*heads, *["topic"] * number]})
        client.get(f"/{number}")
    found = client.get("/metrics").text
    labels = set(re.findall(r'request_seconds_count\{head_set="([^"]*)"', found))
    assert "other" in labels
    assert len(labels) <= 67


def test_info_names_what_runs_and_no_path(client_of, many_heads):
    client = client_of({"many": many_heads}, api_keys=("key",), max_texts=7)
    found = client.get("/info", headers={"Authorization": "Bearer key"})
    assert found.json()["limits"]["max_texts"] == 7
    assert found.json()["models"]["many"]["heads"][0] == "topic"
    assert "key" not in found.json()["limits"].get("api_keys", "")
    assert str(many_heads) not in found.text
