"""infinity's server of embeddings, in a virtual environment of its own, against `polyhead serve`.

Both serve the same encoder, infinity in fp32 by PyTorch as it does by default on a CPU, ours the
bundle. They get the same requests in the form of OpenAI, on equal threads, in turns.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle import read
from polyhead_bench import environments
from polyhead_bench.convert.cache import Models
from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.http import Caller, request

ENVIRONMENT = "infinity"
NAME = "encoder"
"""Under which it serves the model."""
OURS, THEIRS = "/v1/embeddings", "/embeddings"
LEAST_COSINE = 0.98
"""Of the vectors of a text; what an int8 graph is off is less."""
_KIND = "embedding.v1"
_START_S = 300
_CALLERS, _BATCH = 4, 32


@dataclass(frozen=True)
class Compared:
    """Two servers of one model.

    Attributes:
        ratios: our texts a second over theirs, by round.
        rates: texts a second, ours and theirs, medians.
        cosine: the least of any text.
    """

    ratios: Sequence[float]
    rates: tuple[float, float]
    cosine: float


@contextmanager
def server(models: Models, threads: int) -> Iterator[int]:
    """Infinity with the bundle's encoder; its port.

    Raises:
        PeerFault: when its environment is not set up, or it does not start.
    """
    python = environments.python(models.environments, ENVIRONMENT)
    manifest = read(models.bundle).manifest
    heads = [name for name, spec in manifest.heads.items() if spec.kind == _KIND]
    if not heads:
        raise PeerFault(f"{models.bundle}: no head gives vectors, {_KIND}.")
    folder = models.folder("encoder", heads[:1])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python.parent / "infinity_emb"), "v2", "--engine", "torch", "--device", "cpu"]
    command += ["--model-id", str(folder), "--served-model-name", NAME, "--port", str(port)]
    own = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--log-level", "warning"],
        env={**inherited, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        _until_ready(process, port)
        yield port
    finally:
        process.terminate()
        process.communicate()


def compared(ours: tuple[int, str], theirs: int, texts: Sequence[str], *, rounds: int) -> Compared:
    """Look that the vectors are the same, then measure in turns.

    Args:
        ours: port of `polyhead serve`, and the name of the model there.
        theirs: port of infinity.
        texts: each as one of 32 in a request.
        rounds: each measures both.

    Raises:
        PeerFault: when a server fails, or vectors differ by more than `LEAST_COSINE`.
    """
    port, name = ours
    sent = {
        port: _requests(OURS, name, texts),
        theirs: _requests(THEIRS, NAME, texts),
    }
    cosine = float(np.min(np.sum(_vectors(port, sent[port]) * _vectors(theirs, sent[theirs]), 1)))
    if not cosine >= LEAST_COSINE:
        raise PeerFault(f"vectors differ: cosine {cosine:.3f}, expected {LEAST_COSINE} at least.")
    rates: dict[int, list[float]] = {port: [], theirs: []}
    for number in range(rounds):
        for each in (port, theirs) if number % 2 else (theirs, port):
            rates[each].append(len(texts) / _seconds(each, sent[each]))
    ratios = [a / b for a, b in zip(rates[port], rates[theirs], strict=True)]
    medians = float(np.median(rates[port])), float(np.median(rates[theirs]))
    return Compared(ratios, medians, cosine)


def _requests(path: str, model: str, texts: Sequence[str]) -> list[bytes]:
    firsts = range(0, len(texts), _BATCH)
    return [request(path, {"model": model, "input": list(texts[i : i + _BATCH])}) for i in firsts]


def _vectors(port: int, requests: Sequence[bytes]) -> NDArray[np.float64]:
    """Of all texts, in rows of length 1."""
    caller, rows = Caller(port), []
    try:
        for sent in requests:
            status, body = caller.ask(sent)
            if status != 200:
                raise PeerFault(f"port {port} answers {status}: {body[:300].decode()}")
            rows += [each["embedding"] for each in json.loads(body)["data"]]
    finally:
        caller.close()
    found = np.array(rows, np.float64)
    lengths: NDArray[np.float64] = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / lengths, np.float64)


def _seconds(port: int, requests: Sequence[bytes]) -> float:
    """Until all are answered, by callers that share them out."""
    left, wrong = iter(requests), list[int]()
    lock = threading.Lock()

    def call() -> None:
        caller = Caller(port)
        try:
            while True:
                with lock:
                    sent = next(left, None)
                if sent is None:
                    return
                status, _ = caller.ask(sent)
                if status != 200:
                    wrong.append(status)
        finally:
            caller.close()

    callers = [threading.Thread(target=call) for _ in range(_CALLERS)]
    begun = time.perf_counter()
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    if wrong:
        raise PeerFault(f"port {port} answers {wrong[0]}.")
    return time.perf_counter() - begun


def _until_ready(process: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + _START_S
    sent = request(THEIRS, {"model": NAME, "input": ["a"]})
    while process.poll() is None and time.monotonic() < end:
        try:
            caller = Caller(port)
        except OSError:
            time.sleep(0.2)
            continue
        status, _ = caller.ask(sent)
        caller.close()
        if status == 200:
            return
        time.sleep(0.2)
    process.kill()
    said = process.communicate()[1].strip().splitlines()
    raise PeerFault(f"infinity did not start: {said[-1] if said else 'it said nothing'}")
