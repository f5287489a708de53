import onnx
import pytest
from onnx import TensorProto, helper

from polyhead import BundleError, GraphError, ManifestError, load


@pytest.mark.parametrize(
    "content",
    [b"", b"not a graph at all", b"\x08\x0a"],
    ids=["empty", "no_protobuf", "no_graph_inside"],
)
def test_a_graph_that_cannot_be_loaded_is_named(bundle_copy, reseal, content):
    (bundle_copy / "model.onnx").write_bytes(content)
    reseal(bundle_copy)
    with pytest.raises(GraphError, match=r"model\.onnx"):
        load(bundle_copy)


def test_a_tokenizer_that_cannot_be_loaded_is_named(bundle_copy, reseal):
    (bundle_copy / "tokenizer.json").write_text("{}")
    reseal(bundle_copy)
    with pytest.raises(BundleError, match=r"tokenizer\.json: not the tokenizer"):
        load(bundle_copy)


@pytest.mark.parametrize(
    ("place", "values", "error", "message"),
    [
        pytest.param(
            ["graphs", 0], {"inputs": ["ids"]}, GraphError, r"model\.onnx: its inputs", id="inputs"
        ),
        pytest.param(
            ["heads", "topic"],
            {"output": "x"},
            GraphError,
            r"model\.onnx: its outputs",
            id="output",
        ),
        pytest.param(
            ["graphs", 0], {"heads": ["topic"]}, GraphError, r"its outputs", id="head_left_out"
        ),
        pytest.param(
            ["heads", "topic"],
            {"kind": "clasification.v1"},
            ManifestError,
            r"head 'topic'.*Did you mean 'classification\.v1'",
            id="kind",
        ),
        pytest.param(
            ["heads", "topic"], {"labels": ["a", "b"]}, BundleError, "topic", id="too_few_labels"
        ),
        pytest.param(
            ["heads", "entities"], {"labels": ["A"]}, BundleError, "entities", id="too_few_entities"
        ),
    ],
)
def test_a_manifest_that_does_not_fit_its_graph_is_refused(
    bundle_copy, edit_json, place, values, error, message
):
    edit_json(bundle_copy / "manifest.json", lambda data: data[place[0]][place[1]].update(values))
    with pytest.raises(error, match=message):
        load(bundle_copy)


def no_rows(model):
    model.graph.initializer.append(helper.make_tensor("none", TensorProto.INT64, [1], [0]))
    return helper.make_node("Slice", ["own", "none", "none"], ["logits/topic"])


def all_in_one_row(model):
    model.graph.initializer.append(helper.make_tensor("all", TensorProto.INT64, [1], [-1]))
    return helper.make_node("Reshape", ["own", "all"], ["logits/topic"])


def one_number(_):
    return helper.make_node("ReduceMax", ["own"], ["logits/topic"], keepdims=0)


def no_numbers(_):
    return helper.make_node("Cast", ["own"], ["logits/topic"], to=TensorProto.BOOL)


@pytest.mark.parametrize("change", [no_rows, all_in_one_row, one_number, no_numbers])
def test_logits_that_are_not_those_of_the_batch_are_an_error(bundle_copy, reseal, graph, change):
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    for node in changed.graph.node:
        node.output[:] = ["own" if name == "logits/topic" else name for name in node.output]
    changed.graph.node.append(change(changed))
    kind = TensorProto.BOOL if change is no_numbers else TensorProto.FLOAT
    [topic] = [value for value in changed.graph.output if value.name == "logits/topic"]
    topic.CopyFrom(helper.make_tensor_value_info("logits/topic", kind, None))
    onnx.save(changed, bundle_copy / "model.onnx")
    reseal(bundle_copy)
    with load(bundle_copy) as engine, pytest.raises(GraphError, match="Export the bundle again"):
        engine("anna")


def test_logits_of_a_token_that_a_head_for_texts_reads_are_an_error(bundle_copy, edit_json):
    changes = {"kind": "embedding.v1", "labels": [], "dimensions": [2]}
    edit_json(bundle_copy / "manifest.json", lambda data: data["heads"]["entities"].update(changes))
    with load(bundle_copy) as engine, pytest.raises(GraphError, match="head 'entities' cannot read"):
        engine("anna lives in oslo")
