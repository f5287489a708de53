"""What is no path, no name or no setting, and files that the system does not give."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from polyhead import BundleFileMissing, BundleNotFound, InvalidSetting, load

FILES = ["manifest.json", "tokenizer.json", "golden.json", "model.onnx"]


class BytesPath:
    """A path of bytes, which `pathlib` does not know."""

    def __fspath__(self):
        return b"bundle"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        pytest.param(None, "NoneType", id="none"),
        pytest.param(5, "int", id="number"),
        pytest.param(b"bundle", "bytes", id="bytes"),
        pytest.param(["bundle"], "list", id="list"),
        pytest.param(BytesPath(), "bytes", id="path_of_bytes"),
    ],
)
def test_what_is_no_path_is_named(bundle, path, found):
    message = f"path: found {found}, expected a bundle's folder"
    for paths in ([path], [bundle, path]):
        with pytest.raises(InvalidSetting, match=message):
            load(*paths)
    if path is not None:  # which reads the old bundle again
        with load(bundle) as engine, pytest.raises(InvalidSetting, match=message):
            engine.reload(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"heads": 5}, "heads=5: expected names", id="heads_number"),
        pytest.param({"heads": [["a"]]}, "heads: found list", id="heads_nested"),
        pytest.param({"heads": b"topic"}, "heads: found int", id="heads_bytes"),
        pytest.param({"provider": ["cpu"]}, r"provider=\['cpu'\]", id="provider_list"),
        pytest.param({"provider": np.array(["cpu", "x"])}, "provider=array", id="provider_array"),
        pytest.param({"verify": np.array(["none", "x"])}, "verify=array", id="verify_array"),
        pytest.param({"precision": "int4"}, "'int4': allowed: None, int8, fp32", id="precision"),
        pytest.param({"precision": np.array(["a", "b"])}, "precision=", id="precision_array"),
        pytest.param({"on_overflow": np.array(["a", "b"])}, "on_overflow=", id="overflow_array"),
        pytest.param({"provider_options": {3: 4}}, "the name 3", id="option_name"),
        pytest.param({"prefix": 5}, "prefix=5: expected 1 texts", id="prefix_number"),
    ],
)
def test_a_setting_of_another_type_is_named(bundle, settings, message):
    with pytest.raises(InvalidSetting, match=message):
        load(bundle, **settings)


@pytest.mark.parametrize(
    "path", ["a" * 300, "a/" * 5000, Path("a" * 300) / "b"], ids=["name", "path", "folder"]
)
def test_a_path_that_is_too_long_for_the_system_is_no_bundle(path):
    with pytest.raises(BundleNotFound, match=r"cannot look for a bundle here: File name too long"):
        load(path)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_may_not_be_read_is_named(bundle, monkeypatch, file):
    # Tests may run as root, whom the system refuses nothing.
    real = Path.open

    def refuse(path, *given, **more):
        if path.name == file:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *given, **more)

    monkeypatch.setattr(Path, "open", refuse)
    for paths, prefix in (([bundle], None), ([bundle, bundle], ["", "b-"])):
        with pytest.raises(BundleFileMissing, match=rf"{file}: cannot be read: .*denied"):
            load(*paths, prefix=prefix, verify="golden")


def test_a_folder_that_may_not_be_searched_is_no_bundle(bundle, monkeypatch):
    real = os.stat

    def refuse(path, *given, **more):
        if os.fspath(path).startswith(str(bundle) + os.sep):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *given, **more)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(BundleNotFound, match="Permission denied"):
        load(bundle)


def test_a_name_that_is_too_long_for_the_system_is_reported(bundle_copy, edit_json):
    edit_json(bundle_copy / "manifest.json", lambda data: data["golden"].update(file="a" * 300))
    with pytest.raises(BundleFileMissing, match="cannot be read: File name too long"):
        load(bundle_copy)


def test_a_folder_that_is_gone_is_reported(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    shutil.rmtree(here)
    with pytest.raises(BundleNotFound, match="Name the bundle by a whole path"):
        load("bundle")
