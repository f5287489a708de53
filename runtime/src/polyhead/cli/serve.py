"""Answer texts over HTTP with one bundle or several; needs 'pip install "polyhead[serve]"'.

POST /v1/predict answers a text, a list of texts, or pairs; GET /info says what is served. SIGTERM
answers what is under way and ends; SIGHUP reads the bundles again, under traffic.

Example:
  polyhead serve bundle/ --port 8000
  polyhead serve topics/ answers/ --name topics --name answers --workers 2 --deadline-ms 500
  curl localhost:8000/v1/predict -d '{"text": "Great phone, but the battery died in May."}'
"""

from __future__ import annotations

import argparse
import atexit
import os
import signal
import sys
import threading
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

from polyhead.cli import output
from polyhead.errors import InvalidSetting
from polyhead.inference import threads as thread_budget
from polyhead.serving import require_extra
from polyhead.serving.http.settings import ServiceSettings
from polyhead.serving.http.workers import WorkerProcesses, counted_together
from polyhead.system.schema import whole_number
from polyhead.system.shorten import counted


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead serve`."""
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="of a bundle in requests, once for each (names of the folders)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="0 takes a free one (default %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of each process (the cores, shared out among the processes)",
    )
    _add_limits(parser)
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="a key in each line, one of which requests must bring",
    )
    parser.add_argument(
        "--verify",
        choices=["digest", "golden", "none"],
        default="digest",
        help="what is checked at the start; golden: the trained model's answers (%(default)s)",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """What is refused, and when it ends."""
    limits = (
        ("max-queue", 1024, "most texts that wait"),
        ("max-body", 4 << 20, "most bytes of a request"),
        ("max-texts", 512, "most texts of a request"),
        ("max-characters", 200_000, "most characters of a text"),
    )
    for name, value, text in limits:
        parser.add_argument(
            f"--{name}", type=int, default=value, metavar="N", help=f"{text} (default %(default)s)"
        )
    parser.add_argument(
        "--deadline-ms",
        type=float,
        default=10_000,
        metavar="MS",
        help="to an answer; what cannot make it is refused at once (default %(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=10,
        metavar="SECONDS",
        help="for what is under way at the end (default %(default)s)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead serve`."""
    require_extra("starlette", "uvicorn", "msgspec", "prometheus_client")
    workers = whole_number("--workers", arguments.workers)
    if workers > 1 and not hasattr(os, "fork"):
        raise InvalidSetting("--workers: this system cannot fork. Start several processes.")
    with counted_together() if workers > 1 else nullcontext():
        # Only now: prometheus-client looks once, when it is imported, where to count.
        from polyhead.serving.http import server
        from polyhead.serving.http.service import Service, names_for

        served, settings = names_for(arguments.bundles, arguments.name), _settings(arguments)
        Service(served, settings)  # what is wrong with names and settings is told at once
        listener = server.bound(arguments.host, arguments.port)
        told = (
            f"{', '.join(served)} at {server.url(listener)}, {counted(workers, 'worker')} of"
            f" {counted(settings.threads or 1, 'thread')}"
        )
        if workers == 1:
            server.serve(Service(served, settings), listener, started=lambda: output.progress(told))
            _leave_what_computes()
            return 0
        output.progress(told)
        parent = os.getpid()

        def work() -> None:
            service = Service(served, settings)
            service.tell_others = lambda: os.kill(parent, signal.SIGHUP)
            server.serve(service, listener, parent=parent)

        return WorkerProcesses(work, workers, settings.grace).run()


def _leave_what_computes() -> None:
    """End the process here where a thread of a batcher still computes.

    If the interpreter ended first, that thread would end within C++ code, which aborts the process.
    """
    if any(thread.name.startswith("polyhead-") for thread in threading.enumerate()):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _settings(arguments: argparse.Namespace) -> ServiceSettings:
    names = [each.name for each in fields(ServiceSettings) if each.name in arguments]
    found = {name: getattr(arguments, name) for name in names}
    if arguments.threads is None:
        found["threads"] = max(1, thread_budget.budget() // arguments.workers)
    if arguments.api_key_file is not None:
        found["api_keys"] = _keys(arguments.api_key_file)
    return ServiceSettings(**found)


def _keys(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as problem:
        raise InvalidSetting(f"--api-key-file {file}: not a text file: {problem}.") from problem
    keys = tuple(line.strip() for line in lines if line.strip())
    if not keys:
        raise InvalidSetting(f"--api-key-file {file}: found no key, expected one in each line.")
    return keys
