"""A peer's process seen from the measuring side."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.requests import ANSWERS, READY

# Waiting threads that spin would take time from the other peers' processes.
_QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
_SHOWN = 200


class PeerProcess:
    """One peer in a process of its own; a context manager that ends the process."""

    def __init__(
        self,
        peer: str,
        folder: Path,
        *,
        threads: int,
        options: Mapping[str, Any] | None = None,
        python: Path | str = sys.executable,
        packages: Path | None = None,
        limit_s: float = 300.0,
    ) -> None:
        """Start the process and wait until the peer is loaded and warm.

        Args:
            peer: its name in `polyhead_bench.peers`.
            folder: of its model.
            threads: that it may use.
            options: what else its `load` takes, as plain data.
            python: the interpreter of its environment.
            packages: folder with `polyhead` and `polyhead_bench` for an environment without them.
            limit_s: seconds within which it has to be ready, and to answer every request.

        Raises:
            PeerFault: when the peer cannot be loaded; says what it printed last.
        """
        self.peer = peer
        self._limit = limit_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = {**os.environ, **_QUIET, "OMP_NUM_THREADS": str(threads)}
        if packages is not None:
            environment["PYTHONPATH"] = str(packages)
        settings = {**(options or {}), "started": time.time()}
        try:
            self._process = subprocess.Popen(
                [
                    *(
                        str(python),
                        "-m",
                        "polyhead_bench.harness.worker",
                        peer,
                        str(folder),
                        str(threads),
                    ),
                    json.dumps(settings),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the measuring side, which ends the others
            )
        except OSError as problem:
            self._said.close()
            raise PeerFault(f"the peer {peer!r}: {python}: cannot be started: {problem}") from None
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.ready = self._receive(READY, self._limit)
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request to a `polyhead_bench.harness.requests.PeerService`; wait for its answer.

        A request that names its own ``seconds`` has these on top of the limit.

        Raises:
            PeerFault: when the process crashed, hung or answered with something else.
        """
        line = json.dumps({"do": do, **request}) + "\n"
        # In a thread: a process that does not read would hold us up as soon as the pipe is full.
        writer = threading.Thread(target=self._write, args=(line.encode(),), daemon=True)
        writer.start()
        limit = self._limit + request.get("seconds", 0.0)
        answer = self._receive(ANSWERS[do], limit)
        writer.join(self._limit)
        if writer.is_alive():
            self._kill()
            raise PeerFault(f"the peer {self.peer!r} answered before it had read the request.")
        wanted = len(request.get("texts", ()))
        if isinstance(times := answer.get("ms"), list) and len(times) != wanted:
            raise PeerFault(f"the peer {self.peer!r} gave {len(times)} times for {wanted} texts.")
        return answer

    def close(self) -> None:
        """End the process and those that it started. May be called twice."""
        if self._said.closed:
            return
        self._kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what a dead process did not read is of no use
                if pipe is not None:
                    pipe.close()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        """Lines of the process, then an empty one; in a thread, so that a hang is noticed."""
        assert self._process.stdout is not None
        with suppress(ValueError):  # closed by `close`
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(b"")

    def _write(self, line: bytes) -> None:
        """What a dead process did not read shows at the end of its output."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _kill(self) -> None:
        """End the process's session: itself and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _receive(self, keys: Sequence[str], limit: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self._kill()
            raise PeerFault(
                f"the peer {self.peer!r} did not answer within {limit:g} s; it was stopped."
            ) from None
        if not line:
            self._ended()
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise PeerFault(
                f"the peer {self.peer!r} sent {line[:_SHOWN]!r}, expected a JSON object."
            )
        if missing := [key for key in keys if key not in message]:
            raise PeerFault(
                f"the peer {self.peer!r} sent {line[:_SHOWN]!r}, without {', '.join(missing)}."
            )
        return message

    def _ended(self) -> None:
        try:
            code = self._process.wait(self._limit)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        reason = " (killed; out of memory?)" if code == -signal.SIGKILL else ""
        raise PeerFault(
            f"the peer {self.peer!r} ended with code {code}{reason}:"
            f" {' '.join(said) or 'it said nothing'}"
        )
