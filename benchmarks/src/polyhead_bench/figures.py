"""What is measured of a bundle, each in a process of its own (`polyhead_bench.isolated`).

Started as ``python -m polyhead_bench.figures FIGURE BUNDLE SETTINGS``; prints JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from polyhead import Embedding, Engine, Prediction, load
from polyhead.bundle import read
from polyhead.heads import decoder
from polyhead.inference import threads as thread_budget
from polyhead.inference.session import OnnxSession
from polyhead_bench import schedules, traffic

_LEAST_S = 0.5  # a round of a small bundle is repeated until it takes so long


def throughput(
    bundle: Path, *, texts: int, rounds: int, seed: int, other: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Texts a second over a list, all cores; tokenising and decoding included.

    `other` has the settings of `polyhead_bench.schedules.answering`, for another graph of the same
    weights; None for the engine's own way.
    """
    items = traffic.texts(bundle, traffic.lengths(texts, seed, traffic.longest(bundle)), seed)
    with load(bundle) as engine:
        answer: Callable[[Sequence[str]], list[Prediction]]
        answer = engine.predict if other is None else schedules.answering(engine, **other)
        decisions = _decisions(answer(items))
        seconds = []
        for _ in range(rounds):
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < _LEAST_S:
                answer(items)
                count += 1
            seconds.append((time.perf_counter() - start) / count)
    return {"texts_per_s": [texts / s for s in seconds], "decisions": decisions}


def overhead(bundle: Path, *, tokens: int, calls: int, seed: int) -> dict[str, Any]:
    """Microseconds of one text through one classification head, and the parts of it."""
    (text,) = traffic.texts(bundle, [tokens], seed)
    manifest = read(bundle).manifest
    graph = next(g for g in manifest.graphs if g.layout == "exact")
    head = next((n for n in graph.heads if manifest.heads[n].kind == "classification.v1"), None)
    head = head or graph.heads[0]
    spec = manifest.heads[head]
    item = text if spec.input == "text" else (text, text)
    session, face = OnnxSession(bundle / graph.file), decoder(head, spec)
    with load(bundle, threads=1) as engine:
        (encoding,) = engine.encode([item])
        feeds = encoding.feeds(session.inputs)
        logits = session.run([spec.output], feeds)[0][0]
        steps: dict[str, Callable[[], object]] = {
            "whole": lambda: engine(item, heads=[head]),
            "run": lambda: session.run([spec.output], feeds),
            "tokenise": lambda: engine.encode([item]),
            "decode": lambda: face.decode(logits, encoding),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(calls):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                times[name].append((time.perf_counter() - start) * 1e6)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    outside = medians["whole"] - medians["run"]
    rest = outside - medians["tokenise"] - medians["decode"]
    return {**medians, "outside": outside, "rest": rest, "tokens": len(encoding), "head": head}


def intra_op(
    bundle: Path, *, tokens: Sequence[int], calls: int, threads: int, seed: int
) -> dict[str, Any]:
    """Milliseconds of a lone text by its length, with one thread and with the engine's several.

    In turns, and in the other order each time. Both engines have the same budget.
    """
    thread_budget.WIDE_FROM = 1  # of this process, which is here for this figure
    found: dict[str, Any] = {}
    with (
        load(bundle, threads=threads, intra_op_threads=1) as one,
        load(bundle, threads=threads) as all_,
    ):
        engines = [("one", one), ("all", all_)]
        for count, text in zip(tokens, traffic.texts(bundle, tokens, seed), strict=True):
            times: dict[str, list[float]] = {name: [] for name, _ in engines}
            for call in range(calls + 3):
                for name, engine in engines if call % 2 else engines[::-1]:
                    start = time.perf_counter()
                    engine(text)
                    times[name].append((time.perf_counter() - start) * 1e3)
            found[str(count)] = {name: values[3:] for name, values in times.items()}
    return {"threads": thread_budget.wide(threads), "ms": found}


def concurrency(bundle: Path, *, threads: int, calls: int, texts: int, seed: int) -> dict[str, Any]:
    """Threads that call one engine, text by text: errors, and answers unlike a single thread's."""
    items = traffic.texts(bundle, traffic.lengths(texts, seed, traffic.longest(bundle)), seed)
    with load(bundle) as engine:
        expected = [_digest(engine(item)) for item in items]

        def work(number: int) -> tuple[int, int]:
            errors = different = 0
            for call in range(calls):
                place = (number * 31 + call) % len(items)
                try:
                    different += _digest(engine(items[place])) != expected[place]
                except Exception:
                    errors += 1
            return errors, different

        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(work, range(threads)))
        seconds = time.perf_counter() - start
    errors, different = (sum(column) for column in zip(*found, strict=True))
    total = threads * calls
    return {
        "calls": total,
        "errors": errors,
        "different": different,
        "calls_per_s": total / seconds,
    }


