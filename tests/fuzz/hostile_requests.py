"""Requests as no well-meant client sends them, in bytes, and what a server says to them.

Each begins as a good one of some route; then its JSON, its encoding, its head or its framing is
spoilt, most often one of them.
"""

import gzip
import json
import random
import socket
import time
from dataclasses import dataclass, field
from typing import Any

KEY = "fuzz-key"
MODEL = "tiny"
ANSWER_S = 60
"""Seconds after which a request without an answer is a hang; a server's own limit is 30."""

_INFER = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
BODIES: dict[str, tuple[Any, ...]] = {
    "/v1/predict": (
        {"text": "The parcel was late."},
        {"texts": ["né à 東京 👍", "", ["who?", "Anna"]], "offsets": "utf16"},
        {"text": "a", "query": "b", "heads": ["topic"], "options": {"topic": {"top": 1}}},
        {"text": "a", "deadline_ms": 900, "model": MODEL},
    ),
    "/v1/tokenize": ({"text": "né à 東京"}, {"texts": ["a", "b"], "offsets": "utf16"}),
    "/v1/embeddings": (
        {"input": "a", "model": MODEL},
        {"input": ["a", "b"], "model": MODEL, "encoding_format": "base64", "dimensions": 8},
    ),
    f"/v2/models/{MODEL}/infer": (
        {"inputs": [_INFER], "outputs": [{"name": "topic"}], "id": "1"},
        {"inputs": [_INFER], "parameters": {"binary_data_output": True, "timeout": 900_000}},
    ),
    f"/v2/models/{MODEL}/versions/1/infer": ({"inputs": [_INFER]},),
    "/admin/reload": ({},),
}
_READ = ("/", "/docs", "/info", "/livez", "/readyz", "/metrics", "/openapi.json", "/v1/models")
_READ += ("/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}")
_NO_PATHS = ("/v1/predict/", "//", "/v2/models/%00/infer", "/../../etc/passwd", "/%ff%fe", "*")
_NO_PATHS += ("/v1/" + "x" * 5000, "http://other/v1/predict", "/v2/models/\xe9/infer")
_METHODS = ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "post", "P OST")
_TYPES = ("text/plain", "multipart/form-data; boundary=x", "application/xml", "a" * 3000, "\x01")
_JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, -(2**63) - 1, 2**64, 10**400, 0.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", " ", "\0", "\ud800", "a\udfff", "\ufeff", "\U0010ffff"),
    *("x" * 5000, "e\u0301" * 300, [], {}, [[]], [None], {"": None}, [["a", "b", "c"]], [{}]),
    *("topic", "answer", "float", "NaN", "1", "../..", "é" * 9, ["topic"] * 40, list(range(600))),
)


@dataclass
class Sent:
    """A request in the parts that are sent, and whether it ends before it is whole."""

    parts: list[bytes]
    cut: bool = False
    about: list[str] = field(default_factory=list)


def request(number: object) -> Sent:
    """The request of a number, always the same."""
    chance = random.Random(str(number))
    if chance.random() < 0.03:
        return Sent([chance.randbytes(chance.randint(1, 3000))], True, ["noise"])
    path = chance.choice([*BODIES] * 3 + [*_READ] + [*_NO_PATHS])
    method = "POST" if path in BODIES else "GET"
    about = [path[:60]]
    body = _body(chance, chance.choice(BODIES.get(path, BODIES["/v1/predict"])), about)
    if chance.random() < 0.08:
        method = chance.choice(_METHODS)
    headers = _headers(chance, body, about)
    sent = _framed(chance, body, headers, about)
    head = f"{method} {path}{_query(chance)} HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    sent.parts.insert(0, (head + lines + "\r\n").encode("utf-8", "surrogatepass"))
    return sent


