"""Bundles made to take all memory or time: refused, and soon."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from polyhead import BundleError, GraphError, ManifestError, load
from polyhead.bundle import read

MANY = 300_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("[" * MANY, "not valid JSON", id="lists"),
        pytest.param('{"a":' * MANY, "not valid JSON", id="tables"),
        pytest.param("[" * MANY + "]" * MANY, "not valid JSON", id="closed_lists"),
        pytest.param('{"version": ' + "9" * MANY + "}", "not valid JSON", id="huge_number"),
        pytest.param('{"version": 1e999}', "not valid JSON", id="infinite_number"),
        pytest.param(
            "{" + ",".join(f'"{i}":0' for i in range(MANY)) + ',"299999":1}',
            "'299999' is duplicated",
            id="many_keys_and_the_last_twice",
        ),
        pytest.param('{"format": "polyhead-bundle", "format": 1}', "duplicated", id="a_key_twice"),
        pytest.param(" " * (17 * 2**20), "more than the 16,777,216 allowed", id="large"),
    ],
)
def test_a_manifest_that_is_a_bomb(bundle_copy, content, message):
    (bundle_copy / "manifest.json").write_text(content)
    with pytest.raises(ManifestError, match=message):
        load(bundle_copy)


def test_a_long_unknown_key_makes_a_short_message(bundle_copy, edit_json):
    edit_json(bundle_copy / "manifest.json", lambda data: data.update({"k" * 10**6: 1}))
    with pytest.raises(ManifestError, match="unknown key") as caught:
        load(bundle_copy)
    assert len(str(caught.value)) < 1000


def test_a_message_does_nothing_to_a_terminal_or_a_log(bundle_copy, edit_json):
    evil = "\x1b[31m\r\n2026-01-01 INFO all is well\x9b2J\u202e"
    edit_json(
        bundle_copy / "manifest.json",
        lambda data: data["heads"].update({evil: {**data["heads"]["topic"], "max_tokens": 0}}),
    )
    with pytest.raises(ManifestError, match="max_tokens: found 0") as caught:
        load(bundle_copy)
    assert str(caught.value).isprintable()
    assert "\\x1b[31m\\r\\n2026" in str(caught.value)


def test_a_long_message_is_cut():
    message = str(BundleError("é" * 10**6))
    assert message == "é" * 2_000 + "…"


def _heads(data):
    data["heads"] |= {f"h{n}": data["heads"]["topic"] for n in range(1_000)}


def _graphs(data):
    data["graphs"] += [{**data["graphs"][0], "file": f"m{n}.onnx"} for n in range(256)]


@pytest.mark.parametrize(
    ("change", "message"),
    [(_heads, "1,003 heads, at most 1,000"), (_graphs, "257 graphs, at most")],
)
def test_more_than_any_bundle_has_is_refused(bundle_copy, edit_json, change, message):
    edit_json(bundle_copy / "manifest.json", change)
    with pytest.raises(ManifestError, match=message):
        load(bundle_copy)


def test_more_sub_models_than_any_bundle_has_are_refused(collection_copy, edit_json):
    def change(data):
        [first, *_] = data["parts"]
        name, head = next(iter(first["heads"].items()))
        graph = {**first["graphs"][0], "heads": [name]}
        data["parts"] = [
            {**first, "heads": {f"h{n}": head}, "graphs": [{**graph, "heads": [f"h{n}"]}]}
            for n in range(257)
        ]

    edit_json(collection_copy / "manifest.json", change)
    with pytest.raises(ManifestError, match="257 sub-models, at most 256"):
        load(collection_copy)


@pytest.mark.parametrize("content", ["[" * MANY, '{"tolerance": ' * MANY], ids=["lists", "tables"])
def test_golden_answers_that_are_a_bomb(bundle_copy, reseal, content):
    (bundle_copy / "golden.json").write_text(content)
    reseal(bundle_copy)
    load(bundle_copy).close()
    with pytest.raises(ManifestError, match=r"golden\.json: not valid JSON"):
        load(bundle_copy, verify="golden")


@pytest.mark.parametrize("content", ["[" * MANY, '{"model": ' * MANY], ids=["lists", "tables"])
def test_a_tokenizer_that_is_a_bomb(bundle_copy, reseal, content):
    (bundle_copy / "tokenizer.json").write_text(content)
    reseal(bundle_copy)
    with pytest.raises(BundleError, match=r"tokenizer\.json: not valid JSON"):
        load(bundle_copy)


@pytest.mark.parametrize("size", [2**40, 10**4000, -1], ids=["large", "huge", "negative"])
@pytest.mark.parametrize("place", ["tokenizer", "golden", "graphs"])
def test_a_declared_size_that_is_not_the_files(bundle_copy, edit_json, place, size):
    def change(manifest):
        entry = manifest[place][0] if place == "graphs" else manifest[place]
        entry["size"] = size

    edit_json(bundle_copy / "manifest.json", change)
    with pytest.raises(BundleError, match="bytes"):
        read(bundle_copy)


@pytest.mark.parametrize(("place", "most"), [("golden", "134,217,728"), ("card", "16,777,216")])
def test_a_file_that_is_larger_than_any_of_its_kind(bundle_copy, edit_json, place, most):
    name = {"golden": "golden.json", "card": "README.md"}[place]
    with (bundle_copy / name).open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    edit_json(bundle_copy / "manifest.json", lambda data: data[place].update(size=2**40))
    with pytest.raises(ManifestError, match=f"1,099,511,627,776 bytes .* at most {most} are"):
        load(bundle_copy)


@pytest.mark.parametrize("tokens", [2, 131_073, 10**4000], ids=["few", "many", "huge"])
def test_an_encoder_that_reads_more_than_any(bundle_copy, edit_json, tokens):
    edit_json(bundle_copy / "manifest.json", lambda data: data["encoder"].update(max_tokens=tokens))
    with pytest.raises(ManifestError, match="max_tokens: found"):
        load(bundle_copy)


def test_a_tensor_that_declares_more_than_it_has(bundle_copy, reseal, graph):
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    del changed.graph.initializer[0].dims[:]
    changed.graph.initializer[0].dims.extend([2**40, 8])
    (bundle_copy / "model.onnx").write_bytes(changed.SerializeToString())
    reseal(bundle_copy)
    with pytest.raises(GraphError, match=r"model\.onnx"):
        load(bundle_copy)


def test_a_node_that_makes_more_than_there_is(bundle_copy, edit_json, reseal, graph):
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], np.array([2**40, 2**20]))
    changed.graph.initializer.append(shape)
    changed.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
    changed.graph.node.append(helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0))
    changed.graph.node.append(helper.make_node("Add", ["logits/topic", "sum"], ["more"]))
    changed.graph.output[0].name = "more"
    (bundle_copy / "model.onnx").write_bytes(changed.SerializeToString())
    reseal(bundle_copy)
    edit_json(bundle_copy / "manifest.json", lambda m: m["heads"]["topic"].update(output="more"))
    with pytest.raises(BundleError, match=r"model\.onnx"), load(bundle_copy) as engine:
        engine("anna")
