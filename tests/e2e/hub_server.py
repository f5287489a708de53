"""A hub on 127.0.0.1 for the real client: what it holds, what it was asked, and how it fails.

It answers the questions of a download (resolve, with ranges) and of a push (create, preupload,
commit), as far as a bundle's small files need them.
"""

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COMMIT = "c0ffee" + "0" * 34
OTHER = "decade" + "0" * 34
REVISIONS = ("main", "v1", COMMIT)


@dataclass
class Hub:
    """One repository, `team/bundle`.

    `faults` says by file name, and by "commit" for a push, how often requests for it go wrong and
    in which way: the number of a status, or "break" (the connection ends in the middle), "hang"
    (nothing comes), "portal" (a page of a hotel's network), "other" (of another commit), "wrong"
    (another content of the same size), "redirect" (to another path of the same host).
    """

    folder: Path
    address: str = ""
    asked: list[str] = field(default_factory=list)
    sent: list[dict[str, str]] = field(default_factory=list)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def fails(self, name: str, kind: Any, times: int = 10**6) -> None:
        """From now on requests for this file fail, so many times."""
        self.faults[name] = [kind, times]

    def fault(self, name: str) -> Any:
        kind, times = self.faults.get(name, (None, 0))
        if times < 1:
            return None
        self.faults[name][1] -= 1
        return kind


@contextmanager
def served(folder: Path) -> Iterator[Hub]:
    """Serve a bundle; what is pushed takes the place of `folder`, in one step."""
    hub = Hub(folder)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def answer(
        self, content: bytes, *, status: int = 200, length: int | None = None, **headers: Any
    ) -> None:
        self.send_response(status)
        size = len(content) if length is None else length
        for name, value in {"Content-Length": size, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.asked.append(path)
        repository, _, rest = path.removeprefix("/elsewhere").partition("/resolve/")
        revision, _, name = rest.partition("/")
        file = hub.folder / name
        if repository != "/team/bundle":
            return self.answer(b"no", status=404, X_Error_Code="RepoNotFound")
        if revision not in REVISIONS:
            return self.answer(b"no", status=404, X_Error_Code="RevisionNotFound")
        if not file.is_file():
            return self.answer(b"no", status=404, X_Error_Code="EntryNotFound")
        content = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X_Repo_Commit": COMMIT,
            "Accept_Ranges": "bytes",
        }
        kind = None
        if not path.startswith("/elsewhere"):
            kind = hub.faults.get(name, [None])[0] if self.command == "HEAD" else hub.fault(name)
        if isinstance(kind, int):
            return self.answer(b"no", status=kind)
        if kind == "hang":
            hub.ended.wait(30)
            return self.cut()
        if kind == "portal":
            return self.answer(b"<html>Please pay", X_Repo_Commit=COMMIT, ETag='"portal"')
        if kind == "other":
            headers["X_Repo_Commit"] = OTHER
        if kind == "redirect":
            headers["Location"] = f"/elsewhere{path}"
            return self.answer(b"", status=307, **headers)
        if kind == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        status, given = 200, self.headers.get("Range", "")
        if given:
            first = int(given.removeprefix("bytes=").partition("-")[0])
            headers["Content_Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[first:]
        if kind == "break" and self.command != "HEAD":
            half = content[: len(content) // 2]
            self.answer(half, status=status, length=len(content), **headers)
            return self.cut()
        return self.answer(content, status=status, **headers)

    def do_POST(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub.asked.append(path)
        base = f"{hub.address}/team/bundle"
        answer: dict[str, Any] = {"url": base}
        kind = hub.fault("commit") if "/commit/" in path else None
        if kind == "break":
            return self.cut()
        if kind is not None:
            return self.answer(b"no", status=kind)
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(content)["files"]]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            answer = {"files": [{"path": name, **regular} for name in names]}
        elif "/commit/" in path:
            lines = [json.loads(line) for line in content.splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            pushed = hub.folder.parent / f"pushed-{len(hub.asked)}"
            pushed.mkdir()
            for file in sent:
                (pushed / file["path"]).write_bytes(base64.b64decode(file["content"]))
            hub.sent.extend(sent)
            hub.folder = pushed
            answer = {"commitUrl": f"{base}/commit/{COMMIT}", "commitOid": COMMIT}
        return self.answer(json.dumps(answer).encode(), Content_Type="application/json")

    def cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass
