import errno
import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyhead import BundleError, PolyheadError
from polyhead.bundle import read
from polyhead.bundle.writer import staged
from polyhead.system import atomic
from polyhead.system.atomic import folder, steadily, write

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


class Interrupted(BaseException):
    pass


def fail_half_way(bundle, error):
    with staged(bundle) as target:
        (target / "manifest.json").write_text("half")
        raise error


def names(path):
    return sorted(p.name for p in path.iterdir())


@pytest.mark.parametrize("error", [RuntimeError, Interrupted, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_bundle(bundle_copy, error):
    before = read(bundle_copy).manifest
    with pytest.raises(error):
        fail_half_way(bundle_copy, error)
    assert read(bundle_copy).manifest == before
    assert names(bundle_copy.parent) == ["bundle"]


@pytest.fixture(params=["in_one_step", "in_two_steps"])
def steps(request, monkeypatch):
    """How a folder takes the place of another: Linux's exchange, or two renames elsewhere."""
    if request.param == "in_two_steps":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    return request.param


def interrupt(monkeypatch, *, step, done, error):
    """End the given rename or exchange of the disk (1: the first) with `error`, done or not."""
    calls = []

    def interrupted(real):
        def call(*paths):
            calls.append(paths)
            if len(calls) != step:
                return real(*paths)
            if done:
                real(*paths)
            raise error

        return call

    monkeypatch.setattr(Path, "rename", interrupted(Path.rename))
    monkeypatch.setattr(atomic, "_exchange", interrupted(atomic._exchange))
    return calls


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_interrupted_swap_leaves_the_old_or_the_new_bundle(
    bundle_copy, monkeypatch, steps, error, done, step
):
    def swap():
        with staged(bundle_copy) as target:
            shutil.copytree(bundle_copy, target, dirs_exist_ok=True)
            (target / "new").touch()

    with monkeypatch.context() as patch:
        calls = interrupt(patch, step=step, done=done, error=error)
        if step <= (1 if steps == "in_one_step" else 3):
            with pytest.raises(error):
                swap()
        else:  # there is no such step
            swap()
        assert calls
    assert read(bundle_copy).manifest
    assert names(bundle_copy.parent) == ["bundle"]


def test_an_old_folder_that_cannot_be_put_back_is_kept_and_named(bundle_copy, monkeypatch):
    rename = Path.rename

    def refuse(path, target):
        if path == bundle_copy:
            return rename(path, target)
        raise PermissionError("read-only")

    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="The old one is whole at") as caught, staged(bundle_copy):
        pass
    (kept,) = bundle_copy.parent.glob(".bundle.*.writing/old*")
    assert str(kept) in str(caught.value)
    assert read(kept).manifest


def test_a_folder_that_another_writer_moves_away_meanwhile_is_not_read_only(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir()
    access = os.access

    def moving(path, mode):
        if path == target:
            target.rename(tmp_path / "old")
            return False
        return access(path, mode)

    monkeypatch.setattr(os, "access", moving)
    assert atomic.replaceable(target) == target


def test_a_link_to_a_folder_is_replaced_and_its_target_kept(bundle_copy, steps):
    link = bundle_copy.with_name("link")
    link.symlink_to(bundle_copy)
    with folder(link) as target:
        (target / "file").touch()
    assert names(link) == ["file"]
    assert read(bundle_copy).manifest
    assert names(bundle_copy.parent) == ["bundle", "link"]


def test_a_failed_first_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        fail_half_way(tmp_path / "new", RuntimeError)
    assert names(tmp_path) == []


def test_the_old_bundle_is_readable_while_the_new_one_is_written(bundle_copy):
    with staged(bundle_copy) as target:
        assert target.parent.parent == bundle_copy.parent  # on the same file system
        assert read(bundle_copy).manifest
        shutil.copytree(bundle_copy, target, dirs_exist_ok=True)


def test_a_new_bundle_takes_the_place_of_the_old_one(bundle_copy, steps):
    with staged(bundle_copy) as target:
        (target / "manifest.json").write_text("{}")
    assert names(bundle_copy) == ["manifest.json"]
    assert names(bundle_copy.parent) == ["bundle"]


def test_missing_parents_are_made(tmp_path):
    with staged(tmp_path / "a" / "b") as target:
        (target / "file").write_text("x")
    assert names(tmp_path / "a" / "b") == ["file"]


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    with staged(tmp_path / "empty") as target:
        (target / "file").write_text("x")
    assert names(tmp_path / "empty") == ["file"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_bundle_is_left_alone(tmp_path, kind):
    precious = tmp_path / "precious"
    file = precious
    if kind == "folder":
        precious.mkdir()
        file = precious / "thesis.tex"
    file.write_text("years")
    with pytest.raises(BundleError, match="precious: exists and is not a bundle"), staged(precious):
        pytest.fail("the folder was given")
    assert file.read_text() == "years"
    assert names(tmp_path) == ["precious"]


def test_a_manifest_of_another_program_is_left_alone(tmp_path):
    file = tmp_path / "extension" / "manifest.json"
    file.parent.mkdir()
    file.write_text('{"manifest_version": 3}')
    with pytest.raises(BundleError, match="exists and is not a bundle"), staged(file.parent):
        pytest.fail("the folder was given")
    assert file.read_text() == '{"manifest_version": 3}'


def test_what_others_put_there_meanwhile_is_left_alone(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years")
    place = tmp_path / "place"
    with pytest.raises(BundleError, match="exists and is not a bundle"), staged(place):
        (tmp_path / "theirs").rename(place)
    assert (place / "thesis.tex").read_text() == "years"
    assert names(tmp_path) == ["place"]


def test_other_users_may_read_the_folder(tmp_path):
    with folder(tmp_path / "new"):
        pass
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755


def test_a_text_is_written_as_utf8_with_its_own_newlines(tmp_path):
    write(tmp_path / "a" / "report.md", "né 東京\n")
    assert (tmp_path / "a" / "report.md").read_bytes() == "né 東京\n".encode()
    assert names(tmp_path / "a") == ["report.md"]


def test_a_text_replaces_an_older_one(tmp_path):
    write(tmp_path / "report.md", "old, and longer")
    write(tmp_path / "report.md", "new")
    assert (tmp_path / "report.md").read_text() == "new"


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write(tmp_path / "report.md", "old")
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "report.md", "new \ud800")
    assert (tmp_path / "report.md").read_text() == "old"
    assert names(tmp_path) == ["report.md"]


def killed_writer(target, moment):
    """A process that is killed at work on a target, or between the two renames; what it left."""
    if (child := os.fork()) == 0:
        try:
            be_killed(target, moment)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (left,) = target.parent.glob(f".{target.name}.????????.writing")
    return left


def be_killed(target, moment):
    def hook(event, arguments):
        if event == "os.rename" and str(arguments[1]).endswith("target"):
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "in_two_steps":
        atomic._exchange = lambda one, other: False
    with folder(target) as new:
        (new / "file").write_text("new")
        sys.addaudithook(hook)
        if moment == "at_work":
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def target(tmp_path):
    put(tmp_path / "target", "old")
    return tmp_path / "target"


def put(target, text):
    with folder(target) as new:
        (new / "file").write_text(text)


def content(target):
    return (target / "file").read_text()


def test_what_a_killed_writer_left_goes_with_the_next_write(target):
    killed_writer(target, "at_work")
    assert content(target) == "old"
    put(target, "next")
    assert content(target) == "next"
    assert names(target.parent) == ["target"]


def test_a_first_write_that_was_killed_leaves_nothing_for_the_next(tmp_path):
    killed_writer(tmp_path / "target", "at_work")
    assert not (tmp_path / "target").exists()
    put(tmp_path / "target", "next")
    assert names(tmp_path) == ["target"]


def test_the_old_folder_comes_back_when_two_steps_were_cut_in_half(target):
    left = killed_writer(target, "in_two_steps")
    assert not target.exists()
    assert content(left / "old000") == "old"
    with folder(target) as new:
        assert content(target) == "old"
        (new / "file").write_text("new")
    assert names(target.parent) == ["target"]


def test_a_leftover_is_removed_however_far_its_removal_came(target):
    left = killed_writer(target, "at_work")
    (left / "new" / "file").unlink()
    (target.parent / ".target.abcdefgh.writing").mkdir()  # killed before the lock
    put(target, "next")
    assert names(target.parent) == ["target"]


def test_a_writer_at_work_is_not_disturbed(target, steps):
    with folder(target) as first:
        (first / "file").write_text("first")
        with folder(target) as second:
            (second / "file").write_text("second")
        assert content(target) == "second"
    assert content(target) == "first"
    assert names(target.parent) == ["target"]


def test_writers_of_other_targets_are_not_touched(target):
    others = [target.with_name(name) for name in ("target.v2", "target.v2.abcdefgh", "targe")]
    lefts = {killed_writer(other, "at_work").name for other in others}
    (target.parent / ".target.partial").mkdir()
    put(target, "next")
    assert lefts | {".target.partial", "target"} == set(names(target.parent))


def test_where_locks_are_for_show_nothing_is_removed(target, monkeypatch):
    left = killed_writer(target, "at_work")
    monkeypatch.setattr(atomic.fcntl, "flock", lambda *_: None)
    put(target, "next")
    assert names(target.parent) == [left.name, "target"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF])
def test_a_file_system_without_locks_is_written_all_the_same(target, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks")

    left = killed_writer(target, "at_work")
    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    put(target, "next")
    assert content(target) == "next"
    assert names(target.parent) == [left.name, "target"]


def test_many_writers_at_once_all_succeed_and_the_last_stays(target, steps):
    def write(number):
        for turn in range(10):
            put(target, f"{number}-{turn}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert content(target).endswith("-9")
    assert names(target.parent) == ["target"]


def test_many_first_writers_at_once_all_succeed(tmp_path, steps):
    targets = [tmp_path / f"target-{number}" for number in range(10) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, targets, map(str, range(40))))
    assert len(names(tmp_path)) == 10


@pytest.mark.parametrize("name", [".", "..", ""])
def test_the_folder_that_a_process_works_in_is_not_replaced(tmp_path, monkeypatch, name):
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(OSError, match="this process works in it"), folder(Path(name)):
        pytest.fail("the folder was given")
    assert names(here) == []
    assert names(tmp_path) == ["a"]


def test_a_mount_point_is_refused_before_anything_is_written():
    with pytest.raises(OSError, match="a mount point"), folder(Path("/")):
        pytest.fail("the folder was given")


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "file").write_text("years")
    with pytest.raises(NotADirectoryError, match="expected the path of a folder"):
        put(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "years"
    assert names(tmp_path) == ["file"]


def test_a_link_that_leads_nowhere_is_replaced(tmp_path, steps):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    put(tmp_path / "link", "new")
    assert content(tmp_path / "link") == "new"
    assert names(tmp_path) == ["link"]


def test_a_name_that_is_no_text_and_a_slash_at_the_end(tmp_path):
    place = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/")
    for text in ("old", "new"):
        put(Path(place), text)
    assert content(Path(place)) == "new"
    assert [os.fsencode(name) for name in names(tmp_path)] == [b"caf\xe9"]


def test_a_process_in_a_folder_that_is_gone_may_write(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for text in ("old", "new"):
        put(tmp_path / "target", text)
    assert content(tmp_path / "target") == "new"
    monkeypatch.chdir(tmp_path)


def test_all_is_on_the_disk_before_it_takes_its_place(target, monkeypatch):
    synced, real = set(), os.fsync

    def note(file):
        synced.add(os.fstat(file).st_ino)
        real(file)

    def exchange(one, other):
        made = (one, one / "file", one / "a", one / "a" / "b")
        assert {path.stat().st_ino for path in made} <= synced
        return real_exchange(one, other)

    real_exchange = atomic._exchange
    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(atomic, "_exchange", exchange)
    with folder(target) as new:
        (new / "file").write_text("new")
        (new / "a").mkdir()
        (new / "a" / "b").touch()
    assert target.parent.stat().st_ino in synced


def test_a_disk_that_refuses_at_the_last_moment_leaves_the_old_folder(target, monkeypatch):
    def refuse(_):
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="disk"):
        put(target, "new")
    assert content(target) == "old"
    assert names(target.parent) == ["target"]


def test_a_reader_of_a_folder_that_is_replaced_reads_again(target):
    reads = []

    def read():
        reads.append(content(target))
        if len(reads) == 1:
            put(target, "new")
            raise PolyheadError("an old manifest and a new graph")
        return reads[-1]

    assert steadily([target], read, checked=True) == "new"
    assert reads == ["old", "new"]


def test_what_cannot_be_checked_is_read_again_after_a_replacement(target):
    reads = []

    def read():
        reads.append(content(target))
        if len(reads) == 1:
            put(target, "new")
        return reads[-1]

    assert steadily([target], read, checked=False) == "new"


def test_an_error_of_a_folder_that_stays_is_raised_at_once(target):
    reads = []

    def read():
        reads.append(content(target))
        raise PolyheadError("damaged")

    with pytest.raises(PolyheadError, match="damaged"):
        steadily([target], read, checked=True)
    assert reads == ["old"]


def test_a_reader_does_not_try_for_ever(target):
    def read():
        put(target, "new")
        return content(target)

    with pytest.raises(PolyheadError, match="replaced 5 times while it was read"):
        steadily([target], read, checked=False)