def memory(bundle: Path, *, few: int, many: int, seed: int) -> dict[str, Any]:
    """MiB of resident memory after `few` texts of mixed lengths, and after `many`."""
    items = traffic.texts(bundle, traffic.lengths(many, seed, traffic.longest(bundle)), seed)
    with load(bundle) as engine:
        loaded = _rss()
        _by_lists(engine, items[:few])
        after_few = _rss()
        _by_lists(engine, items[few:])
    return {"loaded": loaded, "few": after_few, "many": _rss()}


def memory_by(
    bundle: Path, *, batch_tokens: int, threads: int, texts: int, seed: int
) -> dict[str, Any]:
    """MiB of resident memory after `texts` texts, with these settings of the engine."""
    items = traffic.texts(bundle, traffic.lengths(texts, seed, traffic.longest(bundle)), seed)
    with load(bundle, batch_tokens=batch_tokens, threads=threads) as engine:
        engine.predict(items)
        return {"mib": _rss()}


def soak(bundle: Path, *, minutes: float, threads: int, slices: int, seed: int) -> dict[str, Any]:
    """Threads that ask for `minutes`, texts alone and in lists; memory and latency by slice."""
    items = traffic.texts(bundle, traffic.lengths(2000, seed, traffic.longest(bundle)), seed)
    marks: list[dict[str, float]] = []
    with load(bundle) as engine:
        expected = [_digest(engine(item)) for item in items]
        times: list[list[float]] = [[] for _ in range(threads)]
        wrong = [0] * threads
        stop = threading.Event()

        def work(number: int) -> None:
            random = np.random.default_rng(seed + number)
            while not stop.is_set():
                size = 1 if random.random() < 0.9 else int(random.integers(2, 33))
                places = random.integers(0, len(items), size)
                start, taken = time.perf_counter(), float("inf")
                try:
                    found = engine.predict([items[place] for place in places])
                    taken = time.perf_counter() - start
                    digests = map(_digest, found)
                    same = all(d == expected[p] for d, p in zip(digests, places, strict=True))
                except Exception:
                    same = False
                wrong[number] += not same
                if size == 1:
                    times[number].append(taken * 1e3)

        workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for _ in range(slices):
            time.sleep(minutes * 60 / slices)
            slice_ = [ms for part in times for ms in part]
            times[:] = [[] for _ in range(threads)]
            p50, p99 = np.percentile(slice_ or [float("inf")], [50, 99])
            marks.append({"rss": _rss(), "p50": p50, "p99": p99, "texts": len(slice_)})
        stop.set()
        for worker in workers:
            worker.join()
    return {"slices": marks, "wrong": sum(wrong)}


FIGURES: dict[str, Callable[..., dict[str, Any]]] = {
    "throughput": throughput,
    "overhead": overhead,
    "intra_op": intra_op,
    "concurrency": concurrency,
    "memory": memory,
    "memory_by": memory_by,
    "soak": soak,
}


def _by_lists(engine: Engine, items: Sequence[str]) -> None:
    """As a service asks: sometimes one text, sometimes a few dozen."""
    place, sizes = 0, (1, 1, 4, 32, 1, 16)
    while place < len(items):
        size = sizes[place % len(sizes)]
        engine.predict(items[place : place + size])
        place += size


def _decisions(predictions: Sequence[Prediction]) -> list[str]:
    """A digest of each decision, head by head, text by text; embeddings decide nothing."""
    return [
        hashlib.sha256(str(result.decision).encode()).hexdigest()[:12]
        for prediction in predictions
        for result in prediction.results.values()
        if not isinstance(result, Embedding)
    ]


def _digest(prediction: Prediction) -> int:
    return hash(json.dumps(prediction.to_dict()))


def _rss() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


if __name__ == "__main__":
    result = FIGURES[sys.argv[1]](Path(sys.argv[2]), **json.loads(sys.argv[3]))
    sys.stdout.write(json.dumps(result) + "\n")
