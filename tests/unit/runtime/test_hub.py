"""Bundles on a hub: a small endpoint of our own on 127.0.0.1, the real client, no network."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
from hub_server import COMMIT, served

from polyhead import BundleError, InvalidSetting, MissingExtra, load
from polyhead.bundle import hub as hubs
from polyhead.bundle.hub import address, located

DATA = Path(__file__).parents[2] / "data"
CLIENT = Path(__file__).parents[2] / "e2e" / "hub_client.py"
SCRIPT = """
import sys, polyhead
try:
    with polyhead.load(sys.argv[1]) as engine:
        found = engine("The parcel was late.")
        print(*(found[name].label for name in found if name.endswith("topic")))
except polyhead.PolyheadError as problem:
    print(type(problem).__name__, problem)
"""


@pytest.fixture(scope="module")
def client():
    """Takes scripts and runs each in a process of its own."""
    source = next(path for path in sys.path if path.endswith("runtime/src"))
    usual = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    with subprocess.Popen(
        [sys.executable, CLIENT],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**usual, "PYTHONPATH": source},
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process.stdin


@pytest.fixture
def hub(bundle_copy, client, tmp_path):
    """Serves the bundle as `team/bundle`; its `run` runs a script against it."""
    numbers = itertools.count()

    def run(name, script=SCRIPT, **environment):
        own = {
            "HF_ENDPOINT": server.address,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_ETAG_TIMEOUT": "1",
            **environment,
        }
        said = tmp_path / f"said-{next(numbers)}"
        os.mkfifo(said)
        client.write(json.dumps([script, name, own, str(said)]).encode() + b"\n")
        found = said.read_text().strip()
        errors = said.with_name(f"{said.name}.errors").read_text()
        assert "Traceback" not in errors, errors
        return found

    with served(bundle_copy) as server:
        server.run = run
        yield server


PUSH = """
import sys
from pathlib import Path
from polyhead.bundle.hub import push
print(push(Path(sys.argv[1]), "hf:team/bundle"))
"""


def test_a_bundle_is_pushed_in_one_commit(hub, bundle_copy):
    (bundle_copy / "notes.txt").write_text("private")
    found = hub.run(str(bundle_copy), PUSH, HF_TOKEN="hf_none")
    assert found == f"hf:team/bundle@{COMMIT}"
    assert "/api/repos/create" in hub.asked
    names = {"README.md", "golden.json", "manifest.json", "model.onnx", "tokenizer.json"}
    assert {file["path"] for file in hub.sent} == names
    for file in hub.sent:
        content = (bundle_copy / file["path"]).read_bytes()
        assert base64.b64decode(file["content"]) == content


def test_an_edited_card_is_pushed_and_does_no_harm(hub, bundle_copy, label):
    (bundle_copy / "README.md").write_text("---\nlicense: mit\n---\nMine.\n")
    pushed = hub.run(str(bundle_copy), PUSH, HF_TOKEN="hf_none")
    assert "README.md" in {file["path"] for file in hub.sent}
    assert hub.run(pushed) == label


@pytest.fixture
def label(bundle):
    with load(bundle) as engine:
        return engine("The parcel was late.")["topic"].label


@pytest.mark.parametrize("name", ["bundle", "combined"])
def test_what_was_pushed_is_loaded(hub, name):
    with load(DATA / name) as engine:
        found = engine("The parcel was late.")
        expected = " ".join(found[head].label for head in found if head.endswith("topic"))
    pushed = hub.run(str(DATA / name), PUSH, HF_TOKEN="hf_none")
    assert hub.folder != DATA / name
    assert hub.run(pushed) == expected


def test_only_what_the_manifest_vouches_for_is_fetched(hub, label):
    (hub.folder / "onnx").mkdir()
    for name in ("onnx/model.onnx", "training_args.json", "picture.png"):
        (hub.folder / name).write_text("large")
    assert hub.run("hf:team/bundle") == label
    files = [path.partition("/resolve/")[2] for path in hub.asked if "/resolve/" in path]
    fetched = {path.partition("/")[2] for path in files}
    assert fetched == {"golden.json", "manifest.json", "model.onnx", "tokenizer.json"}


def test_a_download_that_stopped_half_way_goes_on(hub, label):
    hidden = (hub.folder / "model.onnx").rename(hub.folder.parent / "hidden")
    found = hub.run("hf:team/bundle")
    assert found.startswith("BundleFileMissing")
    assert "the manifest names model.onnx" in found
    assert hub.run("hf:team/bundle", HF_HUB_OFFLINE="1").startswith("BundleFileMissing")
    hidden.rename(hub.folder / "model.onnx")
    assert hub.run("hf:team/bundle") == label


@pytest.mark.parametrize("revision", ["", "@v1", f"@{COMMIT}"])
def test_a_repository_is_loaded_and_kept(hub, label, revision):
    assert hub.run(f"hf:team/bundle{revision}") == label
    assert hub.asked
    hub.asked.clear()
    assert hub.run(f"hf:team/bundle{revision}", HF_HUB_OFFLINE="1") == label
    assert not hub.asked


def test_a_cache_that_cannot_be_written_is_read_all_the_same(hub, label, tmp_path):
    assert hub.run("hf:team/bundle") == label
    (copies,) = (tmp_path / "cache").rglob("polyhead")
    shutil.rmtree(copies)
    copies.write_text("no folder")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert hub.run("hf:team/bundle", HF_HUB_OFFLINE="1", TMPDIR=str(scratch)) == label
    assert not list(scratch.iterdir())


@pytest.fixture
def cached(bundle, tmp_path, monkeypatch):
    """A cache of huggingface_hub with the bundle, whose files are links; gives its snapshot."""
    snapshot = tmp_path / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file in bundle.iterdir():
        (snapshot / file.name).symlink_to(file)
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda repository, name, **_: snapshot / name
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


def test_processes_that_load_at_once_do_not_disturb_each_other(hub, label, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(hub.run, ["hf:team/bundle"] * 4)) == [label] * 4
    (copies,) = (tmp_path / "cache").rglob("polyhead")
    assert [path.name for path in copies.iterdir()] == [COMMIT]


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


def test_a_changed_file_is_refused_and_nothing_is_kept(hub, bundle_copy, label):
    file = bundle_copy / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\0")
    assert hub.run("hf:team/bundle").startswith("DigestMismatch")
    assert hub.run("hf:team/bundle", HF_HUB_OFFLINE="1").startswith("DigestMismatch")
    file.write_bytes(content)
    assert hub.run("hf:team/bundle") == label


@pytest.mark.parametrize("fault", ["break", "redirect", "wrong"])
def test_a_download_that_goes_wrong_once_or_another_way_is_whole(hub, label, fault):
    hub.fails("model.onnx", fault, times=1)
    if fault == "break" and int(version("huggingface-hub").split(".")[0]) < 1:
        # That client does not try again by itself.
        assert hub.run("hf:team/bundle").startswith("Bundle")
    assert hub.run("hf:team/bundle") == label
    assert hub.run("hf:team/bundle", HF_HUB_OFFLINE="1") == label


REFUSED = [
    pytest.param("manifest.json", 401, "BundleNotFound", "hf auth login", id="login"),
    pytest.param("manifest.json", 403, "BundleNotFound", "Ask its owner", id="forbidden"),
    pytest.param("manifest.json", "hang", "BundleNotFound", "Check the network", id="hangs"),
    pytest.param("manifest.json", "portal", "ManifestError", "not valid JSON", id="portal"),
    pytest.param("model.onnx", 404, "BundleFileMissing", "holds a whole bundle", id="missing"),
    pytest.param("model.onnx", "wrong", "DigestMismatch", "expected", id="wrong_content"),
    pytest.param("model.onnx", "other", "BundleFileMissing", "of commit decade", id="commit"),
]


@pytest.mark.parametrize(("name", "fault", "error", "advice"), REFUSED)
def test_what_the_hub_refuses_is_a_typed_error_and_mends_itself(
    hub, label, name, fault, error, advice
):
    hub.fails(name, fault)
    found = hub.run("hf:team/bundle")
    assert found.startswith(error)
    assert advice in found
    assert len(found.splitlines()) == 1
    hub.faults.clear()
    assert hub.run("hf:team/bundle") == label


@pytest.mark.parametrize("fault", [401, 429, "hang"])
def test_a_hub_that_fails_does_not_matter_when_all_is_in_the_cache(hub, label, fault):
    assert hub.run("hf:team/bundle") == label
    for name in ("manifest.json", "model.onnx"):
        hub.fails(name, fault)
    assert hub.run("hf:team/bundle") == label


def test_a_wrong_commit_is_refused(hub):
    hub.fails("manifest.json", "other")
    found = hub.run(f"hf:team/bundle@{COMMIT}")
    assert found.startswith("BundleNotFound")
    assert "of commit decade" in found


def test_a_port_where_nobody_listens_is_no_bundle(hub):
    found = hub.run("hf:team/bundle", HF_ENDPOINT="http://127.0.0.1:9")
    assert found.startswith("BundleNotFound")
    assert "Check the network" in found


@pytest.mark.parametrize("left", [["manifest.json"], []])
def test_a_copy_that_is_not_whole_is_made_again(hub, label, tmp_path, left):
    assert hub.run("hf:team/bundle") == label
    (copy,) = (tmp_path / "cache").rglob(f"polyhead/{COMMIT}")
    for file in copy.iterdir():
        if file.name not in left:
            file.unlink()
    assert hub.run("hf:team/bundle", HF_HUB_OFFLINE="1") == label


def test_a_whole_copy_stays_as_it_is(hub, label, tmp_path):
    assert hub.run("hf:team/bundle") == label
    (copy,) = (tmp_path / "cache").rglob(f"polyhead/{COMMIT}")
    before = copy.stat()
    assert hub.run("hf:team/bundle") == label
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_without_a_home_the_variable_to_set_is_named(hub):
    found = hub.run("hf:team/bundle", HF_HOME="/proc/1/nohome")
    assert found.startswith("BundleNotFound")
    assert "Set HF_HOME" in found


@pytest.mark.parametrize("fault", ["break", 403])
def test_a_push_that_is_refused_leaves_what_was_there(hub, bundle_copy, fault):
    hub.fails("commit", fault)
    script = PUSH.replace("print(push(", "import polyhead\ntry:\n    print(push(") + (
        "except polyhead.BundleError as problem:\n    print(type(problem).__name__, problem)\n"
    )
    found = hub.run(str(bundle_copy), script, HF_TOKEN="hf_none")
    assert found.startswith("BundleError hf:team/bundle: the hub does not take it")
    assert hub.folder == bundle_copy


def test_a_repository_that_is_not_there_is_named(hub):
    found = hub.run("hf:team/other")
    assert found.startswith("BundleNotFound")
    assert "hf:team/other: the hub gives no manifest.json of such a repository" in found
    assert hub.run("hf:team/bundle", HF_HUB_OFFLINE="1").startswith("BundleNotFound")
    assert hub.run("hf:team/bundle@nowhere").startswith("BundleNotFound")


def test_a_repository_without_a_bundle_is_named(hub, bundle_copy):
    (bundle_copy / "manifest.json").unlink()
    assert hub.run("hf:team/bundle").startswith(
        "BundleNotFound hf:team/bundle: the hub gives no mani"
    )


def test_addresses():
    assert address("hf:a/b") == ("a/b", None)
    assert address("hf:a/b@refs/pr/1") == ("a/b", "refs/pr/1")


@pytest.mark.parametrize("text", ["hf:", "hf:a", "hf:a/b/c", "hf:a/b@", "hf:a/../b", "a/b"])
def test_a_wrong_address_is_refused(text):
    with pytest.raises(InvalidSetting, match="expected hf:ORG/NAME"):
        address(text)
