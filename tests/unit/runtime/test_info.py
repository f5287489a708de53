"""What an engine says of the onnxruntime that it runs on."""

import pytest

from polyhead import load
from polyhead.system import info
from polyhead.system.onnx_runtime import ort

OWN = "onnxruntime/__init__.py,sha256=x,9\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """`installed(**records)`: what is said where distributions with these records are installed."""

    def say(**records):
        for name, record in records.items():
            metadata = tmp_path / f"{name}-1.32.0.dist-info"
            metadata.mkdir()
            if record is not None:
                (metadata / "RECORD").write_text(record)
        monkeypatch.setattr(ort, "__file__", str(tmp_path / "onnxruntime" / "__init__.py"))
        return info.onnxruntime_distributions.__wrapped__()

    return say


def test_the_distribution_that_runs_is_named(bundle):
    with load(bundle) as engine:
        (found,) = engine.info()["versions"]["onnxruntime_distributions"]
    assert found.startswith("onnxruntime")
    assert found.endswith(ort.__version__)


@pytest.mark.parametrize("name", ["onnxruntime_gpu", "onnxruntime_openvino", "onnxruntime"])
def test_a_foreign_build_has_its_own_name(installed, name):
    assert installed(**{name: OWN}) == [f"{name.replace('_', '-')} 1.32.0"]


def test_builds_that_overwrite_each_other_are_all_named(installed):
    found = installed(onnxruntime=f"a,,\n{OWN}", onnxruntime_gpu=OWN, onnxruntime_qnn=None)
    assert found == ["onnxruntime 1.32.0", "onnxruntime-gpu 1.32.0", "onnxruntime-qnn 1.32.0"]


def test_a_library_for_onnxruntime_is_none_of_its_builds(installed):
    assert installed(onnxruntime_extensions="onnxruntime_extensions/__init__.py,,\n") is None


def test_a_frozen_program_has_no_metadata(installed):
    assert installed() is None
