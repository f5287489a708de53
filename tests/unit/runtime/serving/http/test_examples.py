"""What the guide, the dashboard and the manifests name is there."""

import argparse
import json
import re
import runpy
from pathlib import Path

import httpx
import pytest
import yaml

import polyhead.serving
from polyhead.cli import serve
from polyhead.serving.http.metrics import Metrics
from polyhead.serving.http.problems import RequestError, status_of

ROOT = Path(__file__).parents[5]
EXAMPLES = ROOT / "examples" / "serve"
INBOX = ROOT / "examples" / "inbox"
GUIDE = (ROOT / "docs" / "guides" / "http.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def known():
    """Names of metrics, as they are asked for."""
    found = re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().text().decode(), flags=re.MULTILINE)
    names = {name for name, kind in found if kind != "histogram"}
    for name in (name for name, kind in found if kind == "histogram"):
        names |= {name, *(f"{name}_{part}" for part in ("bucket", "sum", "count"))}
    return names


def test_the_dashboard_asks_for_metrics_that_are_there(known):
    board = json.loads((EXAMPLES / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for query in asked for name in re.findall(r"polyhead_\w+", query)}
    assert names <= known
    assert len(names) > 10


def test_the_guide_names_the_metrics_that_are_there(known):
    table = GUIDE.partition("## Metrics")[2].partition("## ")[0]
    named = set(re.findall(r"`(polyhead_\w+)", table))
    assert named <= known
    histograms = {re.sub("_(bucket|sum|count|created)$", "", name) for name in known}
    assert histograms <= named


def test_the_guide_names_each_error_with_its_status():
    table = GUIDE.partition("## Errors")[2].partition("## Under load")[0]
    rows = [line for line in table.splitlines() if re.match(r"\| \d", line)]
    for kind in RequestError.__subclasses__():
        if kind.__name__ != "ClientGone":  # which nobody reads
            [row] = [row for row in rows if f"`{kind.__name__}`" in row]
            assert str(kind.status.value) in row.split("|")[1], row
    for row in rows:
        for name in re.findall(r"`(\w+)`", row.split("|")[2]):
            kind = getattr(polyhead, name, None)
            if kind is not None:
                assert str(status_of(kind(""))) in row.split("|")[1], row


def parsed(words):
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return parser.parse_args(words)


def test_the_manifests_run_what_there_is():
    text = (EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8")
    deployment, *_ = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    arguments = parsed(["/bundle", *container["args"]])
    assert pod["terminationGracePeriodSeconds"] > arguments.grace + 5
    assert arguments.threads == int(container["resources"]["limits"]["cpu"])
    app = polyhead.serving.app("bundle")
    paths = {route.path for route in app.routes}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in paths


def test_the_image_runs_what_there_is():
    text = (EXAMPLES / "Dockerfile").read_text(encoding="utf-8")
    [entry] = re.findall(r"^ENTRYPOINT (\[.*\])$", text, flags=re.MULTILINE)
    program, command, *words = json.loads(entry)
    assert (program, command) == ("polyhead", "serve")
    assert parsed(words).host == "0.0.0.0"


def test_a_note_is_the_topic_and_what_is_looked_up(tmp_path):
    runpy.run_path(str(INBOX / "notes.py"))["write"](tmp_path / "inbox")
    rows = (tmp_path / "inbox" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 400
    for row in map(json.loads, rows):
        topic, _, facts = row["note"].partition(": ")
        assert topic == row["topic"].replace("_", " ")
        assert all(fact in row["text"] for fact in facts.split(", "))
    assert any(json.loads(row)["note"].count(", ") == 2 for row in rows)


def test_one_call_of_the_inbox_classifies_extracts_and_sums_up(writing, run_app, monkeypatch):
    monkeypatch.setenv("BUNDLE", str(writing))
    with run_app(runpy.run_path(str(INBOX / "page.py"))["app"]) as url:
        assert "<title>Inbox</title>" in httpx.get(url, trust_env=False).text
        body = {"text": "Anna lives in Oslo."}
        found = httpx.post(f"{url}/api/v1/predict", json=body, trust_env=False, timeout=60)
    assert {"label", "spans", "finished"} <= {
        key for a in found.json()["heads"].values() for key in a
    }