def _body(chance: random.Random, value: Any, about: list[str]) -> bytes:
    """A body: JSON with junk in it, or spoilt as text or as bytes."""
    value = json.loads(json.dumps(value))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        value = _spoilt(chance, value)
    kind = chance.choice(["plain"] * 8 + ["deep", "bytes", "cut", "encoding", "repeated", "tail"])
    about.append(kind)
    if kind == "deep":
        depth = chance.choice((50, 1000, 200_000))
        begin, end = chance.choice((("[", "]"), ('{"a":', "}")))
        text = begin * depth + "1" + end * chance.choice((depth, depth - 1, 0))
        return f'{{"text": {text}}}'.encode()
    text = json.dumps(value, ensure_ascii=chance.random() < 0.7)
    if kind == "repeated":
        text = f'{{"text": "a", "text": {text}, "texts": {text}}}'
    raw = text.encode("utf-8", "surrogatepass")
    if kind == "encoding":
        return text.encode(chance.choice(("utf-16", "utf-32", "utf-8-sig", "cp037")), "replace")
    if kind == "cut":
        return raw[: chance.randrange(len(raw) + 1)]
    if kind == "tail":
        return raw + chance.choice((b"\0", b"{}", b"]", b"\xff" * 9, b" " * 9000))
    if kind == "bytes":
        spoilt = bytearray(raw)
        for _ in range(chance.randint(1, 6)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        return bytes(spoilt)
    return raw


def _spoilt(chance: random.Random, value: Any) -> Any:
    """The same value with junk at one place, or a name that is another."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice([*value])
        if chance.random() < 0.1:
            return {**value, chance.choice(("x", "", "topic", "é")): chance.choice(_JUNK)}
        if chance.random() < 0.1:
            return {other: kept for other, kept in value.items() if other != name}
        return {**value, name: _spoilt(chance, value[name])}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], _spoilt(chance, value[place]), *value[place + 1 :]]
    return chance.choice(_JUNK)


def _headers(chance: random.Random, body: bytes, about: list[str]) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    strange = {
        "Authorization": chance.choice(("", "Bearer", "Bearer other", "Basic eDp5", "\x80" * 99)),
        "Content-Type": chance.choice(_TYPES),
        "Content-Encoding": chance.choice(("gzip", "br", "\xff")),
        "Accept": "image/png",
        "Expect": "100-continue",
        "traceparent": chance.choice(("00-0-0-0", "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "\0")),
        "Inference-Header-Content-Length": chance.choice(
            ("-1", "0", "9" * 30, "²", str(len(body) // 2), str(len(body)), str(len(body) + 1))
        ),
        "X-" + "a" * chance.choice((1, 70_000)): "b",
        "Cookie": "c" * 9000,
        "Upgrade": "websocket",
    }
    for name in chance.sample([*strange], chance.choice((0, 0, 0, 1, 1, 2))):
        headers[name] = strange[name]
        about.append(name[:30])
    return headers


def _framed(chance: random.Random, body: bytes, headers: dict[str, str], about: list[str]) -> Sent:
    """The body in its parts, and its length among the headers."""
    kind = chance.choice(["length"] * 8 + ["chunked", "chunked", "short", "wrong", "both", "none"])
    about.append(kind)
    if chance.random() < 0.03:
        body = gzip.compress(body)
    if kind == "none":
        return Sent([body], bool(body), about)
    if kind in ("chunked", "both"):
        headers["Transfer-Encoding"] = chance.choice(("chunked", "chunked", "Chunked", "gzip"))
        if kind == "both":
            headers["Content-Length"] = str(len(body))
        parts = [_chunk(body[i : i + 7]) for i in range(0, len(body), max(7, len(body) // 4))]
        end = chance.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"", b"zz\r\n", b"ffffffffffffffffff\r\n"))
        return Sent([*parts, end], True, about)
    length: object = len(body)
    if kind == "short":
        length = len(body) + chance.randint(1, 100)
    if kind == "wrong":
        length = chance.choice((-1, "1e3", "", 2**70, len(body) // 2, "٣", f"{len(body)}, 1"))
    headers["Content-Length"] = str(length)
    half = chance.randrange(len(body) + 1)
    return Sent([body[:half], body[half:]], kind != "length", about)


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


def _query(chance: random.Random) -> str:
    return chance.choice([""] * 9 + ["?model=tiny", "?model=other", "?%ff&&=", "?" + "q" * 3000])


def ask(address: tuple[str, int], sent: Sent) -> tuple[int | None, bytes]:
    """Status and bytes of the answer; None where the server only hung up.

    Raises:
        TimeoutError: when it does neither.
    """
    until = time.monotonic() + ANSWER_S
    with socket.create_connection(address, ANSWER_S) as connection:
        answer = bytearray()
        try:
            for part in sent.parts:
                connection.sendall(part)
            if sent.cut:
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                answer += data
                if time.monotonic() > until:
                    raise TimeoutError
        except TimeoutError:
            raise
        except OSError:
            pass  # it has hung up, having refused what it had read of it
    status = answer[9:12]
    return int(status) if status.isdigit() else None, bytes(answer)
