"""A client of HTTP/1.1 that does as little as a client can: what it takes, the server cannot have.

Keep-alive, answers that say their length, one request at a time on a connection.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

Answered = Callable[[int], object]


def request(path: str, body: object) -> bytes:
    """A POST of JSON."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Caller:
    """A connection whose thread waits for each answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 600)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, sent: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._socket.sendall(sent)
        received = b""
        while (found := _answer(received)) is None:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the server hung up")
            received += data
        return found

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Connection(asyncio.Protocol):
    """A connection of an event loop; the answer calls back."""

    def __init__(self) -> None:
        self._received = b""
        self._answered: Answered | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Wait for all that the head announces."""
        self._received += data
        if (found := _answer(self._received)) is not None and self._answered is not None:
            answered, self._answered, self._received = self._answered, None, b""
            answered(found[0])

    def ask(self, sent: bytes, answered: Answered) -> None:
        """Send a request; `answered` gets the status."""
        self._answered = answered
        self._transport.write(sent)

    def close(self) -> None:
        """Hang up, in the next turn of the loop."""
        self._transport.close()


async def connected(port: int) -> Connection:
    """A connection to this machine."""
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Connection, "127.0.0.1", port))[1]


def _answer(received: bytes) -> tuple[int, bytes] | None:
    """Status and body; None as long as something is missing."""
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return None
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    return (int(head[9:12]), body) if len(body) >= length else None
