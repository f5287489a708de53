import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyhead.bundle import digest
from polyhead.tokenizing import Tokenizer

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session", params=["wordpiece", "byte_bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def edit_json() -> Callable[[Path, Edit], None]:
    """Changes a JSON file in place: `edit_json(path, lambda data: data.update(…))`."""

    def edit(path: Path, change: Edit) -> None:
        data = json.loads(path.read_text(encoding="utf-8"))
        change(data)
        path.write_text(json.dumps(data), encoding="utf-8")

    return edit


@pytest.fixture(scope="session")
def reseal(edit_json: Callable[[Path, Edit], None]) -> Callable[[Path], None]:
    """Writes the digests of a changed bundle's files into its manifest, as an attacker would."""

    def seal(folder: Path) -> None:
        def change(manifest: dict[str, Any]) -> None:
            parts = [manifest["tokenizer"], manifest["golden"], manifest["card"]]
            for entry in (*parts, *manifest["graphs"]):
                found = digest.entry(folder / entry["file"])
                entry.update(sha256=found.sha256, size=found.size)

        edit_json(folder / "manifest.json", change)

    return seal


@pytest.fixture(scope="session")
def command() -> tuple[list[str], dict[str, str]]:
    """How to start the command line in a process of its own: words and environment."""
    source = next(path for path in sys.path if path.endswith("runtime/src"))
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONUTF8": "1"}
    environment.pop("PYTHONUNBUFFERED", None)
    return [sys.executable, "-m", "polyhead.cli.main"], environment


@pytest.fixture(scope="session")
def polyhead(
    command: tuple[list[str], dict[str, str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `polyhead WORDS` with pipes; no run may end in a traceback."""
    start, environment = command

    def run(*words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*start, *map(str, words)],
            input=stdin,
            capture_output=True,
            env=environment,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    return run
