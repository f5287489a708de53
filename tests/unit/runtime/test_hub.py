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
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from polyhead import BundleError, InvalidSetting, MissingExtra, load
from polyhead.bundle import hub as hubs
from polyhead.bundle.hub import address, located

DATA = Path(__file__).parents[2] / "data"
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
            repository, _, rest = path.partition("/resolve/")
            revision, _, name = rest.partition("/")
            if repository != "/team/bundle":
                self.answer(b"no", status=404, body=body, X_Error_Code="RepoNotFound")
            elif revision not in ("main", "v1", COMMIT):
                self.answer(b"no", status=404, body=body, X_Error_Code="RevisionNotFound")
            elif not (run.folder / name).is_file():
                self.answer(b"no", status=404, body=body, X_Error_Code="EntryNotFound")
            else:
                content = (run.folder / name).read_bytes()
                tag = '"' + hashlib.sha1(content).hexdigest() + '"'
                self.answer(content, body=body, ETag=tag, X_Repo_Commit=COMMIT)

        def do_POST(self):
            path = urlsplit(self.path).path
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(path)
            base = f"http://127.0.0.1:{self.server.server_port}/team/bundle"
            answer = {"url": base}
            if "/preupload/" in path:
                names = [file["path"] for file in json.loads(content)["files"]]
                answer = {
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
                answer = {"commitUrl": f"{base}/commit/{COMMIT}", "commitOid": COMMIT}
            self.answer(json.dumps(answer).encode(), Content_Type="application/json")

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
    with load(bundle) as engine:
        return engine("The parcel was late.")["topic"].label


@pytest.mark.parametrize("name", ["bundle", "combined"])
def test_what_was_pushed_is_loaded(hub, name):
    with load(DATA / name) as engine:
        found = engine("The parcel was late.")
        expected = " ".join(found[head].label for head in found if head.endswith("topic"))
    pushed = hub(str(DATA / name), PUSH, HF_TOKEN="hf_none")
    assert hub.folder != DATA / name
    assert hub(pushed) == expected


def test_only_the_files_of_the_manifest_are_fetched(hub, label):
    (hub.folder / "onnx").mkdir()
    for name in ("onnx/model.onnx", "training_args.json", "picture.png"):
        (hub.folder / name).write_text("large")
    assert hub("hf:team/bundle") == label
    files = [path.partition("/resolve/")[2] for path in hub.asked if "/resolve/" in path]
    fetched = {path.partition("/")[2] for path in files}
    assert fetched == {"README.md", "golden.json", "manifest.json", "model.onnx", "tokenizer.json"}


def test_a_download_that_stopped_half_way_goes_on(hub, label):
    hidden = (hub.folder / "model.onnx").rename(hub.folder.parent / "hidden")
    found = hub("hf:team/bundle")
    assert found.startswith("BundleFileMissing")
    assert "the manifest names model.onnx" in found
    assert hub("hf:team/bundle", HF_HUB_OFFLINE="1").startswith("BundleFileMissing")
    hidden.rename(hub.folder / "model.onnx")
    assert hub("hf:team/bundle") == label


@pytest.mark.parametrize("revision", ["", "@v1", f"@{COMMIT}"])
def test_a_repository_is_loaded_and_kept(hub, label, revision):
    assert hub(f"hf:team/bundle{revision}") == label
    assert hub.asked
    hub.asked.clear()
    assert hub(f"hf:team/bundle{revision}", HF_HUB_OFFLINE="1") == label
    assert not hub.asked


def test_a_cache_that_cannot_be_written_is_read_all_the_same(hub, label, tmp_path):
    assert hub("hf:team/bundle") == label
    (copies,) = (tmp_path / "cache").rglob("polyhead")
    shutil.rmtree(copies)
    copies.write_text("no folder")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert hub("hf:team/bundle", HF_HUB_OFFLINE="1", TMPDIR=str(scratch)) == label
    assert not list(scratch.iterdir())


@pytest.fixture
def cached(bundle, tmp_path, monkeypatch):
    """A cache of huggingface_hub with the bundle, whose files are links; gives its snapshot."""
    snapshot = tmp_path / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file in bundle.iterdir():
        (snapshot / file.name).symlink_to(file)
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda repository, name, revision: snapshot / name
    )
    return snapshot


def test_another_process_that_is_faster_is_not_disturbed(cached, monkeypatch):
    fill, places = hubs._fill, []

    def overtaken(*arguments):
        fill(*arguments)
        monkeypatch.setattr(hubs, "_fill", fill)
        places.append(located("hf:team/bundle"))  # the other process, from beginning to end
        places.append(places[0].stat().st_ino)

    monkeypatch.setattr(hubs, "_fill", overtaken)
    found = located("hf:team/bundle")
    assert [found, found.stat().st_ino] == places
    assert [path.name for path in found.parent.iterdir()] == [COMMIT]


def test_where_nothing_can_be_written_it_is_said(cached, monkeypatch):
    def refuse(**_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("polyhead.bundle.hub.tempfile.mkdtemp", refuse)
    (cached.parents[1] / "polyhead").write_text("no folder")
    with pytest.raises(BundleError, match="Set HF_HOME or TMPDIR"):
        located("hf:team/bundle")


def test_without_the_library_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r'pip install "polyhead\[hub\]"'):
        located("hf:team/bundle")


def test_a_changed_file_is_refused(hub, bundle_copy):
    file = bundle_copy / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert hub("hf:team/bundle").startswith("DigestMismatch")


def test_a_repository_that_is_not_there_is_named(hub):
    found = hub("hf:team/other")
    assert found.startswith("BundleNotFound")
    assert "hf:team/other: the hub gives no manifest.json of such a repository" in found
    assert hub("hf:team/bundle", HF_HUB_OFFLINE="1").startswith("BundleNotFound")
    assert hub("hf:team/bundle@nowhere").startswith("BundleNotFound")


def test_a_repository_without_a_bundle_is_named(hub, bundle_copy):
    (bundle_copy / "manifest.json").unlink()
    assert hub("hf:team/bundle").startswith("BundleNotFound hf:team/bundle: the hub gives no mani")


def test_addresses():
    assert address("hf:a/b") == ("a/b", None)
    assert address("hf:a/b@refs/pr/1") == ("a/b", "refs/pr/1")


@pytest.mark.parametrize("text", ["hf:", "hf:a", "hf:a/b/c", "hf:a/b@", "hf:a/../b", "a/b"])
def test_a_wrong_address_is_refused(text):
    with pytest.raises(InvalidSetting, match="expected hf:ORG/NAME"):
        address(text)
