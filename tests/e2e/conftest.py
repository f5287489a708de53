"""Servers in processes of their own."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
_PATIENCE_S = 120


class Server:
    """A command that listens on a port of this machine."""

    def __init__(self, command: list[str], folder: Path, log: Path, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(word.format(port=port) for word in command)],
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **environment,
                },
            )

    def wait(self, client: httpx.Client) -> None:
        """Until it answers anything."""
        for _ in range(_PATIENCE_S * 10):
            assert self.process.poll() is None, self.log.read_text()
            try:
                client.get("/health")
                return
            except httpx.TransportError:
                with pytest.raises(subprocess.TimeoutExpired):
                    self.process.wait(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self) -> str:
        """End it as a supervisor does; returns what it printed."""
        self.process.terminate()
        self.process.wait(_PATIENCE_S)
        return self.log.read_text()


@pytest.fixture(scope="session")
def committed() -> Path:
    """Nobody writes to it."""
    return ROOT / "tests" / "data" / "bundle"


@pytest.fixture
def serve(tmp_path: Path, committed: Path) -> Iterator[Callable[[str, str], Server]]:
    """Starts `python -m COMMAND` in the folder of an example; `{port}` is a free one."""
    servers: list[Server] = []

    def start(example: str, command: str) -> Server:
        folder, log = EXAMPLES / example, tmp_path / "log"
        server = Server(command.split(), folder, log, BUNDLE=str(committed), THREADS="1")
        servers.append(server)
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            server.wait(client)
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
