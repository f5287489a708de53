"""Other engines, in environments of their own: run where POLYHEAD_PEERS names their folder.

It is the folder that `polyhead bench setup` makes: ``POLYHEAD_PEERS=build/peers``.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from polyhead_bench import environments, portability
from polyhead_bench.errors import PeerFault
from polyhead_export import optimum_folder
from polyhead_export.export import Settings, export
from polyhead_models import checkpoint as checkpoints

TEXTS = ["The parcel to Oslo was 3 days late.", "", "Thanks, 5 stars from Lima!", "late " * 20]


@pytest.fixture
def python(request):
    cache = os.environ.get("POLYHEAD_PEERS")
    if cache is None:
        pytest.skip("POLYHEAD_PEERS names no folder of environments")
    try:
        return environments.python(Path(cache), request.param)
    except PeerFault as fault:
        pytest.skip(str(fault))


@pytest.mark.parametrize("python", ["openvino"], indirect=True)
def test_openvino_decides_as_the_bundle_does(checkpoint, tmp_path, python, any_loss):
    settings = Settings(precision="int8", also=("onnx",), limits=any_loss)
    export(checkpoint, tmp_path / "bundle", settings, note=lambda _: None)
    found = portability.openvino(tmp_path / "bundle", TEXTS, python)
    assert [agreement.head for agreement in found][:2] == ["topic", "first"]
    for agreement in found:
        assert agreement.texts == len(TEXTS)
        if agreement.head != "embedding":
            assert agreement.same == len(TEXTS), agreement
        assert agreement.max_error < 0.2


@pytest.mark.parametrize("python", ["optimum"], indirect=True)
@pytest.mark.parametrize("head", ["topic", "entities"])
def test_optimum_loads_the_folder_and_gives_our_logits(checkpoint, tmp_path, python, head):
    written = optimum_folder.write(checkpoint, tmp_path / "f", [head], note=lambda _: None)
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    files = [tmp_path / name for name in ("f", "texts.json", "logits.npz")]
    portability.run_peer(python, "optimum_logits", written.loader, *files)
    expected = checkpoints.load(checkpoint).engine().logits(TEXTS)[head]
    with np.load(tmp_path / "logits.npz") as found:
        for i, row in enumerate(expected):
            np.testing.assert_allclose(found[str(i)], row, rtol=0, atol=1e-4)
