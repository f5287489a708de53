"""Services under attack: their end while a million characters are computed, killed workers, and a
new bundle at the path of the old one."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import polyhead
from polyhead import Batcher, BatcherClosed, DeadlineExceeded
from polyhead.bundle import digest

EXAMPLES = Path(__file__).parents[2] / "examples"
LONG = "poison " * 142_000  # a million characters, minutes of work for MiniLM
UVICORN = "uvicorn service:app --host 127.0.0.1 --port {port} --log-level warning"
GUNICORN = "gunicorn --preload --workers 2 --threads 4 --bind 127.0.0.1:{port} wsgi:application"


class Server:
    """An example that runs until it is told to end."""

    def __init__(self, example, command, bundle, log, **environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.log, self.wsgi = f"http://127.0.0.1:{port}", log, example == "gunicorn"
        self.workers = set()
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command.format(port=port).split()],
                cwd=EXAMPLES / example,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "BUNDLE": str(bundle), "THREADS": "1", **environment},
            )
        for _ in range(300):
            assert self.process.poll() is None, log.read_text()
            status, self.first = self.ask("Where is my lamp?")
            if status == 200:
                return
            time.sleep(0.2)
        raise AssertionError(log.read_text())

    def ask(self, text):
        """Status and content of an answer, or the name of what went wrong."""
        form = {"content": text.encode()} if self.wsgi else {"json": {"text": text}}
        path = "/" if self.wsgi else "/predict"
        try:
            answer = httpx.post(self.url + path, timeout=60, trust_env=False, **form)
        except httpx.TransportError as problem:
            return type(problem).__name__, None
        self.workers.add(answer.headers.get("x-pid"))
        return answer.status_code, answer.json()

    def end(self):
        """Seconds from SIGTERM to the end of the process."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - began


@pytest.fixture
def start(real_bundle, tmp_path):
    servers = []

    def start(example, command, bundle=real_bundle, **environment):
        servers.append(Server(example, command, bundle, tmp_path / "log", **environment))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.mark.parametrize(
    ("example", "command", "environment"),
    [
        pytest.param("fastapi", UVICORN, {}, id="uvicorn"),
        pytest.param("fastapi", UVICORN + " --workers 2", {}, id="uvicorn_workers"),
        pytest.param(
            "fastapi",
            UVICORN + " --timeout-graceful-shutdown 5",
            {"DEADLINE_MS": "600000"},
            id="uvicorn_that_cancels",
        ),
        pytest.param("gunicorn", GUNICORN + " --graceful-timeout 20", {}, id="gunicorn"),
    ],
)
@pytest.mark.parametrize("text", [LONG, "The lamp is broken. " * 400], ids=["poison", "8000"])
def test_sigterm_ends_soon_and_each_caller_gets_a_typed_answer(
    start, example, command, environment, text
):
    server = start(example, command, **environment)
    with ThreadPoolExecutor(6) as callers:
        asked = [callers.submit(server.ask, f"{text} {n}") for n in range(2)]
        asked += [callers.submit(server.ask, f"short text {n}") for n in range(4)]
        time.sleep(1.5)  # all are taken in by then
        seconds = server.end()
        answers = [each.result() for each in asked]
    # Uvicorn's five seconds, half a one for threads, and the interpreter's end on a busy machine.
    assert seconds < (15 if server.wsgi else 7), f"ended after {seconds:.1f} s"
    assert {status for status, _ in answers} <= {200, 503, 504}, answers
    for status, content in answers:
        errors = {503: {"BatcherClosed", "QueueFull"}, 504: {"DeadlineExceeded"}}
        assert status == 200 or content["error"] in errors[status]
    assert "Traceback" not in server.log.read_text(), server.log.read_text()


