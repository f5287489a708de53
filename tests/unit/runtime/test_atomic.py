import shutil
from pathlib import Path

import pytest

from polyhead import BundleError
from polyhead.bundle import read
from polyhead.bundle.writer import staged
from polyhead.system import atomic
from polyhead.system.atomic import folder, write


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
