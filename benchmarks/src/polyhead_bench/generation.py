"""Time of writing 32 tokens in T5-small's shape: against CTranslate2 and transformers.

    python -m polyhead_bench.generation --models build/bench/generation

Weights are random, which matters to no time; int8 is taken whatever it loses. All get the same
texts in turns, one at a time, each engine in a process of its own on equal threads. Prints a table
with pass or fail; the exit code is 1 where something failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyhead.cli import output
from polyhead_bench import environments
from polyhead_bench.convert import writing
from polyhead_bench.errors import PeerFault
from polyhead_bench.goals import Row, row

_OVER_CTRANSLATE2, _OVER_TRANSFORMERS = 1.3, 0.35
_TOKENS = 32
_SOURCES = (64, 128)  # tokens, the end among them
_SCRIPT = environments.SCRIPTS / "writer.py"
INT8, FP32, PEER, ORIGINAL = "polyhead int8", "polyhead fp32", "CTranslate2 int8", "transformers"


@dataclass(frozen=True)
class TimedText:
    """What an engine wrote for a text, and the milliseconds that it took."""

    text: str
    tokens: int
    ms: float


Writer = Callable[[str], TimedText]
Writers = Mapping[str, Writer]


def main() -> int:
    """Measure, and say what passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, help="kept here, and not made where they are there")
    parser.add_argument("--environments", type=Path, default=Path("build/peers"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that is not quiet")
    parser.add_argument("--json", action="store_true", help="the rows and all times as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder, lacking = given.models or Path(name), ""
        writing.make(folder)
        writers = {}
        for engine, (kind, form) in _FORMS.items():
            try:
                python = _python(given.environments, folder, kind)
                started = writer(kind, folder / form, python, given.threads, cpu=given.cpu_time)
                writers[engine] = running.enter_context(started)
            except PeerFault as fault:
                if engine != PEER:
                    raise
                lacking = str(fault)
        random, times, rows = np.random.default_rng(7), {}, []
        for tokens in _SOURCES:
            texts = [writing.words(tokens - 1, random) for _ in range(given.texts)]
            times[tokens] = measured(writers, texts, given.rounds)
            rows += compared(tokens, times[tokens], lacking)
        rows += checked(writers, texts)
    if given.json:
        output.write_json({"rows": rows, "ms": times, "cpu_time": given.cpu_time})
    else:
        output.write(output.table(["what", "measured", "goal", ""], rows))
    return 0 if all(each[-1] != "fail" for each in rows) else 1


_FORMS = {
    INT8: ("polyhead", "int8"),
    FP32: ("polyhead", "fp32"),
    PEER: ("ctranslate2", "ctranslate2"),
    ORIGINAL: ("transformers", "model"),
}
"""Engines of ``writer.py``, and the folders that they read."""


def _python(cache: Path, models: Path, kind: str) -> Path:
    """The interpreter of an engine; CTranslate2's model is made with its own."""
    if kind != "ctranslate2":
        return Path(sys.executable)
    python = environments.python(cache, kind)
    writing.make_ctranslate2(models, python)
    return python


@contextmanager
def writer(kind: str, folder: Path, python: Path, threads: int, *, cpu: bool) -> Iterator[Writer]:
    """An engine in a process of its own.

    Args:
        kind: of `ENGINES` in ``writer.py``.
        folder: of its model.
        python: of its environment.
        threads: that it may use.
        cpu: whether times are the CPU's, of all its threads together.

    Raises:
        PeerFault: when it cannot start, and from the writer when it ends.
    """
    own = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    kept = {k: v for k, v in os.environ.items() if kind == "polyhead" or k != "PYTHONPATH"}
    words = [python, _SCRIPT, kind, folder, _TOKENS, threads]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [str(word) for word in words],
            env=kept | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            encoding="utf-8",
        )

        def hear() -> str:
            assert process.stdout is not None
            if line := process.stdout.readline():
                return line
            said.seek(0)
            raise PeerFault(f"{kind} ended: {(said.read().strip() or 'it said nothing')[-300:]}")

        def write(text: str) -> TimedText:
            assert process.stdin is not None
            print(json.dumps(text), file=process.stdin, flush=True)
            written, tokens, *ms = json.loads(hear())
            return TimedText(written, tokens, ms[cpu])

        try:
            hear()
            yield write
        finally:
            process.kill()
            process.communicate()


def measured(writers: Writers, texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds a text of each engine, the median of each round; every text in turns.

    Raises:
        PeerFault: when an answer has not as many tokens as were asked for.
    """
    found: dict[str, list[float]] = {name: [] for name in writers}
    for number in range(rounds):
        times: dict[str, list[float]] = {name: [] for name in writers}
        for text in texts:
            for name in list(writers)[:: -1 if number % 2 else 1]:
                answer = writers[name](text)
                if answer.tokens != _TOKENS:
                    raise PeerFault(f"{name} wrote {answer.tokens} tokens, expected {_TOKENS}.")
                times[name].append(answer.ms)
        for name, own in times.items():
            found[name].append(float(np.median(own)))
    return found


def compared(tokens: int, times: Mapping[str, Sequence[float]], lacking: str) -> list[Row]:
    """Ours over the others', and the times themselves; `lacking`: why a peer was left out."""
    rows: list[Row] = []
    for name, goal in ((PEER, _OVER_CTRANSLATE2), (ORIGINAL, _OVER_TRANSFORMERS)):
        what = f"source of {tokens} tokens: {INT8} over {name}"
        if name in times:
            ratios = [ours / own for ours, own in zip(times[INT8], times[name], strict=True)]
            rows.append(row(what, ratios, "<=", goal))
        else:
            rows.append((what, f"left out: {lacking}", f"<= {goal:g}", ""))
    shown = ", ".join(f"{name} {np.median(own):.0f}" for name, own in times.items())
    return [*rows, (f"ms for {_TOKENS} tokens", shown, "", "")]


def checked(writers: Writers, texts: Sequence[str]) -> list[Row]:
    """Whether all compute the same: fp32 to the token, int8 most of the tokens."""
    found = {
        name: [word for text in texts for word in write(text).text.split()]
        for name, write in writers.items()
    }
    rows: list[Row] = []
    wanted = found.pop(ORIGINAL)
    for name, tokens in found.items():
        same = sum(a == b for a, b in zip(tokens, wanted, strict=False))
        share, what = same / max(1, len(wanted)), f"{name}: tokens that {ORIGINAL} wrote, share"
        rows.append(row(what, [share], ">=", 1) if name == FP32 else (what, f"{share:.3f}", "", ""))
    return rows


if __name__ == "__main__":
    sys.exit(main())
