"""ONNX folders of other libraries as bundles."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyhead import GraphError, SourceError, load
from polyhead.cli.main import main
from polyhead.verify.golden import verify
from polyhead_export.importing import import_folder
from polyhead_models.importing import ImportOptions

WIDTH, IDS, MASK, TYPES = 8, "input_ids", "attention_mask", "token_type_ids"
TEXTS = ["The parcel was late.", "", "Anna lives in Oslo", "thanks, thanks!"]


def write(
    folder: Path,
    tokenizer: str,
    outputs: dict[str, int | None],
    *,
    inputs=(IDS, MASK, TYPES),
    opset=14,
    sizes=("batch", "sequence"),
    place="model.onnx",
    **config,
):
    """A folder whose graph has token vectors; `(batch, tokens, n)` and `(batch, n)` by output."""
    random = np.random.default_rng(3)
    vocabulary = len(json.loads(tokenizer)["model"]["vocab"])
    weights = {"table": random.normal(size=(vocabulary, WIDTH)).astype(np.float32)}
    nodes = [helper.make_node("Gather", ["table", IDS], ["vectors"])]
    states = "vectors"
    if TYPES in inputs:
        nodes += [
            helper.make_node("Cast", [TYPES], ["types"], to=1),
            helper.make_node("Unsqueeze", ["types", "two"], ["column"])
            if opset >= 13
            else helper.make_node("Unsqueeze", ["types"], ["column"], axes=[2]),
            helper.make_node("Add", ["vectors", "column"], ["typed"]),
        ]
        weights["two"] = np.array([2], np.int64)
        states = "typed"
    shown = []
    for name, width in outputs.items():
        per_token = not name.startswith("text_")
        real = name.removeprefix("text_")
        size = width or WIDTH
        key = f"{real}.weight"
        weights[key] = random.normal(size=(WIDTH, size)).astype(np.float32)
        if not per_token:
            nodes.append(helper.make_node("Gather", [states, "zero"], ["first"], axis=1))
            weights["zero"] = np.array(0, np.int64)
            nodes.append(helper.make_node("MatMul", ["first", key], [real]))
            shape = ["batch", size]
        elif real in ("start_logits", "end_logits"):
            nodes.append(helper.make_node("MatMul", [states, key], [f"{real}.wide"]))
            nodes.append(
                helper.make_node("ReduceMax", [f"{real}.wide"], [real], axes=[2], keepdims=0)
            )
            shape = ["batch", "sequence"]
        else:
            nodes.append(helper.make_node("MatMul", [states, key], [real]))
            shape = ["batch", "sequence", size]
        shown.append(helper.make_tensor_value_info(real, TensorProto.FLOAT, shape))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "foreign",
            [helper.make_tensor_value_info(n, TensorProto.INT64, list(sizes)) for n in inputs],
            shown,
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / place)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    told = {"model_type": "bert", "hidden_size": WIDTH, "max_position_embeddings": 24, **config}
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def imported(folder, target, **options):
    made = import_folder(folder, target, ImportOptions(**options))
    assert verify(target).passed
    return made


CLASSES = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "no", "1": "yes"}}
TAGS = {
    "architectures": ["BertForTokenClassification"],
    "id2label": {"0": "B-PER", "1": "O", "2": "I-PER", "3": "I-LOC"},
}


def reference(folder, encodings, place="model.onnx"):
    """What onnxruntime gives for each text alone, by output."""
    import onnxruntime as ort

    session = ort.InferenceSession(folder / place, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    known = [
        {IDS: e.ids[None], MASK: np.ones_like(e.ids)[None], TYPES: e.token_types[None]}
        for e in encodings
    ]
    rows = [session.run(None, {name: feeds[name] for name in names}) for feeds in known]
    outputs = [node.name for node in session.get_outputs()]
    return {name: [row[i][0] for row in rows] for i, name in enumerate(outputs)}


@pytest.mark.parametrize("inputs", [(IDS,), (IDS, MASK), (IDS, MASK, TYPES)])
@pytest.mark.parametrize("place", ["model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx"])
def test_a_classifier_gives_the_graphs_logits(wordpiece_json, tmp_path, inputs, place, caplog):
    folder = write(
        tmp_path / "f", wordpiece_json, {"text_logits": 2}, inputs=inputs, place=place, **CLASSES
    )
    made = imported(folder, tmp_path / "b")
    assert (made.name, made.spec.labels) == ("classification", ("no", "yes"))
    assert not caplog.records
    assert made.graph.layout == ("padded" if MASK in inputs else "exact")
    assert (tmp_path / "b" / made.graph.file).read_bytes() == (folder / place).read_bytes()
    with load(tmp_path / "b") as engine:
        expected = reference(folder, engine.encode(TEXTS), place)["logits"]
        for found, own in zip(engine.logits(TEXTS)["classification"], expected, strict=True):
            np.testing.assert_allclose(found, own, atol=1e-6)


def test_tags_stand_in_the_order_of_the_head(wordpiece_json, tmp_path):
    folder = write(tmp_path / "f", wordpiece_json, {"logits": 4}, **TAGS)
    made = imported(folder, tmp_path / "b")
    assert (made.spec.kind, made.spec.labels, made.spec.scheme) == (
        "tokens.v1",
        ("PER", "LOC"),
        "iob",
    )
    with load(tmp_path / "b") as engine:
        expected = reference(folder, engine.encode(TEXTS))["logits"]
        for found, own in zip(engine.logits(TEXTS)["tokens"], expected, strict=True):
            np.testing.assert_allclose(found[:, [0, 1, 2, 4]], own[:, [1, 0, 2, 3]], atol=1e-6)
            assert (found[:, 3] == -1e4).all()


@pytest.mark.parametrize("opset", [11, 14])
def test_an_answer_reads_pairs(wordpiece_json, tmp_path, opset):
    folder = write(
        tmp_path / "f",
        wordpiece_json,
        {"start_logits": 2, "end_logits": 2},
        opset=opset,
        architectures=["BertForQuestionAnswering"],
    )
    made = imported(folder, tmp_path / "b")
    assert (made.spec.kind, made.spec.input) == ("answer.v1", "pair")
    pairs = [("who lives in oslo?", text) for text in TEXTS]
    with load(tmp_path / "b") as engine:
        expected = reference(folder, engine.encode(pairs))
        for i, found in enumerate(engine.logits(pairs)["answer"]):
            np.testing.assert_allclose(found[:, 0], expected["start_logits"][i], atol=1e-6)
            np.testing.assert_allclose(found[:, 1], expected["end_logits"][i], atol=1e-6)


@pytest.mark.parametrize("opset", [11, 14, 18])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("inputs", [(IDS,), (IDS, MASK)])
def test_an_encoder_gives_pooled_vectors(wordpiece_json, tmp_path, opset, pooling, inputs):
    folder = write(
        tmp_path / "f", wordpiece_json, {"last_hidden_state": None}, opset=opset, inputs=inputs
    )
    imported(folder, tmp_path / "b", pooling=pooling)
    with load(tmp_path / "b", threads=1) as engine:
        states = reference(folder, engine.encode(TEXTS))["last_hidden_state"]
        pool = {"mean": lambda s: s.mean(0), "max": lambda s: s.max(0), "cls": lambda s: s[0]}
        for found, own in zip(engine.logits(TEXTS)["embedding"], states, strict=True):
            np.testing.assert_allclose(found, pool[pooling](own), atol=1e-5)


def test_a_folder_of_sentence_transformers_says_how_it_pools(wordpiece_json, tmp_path):
    folder = write(
        tmp_path / "f", wordpiece_json, {"last_hidden_state": None}, place="onnx/model.onnx"
    )
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    made = imported(folder, tmp_path / "b")
    assert (made.spec.pooling, made.spec.max_tokens) == ("cls", 12)
    with pytest.raises(SourceError, match="pools by cls"):
        imported(folder, tmp_path / "c", pooling="mean")
    (folder / "modules.json").write_text(json.dumps([*modules, {"path": "3", "type": "x.Dense"}]))
    with pytest.raises(SourceError, match="a module 'Dense' follows the graph"):
        imported(folder, tmp_path / "c")


@pytest.mark.parametrize(
    ("modules", "match"),
    [
        ("{}", "expected a list of modules"),
        ('["Pooling"]', "expected a list of modules with 'path' and 'type'"),
        ('[{"path": 1, "type": "x.Pooling"}]', "expected a list of modules with"),
        ('[{"path": "1_Pooling", "type": "x.Pooling"}]', "1_Pooling/config.json: no such file"),
        ('[{"path": "../other", "type": "x.Pooling"}]', "'../other' leads out of the folder"),
        ('[{"path": "/etc", "type": "x.Pooling"}]', "'/etc' leads out of the folder"),
    ],
)
def test_modules_that_cannot_be_read_are_refused(wordpiece_json, tmp_path, modules, match):
    folder = write(tmp_path / "f", wordpiece_json, {"last_hidden_state": None})
    (folder / "modules.json").write_text(modules)
    with pytest.raises(SourceError, match=match):
        imported(folder, tmp_path / "b")


def test_modules_that_are_in_the_graph_are_not_read(wordpiece_json, tmp_path):
    folder = write(tmp_path / "f", wordpiece_json, {"text_sentence_embedding": 4})
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "2_Dense", "type": "x.Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    made = imported(folder, tmp_path / "b", pooling="cls")
    assert (made.spec.kind, made.spec.pooling) == ("embedding.v1", "cls")


def test_without_labels_they_are_counted_and_it_is_said(wordpiece_json, tmp_path, caplog):
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 3})
    made = imported(folder, tmp_path / "b")
    assert made.spec.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert "they are called LABEL_0" in caplog.text


@pytest.mark.parametrize(
    ("problem", "width", "kind"),
    [("multi_label_classification", 2, "multilabel.v1"), ("regression", 1, "regression.v1")],
)
def test_the_problem_decides_the_kind(wordpiece_json, tmp_path, problem, width, kind):
    labels = {str(i): f"l{i}" for i in range(width)}
    folder = write(
        tmp_path / "f",
        wordpiece_json,
        {"text_logits": width},
        problem_type=problem,
        id2label=labels,
    )
    made = imported(folder, tmp_path / "b", head="mine", pair=True)
    assert (made.name, made.spec.kind, made.spec.input) == ("mine", kind, "pair")


@pytest.mark.parametrize(
    ("outputs", "more", "match"),
    [
        ({"text_logits": 2}, {"inputs": (IDS, "position_ids")}, "position_ids are unknown"),
        ({"text_logits": 2}, {"inputs": (IDS,), "sizes": (1, 24)}, "must be dynamic"),
        ({"text_logits": 2}, {"inputs": (IDS,), "sizes": ("batch", 24)}, "must be dynamic"),
        ({"hidden": 2}, {}, "with the outputs hidden; supported"),
        ({"logits": 40}, {"architectures": ["BertForMaskedLM"]}, "a BertForMaskedLM whose logits"),
        ({"text_logits": 2}, {"problem_type": "ranking"}, "problem_type: found 'ranking'"),
        ({"text_logits": 3}, {"id2label": {"0": "a", "1": "b"}}, "one label for each of the 3"),
        ({"text_logits": 2}, {"id2label": {"0": "a", "1": "a"}}, "'a' is duplicated"),
        ({"text_logits": 2}, {"max_position_embeddings": None}, "no file says how many tokens"),
    ],
)
def test_what_cannot_be_served_is_refused(wordpiece_json, tmp_path, outputs, more, match):
    folder = write(tmp_path / "f", wordpiece_json, outputs, **more)
    with pytest.raises(SourceError, match=match):
        imported(folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_external_data_is_refused(wordpiece_json, tmp_path):
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES)
    model = onnx.load(folder / "model.onnx")
    onnx.save(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )
    with pytest.raises(GraphError, match="external file"):
        imported(folder, tmp_path / "b")


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.onnx"])
def test_a_missing_file_is_named(wordpiece_json, tmp_path, missing):
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES)
    (folder / missing).unlink()
    with pytest.raises(SourceError, match=missing):
        imported(folder, tmp_path / "b")


def test_of_several_graphs_one_must_be_named(wordpiece_json, tmp_path):
    for place in ("onnx/model_int8.onnx", "onnx/model_q8.onnx"):
        folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, place=place, **CLASSES)
    with pytest.raises(SourceError, match=r"several graphs: onnx/model_int8\.onnx, onnx/model_q8"):
        imported(folder, tmp_path / "b")
    made = imported(folder / "onnx" / "model_q8.onnx", tmp_path / "b")
    assert made.name == "classification"


def test_a_graph_that_is_none_is_refused(wordpiece_json, tmp_path):
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES)
    (folder / "model.onnx").write_bytes(b"\x0a\xff")
    with pytest.raises(GraphError, match="not an ONNX file"):
        imported(folder, tmp_path / "b")


def test_the_command_makes_a_bundle(wordpiece_json, tmp_path, capsys):
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES)
    words = ["import", str(folder), "-o", str(tmp_path / "b")]
    assert main(words) == 0
    assert "classification.v1" in capsys.readouterr().out
    assert main([*words, "--json", "--head", "polite"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "polite"


def test_a_folder_with_weights_is_imported_from_them_unless_the_graph_is_named(
    wordpiece_json, tmp_path, capsys
):
    folder = write(
        tmp_path / "f", wordpiece_json, {"text_logits": 2}, place="onnx/model.onnx", **CLASSES
    )
    (folder / "model.safetensors").write_bytes(b"")
    assert main(["import", str(folder), "-o", str(tmp_path / "b")]) == 1
    assert "cannot load it" in capsys.readouterr().err
    assert main(["import", str(folder / "onnx" / "model.onnx"), "-o", str(tmp_path / "b")]) == 0
    assert verify(tmp_path / "b").passed
