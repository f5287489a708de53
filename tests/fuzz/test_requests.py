"""Requests of every kind to a server in a process of its own: it answers or refuses each."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fuzz_budget import INPUTS, SEED, fuzzed
from hostile_requests import KEY, MODEL, ask, request
from hypothesis import given
from hypothesis.errors import Unsatisfiable

_REQUESTS = round(INPUTS * 0.45)
_CALLERS = 8
_KEY = {"Authorization": f"Bearer {KEY}"}
_MIB = 1 << 20


class Server:
    """`polyhead serve` and what it said."""

    def __init__(self, bundle, folder):
        keys, self._log = folder / "keys", folder / "log"
        keys.write_text(KEY)
        words = [sys.executable, "-m", "polyhead", "serve", bundle, "--name", MODEL, "--port", "0"]
        sources = os.pathsep.join(path for path in sys.path if path.endswith("/src"))
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*words, "--api-key-file", keys, "--threads", "1"],
                stderr=log,
                env={**os.environ, "PYTHONPATH": sources},
            )
        while (found := re.search(r"http://([\d.]+):(\d+)", self.said())) is None:
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)
        self.address, self.url = (found[1], int(found[2])), found[0]

    def said(self):
        return self._log.read_text()

    def memory(self):
        """Resident bytes; 0 where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/status")
        found = re.search(r"VmRSS:\s*(\d+) kB", status.read_text() if status.exists() else "")
        return 1024 * int(found[1]) if found else 0

    def check(self):
        """It is as well as at the start."""
        assert self.process.poll() is None, self.said()
        assert "Traceback" not in self.said(), self.said()
        with httpx.Client(base_url=self.url, headers=_KEY, trust_env=False, timeout=60) as client:
            assert client.post("/v1/predict", json={"text": "a lamp"}).status_code == 200
            in_flight = re.search(
                r"^polyhead_requests_in_flight (\S+)", client.get("/metrics").text, re.M
            )
        assert float(in_flight[1]) == 1  # this look


@pytest.fixture(scope="module")
def server(committed, tmp_path_factory):
    found = Server(committed, tmp_path_factory.mktemp("served"))
    try:
        yield found
    finally:
        found.process.terminate()
        assert found.process.wait(60) == 0, found.said()


def test_hostile_requests_are_answered_or_refused(server, capsys):
    found, problems, memory = Counter(), [], []

    def one(number):
        sent = request(f"{SEED} {number}")
        try:
            status, answer = ask(server.address, sent)
        except TimeoutError:
            status, answer = -1, b""
        if number % max(1, _REQUESTS // 20) == 0:
            memory.append(server.memory())
        bad = status in (-1, 500) or b"Traceback" in answer
        found[status] += 1
        if bad:
            problems.append((number, status, sent.about, answer[-300:]))

    with ThreadPoolExecutor(_CALLERS) as callers:
        list(callers.map(one, range(_REQUESTS)))
    memory.append(server.memory())
    early = max(memory[: len(memory) // 4 or 1])
    with capsys.disabled():
        told = ", ".join(f"{status}: {count}" for status, count in found.most_common())
        print(f"\n{_REQUESTS} requests, {told}; MiB {[m // _MIB for m in memory]}")  # noqa: T201
    assert not problems, problems[:5]
    assert memory[-1] <= 1.1 * early + 8 * _MIB, [m // _MIB for m in memory]
    server.check()


def test_what_the_description_of_the_routes_allows_and_forbids(server, capsys):
    """Requests that schemathesis makes of the OpenAPI document: good ones, and spoilt ones."""
    schemathesis = pytest.importorskip("schemathesis")
    document = httpx.get(f"{server.url}/openapi.json", headers=_KEY, trust_env=False).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url)
    asks = 0
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @fuzzed(0.1 / len(operations) / 2)
            @given(case=operation.as_strategy(generation_mode=mode))
            def asked(case):
                nonlocal asks
                asks += 1
                answer = case.call(headers=_KEY, timeout=60)
                assert answer.status_code not in (500, 501, 502), answer.text

            with suppress(Unsatisfiable):  # nothing about this route can be wrong
                asked()
    with capsys.disabled():
        print(f"\n{asks} requests of the document")  # noqa: T201
    assert asks > 0
    server.check()
