"""What a run leaves on disk while it goes on, and what may be taken up again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from polyhead.system import atomic
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import Config
from polyhead_models.errors import CheckpointError
from polyhead_models.training import processes
from polyhead_models.training.trainer import COMPLETE

_STATE, _LOCK = "run.json", "lock"
_NONE, _TOLD = "not there", 5


def resumable(config: Config, target: Path) -> bool:
    """Whether ``train(…, resume=True)`` would go on, or keep what is there.

    False when `target`, or an interrupted run next to it, was made with other settings or data.
    """
    file = partial_folder(target) / _STATE
    try:
        if target.exists():
            return _made_from(target) == identity(config)
        return not file.is_file() or json.loads(file.read_text(encoding="utf-8")) == _run(
            identity(config)
        )
    except (CheckpointError, ValueError):
        return False


def partial_folder(target: Path) -> Path:
    """Where the run for `target` keeps its state."""
    return target.with_name(f".{target.name}.partial")


def identity(config: Config) -> dict[str, Any]:
    """What a run is made from: equal identities give equal checkpoints."""
    return {
        "config": config.settings,
        "data": {**checkpoints.digests(config), **checkpoints.teachers(config)},
    }


def _run(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What an interrupted run can only go on with; more processes would make other batches."""
    return {**identity, "processes": processes.count()}


def _made_from(target: Path) -> dict[str, Any]:
    description = checkpoints.describe(target)
    return {"config": description.asked.settings, "data": dict(description.data)}


def keeps(identity: Mapping[str, Any], target: Path, *, resume: bool, overwrite: bool) -> bool:
    """Whether the finished checkpoint at `target` stays; not when there is none or `overwrite`.

    `overwrite` replaces checkpoints only, never a folder of something else.

    Raises:
        CheckpointError: when something else is there, or neither flag was given.
    """
    if overwrite:
        if target.exists() and not checkpoints.is_checkpoint(target):
            raise CheckpointError(f"{target}: exists and is no checkpoint; it is left as it is.")
        return False
    if not target.exists():
        return False
    if not resume:
        raise CheckpointError(
            f"{target}: exists. Name another folder, start anew with --overwrite, pass --resume to"
            " keep it when it is up to date, or --epochs +N to train it for N epochs more."
        )
    _check_made_from(target, identity)
    return True


def continued(identity: Mapping[str, Any], target: Path, epochs: int) -> dict[str, Any]:
    """The identity of a run that trains the finished checkpoint at `target` for more epochs.

    Raises:
        CheckpointError: when there is none, or one of other settings or data.
    """
    before = checkpoints.describe(target).continued
    _check_made_from(target, identity)
    return {**identity, "continued": [*before, epochs]}


def _check_made_from(target: Path, identity: Mapping[str, Any]) -> None:
    if (found := _made_from(target)) != identity:
        raise CheckpointError(
            f"{target}: was trained with other settings or data: {_differing(found, identity)}."
            " Train into another folder, or start anew with --overwrite."
        )


@contextmanager
def claimed(
    target: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> Iterator[Path]:
    """Give the folder of the run's state, made or found, to this run alone; on success it goes.

    Raises:
        CheckpointError: when another run is there, the same without `resume`, or one at work.
    """
    partial = partial_folder(target)
    lock = processes.first(lambda: _locked(partial))
    try:
        processes.first(lambda: _claim(partial, identity, resume=resume, overwrite=overwrite))
        yield partial
        processes.first(lambda: _remove(partial))
    finally:
        if lock is not None and processes.index() == 0:
            os.close(lock)


def _locked(partial: Path) -> int | None:
    partial.mkdir(parents=True, exist_ok=True)
    (partial / _LOCK).touch()
    try:
        return atomic.take_lock(partial / _LOCK)
    except BlockingIOError as problem:
        raise CheckpointError(
            f"{partial}: another process is training here. Wait for it, stop it, or name another"
            " folder."
        ) from problem


def _claim(partial: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    if _interrupted(partial, identity, resume=resume, overwrite=overwrite):
        return
    (partial / _STATE).unlink(missing_ok=True)  # first: what is left after a kill is no run
    for left in partial.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != _LOCK:
            left.unlink()
    atomic.write(partial / _STATE, json.dumps(_run(identity)))


def _interrupted(
    partial: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> bool:
    """Whether there is a run to go on with."""
    file = partial / _STATE
    if overwrite or not file.is_file():
        return False
    if not resume:
        raise CheckpointError(
            f"{partial}: an interrupted run is here. Go on with --resume, or start anew with"
            " --overwrite."
        )
    _check_same_run(partial, json.loads(file.read_text(encoding="utf-8")), _run(identity))
    return True


def check(target: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Refuse now what `claimed` would refuse after long work.

    Raises:
        CheckpointError: when another run is interrupted there, or the same without `resume`.
    """
    _interrupted(partial_folder(target), identity, resume=resume, overwrite=overwrite)


def clear(target: Path) -> None:
    """Remove the state of a run that was killed when it was done."""
    partial = partial_folder(target)
    with suppress(OSError):  # nothing is there, or another process is training
        if (lock := atomic.take_lock(partial / _LOCK)) is not None:
            _remove(partial)
            os.close(lock)


def _remove(partial: Path) -> None:
    (partial / _STATE).unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


def _check_same_run(partial: Path, found: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    if {**found, "processes": run["processes"]} != run:
        raise CheckpointError(
            f"{partial}: the interrupted run had other settings or data: {_differing(found, run)}."
            " Start anew with --overwrite."
        )
    if found != run:
        raise CheckpointError(
            f"{partial}: the interrupted run had {found.get('processes')} processes, this one has"
            f" {run['processes']}. Start as many as it had, or anew with --overwrite."
        )


def _differing(found: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The settings and files in which two identities differ, the first few."""
    if not isinstance(found["config"], Mapping):
        return "an older polyhead wrote it, and not its settings"
    old, new = _flat(found["config"]), _flat(now["config"])
    settings = [key for key in {**old, **new} if old.get(key, _NONE) != new.get(key, _NONE)]
    told = [f"{key} was {old.get(key, _NONE)}, is {new.get(key, _NONE)}" for key in settings]
    if found.get("continued") != now.get("continued"):
        told.append("one of them trains a finished checkpoint on")
    old, new = found["data"], now["data"]
    files = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    told += [f"the files of {key.replace('.', ' ')} have changed" for key in files]
    return "; ".join(told[:_TOLD]) + ("; …" if len(told) > _TOLD else "")


def _flat(settings: Any, name: str = "") -> dict[str, str]:
    """Every setting by its dotted name, as JSON."""
    if not isinstance(settings, Mapping) or not settings:
        return {name: json.dumps(settings, ensure_ascii=False)}
    found: dict[str, str] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{name}.{key}" if name else key)
    return found


def last_complete(folder: Path) -> str | None:
    """The newest state in `folder` that was written to its end; None when there is none."""
    done = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    newest = max(done, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)
