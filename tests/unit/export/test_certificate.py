import pytest

from polyhead_export.errors import StabilityError
from polyhead_export.parity import certify


@pytest.fixture
def save(tmp_path):
    def write(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_a_graph_whose_rows_are_apart_is_certified(save, graph, wordpiece):
    assert certify(save(graph), wordpiece.encode(["late", "the parcel"])).max_difference == 0


def test_a_graph_whose_rows_reach_each_other_is_refused(save, mixing, wordpiece):
    with pytest.raises(StabilityError, match=r"model\.onnx: a text's logits differ by up to"):
        certify(save(mixing), wordpiece.encode(["late", "the parcel"]))
