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


def test_a_mount_of_the_same_disk_is_told_and_left(small, real_bundle, tmp_path):
    sources, expected = small
    inside, target = tmp_path / "inside", tmp_path / "disk" / "bundle"
    shutil.copytree(real_bundle, inside)
    target.mkdir(parents=True)
    subprocess.run(["mount", "--bind", inside, target], check=True)
    try:
        done = combine(sources, target)
        stands(target, expected, after=done)
        assert "cannot be replaced (Device or resource busy)" in done.stderr
    finally:
        subprocess.run(["umount", target], check=True)


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


@pytest.fixture
def public():
    """A folder whose parents other users may enter."""
    place = Path("/tmp") / f"polyhead-{os.getpid()}"
    place.mkdir()
    place.chmod(0o1777)
    yield place
    shutil.rmtree(place)


def written_by_another(target):
    environment = {**os.environ, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", OTHER_USER, target],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_another_user_left_is_no_reason_to_fail(public):
    left = public / ".target.abcdefgh.writing"
    left.mkdir(mode=0o700)
    (left / "lock").touch(mode=0o600)
    assert written_by_another(public / "target").stderr == ""
    assert (public / "target" / "file").read_text() == "new"
    assert {path.name for path in public.iterdir()} == {left.name, "target"}
    with atomic.folder(public / "target"):  # it is root's
        pass
    assert [path.name for path in public.iterdir()] == ["target"]


def test_a_leftover_that_another_user_made_up_is_not_followed(public, tmp_path):
    """As a link to a folder of root's, which has a file of the name of the lock."""
    precious, trap = tmp_path / "precious", public / ".target.abcdefgh.writing"
    precious.mkdir()
    (precious / "lock").touch()
    (precious / "thesis.tex").write_text("years")
    trap.symlink_to(precious)
    os.lchown(trap, 65534, 65534)
    public.chmod(0o777)  # in a sticky folder Linux itself follows no such link
    with atomic.folder(public / "target"):
        pass
    assert (precious / "thesis.tex").read_text() == "years"


def test_a_read_only_folder_is_refused_before_the_work(public):
    target = public / "target"
    assert written_by_another(target).stderr == ""
    target.chmod(0o555)
    done = written_by_another(target)
    assert f"PermissionError: {target}: read-only, so it cannot be replaced" in done.stderr
    assert (target / "file").read_text() == "new"
    assert [path.name for path in public.iterdir()] == ["target"]


def test_a_folder_of_another_user_is_told_and_left(public):
    with atomic.folder(public / "target") as folder:
        (folder / "file").write_text("old")
    (public / "target").chmod(0o777)
    done = written_by_another(public / "target")
    assert "target: cannot be replaced (Operation not permitted)" in done.stderr
    assert (public / "target" / "file").read_text() == "old"
    assert [path.name for path in public.iterdir()] == ["target"]


def test_a_parent_that_may_be_written_and_not_read_is_written(public):
    public.chmod(0o733)
    done = written_by_another(public / "target")
    assert (done.returncode, done.stderr) == (0, "")
    assert (public / "target" / "report").read_text() == "whole"
