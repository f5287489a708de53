"""Other engines against a bundle's own; what needs their environments is in the export's tests."""

import pytest

from polyhead import ProviderUnavailable, load
from polyhead.inference.providers import CUDA
from polyhead.system.onnx_runtime import ort
from polyhead_bench import portability

TEXTS = ["anna lives in oslo", "the parcel was late", "", "thanks"]


@pytest.fixture
def no_gpu(monkeypatch):
    """The CPU in the place of the GPU, which cannot be here."""
    monkeypatch.setattr(portability, "load", lambda bundle, **_: load(bundle))


def test_an_engine_agrees_with_itself(models, no_gpu):
    found = portability.cuda(models.bundle, TEXTS)
    assert {a.head for a in found} == set(load(models.bundle).heads)
    assert all((a.texts, a.same, a.max_error) == (len(TEXTS), len(TEXTS), 0.0) for a in found)


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="CUDA is here")
def test_cuda_that_is_not_there_is_told(models, tmp_path, capfd):
    with pytest.raises(ProviderUnavailable):
        portability.cuda(models.bundle, TEXTS)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    assert portability.main([str(models.bundle), str(texts), "--engine", "cuda"]) == 1
    assert "CUDA" in capfd.readouterr().err
