"""A worker process seen from the measuring side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from polyhead.tokenizing import Input
from polyhead_bench.errors import BenchError

# Waiting threads that spin would take time from the other engine's process.
_QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


class Worker:
    """One engine in a process of its own; a context manager that ends the process."""

    def __init__(self, engine: str, folder: Path, *, threads: int) -> None:
        """Start the process and wait until the engine is loaded and warm.

        Raises:
            BenchError: when the engine cannot be loaded; says what it printed.
        """
        self.engine = engine
        self._process = subprocess.Popen(
            [sys.executable, "-m", "polyhead_bench.worker", engine, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **_QUIET, "OMP_NUM_THREADS": str(threads)},
        )
        try:
            self._receive()
        except BaseException:
            self._end()
            raise

    def answer(self, texts: list[Input]) -> tuple[list[float], list[dict[str, Any]]]:
        """Answer texts one at a time.

        Returns:
            Milliseconds and decisions by head, one of each a text.

        Raises:
            BenchError: when the process died.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(texts) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._died()
        answer = self._receive()
        return answer["ms"], answer["decisions"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(BrokenPipeError):  # what a dead engine did not read is of no use
                if pipe is not None:
                    pipe.close()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._died()
        message: dict[str, Any] = json.loads(line)
        return message

    def _died(self) -> None:
        assert self._process.stderr is not None
        said = self._process.stderr.read().strip().splitlines()[-1:]
        raise BenchError(
            f"the engine {self.engine!r} ended with code {self._process.wait()}:"
            f" {' '.join(said) or 'it said nothing'}"
        )
