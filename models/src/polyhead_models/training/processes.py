"""The processes of one training run, as `torchrun` starts them; alone, all of this is trivial.

Every process runs the same code. What one of them must do for all goes through `first`, what all do
and any may fail at is inside `together`: an error in one process is then an error in all, so that
none waits for another that has left. Where the processes meet all the time, as in the steps of the
training, an error is nobody else's: `ending` then ends the process, and the launcher all others.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import accelerate
import torch
from torch import distributed

from polyhead.errors import PolyheadError
from polyhead_models.errors import PeerError

T = TypeVar("T")

# The others wait while the first reads the validation texts; a peer that is gone is noticed sooner.
_PATIENCE = timedelta(hours=12)


def join() -> None:
    """Meet the other processes, as the environment variables of `torchrun` say; once is enough."""
    accelerate.PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
    if _several():  # the launcher's signal ends a process that waits inside of torch, too
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave() -> None:
    """End this process with code 0 if it is one of several; to be called when all has gone well.

    It ends without the interpreter's clean-up, in which threads of torch's back end now and then
    abort a run that is done ("terminate called without an active exception", torch 2.13, gloo).
    """
    if _several():
        wait()
        _exit(0)


def count() -> int:
    """How many processes train together: 1 before `join`."""
    return distributed.get_world_size() if _several() else 1


def index() -> int:
    """This process's number, from 0; the first writes and speaks."""
    return distributed.get_rank() if _several() else 0


def wait() -> None:
    """Go on when all processes are here."""
    if _several():
        distributed.barrier()


def outlast_first() -> None:
    """Wait until the first process has ended: a launcher stops all when one ends with an error."""
    with suppress(RuntimeError):  # "connection closed by peer", in the words of the back end
        wait()


@contextmanager
def ending() -> Iterator[None]:
    """An error inside the block ends this process at once, with code 1 and a message on stderr.

    Other processes wait for this one inside of torch, where no error reaches them; the launcher
    ends them when it sees one end. The first process, and one alone, raise as usual.

    Raises:
        PeerError: an error that all processes know of already.
    """
    try:
        yield
    except PeerError:
        raise
    except Exception as problem:
        if index() == 0:
            raise
        if not _known(problem):
            traceback.print_exc()
        sys.stderr.write(f"polyhead: process {index()}: {_words(problem)}\n")
        _exit(1)


def first(action: Callable[[], T]) -> T:
    """What `action` gives in the first process, for all; the other processes do not call it.

    Raises:
        PeerError: in the other processes, when `action` raises in the first.
    """
    made: list[Any] = [None]
    with together():
        if index() == 0:
            made[0] = action()
    if _several():
        distributed.broadcast_object_list(made, src=0)
    result: T = made[0]
    return result


@contextmanager
def together() -> Iterator[None]:
    """All processes get through the block, or all raise.

    Raises:
        PeerError: in processes that got through, when another raises.
    """
    if not _several():
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as problem:  # whatever it is, the others must not wait for this process
        failure = problem
    found = _gathered(None if failure is None else _words(failure))
    if failure is not None:
        raise failure
    for number, words in enumerate(found):
        if words is not None:
            raise PeerError(f"process {number}: {words}")


def same(value: T, *, what: str) -> T:
    """`value`, when it is equal in all processes.

    Args:
        value: anything that can be pickled and compared.
        what: name of the value, for the message.

    Raises:
        PeerError: in all processes, when it is not.
    """
    found = _gathered(value) if _several() else []
    for number, other in enumerate(found):
        if other != found[0]:
            raise PeerError(
                f"{what}: process {number} has others than process 0. Start all with the same files"
                " and arguments."
            )
    return value


def _gathered(value: object) -> list[Any]:
    """What each process gives, in the order of their numbers."""
    found: list[Any] = [None] * count()
    distributed.all_gather_object(found, value)
    return found


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _words(problem: Exception) -> str:
    return str(problem) if _known(problem) else f"{type(problem).__name__}: {problem}"


def _known(problem: Exception) -> bool:
    """Whether its message alone tells a user what is wrong."""
    return isinstance(problem, PolyheadError | OSError)
