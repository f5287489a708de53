"""Bundles whose heads cannot write, refused when they are loaded."""

import shutil
from contextlib import contextmanager

import onnx
import pytest
import small_decoders
from onnx import helper, numpy_helper

from polyhead import BundleFileMissing, DigestMismatch, GraphError, ManifestError, load
from polyhead.bundle import read
from polyhead.bundle.reader import file_names
from polyhead.verify.golden import verify

GRAPHS = [f"{head}.{kind}.onnx" for head in ("short", "copy") for kind in ("cross", "step")]


def test_a_good_bundle_verifies_its_written_texts(writing):
    found = verify(writing)
    assert found.passed
    assert {check.head: check.same_decisions for check in found.heads}["copy"] == 5
    assert set(GRAPHS) < set(file_names(writing / "manifest.json"))


def test_another_text_than_the_recorded_one_is_told(writing_copy, edit_json, reseal):
    def change(golden):
        golden["examples"][0]["results"]["short"]["text"] = "something else"

    edit_json(writing_copy / "golden.json", change)
    reseal(writing_copy)
    (check,) = [check for check in verify(writing_copy).heads if check.head == "short"]
    assert not check.passed
    assert check.same_decisions == 4

    def allow(golden):
        golden["tolerance"]["short.step.onnx"] = {"short": 0.2}

    edit_json(writing_copy / "golden.json", allow)
    reseal(writing_copy)
    assert verify(writing_copy).passed


def test_a_golden_result_without_a_text_is_refused(writing_copy, edit_json, reseal):
    def change(golden):
        del golden["examples"][0]["results"]["short"]["text"]

    edit_json(writing_copy / "golden.json", change)
    reseal(writing_copy)
    with pytest.raises(ManifestError, match="no text that the head 'short' wrote"):
        verify(writing_copy)


@pytest.mark.parametrize("file", GRAPHS)
def test_a_missing_graph(writing_copy, file):
    (writing_copy / file).unlink()
    with pytest.raises(BundleFileMissing, match=file):
        load(writing_copy)


@pytest.mark.parametrize("heads", [None, ["topic"]], ids=str)
def test_a_swapped_graph_is_found_by_its_digest_whatever_is_asked(writing_copy, heads):
    content = bytearray((writing_copy / "short.step.onnx").read_bytes())
    content[-1] ^= 1
    (writing_copy / "short.step.onnx").write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"short\.step\.onnx"):
        load(writing_copy, heads=heads)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("short.step.onnx", "short.cross.onnx", "cross graph of the head 'short' has the inputs"),
        ("short.cross.onnx", "short.step.onnx", "step graph of the head 'short' has the inputs"),
        ("copy.step.onnx", "short.step.onnx", "'short' has the inputs .*'source'"),
        ("short.step.onnx", "copy.step.onnx", "'copy' has the inputs"),
    ],
)
def test_a_swapped_graph_with_a_fitting_digest(writing_copy, reseal, source, target, message):
    shutil.copy(writing_copy / source, writing_copy / target)
    reseal(writing_copy)
    with pytest.raises(GraphError, match=message):
        load(writing_copy)
    load(writing_copy, heads=["topic"]).close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": 50}, "'scores' of the type"),
        ({"heads": 4}, r"cross\.0\.key' of the type"),
        ({"head_size": 8}, r"cross\.0\.key' of the type"),
        ({"layers": 1}, "has the outputs"),
        ({"copies": True}, "'source'"),
    ],
    ids=str,
)
def test_a_spec_that_is_not_the_graphs(writing_copy, edit_json, change, message):
    def edit(manifest):
        manifest["heads"]["short"]["generation"].update(change)

    edit_json(writing_copy / "manifest.json", edit)
    with pytest.raises(GraphError, match=message):
        load(writing_copy)


@pytest.fixture
def edit_step(writing_copy, reseal):
    """Changes the step graph of `short`: `with edit_step() as model: …`."""

    @contextmanager
    def edit():
        path = writing_copy / "short.step.onnx"
        yield (model := onnx.load(path))
        onnx.save(model, path)
        reseal(writing_copy)

    return edit


def undeclared(model):
    """Shapes as some exporters leave them: no size is known."""
    for value in (*model.graph.input, *model.graph.output):
        for number, size in enumerate(value.type.tensor_type.shape.dim):
            size.Clear()
            size.dim_param = f"{value.name}.{number}"


def test_sizes_that_a_graph_does_not_declare_are_found_out(writing_copy, reseal):
    spec = small_decoders.generation(60, max_tokens=40)
    model = small_decoders.step_graph(spec)
    undeclared(model)
    onnx.save(model, writing_copy / "short.step.onnx")
    reseal(writing_copy)
    with pytest.raises(GraphError, match=r"short\.step\.onnx"):
        load(writing_copy)


