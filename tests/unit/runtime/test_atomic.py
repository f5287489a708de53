import shutil

import pytest

from polyhead import BundleError
from polyhead.bundle import read
from polyhead.bundle.writer import staged
from polyhead.system.atomic import folder, write_text


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


def test_a_failed_first_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        fail_half_way(tmp_path / "new", RuntimeError)
    assert names(tmp_path) == []


def test_the_old_bundle_is_readable_while_the_new_one_is_written(bundle_copy):
    with staged(bundle_copy) as target:
        assert target.parent == bundle_copy.parent
        assert read(bundle_copy).manifest
        shutil.copytree(bundle_copy, target, dirs_exist_ok=True)


def test_a_new_bundle_takes_the_place_of_the_old_one(bundle_copy):
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
    write_text(tmp_path / "a" / "report.md", "né 東京\n")
    assert (tmp_path / "a" / "report.md").read_bytes() == "né 東京\n".encode()
    assert names(tmp_path / "a") == ["report.md"]


def test_a_text_replaces_an_older_one(tmp_path):
    write_text(tmp_path / "report.md", "old, and longer")
    write_text(tmp_path / "report.md", "new")
    assert (tmp_path / "report.md").read_text() == "new"


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_text(tmp_path / "report.md", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "report.md", "new \ud800")
    assert (tmp_path / "report.md").read_text() == "old"
    assert names(tmp_path) == ["report.md"]
