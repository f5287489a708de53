"""results.json: all samples of one run, and what the run was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.system import atomic
from polyhead.system.schema import parse, plain, read_json
from polyhead_bench.errors import BenchError

FORMAT = "polyhead-bench"
VERSION = 2
_READ = (1, VERSION)
FILE = "results.json"
_LIMIT = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run.

    Attributes:
        format: always ``"polyhead-bench"``.
        version: of this format.
        command: that made it.
        started: UTC, ISO 8601.
        machine: see `polyhead_bench.machine.describe`.
        model: name, heads, digest and sizes of what was measured.
        texts: what they were, how many, their tokens, and the digest.
        threads: of each peer.
        rounds: of each peer.
        bound_ms: that p99 had to stay below in the open loop.
        baseline: the peer that ratios are of.
        peers: by name: what it is, what it says of itself, its agreement with the PyTorch model by
            head, and what went wrong, if anything did.
        scenarios: by name, what `polyhead_bench.scenarios` measured.
        complete: False when the run was interrupted.
        asked: names of the scenarios that were asked for; empty in runs of version 1.
    """

    format: str
    version: int
    command: str
    started: str
    machine: Mapping[str, Any]
    model: Mapping[str, Any]
    texts: Mapping[str, Any]
    threads: int
    rounds: int
    bound_ms: float
    baseline: str
    peers: Mapping[str, Any]
    scenarios: Mapping[str, Any]
    complete: bool = True
    asked: tuple[str, ...] = ()


def write(folder: Path, results: Results) -> None:
    """Write ``results.json``, whole or not at all."""
    text = json.dumps(plain(results), indent=1, ensure_ascii=False, allow_nan=False)
    atomic.write(folder / FILE, text + "\n")


def read(path: Path) -> Results:
    """Read a file of results, or the folder that holds it.

    Raises:
        BenchError: when it is missing, no results, or newer.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise BenchError(f"{file}: no such file; expected results of 'polyhead bench run'.")
    data = read_json(file, limit_bytes=_LIMIT, error=BenchError)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BenchError(f"{file}: no results of 'polyhead bench run'.")
    if data.get("version") not in _READ:
        raise BenchError(
            f"{file}: format version {data.get('version')}; this polyhead-bench reads"
            f" {' and '.join(map(str, _READ))}."
        )
    return parse(Results, data, where=str(file), error=BenchError)
