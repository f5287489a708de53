"""Files in, a folder of files with their answers out: in many processes, and resumable."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from polyhead.bundle import hub, manifest_digest
from polyhead.errors import PolyheadError
from polyhead.inference import threads
from polyhead.serving.jobs.formats import ENDINGS, opened
from polyhead.serving.jobs.process import ProcessReport, ProcessSetup, serve_shards
from polyhead.serving.jobs.sources import InputFile, find
from polyhead.serving.jobs.state import STATE, JobSettings, JobState, ShardCounts, ShardOrder
from polyhead.serving.jobs.storage import OutputFolder
from polyhead.system.schema import whole_number

Tell = Callable[[int, int], None]
"""Is told how many rows this run has done, and how many it has to do."""


@dataclass(frozen=True)
class JobSummary:
    """What a run did.

    Attributes:
        output: the folder.
        bundle: digest of the bundle's manifest.
        shards: of the whole job.
        skipped: those that were finished before.
        total: counts of all finished shards.
        rows: that this run answered or put aside.
        seconds: of this run.
        failed: by input file, why a shard of it could not be answered.
    """

    output: str
    bundle: str
    shards: int
    skipped: int
    total: ShardCounts
    rows: int
    seconds: float
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        rate = self.rows / self.seconds if self.seconds else 0.0
        return {**asdict(self), "rows_per_second": round(rate, 1)}


def run(
    bundle: str | Path,
    inputs: Iterable[str],
    output: str,
    settings: JobSettings,
    *,
    processes: int | None = None,
    restart: bool = False,
    tell: Tell = lambda rows, of: None,
) -> JobSummary:
    """Answer every row of `inputs` once, whatever ended runs of the same job before.

    Args:
        bundle: as for `polyhead.load`.
        inputs: paths or URLs of files and folders.
        output: path or URL of the folder; missing ones are made.
        settings: of the job.
        processes: most that work at once, each with one thread; None for as many as cores.
        restart: remove what another bundle, or other settings, left in the folder.
        tell: how far it is.

    Raises:
        InvalidSetting: when the folder is of another bundle or other settings, or a setting is out
            of its range.
        InputError: when an input is missing, lacks a column, or changed since it was planned.
        BundleError: when the bundle cannot be read or trusted.
        PolyheadError: when another job writes there, or a process dies.
    """
    path = hub.located(bundle)
    digest, begun = manifest_digest(path), time.monotonic()
    count = threads.budget() if processes is None else whole_number("processes", processes)
    folder = OutputFolder(output)
    found = [InputFile.at(each) for each in find(inputs, ENDINGS)]
    folder.refuse_inside([each.path for each in found])
    with folder.locked():
        state = _planned(folder, digest, settings, found, restart=restart)
        todo = [number for number, shard in enumerate(state.shards) if shard.done is None]
        skipped = len(state.shards) - len(todo)
        setup = ProcessSetup(path.absolute(), digest, settings, output)
        with _started(setup, min(count, len(todo))) as pipes:
            rows, failed = _distribute(state, folder, todo, pipes, tell)
    total = sum((s.done for s in state.shards if s.done is not None), ShardCounts())
    seconds = round(time.monotonic() - begun, 3)
    return JobSummary(output, digest, len(state.shards), skipped, total, rows, seconds, failed)


def _planned(
    folder: OutputFolder,
    bundle: str,
    settings: JobSettings,
    found: Iterable[InputFile],
    *,
    restart: bool,
) -> JobState:
    """The state to go on from, in which all inputs are planned; it is written before anything."""
    names = folder.names()
    state = JobState.new(bundle, settings)
    before = JobState.read(folder) if STATE in names and not restart else state
    if any(shard.done and before.part(n) in names for n, shard in enumerate(before.shards)):
        before.refuse_other(bundle, settings)
        state = before
    for file in state.new_inputs(found):
        with opened(file.path, settings.read, settings.keep) as source:
            state.add(file, source.pieces(settings.shard_rows))
    valid = set()
    for number, shard in enumerate(state.shards):
        if state.part(number) not in names:
            state.finish(number, None)
        elif shard.done is not None:
            valid |= {state.part(number), state.bad(number)}
    state.write(folder)
    for name in names - valid:
        if state.is_result(name):  # of a job before this one, or of a shard that has to be redone
            folder.remove(name)
    return state


def _distribute(
    state: JobState,
    folder: OutputFolder,
    todo: Iterable[int],
    processes: Mapping[Connection, BaseProcess],
    tell: Tell,
) -> tuple[int, dict[str, str]]:
    """Have all shards answered. Rows that were done, and why shards failed, by input file."""
    waiting, active = deque(todo), dict(processes)
    of, rows, failed = sum(state.shards[n].piece.rows for n in waiting), 0, dict[str, str]()
    work: dict[Connection, ShardOrder] = {}
    while active:
        for pipe in wait(list(active)):
            assert isinstance(pipe, Connection)
            report = _received(pipe, active[pipe], work.get(pipe))
            rows += report.rows
            if report.counts is not None and report.shard is not None:
                state.finish(report.shard, report.counts)
                state.write(folder)
            elif report.problem is not None:
                if report.shard is None:
                    raise report.problem
                failed[work[pipe].file.path] = str(report.problem)
            if report.rows == 0:
                if waiting:
                    work[pipe] = state.order(waiting.popleft())
                    pipe.send(work[pipe])
                else:
                    pipe.send(None)
                    del active[pipe]
            tell(rows, of)
    return rows, failed


def _received(pipe: Connection, process: BaseProcess, order: ShardOrder | None) -> ProcessReport:
    """What a process says.

    Raises:
        PolyheadError: when it has died.
    """
    try:
        report = pipe.recv()
    except (EOFError, OSError) as problem:
        process.join()
        where = (
            "it loaded the bundle" if order is None else f"it answered rows of {order.file.path}"
        )
        raise PolyheadError(
            f"a process of this job died (exit code {process.exitcode}) while {where}. Run the same"
            " command again to go on; if memory was short, with fewer --processes."
        ) from problem
    assert isinstance(report, ProcessReport)
    return report


@contextmanager
def _started(setup: ProcessSetup, count: int) -> Iterator[dict[Connection, BaseProcess]]:
    """Processes that answer shards, by their pipes; they end with the block."""
    context = multiprocessing.get_context("spawn")
    found: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(
                target=serve_shards, args=(setup, theirs), daemon=True
            )
            process.start()
            theirs.close()
            found[ours] = process
        yield found
    except BaseException:
        for each in found.values():
            each.terminate()
        raise
    finally:
        for each in found.values():
            each.join()
