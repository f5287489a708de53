import onnx_ir as ir
import pytest
import torch

from polyhead_export import graphs
from polyhead_export.calibration import CalibrationTexts, ranges, sample
from polyhead_export.errors import CalibrationError

TEXTS = [f"parcel {n} was late" for n in range(20)]
FEW = CalibrationTexts(("", "the parcel was late", "anna lives in oslo " * 30), 0)


def test_a_sample_is_reproducible():
    assert sample(TEXTS, count=5, seed=3) == sample(TEXTS, count=5, seed=3)


def test_a_sample_does_not_depend_on_the_order_of_the_texts():
    assert sample(TEXTS, count=5, seed=3) == sample(TEXTS[::-1], count=5, seed=3)


def test_another_seed_gives_another_sample():
    assert sample(TEXTS, count=5, seed=3).texts != sample(TEXTS, count=5, seed=4).texts


def test_a_sample_holds_different_texts_of_the_given_ones():
    found = sample([*TEXTS[:4]] * 9, count=256, seed=0)
    assert sorted(found.texts) == TEXTS[:4]


@pytest.mark.parametrize("count", [1, 7, 20])
def test_a_sample_holds_as_many_as_asked_for(count):
    assert len(sample(TEXTS, count=count, seed=0).texts) == count


def test_no_texts_are_refused_with_a_next_step():
    with pytest.raises(CalibrationError, match=r"no texts.*--config"):
        sample([], count=5, seed=0)


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(("b", "a"), id="order"),
        pytest.param(("a", "c"), id="text"),
        pytest.param(("a",), id="number"),
        pytest.param(("ab",), id="where_texts_end"),
        pytest.param(("a", "b", ""), id="empty_text"),
    ],
)
def test_the_digest_tells_texts_apart(others):
    assert CalibrationTexts(others, 0).digest != CalibrationTexts(("a", "b"), 0).digest


def test_the_digest_is_of_the_texts_alone():
    assert CalibrationTexts(("a", "b"), 0).digest == CalibrationTexts(("a", "b"), 9).digest


@pytest.fixture(scope="module")
def measured(case, wordpiece):
    return ranges(ir.load(case("bert").path), wordpiece, FEW, max_tokens=40)


def test_ranges_cover_what_every_linear_of_the_encoder_reads_and_no_more(case, measured):
    read = {
        node.inputs[0].name
        for node in ir.load(case("bert").path).graph
        if node.op_type == "MatMul" and node.name.startswith("encoder.")
    }
    assert measured.keys() == read
    assert len(read) == 8  # of each layer: hidden state, attention output, FFN input, FFN middle


def test_ranges_are_the_extremes_of_the_activations(case, measured, wordpiece):
    known = case("bert")
    seen = []
    layer = known.model.encoder.encoder.layer[1].output.dense
    hook = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.inference_mode():
        for encoding in wordpiece.encode(FEW.texts):
            for window in encoding.windowed(40, stride=0).split():
                known.model(torch.from_numpy(window.ids[None]))
    hook.remove()
    name = _input_of(ir.load(known.path), "encoder.encoder.layer.1.output.dense/MatMul")
    every = torch.cat([states.flatten() for states in seen])
    assert measured[name] == pytest.approx((every.min().item(), every.max().item()), abs=1e-4)


def _input_of(model, node):
    return next(n for n in model.graph if n.name == node).inputs[0].name


def test_more_texts_widen_the_ranges(case, measured, wordpiece):
    graph = ir.load(case("bert").path)
    one = ranges(graph, wordpiece, CalibrationTexts(FEW.texts[1:2], 0), max_tokens=40)
    assert all(measured[n][0] <= low <= high <= measured[n][1] for n, (low, high) in one.items())
    assert measured != one


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "infinity"])
def test_a_weight_that_is_no_number_is_refused_and_the_tensor_named(make_model, wordpiece, value):
    model = make_model("distilbert")
    with torch.no_grad():
        model.encoder.transformer.layer[1].sa_layer_norm.bias[3] = value
    graph = graphs.float_graph(model, max_tokens=40).model
    name = _input_of(graph, "encoder.transformer.layer.1.ffn.lin1/MatMul")
    with pytest.raises(CalibrationError, match=f"^{name}: values from .*{value}.*NaN or infinity"):
        ranges(graph, wordpiece, FEW, max_tokens=40)
