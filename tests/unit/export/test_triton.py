"""A model for a Triton server: its configuration by the server's schema, its code by a stand-in.

The server is a container and cannot be installed; what its Python backend gives a model is small.
"""

import json
import sys
from dataclasses import replace
from importlib import util
from types import SimpleNamespace

import numpy as np
import pytest

import polyhead
from polyhead.bundle import manifest_digest
from polyhead.cli.main import main
from polyhead.heads import HeadSpec
from polyhead_export.errors import ExportError
from polyhead_export.triton import folder

TEXTS = ["The parcel to Oslo was 3 days late.", "", "Thanks!"]


def module(path):
    spec = util.spec_from_file_location(path.stem, path)
    found = util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def written(checkpoint, tmp_path_factory):
    target = tmp_path_factory.mktemp("models") / "support"
    words = ["export", checkpoint, "-o", target, "--format", "triton", "--precision", "fp32"]
    assert main([*map(str, words)]) == 0
    return target


@pytest.fixture(scope="module")
def config(written):
    """`config.pbtxt`, read by the schema that the server reads it by."""
    client = util.find_spec("tritonclient")
    if client is None:
        pytest.skip("tritonclient, which brings Triton's schema, is not installed")
    [place] = client.submodule_search_locations
    # Without its package, which needs grpcio.
    schema = module(folder.Path(place) / "grpc" / "model_config_pb2.py")
    text_format = pytest.importorskip("google.protobuf.text_format")
    text = (written / "config.pbtxt").read_text()
    return text_format.Parse(text, schema.ModelConfig()), schema


def test_the_files(written):
    names = sorted(p.relative_to(written).as_posix() for p in written.glob("*/*"))
    assert names == ["1/bundle", "1/model.py"]
    assert (written / "config.pbtxt").is_file()


def test_the_configuration_fits_the_servers_schema(written, config):
    found, schema = config
    assert (found.name, found.backend, found.max_batch_size) == ("support", "python", 64)
    assert [(i.name, i.data_type, [*i.dims]) for i in found.input] == [
        ("TEXT", schema.TYPE_STRING, [1])
    ]
    with polyhead.load(written / "1" / "bundle") as engine:
        row = engine(TEXTS[0]).to_row()
    outputs = {o.name: (o.data_type, [*o.dims]) for o in found.output}
    assert [*outputs] == [name for name in row if name != "text"]
    assert outputs["topic"] == (schema.TYPE_STRING, [1])
    assert outputs["topic_score"] == (schema.TYPE_FP32, [1])
    assert outputs["entities"] == (schema.TYPE_STRING, [1])
    assert outputs["embedding"] == (schema.TYPE_FP32, [len(row["embedding"])])
    digest = manifest_digest(written / "1" / "bundle")
    assert found.parameters["polyhead.bundle"].string_value == digest
    assert found.HasField("dynamic_batching")


class Backend:
    """What Triton's Python backend has under the name `triton_python_backend_utils`."""

    TritonError = staticmethod(lambda message: message)

    @staticmethod
    def Tensor(name, values):  # noqa: N802
        return name, values

    @staticmethod
    def InferenceResponse(output_tensors, error=None):  # noqa: N802
        return SimpleNamespace(tensors=dict(output_tensors), error=error)

    @staticmethod
    def get_input_tensor_by_name(request, name):
        return SimpleNamespace(as_numpy=lambda: request[name])


@pytest.fixture
def model(written, config, monkeypatch):
    found, schema = config
    names = {value: name for name, value in schema.DataType.items()}
    told = {
        "input": [{"name": each.name} for each in found.input],
        "output": [{"name": o.name, "data_type": names[o.data_type]} for o in found.output],
    }
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", Backend)
    model = module(written / "1" / "model.py").TritonPythonModel()
    model.initialize({"model_config": json.dumps(told)})
    yield model
    model.finalize()


def request(*texts):
    return {"TEXT": np.array([[text] for text in texts], dtype=object)}


def test_it_answers_several_requests_at_once(model, written):
    both, one = model.execute(
        [request(*(text.encode() for text in TEXTS[:2])), request(TEXTS[2].encode())]
    )
    assert both.error is one.error is None
    with polyhead.load(written / "1" / "bundle", threads=1) as engine:
        rows = [engine(text).to_row() for text in TEXTS]
    found = [(both, 0), (both, 1), (one, 0)]
    for row, (response, place) in zip(rows, found, strict=True):
        tensors = response.tensors
        assert tensors["topic"][place] == [row["topic"].encode()]
        assert tensors["topic_score"][place] == np.float32(row["topic_score"])
        assert json.loads(tensors["entities"][place][0]) == row["entities"]
        np.testing.assert_array_equal(tensors["embedding"][place], np.float32(row["embedding"]))
    assert {array.shape[0] for array in both.tensors.values()} == {2}
    assert both.tensors["topic_score"].dtype == np.float32


def test_what_cannot_be_answered_is_the_error_of_its_own_request(model):
    bad, good = model.execute([request(b"fine", b"\xff"), request(b"fine")])
    assert bad.error.startswith("InvalidText")
    assert (good.error, bad.tensors) == (None, {})


def test_heads_of_both_kinds_of_inputs_are_refused(checkpoint, tmp_path, monkeypatch):
    spec = HeadSpec(kind="classification.v1", output="o", labels=("a", "b"), max_tokens=9)
    heads = {"topic": spec, "answer": replace(spec, input="pair")}
    found = SimpleNamespace(model=SimpleNamespace(specs=heads))
    monkeypatch.setattr(folder, "select", lambda *_: found)
    with pytest.raises(ExportError, match=r"reads texts and 'answer' pairs.*--heads"):
        folder.write(checkpoint, tmp_path / "m", folder.ExportSettings(precision="fp32"))


def test_something_else_is_left_as_it_is(checkpoint, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ExportError, match="exists and is not such a folder"):
        folder.write(checkpoint, tmp_path, folder.ExportSettings(precision="fp32"))
