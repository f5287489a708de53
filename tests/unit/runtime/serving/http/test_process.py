"""The command: its start, its signals, its workers and its end."""

import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from polyhead.serving.http import server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks are POSIX")

KEY = "a-key"
LONG = "the parcel was late . " * 9_000


def until(condition):
    """Wait for something that happens soon."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def in_flight(client):
    """Requests that are being answered, but this one."""
    lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("polyhead_requests_in_flight ")]
    return sum(float(line.split()[1]) for line in found) - 1


def heads(client):
    return set(client.post("/v1/predict", json={"text": "anna"}).json()["heads"])


@pytest.fixture
def replaced(many_heads, bundle, tmp_path):
    """A bundle's path, and what puts another bundle there as `mv` does."""
    path = tmp_path / "bundle"
    shutil.copytree(many_heads, path)

    def replace(other=bundle):
        shutil.copytree(other, tmp_path / "new")
        path.rename(tmp_path / "old")
        (tmp_path / "new").rename(path)

    return path, replace


def test_it_answers_until_sigterm(serve, many_heads):
    served = serve(many_heads, "--name", "many")
    with served.client() as client:
        assert client.post("/v1/predict", json={"text": "anna"}).json()["model"] == "many"
    assert served.end() == 0
    assert f"many at {served.url}, 1 worker of" in served.said[0]
    assert "Traceback" not in "".join(served.said)


def test_sighup_reads_the_bundle_again(serve, replaced):
    path, replace = replaced
    served = serve(path)
    with served.client() as client:
        assert "summary" in heads(client)
        replace()
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "summary" not in heads(client))
    assert served.end() == 0


def test_a_reload_over_http_and_one_that_fails(serve, replaced, tmp_path):
    path, replace = replaced
    keys = tmp_path / "keys"
    keys.write_text(f"\n{KEY}\nanother\n", encoding="utf-8")
    served = serve(path, "--api-key-file", keys)
    with served.client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        replace()
        assert client.post("/admin/reload").json() == {"reloaded": ["bundle"]}
        assert "summary" not in heads(client)
        (path / "tokenizer.json").write_text("{}", encoding="utf-8")
        answer = client.post("/admin/reload?model=bundle")
        assert answer.status_code == 500
        assert answer.json()["title"] == "DigestMismatch"
        assert client.post("/admin/reload?model=other").status_code == 404
        served.process.send_signal(signal.SIGHUP)
        until(lambda: any("The old bundle goes on." in line for line in served.said))
        assert "topic" in heads(client)
    assert served.end() == 0


def test_what_is_under_way_is_answered_at_the_end(serve, many_heads):
    patience = ("--grace", "60", "--deadline-ms", "60000")
    served = serve(many_heads, *patience)
    with ThreadPoolExecutor(1) as pool, served.client() as client, served.client() as other:
        asked = pool.submit(client.post, "/v1/predict", json={"texts": [LONG, "anna"]})
        until(lambda: in_flight(other) >= 1)
        assert served.end() == 0
        answer = asked.result()
    assert answer.status_code == 200
    assert all("heads" in each for each in answer.json()["predictions"])


def test_it_ends_whatever_long_texts_run(serve, many_heads):
    served = serve(many_heads, "--grace", "0")
    texts = [f"{number} {LONG[:-10]}" for number in range(15)]  # some seconds
    with ThreadPoolExecutor(1) as pool, served.client() as client, served.client() as other:
        asked = pool.submit(client.post, "/v1/predict", json={"texts": texts, "heads": ["topic"]})
        until(lambda: in_flight(other) >= 1)
        assert served.end() == 0
        assert asked.result().json()["title"] == "BatcherClosed"
        assert asked.result().status_code == 503


def test_workers_share_a_port_and_count_together(serve, many_heads):
    served = serve(many_heads, "--workers", "2")
    processes = set()

    def ask():
        with served.client() as client:
            processes.add(client.get("/info").json()["pid"])
            client.post("/v1/predict", json={"text": "anna"})
            return client.get("/metrics").text

    count = 0
    while len(processes) < 2:
        metrics = ask()
        count += 1
    assert f'outcome="ok"}} {float(count)}' in metrics
    victim = processes.pop()
    subprocess.run(["kill", "-9", str(victim)], check=True)
    until(lambda: any("another begins" in line for line in served.said))
    processes.clear()
    while len(processes) < 2:
        ask()
    assert victim not in processes
    assert served.end() == 0


def test_workers_are_reloaded_together(serve, replaced, tmp_path):
    path, replace = replaced
    keys = tmp_path / "keys"
    keys.write_text(KEY, encoding="utf-8")
    served = serve(path, "--workers", "2", "--api-key-file", keys)
    headers = {"Authorization": f"Bearer {KEY}"}
    replace()
    with served.client(headers=headers) as client:
        assert client.post("/admin/reload").status_code == 200
    reloaded = set()

    def both():
        with served.client(headers=headers) as client:
            if "summary" not in heads(client):
                reloaded.add(client.get("/info").json()["pid"])
        return len(reloaded) == 2

    until(both)
    assert served.end(signal.SIGINT) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bundle_that_cannot_be_loaded(command, tmp_path, workers):
    words, environment = command
    done = subprocess.run(
        [*words, "serve", tmp_path, "--port", "0", "--workers", workers],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "manifest.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_golden_answers_are_asked_at_the_start(command, many_heads, edit_json, reseal, tmp_path):
    words, environment = command
    path = shutil.copytree(many_heads, tmp_path / "bundle")

    def change(golden):
        golden["examples"][0]["logits"]["topic"][0] += 1

    edit_json(path / "golden.json", change)
    reseal(path)
    for verify, told in (("golden", "GoldenMismatch"), ("digest", None)):
        process = subprocess.Popen(
            [*words, "serve", path, "--port", "0", "--verify", verify],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = process.stderr.readline()
        process.terminate()
        process.communicate()
        assert ("differs from the trained model" in line) is (told is not None), line


def test_an_address_that_another_has(serve, many_heads, polyhead):
    served = serve(many_heads)
    port = httpx.URL(served.url).port
    done = polyhead("serve", many_heads, "--port", port)
    assert done.returncode == 1
    assert f"--port {port}: " in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--workers", "0"], "--workers=0"),
        (["--threads", "0"], "threads=0"),
        (["--deadline-ms", "nan"], "deadline_ms=nan"),
        (["--max-queue", "0"], "max_queue=0"),
        (["--grace", "-1"], "grace=-1"),
        (["--name", "a/b"], "name 'a/b'"),
        (["--name", "a", "--name", "b"], "found 2 names for 1 bundles"),
        (["--api-key-file", "{empty}"], "found no key"),
        (["--api-key-file", "{missing}"], "missing"),
        (["--api-key-file", "{binary}"], "not a text file"),
        (["--port", "99999"], "--port=99999"),
        (["--host", "no host"], "--host no host"),
    ],
)
def test_settings_that_cannot_be(many_heads, polyhead, monkeypatch, tmp_path, words, told):
    monkeypatch.setattr(server, "serve", lambda *_, **__: pytest.fail("it began to serve"))
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    files = {name: tmp_path / name for name in ("empty", "missing", "binary")}
    done = polyhead("serve", many_heads, *(word.format(**files) for word in words))
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_two_bundles_of_one_name(many_heads, polyhead):
    done = polyhead("serve", many_heads, many_heads)
    assert done.returncode == 1
    assert "Give each one of its own with --name" in done.stderr
