"""Bundles on a hub: a small endpoint of our own, no network."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from polyhead import BundleError, InvalidSetting
from polyhead.bundle.combining import combine
from polyhead.bundle.hub import Address, _without_links, address

COMMIT = "c0ffee" + "0" * 34
SCRIPT = """
import sys, polyhead
try:
    with polyhead.load(sys.argv[1]) as engine:
        found = engine("The parcel was late.")
        print(*(found[name].label for name in found if name.endswith("topic")))
except polyhead.PolyheadError as problem:
    print(type(problem).__name__, problem)
"""


@pytest.fixture
def hub(bundle_copy, tmp_path):
    """Serves the bundle as `team/bundle`; gives a function that runs a script against it.

    Its `folder` is what is served; what a script pushes takes its place.
    """
    asked, sent = [], []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, content, *, status=200, body=True, **headers):
            self.send_response(status)
            for name, value in {"Content-Length": len(content), **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, *, body=True):
            path = urlsplit(self.path).path
            asked.append(path)
            names = sorted(file.name for file in run.folder.iterdir())
            known = (f"/api/models/team/bundle/revision/{r}" for r in ("main", "v1", COMMIT))
            if path in (*known, "/api/models/team/bundle"):
                told = {"id": "team/bundle", "sha": COMMIT, "private": False}
                told |= {"siblings": [{"rfilename": name} for name in names]}
                self.answer(json.dumps(told).encode(), body=body, Content_Type="application/json")
            elif path.startswith("/api/models/team/bundle/tree/"):
                tree = [
                    {"type": "file", "path": n, "size": (run.folder / n).stat().st_size, "oid": n}
                    for n in names
                ]
                self.answer(json.dumps(tree).encode(), body=body, Content_Type="application/json")
            elif path.startswith("/team/bundle/resolve/") and path.rpartition("/")[2] in names:
                content = (run.folder / path.rpartition("/")[2]).read_bytes()
                tag = '"' + hashlib.sha1(content).hexdigest() + '"'
                self.answer(content, body=body, ETag=tag, X_Repo_Commit=COMMIT)
            else:
                code = "RepoNotFound" if "other" in path else "RevisionNotFound"
                self.answer(b"no", status=404, body=body, X_Error_Code=code)

        def do_POST(self):
            path = urlsplit(self.path).path
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(path)
            base = f"http://127.0.0.1:{self.server.server_port}/team/bundle"
            told = {"url": base}
            if "/preupload/" in path:
                names = [file["path"] for file in json.loads(content)["files"]]
                told = {
                    "files": [
                        {"path": name, "uploadMode": "regular", "shouldIgnore": False}
                        for name in names
                    ]
                }
            elif "/commit/" in path:
                lines = [json.loads(line) for line in content.splitlines()]
                sent.extend(line["value"] for line in lines if line["key"] == "file")
                run.folder = tmp_path / "repository"
                run.folder.mkdir()
                for file in sent:
                    content = base64.b64decode(file["content"])
                    (run.folder / file["path"]).write_bytes(content)
                told = {"commitUrl": f"{base}/commit/{COMMIT}", "commitOid": COMMIT}
            self.answer(json.dumps(told).encode(), Content_Type="application/json")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def run(name, script=SCRIPT, **environment):
        source = next(path for path in sys.path if path.endswith("runtime/src"))
        own = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
            "PYTHONPATH": source,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            **environment,
        }
        done = subprocess.run(
            [sys.executable, "-c", script, name],
            capture_output=True,
            text=True,
            env=own,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run.asked, run.sent, run.folder = asked, sent, bundle_copy
    yield run
    server.shutdown()
    thread.join()
    server.server_close()


PUSH = """
import sys
from pathlib import Path
from polyhead.bundle.hub import push
print(push(Path(sys.argv[1]), "hf:team/bundle"))
"""


def test_a_bundle_is_pushed_in_one_commit(hub, bundle_copy):
    (bundle_copy / "notes.txt").write_text("private")
    found = hub(str(bundle_copy), PUSH, HF_TOKEN="hf_none")
    assert found == f"hf:team/bundle@{COMMIT}"
    assert "/api/repos/create" in hub.asked
    names = {"README.md", "golden.json", "manifest.json", "model.onnx", "tokenizer.json"}
    assert {file["path"] for file in hub.sent} == names
    for file in hub.sent:
        content = (bundle_copy / file["path"]).read_bytes()
        assert base64.b64decode(file["content"]) == content


@pytest.fixture
def label(bundle):
    from polyhead import load

    with load(bundle) as engine:
        return engine("The parcel was late.")["topic"].label


@pytest.mark.parametrize("prefixes", [[""], ["", "b-"]], ids=["single", "combined"])
def test_what_was_pushed_is_loaded(hub, bundle, label, tmp_path, prefixes):
    local = bundle
    if len(prefixes) > 1:
        local = tmp_path / "combined"
        combine([(bundle, prefix) for prefix in prefixes], local)
        assert (local / "README-2.md").is_file()  # a model card of a part
    pushed = hub(str(local), PUSH, HF_TOKEN="hf_none")
    assert hub.folder != local
    assert hub(pushed) == " ".join([label] * len(prefixes))


@pytest.mark.parametrize("revision", ["", "@v1", f"@{COMMIT}"])
def test_a_repository_is_loaded_and_kept(hub, label, revision):
    assert hub(f"hf:team/bundle{revision}") == label
    assert hub.asked
    hub.asked.clear()
    assert hub(f"hf:team/bundle{revision}", HF_HUB_OFFLINE="1") == label
    assert not hub.asked


def test_a_cache_that_cannot_be_written_is_read_all_the_same(hub, label, tmp_path):
    assert hub("hf:team/bundle") == label
    (beside,) = (tmp_path / "cache").rglob("polyhead")
    shutil.rmtree(beside)
    beside.write_text("no folder")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert hub("hf:team/bundle", HF_HUB_OFFLINE="1", TMPDIR=str(scratch)) == label
    assert not list(scratch.iterdir())


def test_where_nothing_can_be_written_it_is_said(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("polyhead.bundle.hub.tempfile.mkdtemp", refuse)
    snapshot = tmp_path / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (tmp_path / "polyhead").write_text("no folder")
    with pytest.raises(BundleError, match="Set HF_HOME or TMPDIR"):
        _without_links(snapshot)


def test_a_changed_file_is_refused(hub, bundle_copy):
    file = bundle_copy / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert hub("hf:team/bundle").startswith("DigestMismatch")


def test_a_repository_that_is_not_there_is_named(hub):
    found = hub("hf:team/other")
    assert found.startswith("BundleNotFound")
    assert "hf:team/other: the hub gives no such repository" in found
    assert hub("hf:team/bundle", HF_HUB_OFFLINE="1").startswith("BundleNotFound")
    assert hub("hf:team/bundle@nowhere").startswith("BundleNotFound")


def test_a_repository_without_a_bundle_is_told(hub, bundle_copy):
    (bundle_copy / "manifest.json").unlink()
    found = hub("hf:team/bundle")
    assert "holds no bundle" in found


def test_addresses():
    assert address("hf:a/b") == Address("a/b")
    assert address("hf:a/b@refs/pr/1") == Address("a/b", "refs/pr/1")


@pytest.mark.parametrize("text", ["hf:", "hf:a", "hf:a/b/c", "hf:a/b@", "hf:a/../b", "a/b"])
def test_a_wrong_address_is_refused(text):
    with pytest.raises(InvalidSetting, match="expected hf:ORG/NAME"):
        address(text)
