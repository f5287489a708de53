import pytest

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