def test_caches_that_grow_otherwise_than_by_the_new_tokens_are_refused(writing_copy, edit_step):
    with edit_step() as model:
        undeclared(model)
        for node in model.graph.node:
            if node.op_type == "Concat" and node.output[0] == "present.1.value":
                node.input.append(node.input[1])  # the new tokens, twice
    with pytest.raises(GraphError, match="cannot run this graph"):
        load(writing_copy)


def test_a_graph_with_fewer_positions_than_tokens_is_refused(writing_copy, edit_json):
    def edit(manifest):
        manifest["heads"]["copy"]["generation"].update(max_tokens=41)
        manifest["heads"]["short"]["generation"].update(max_tokens=42)

    edit_json(writing_copy / "manifest.json", edit)
    load(writing_copy, heads=["copy"]).close()
    with pytest.raises(GraphError, match=r"short\.step\.onnx: cannot write max_tokens=42"):
        load(writing_copy)


def test_an_output_that_is_no_states_of_tokens_is_refused(writing_copy, edit_json):
    def edit(manifest):
        manifest["heads"]["short"]["output"] = "logits/embedding"  # as wide, but one a text

    edit_json(writing_copy / "manifest.json", edit)
    with load(writing_copy) as engine:
        for text in ("anna", "the parcel was late . " * 20):
            with pytest.raises(GraphError, match="'short' cannot read the graph's logits"):
                engine(text)


def test_weights_that_are_no_numbers_are_refused(writing_copy, edit_step):
    with edit_step() as model:
        for weight in model.graph.initializer:
            values = numpy_helper.to_array(weight)
            if values.dtype == "float32" and values.ndim == 2:
                weight.CopyFrom(numpy_helper.from_array(values * float("nan"), weight.name))
    with pytest.raises(GraphError, match="gives nan for a source of random numbers"):
        load(writing_copy)


def test_a_graph_with_a_loop_is_refused(writing_copy, edit_step):
    body = helper.make_graph([], "body", [], [])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)
    with edit_step() as model:
        model.graph.node.append(branch)
    with pytest.raises(GraphError, match="a graph inside an operator"):
        load(writing_copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.pop("start"), "the key 'start' is missing"),
        (lambda g: g.pop("end"), "the key 'end' is missing"),
        (lambda g: g.update(end=[]), "end: empty"),
        (lambda g: g.update(start=10**6), "start: found"),
        (lambda g: g.update(end=[-1]), "end: found"),
        (lambda g: g.update(suppressed=[3]), "no answer would end"),
        (lambda g: g.update(max_tokens=10**6), "max_tokens: found"),
        (lambda g: g.update(default_tokens=41), "default_tokens: found 41"),
        (lambda g: g.update(beams=0), "beams: found 0"),
        (lambda g: g.update(windows="last"), "allowed: 'all', 'first'"),
        (lambda g: g.update(forced=[5] * 40), "fewer than max_tokens"),
        (lambda g: g.update(forced_end=2), "one of the end tokens"),
        (lambda g: g.update(length_penalty=99), "length_penalty: found"),
        (lambda g: g.update(layers=10**6), "layers: found"),
        (lambda g: g.update(heads=999, head_size=999), "together at most"),
        (lambda g: g.update(beam=1), "unknown key 'beam'"),
    ],
    ids=range(16),
)
def test_a_decoder_that_cannot_be_right(writing_copy, edit_json, change, message):
    def edit(manifest):
        change(manifest["heads"]["short"]["generation"])

    edit_json(writing_copy / "manifest.json", edit)
    with pytest.raises(ManifestError, match=message):
        load(writing_copy)


def test_graphs_are_for_exactly_the_heads_that_write(writing_copy, edit_json):
    def edit(manifest):
        manifest["decoders"]["topic"] = manifest["decoders"].pop("short")

    edit_json(writing_copy / "manifest.json", edit)
    with pytest.raises(ManifestError, match="decoders: found graphs for"):
        read(writing_copy)


def test_a_tokenizer_that_lacks_what_may_be_written(writing_copy, edit_json, reseal, wordpiece):
    more = wordpiece.vocabulary_size + 2

    def edit(manifest):
        manifest["heads"]["short"]["generation"].update(vocabulary=more)

    edit_json(writing_copy / "manifest.json", edit)
    onnx.save(
        small_decoders.step_graph(small_decoders.generation(more)),
        writing_copy / "short.step.onnx",
    )
    reseal(writing_copy)
    with pytest.raises(ManifestError, match="but the tokenizer has"):
        load(writing_copy)

    def suppress(manifest):
        manifest["heads"]["short"]["generation"].update(suppressed=[0, 1, 4, more - 2, more - 1])

    edit_json(writing_copy / "manifest.json", suppress)
    load(writing_copy).close()


def test_a_bundle_without_such_heads_says_nothing_of_them(bundle):
    assert "decoders" not in (bundle / "manifest.json").read_text(encoding="utf-8")
    assert "generation" not in (bundle / "manifest.json").read_text(encoding="utf-8")