def test_clients_that_hang_up_stop_their_work(start):
    server = start("fastapi", UVICORN, DEADLINE_MS="60000")
    for n in range(100):
        body = json.dumps({"text": f"{n} gone " * 2000}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection(server.url.removeprefix("http://").split(":"), 60) as client:
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    began = time.monotonic()
    assert server.ask("after the storm")[0] == 200
    assert time.monotonic() - began < 10  # some of a hundred texts of 14,000 characters
    said = httpx.get(server.url + "/metrics", trust_env=False).text
    assert re.search(r"polyhead_cancelled_total [1-9]", said), said


def replace_by_another(bundle):
    """Another bundle at its path, with the same answers."""
    fresh = bundle.with_name("fresh")
    shutil.copytree(bundle, fresh)
    manifest = json.loads((fresh / "manifest.json").read_text())
    graph = fresh / manifest["graphs"][0]["file"]
    graph.write_bytes(graph.read_bytes() + bytes([0x32, 1, 65]))  # the model's doc_string
    manifest["graphs"][0].update(sha256=digest.sha256(graph), size=graph.stat().st_size)
    (fresh / "manifest.json").write_text(json.dumps(digest.with_digest(manifest)))
    polyhead.load(fresh).close()
    bundle.rename(bundle.with_name("old"))
    fresh.rename(bundle)


CUT_OFF = {"RemoteProtocolError None", "ReadError None"}
"""What callers of a worker that was killed may see."""


def under_load(server, seconds, act):
    """Outcomes of four callers' requests; after a second `act` is done to the server."""
    counts, stop = Counter(), threading.Event()

    def call():
        while not stop.is_set():
            status, content = server.ask("Where is my lamp?")
            counts[
                "right" if content == server.first else f"{status} {(content or {}).get('error')}"
            ] += 1

    with ThreadPoolExecutor(4) as callers:
        for _ in range(4):
            callers.submit(call)
        time.sleep(1)
        act()
        time.sleep(seconds)
        stop.set()
    return counts


def test_a_new_bundle_at_the_old_path_is_no_outage(start, real_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(real_bundle, bundle)
    server = start("gunicorn", GUNICORN + " --graceful-timeout 5", bundle)

    def kill_a_worker():
        os.kill(int(next(iter(server.workers))), signal.SIGKILL)

    def hang_up():
        server.process.send_signal(signal.SIGHUP)

    killed = under_load(server, 4, kill_a_worker)
    assert set(killed) <= {"right", *CUT_OFF}, killed
    assert set(under_load(server, 5, hang_up)) == {"right"}
    replace_by_another(bundle)
    server.workers.clear()
    server.ask("Where is my lamp?")
    killed = under_load(server, 4, kill_a_worker)
    assert set(killed) <= {"right", *CUT_OFF}, killed
    server.workers.clear()
    assert set(under_load(server, 6, hang_up)) == {"right"}
    assert len(server.workers) >= 3  # old ones and new ones answered
    assert server.end() < 7


def test_a_bundle_that_was_overwritten_is_a_typed_503(start, real_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(real_bundle, bundle)
    server = start("gunicorn", GUNICORN, bundle)
    with next(bundle.glob("*.onnx")).open("r+b") as graph:
        graph.seek(-1, os.SEEK_END)
        graph.write(b"?")
    found = under_load(server, 4, lambda: server.process.send_signal(signal.SIGHUP))
    assert set(found) == {"right", "503 DigestMismatch"}


@pytest.fixture(scope="module")
def engine(real_bundle):
    with polyhead.load(real_bundle, threads=2) as engine:
        engine.warmup()
        yield engine


@pytest.mark.parametrize("after", [0, 0.3, 2], ids="{} s".format)
def test_closing_without_draining_ends_soon_whatever_is_computed(engine, after):
    async def main():
        batcher = await Batcher(engine).__aenter__()
        asked = [asyncio.ensure_future(batcher.predict(f"{LONG}{n}")) for n in range(3)]
        await asyncio.sleep(after)
        began = time.monotonic()
        await batcher.aclose(drain=False)
        seconds = time.monotonic() - began
        return seconds, await asyncio.gather(*asked, return_exceptions=True)

    seconds, found = asyncio.run(main())
    assert seconds < 3  # 1.5 and a busy machine
    assert all(isinstance(each, BatcherClosed | polyhead.Prediction) for each in found)


def test_a_caller_that_leaves_stops_its_work(engine):
    """The CPU time after the caller is gone, against that of the whole text."""
    text = "poison text number one hundred " * 3000
    began = time.process_time()
    engine(text)
    whole = time.process_time() - began

    async def main():
        async with Batcher(engine, deadline_ms=10) as batcher:
            with pytest.raises(DeadlineExceeded):
                await batcher.predict(text)
            gone = time.process_time()
            while batcher.stats().running:
                await asyncio.sleep(0.01)
            return time.process_time() - gone

    assert asyncio.run(main()) < 0.3 * whole + 0.1


@pytest.mark.parametrize("seconds", [0.05, 0.5, 2])
def test_the_interpreter_ends_while_threads_compute(real_bundle, seconds):
    script = f"""
import asyncio, polyhead
async def main():
    batcher = await polyhead.Batcher(polyhead.load({str(real_bundle)!r}, threads=2)).__aenter__()
    asked = [asyncio.ensure_future(batcher.predict("poison " * 142_000 + str(n))) for n in range(3)]
    await asyncio.sleep({seconds})
asyncio.run(main())
print("over", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout.readline() == "over\n"
        began = time.monotonic()
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert time.monotonic() - began < 5
