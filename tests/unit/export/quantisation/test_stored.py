"""What a bundle stores of its quantisation makes the same graph again."""

import json
from dataclasses import replace

import onnx_ir as ir
import pytest

from polyhead_export import graphs
from polyhead_export.errors import DeployedError
from polyhead_export.quantisation import calibrate as quantisation
from polyhead_export.quantisation.calibrate import Calibrated, Plan
from polyhead_export.quantisation.stored import StoredCalibration, int8_weights
from polyhead_export.texts import CalibrationTexts

TEXTS = CalibrationTexts(("", "the parcel was late", "anna lives in oslo " * 30), 0)
OTHERS = CalibrationTexts(("thanks", "who was late"), 0)


@pytest.fixture(scope="module")
def graph(case):
    return ir.load(case("bert").path)


@pytest.fixture(scope="module")
def calibrated(graph, wordpiece):
    return quantisation.calibrate(graph, wordpiece, TEXTS, max_tokens=40)


def content(model):
    return ir.to_proto(model).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("rows", "fp32"),
    [(0, 0), (5, 0), (12, 0), (12, 4)],
    ids=["static", "some_by_token", "all_by_token", "mixed"],
)
@pytest.mark.parametrize("lowered", [True, False], ids=["ort-cpu", "onnx"])
def test_the_graph_of_a_plan_comes_out_the_same_to_the_byte(
    calibrated, tmp_path, rows, fp32, lowered
):
    names = [name for name, _ in calibrated.ranking]
    exact = frozenset(names[:fp32])
    plan = Plan(per_row=frozenset(names[:rows]) - exact, fp32=exact)
    StoredCalibration.of(calibrated, plan).write(tmp_path / "calibration.json")
    stored = StoredCalibration.read(tmp_path / "calibration.json")
    assert stored.plan == plan
    expected = quantisation.quantised(calibrated, plan)
    deployed = graphs.lowered(ir.from_proto(ir.to_proto(expected))) if lowered else expected
    points = stored.points_of(calibrated.model.graph, int8_weights(deployed.graph))
    again = Calibrated(calibrated.model, points)
    assert content(quantisation.quantised(again, stored.plan)) == content(expected)


def test_only_points_that_are_not_stored_are_calibrated(calibrated, graph, wordpiece):
    stored = StoredCalibration.of(calibrated, Plan())
    lower = [p for p in stored.points if ".layer.0." in p.linears[0]]
    assert 0 < len(lower) < len(stored.points)
    known = replace(stored, points=tuple(lower)).points_of(graph.graph, {})
    found = quantisation.calibrate(graph, wordpiece, OTHERS, max_tokens=40, known=known)
    assert found.points.keys() == calibrated.points.keys()
    for name, point in found.points.items():
        same = point.setting.high == calibrated.points[name].setting.high
        assert same == (name in known)


def test_a_graph_without_a_stored_linear_is_refused(calibrated, graph):
    stored = StoredCalibration.of(calibrated, Plan())
    other = replace(stored.points[0], linears=("encoder.elsewhere/MatMul",))
    with pytest.raises(DeployedError, match=r"the linears encoder\.elsewhere/MatMul .*anew"):
        replace(stored, points=(other,)).points_of(graph.graph, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [({"pionts": []}, "Did you mean 'points'"), ({"points": [{"low": 0.0}]}, "'linears'")],
    ids=["unknown_key", "no_linears"],
)
def test_a_file_of_another_form_is_refused(calibrated, tmp_path, change, message):
    path = tmp_path / "calibration.json"
    StoredCalibration.of(calibrated, Plan()).write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DeployedError, match=message):
        StoredCalibration.read(path)
