"""Disks that are full, read-only or layered, limits, and leftovers of other users.

Root mounts the file systems; without its rights these tests are skipped.
"""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyhead.bundle import read_parts
from polyhead.system import atomic

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems, so needs root")
SOURCES = os.pathsep.join(path for path in sys.path if path.endswith("/src"))


@contextmanager
def mounted(kind, folder, *, options):
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, kind, "-o", options, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def combine(sources, target, **keywords):
    words = [sys.executable, "-m", "polyhead", "combine", *sources, "-o", target]
    return subprocess.run(
        [*words, "--prefix=", "--prefix=x"],
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=False,
        **keywords,
    )


def heads(bundle):
    return {head for part in read_parts(bundle) for head in part.manifest.heads}


def stands(target, expected, *, after):
    assert after.returncode == 1
    assert after.stderr.startswith("polyhead combine: ") or "\npolyhead combine: " in after.stderr
    assert "Traceback" not in after.stderr
    assert heads(target) == expected
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.fixture
def small(real_bundle):
    return (real_bundle, real_bundle), heads(real_bundle)


def test_a_full_disk_leaves_the_old_bundle(small, real_bundle, tmp_path):
    sources, expected = small
    size = sum(path.stat().st_size for path in real_bundle.iterdir())
    for part in (0.1, 0.6):
        room = int((1 + part) * size) + 64 * 1024  # whole pages
        with mounted("tmpfs", tmp_path / "disk", options=f"size={room}") as disk:
            shutil.copytree(real_bundle, disk / "bundle")
            done = combine(sources, disk / "bundle")
            stands(disk / "bundle", expected, after=done)
            assert "No space left" in done.stderr


def test_a_limit_for_files_leaves_the_old_bundle(small, real_bundle, tmp_path):
    sources, expected = small
    target = tmp_path / "disk" / "bundle"
    shutil.copytree(real_bundle, target)
    for limit in (0, 20_000):
        done = combine(
            sources,
            target,
            preexec_fn=lambda limit=limit: resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit, limit)
            ),
        )
        stands(target, expected, after=done)


def test_a_read_only_disk_leaves_the_old_bundle(small, real_bundle, tmp_path):
    sources, expected = small
    with mounted("tmpfs", tmp_path / "disk", options="size=9m") as disk:
        shutil.copytree(real_bundle, disk / "bundle")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = combine(sources, disk / "bundle")
        stands(disk / "bundle", expected, after=done)
        assert "Read-only file system" in done.stderr


def test_a_mount_point_is_refused_and_a_folder_in_it_is_not(small, tmp_path):
    sources, _ = small
    with mounted("tmpfs", tmp_path / "disk", options="size=9m") as disk:
        done = combine(sources, disk)
        assert done.returncode == 1
        assert "a mount point" in done.stderr
        assert combine(sources, disk / "bundle").returncode == 0
        assert len(heads(disk / "bundle")) > 1


def test_a_layered_disk_replaces_its_own_folders_and_refuses_those_of_an_image(
    small, real_bundle, tmp_path
):
    sources, expected = small
    with mounted("tmpfs", tmp_path / "layers", options="size=30m") as layers:
        for name in ("lower", "upper", "work"):
            (layers / name).mkdir()
        shutil.copytree(real_bundle, layers / "lower" / "bundle")
        options = ",".join(f"{name}dir={layers / name}" for name in ("lower", "upper", "work"))
        with mounted("overlay", tmp_path / "disk", options=options) as disk:
            done = combine(sources, disk / "bundle")
            stands(disk / "bundle", expected, after=done)
            assert "a container's image" in done.stderr
            for _ in range(2):
                assert combine(sources, disk / "other").returncode == 0
            assert {path.name for path in disk.iterdir()} == {"bundle", "other"}


OTHER_USER = """
import os, sys
from pathlib import Path
from polyhead.system import atomic
os.setgid(65534)
os.setuid(65534)
for text in ("old", "new"):
    with atomic.folder(Path(sys.argv[1])) as folder:
        (folder / "file").write_text(text)
atomic.write(Path(sys.argv[1]) / "report", "whole")
"""


def test_what_another_user_left_is_no_reason_to_fail(tmp_path):
    place = Path("/tmp") / f"polyhead-{os.getpid()}"  # whose parents other users may enter
    place.mkdir()
    place.chmod(0o1777)
    left = place / ".target.abcdefgh.writing"
    try:
        left.mkdir(mode=0o700)
        (left / "lock").touch(mode=0o600)
        environment = {**os.environ, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, "-c", OTHER_USER, place / "target"]
        subprocess.run(words, env=environment, check=True)
        assert (place / "target" / "file").read_text() == "new"
        assert {path.name for path in place.iterdir()} == {left.name, "target"}
        with atomic.folder(place / "target"):  # root may remove it
            pass
        assert [path.name for path in place.iterdir()] == ["target"]
    finally:
        shutil.rmtree(place)
