"""A process of a job: shards come in over a pipe, their counts go out."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pyarrow as pa

from polyhead.bundle import manifest_digest
from polyhead.errors import InputError, InvalidSetting, PolyheadError
from polyhead.loading import load
from polyhead.serving.jobs.shards import ShardWriter
from polyhead.serving.jobs.state import JobSettings, ShardCounts, ShardOrder
from polyhead.serving.jobs.storage import OutputFolder


@dataclass(frozen=True)
class ProcessSetup:
    """What a process begins with.

    Attributes:
        path: the bundle's folder.
        bundle: digest of its manifest.
        settings: of the job.
        output: the folder that it writes to.
    """

    path: Path
    bundle: str
    settings: JobSettings
    output: str


@dataclass(frozen=True)
class ProcessReport:
    """What a process says.

    Attributes:
        rows: done since its last report.
        shard: number of the shard that it is about; None before the first.
        counts: of a shard that is finished.
        problem: why the shard, or without one the process, cannot go on.
    """

    rows: int = 0
    shard: int | None = None
    counts: ShardCounts | None = None
    problem: PolyheadError | None = None


def serve_shards(setup: ProcessSetup, pipe: Connection) -> None:
    """Answer shards until the pipe says None, with one thread. Ends with the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the parent ends this process
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        writer = _writer(setup)
    except (PolyheadError, OSError) as problem:
        pipe.send(ProcessReport(problem=_portable(problem)))
        return
    pipe.send(ProcessReport())
    while (order := pipe.recv()) is not None:
        pipe.send(_report(writer, order, pipe))


def _writer(setup: ProcessSetup) -> ShardWriter:
    found = manifest_digest(setup.path)
    if found != setup.bundle:
        raise InvalidSetting(f"{setup.path}: another bundle is here than when the job began.")
    policy = setup.settings.on_overflow
    engine = load(setup.path, threads=1, heads=setup.settings.heads, on_overflow=policy)  # type: ignore[arg-type]
    return ShardWriter(engine, setup.settings, setup.bundle, OutputFolder(setup.output))


def _report(writer: ShardWriter, order: ShardOrder, pipe: Connection) -> ProcessReport:
    def tell(rows: int) -> None:
        pipe.send(ProcessReport(rows, order.number))

    try:
        counts = writer.write(order.file, order.piece, order.names, tell)
    except (PolyheadError, OSError) as problem:
        return ProcessReport(shard=order.number, problem=_portable(problem))
    return ProcessReport(shard=order.number, counts=counts)


def _portable(problem: Exception) -> PolyheadError:
    """An error that can be sent: of the tree, with its message."""
    if isinstance(problem, InputError):
        return type(problem)(str(problem))
    return PolyheadError(f"{type(problem).__name__}: {problem}")


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
