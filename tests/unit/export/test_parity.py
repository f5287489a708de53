import collections

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
import transformers

from polyhead_export import parity
from polyhead_export.errors import ParityError

FAMILIES = ["minilm", "bert", "roberta", "distilbert"]
SHAPES = [
    pytest.param(1, 1, id="one_token"),
    pytest.param(1, None, id="longest"),
    pytest.param(3, 7, id="3x7"),
    pytest.param(7, 33, id="7x33"),
]
NAMES = ["topic", "first", "highest", "entities", "embedding"]
HEADS = [(f, h) for f in FAMILIES for h in [*NAMES, *(["lower", "mixed"] * (f == "bert"))]]
LAYERS = {"minilm": 6, "bert": 2, "roberta": 2, "distilbert": 2}


@pytest.fixture(scope="module")
def answers(case):
    """`answers(family, rows, tokens)`: the logits of torch and of the graph, by output."""
    sessions = {}

    def compute(family, rows, tokens):
        known = case(family)
        if family not in sessions:
            sessions[family] = ort.InferenceSession(known.path, providers=["CPUExecutionProvider"])
        vocabulary = known.model.encoder.config.vocab_size
        shape = (rows, tokens or known.max_tokens)
        ids = np.random.default_rng(3).integers(5, vocabulary, shape, dtype=np.int64)
        with torch.inference_mode():
            expected = known.model(torch.from_numpy(ids))
        found = sessions[family].run(known.outputs, {"input_ids": ids})
        return dict(zip(known.model.specs, zip(expected.values(), found, strict=True), strict=True))

    return compute


@pytest.mark.parametrize(("rows", "tokens"), SHAPES)
@pytest.mark.parametrize(("family", "head"), HEADS, ids=[f"{f}-{h}" for f, h in HEADS])
def test_the_graph_gives_the_logits_of_the_model(answers, family, head, rows, tokens):
    expected, found = answers(family, rows, tokens)[head]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_depend_on_tokens_and_their_order(answers, family):
    for expected, _ in answers(family, 3, 7).values():
        assert expected.std() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_check_passes_the_graph_of_the_model(case, family):
    known = case(family)
    assert parity.check(known.model, known.path, max_tokens=known.max_tokens) <= 1e-4


def _change_head(model):
    model.networks["entities"].projection[1].bias[1] += 0.01


def _change_encoder(model):
    model.encoder.encoder.layer[0].attention.self.query.weight.mul_(2)


def _break_encoder(model):
    model.encoder.embeddings.LayerNorm.weight[0] = float("nan")


@pytest.mark.parametrize(
    ("change", "output"),
    [
        pytest.param(_change_head, "logits/entities", id="head"),
        pytest.param(_change_encoder, "logits/topic", id="encoder"),
        pytest.param(_break_encoder, "logits/topic", id="nan"),
    ],
)
def test_check_refuses_a_model_that_changed_after_the_trace(case, make_model, change, output):
    model = make_model("bert")
    with torch.no_grad():
        change(model)
    with pytest.raises(ParityError, match=f"{output} at 1 x (1|40) tokens"):
        parity.check(model, case("bert").path, max_tokens=40)


def test_check_leaves_out_shapes_longer_than_the_encoder_reads(case):
    known = case("bert")
    assert parity.check(known.model, known.path, max_tokens=5) <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_each_layer_has_one_attention_in_3d_form_without_mask(case, family):
    graph = ir.load(case(family).path).graph
    attention = [node for node in graph if node.op_type == "Attention"]
    assert len(attention) == LAYERS[family]
    for node in attention:
        assert node.attributes["q_num_heads"].as_int() == (12 if family == "minilm" else 4)
        assert all(value is None for value in node.inputs[3:])


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_of_unfused_operators(case, count, family):
    left = {"Transpose", "Softmax", "Erf", "Reshape", "Tanh", "Constant", "Identity"}
    assert not left & count(ir.load(case(family).path)).keys()


def _feeding(value):
    """The operators that compute a value."""
    nodes, waiting = set(), [value]
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting += [v for v in node.inputs if v is not None]
    return collections.Counter(node.op_type for node in nodes)


@pytest.mark.parametrize("family", ["minilm", "bert", "distilbert"])
def test_positions_are_one_table_cut_to_the_length(case, family):
    graph = ir.load(case(family).path).graph
    norm = next(node for node in graph if node.op_type == "LayerNormalization")
    assert _feeding(norm.inputs[0]) == {"Gather": 1, "Shape": 1, "Slice": 1, "Add": 1}
    assert not {node.op_type for node in graph} & {"GatherElements", "Expand", "Range", "Concat"}


def test_roberta_keeps_its_positions_since_they_depend_on_the_tokens(case, count):
    found = count(ir.load(case("roberta").path))
    assert found["CumSum"] == 1
    assert found["Gather"] == (3 if transformers.__version__.startswith("4.") else 4)


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_and_tokens_are_free(case, family):
    (ids,) = ir.load(case(family).path).graph.inputs
    assert ids.name == "input_ids"
    assert [isinstance(dimension, int) for dimension in ids.shape] == [False, False]


def test_padding_ids_inside_a_text_shift_robertas_positions_as_in_the_model(case):
    known = case("roberta")
    ids = np.array([[0, 9, 1, 1, 17, 2]], dtype=np.int64)
    session = ort.InferenceSession(known.path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits/entities"], {"input_ids": ids})
    with torch.inference_mode():
        expected = known.model(torch.from_numpy(ids))["entities"]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)
