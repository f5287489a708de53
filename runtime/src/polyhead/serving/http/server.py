"""One process that serves: its socket, its signals, and its end."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from polyhead.errors import InvalidSetting, PolyheadError
from polyhead.serving.http.app import application
from polyhead.serving.http.service import Service
from polyhead.system.schema import whole_number

_log = logging.getLogger(__name__)
# A browser or a balancer may keep a connection so long without a request.
_KEEP_ALIVE_S = 75
_BACKLOG = 2048
# The event loop waits so long for Python's lock, in each turn, while a thread tokenises or decodes.
# Python's own is 5 ms, and a request has several turns.
_SWITCH_S = 0.0005


def bound(host: str, port: int) -> socket.socket:
    """A socket of this address, on which nothing is accepted yet; port 0 takes a free one.

    Raises:
        InvalidSetting: when this process may not have the address, or another has it.
    """
    whole_number("--port", port, least=0, most=65_535)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol's number, without which asyncio leaves TCP_NODELAY out.
        found = socket.socket(family, kind, protocol)
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(address)
        except BaseException:
            found.close()
            raise
    except OSError as problem:
        raise InvalidSetting(
            f"--host {host} --port {port}: {problem}. Give another address, or end what has it."
        ) from problem
    return found


def url(listener: socket.socket) -> str:
    """Where clients of this machine reach it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    service: Service,
    listener: socket.socket,
    *,
    started: Callable[[], object] = lambda: None,
    parent: int | None = None,
) -> None:
    """Answer until SIGTERM or Ctrl-C; SIGHUP reads the bundles again.

    What is under way at the end is answered within the seconds of grace, and no longer.

    Args:
        service: answers; loaded here.
        listener: bound.
        started: called when it answers.
        parent: a process with which this one ends, too.

    Raises:
        PolyheadError: when a bundle cannot be loaded.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        asyncio.run(_serve(service, listener, started, parent))
    finally:
        sys.setswitchinterval(before)


async def _serve(
    service: Service,
    listener: socket.socket,
    started: Callable[[], object],
    parent: int | None,
) -> None:
    async with service:
        config = uvicorn.Config(
            application(service),
            lifespan="off",  # the service is open already
            loop="asyncio",
            ws="none",
            proxy_headers=False,  # nobody is told where a request came from
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(service.settings.grace),
        )
        server = _Server(config, service, alone=parent is None)
        watching = asyncio.ensure_future(server.watch(started, parent))
        try:
            await server.serve([listener])
        finally:
            watching.cancel()


class _Server(uvicorn.Server):
    """Uvicorn's, with signals of the service's own."""

    def __init__(self, config: uvicorn.Config, service: Service, *, alone: bool) -> None:
        super().__init__(config)
        self._service, self._alone = service, alone
        self._reload: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's would raise them again at the end, and so end the process by a signal."""
        loop = asyncio.get_running_loop()
        # A terminal sends Ctrl-C to a parent, too, which then sends SIGTERM.
        interrupt = self._end if self._alone else lambda: None
        answered: dict[int, Callable[[], object]] = {
            signal.SIGTERM: self._end,
            signal.SIGINT: interrupt,
        }
        if hasattr(signal, "SIGHUP"):
            answered[signal.SIGHUP] = self._hang_up
        try:
            for number, answer in answered.items():
                loop.add_signal_handler(number, answer)
        except NotImplementedError:  # on Windows
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._end())
            yield
            return
        try:
            yield
        finally:
            for number in answered:
                loop.remove_signal_handler(number)

    async def watch(self, started: Callable[[], object], parent: int | None) -> None:
        """Tell when it answers, then look whether the parent is still there."""
        while not self.started:
            await asyncio.sleep(0.005)
        started()
        while parent is not None:
            if os.getppid() != parent:
                self.should_exit = True
                return
            await asyncio.sleep(1)

    def _end(self) -> None:
        if self.should_exit:
            self.force_exit = True  # asked twice: what is under way is not waited for
        self.should_exit = True

    def _hang_up(self) -> None:
        self._reload = asyncio.ensure_future(self._reloaded())

    async def _reloaded(self) -> None:
        try:
            await self._service.reload()
        except PolyheadError as problem:
            _log.error("reload: %s The old bundle goes on.", problem)
        else:
            _log.info("reloaded %s", ", ".join(self._service.models))
