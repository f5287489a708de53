"""ONNX folders of other libraries as bundles."""

import json
import shutil
from functools import cache
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

FIRST = '{"path": "", "type": "sentence_transformers.models.Transformer"}'
POOLING = '{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}'
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
    positions=None,
    **config,
):
    """A folder whose graph has token vectors; `(batch, tokens, n)` and `(batch, n)` by output.

    With `positions`, it has so many, of which it leaves out two as RoBERTa does.
    """
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
    if positions is not None:
        weights["positions"] = random.normal(size=(positions, WIDTH)).astype(np.float32)
        weights |= {"none": np.array(0, np.int64), "one": np.array(1, np.int64)}
        nodes += [
            helper.make_node("Mul", [IDS, "none"], ["nothing"]),
            helper.make_node("Add", ["nothing", "one"], ["ones"]),
            helper.make_node("CumSum", ["ones", "one"], ["places"]),
            helper.make_node("Add", ["places", "one"], ["later"]),
            helper.make_node("Gather", ["positions", "later"], ["placed"]),
            helper.make_node("Add", [states, "placed"], ["both"]),
        ]
        states = "both"
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


@pytest.mark.parametrize(
    ("inputs", "place"),
    [
        ((IDS,), "model.onnx"),
        ((IDS, MASK), "onnx/model.onnx"),
        ((IDS, MASK, TYPES), "onnx/model_quantized.onnx"),
    ],
    ids=["ids", "mask", "types"],
)
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


@pytest.mark.parametrize("opset", [11, 18])
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
    dense = {"path": "3", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, dense]))
    with pytest.raises(SourceError, match="a module 'Dense' follows the graph"):
        imported(folder, tmp_path / "c")


@pytest.mark.parametrize(
    ("modules", "match"),
    [
        ("{}", "expected a list of modules"),
        ('["Pooling"]', "expected a list of modules with 'path' and 'type'"),
        ('[{"path": 1, "type": "x.Pooling"}]', "expected a list of modules with"),
        (f"[{FIRST}, {POOLING}]", "1_Pooling/config.json: no such file"),
        (f"[{POOLING}]", "a module 'Pooling' here"),
        (f'[{{"path": "", "type": "custom_st.Transformer"}}, {POOLING}]', "custom_st.Transformer"),
        (f'[{FIRST}, {{"path": "1", "type": "sentence_transformers.LSTM"}}]', "module 'LSTM' here"),
        (f'[{FIRST}, {{"path": "1", "type": "sentence_transformers.Dense"}}]', "no module pools"),
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
    dense = '{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}'
    (folder / "modules.json").write_text(f"[{FIRST}, {POOLING}, {dense}]")
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
        ({"text_logits": 2}, {"id2label": {"0": "a", "1": "a "}}, "'a' and 'a ' are the same"),
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
    shown = capsys.readouterr()
    assert "classification.v1" in shown.out
    assert "texts have the token ids of the transformers library" in shown.err
    assert main([*words, "--json", "--head", "polite"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "polite"
    assert found["compared"] > 20


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


def retyped(folder, inputs, half):
    """Other types of the inputs, and of the outputs where `half`."""
    model = onnx.load(folder / "model.onnx")
    for value in model.graph.input:
        value.type.tensor_type.elem_type = inputs.get(value.name, TensorProto.INT64)
    for value in model.graph.output if half else ():
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
        for node in model.graph.node:
            node.output[:] = [f"{n}.full" if n == value.name else n for n in node.output]
        node = helper.make_node(
            "Cast", [f"{value.name}.full"], [value.name], to=value.type.tensor_type.elem_type
        )
        model.graph.node.append(node)
    onnx.save(model, folder / "model.onnx")
    return folder


INT32 = dict.fromkeys((IDS, MASK, TYPES), TensorProto.INT32)


def behind(folder, make, name="logits"):
    """Put operators behind an output: `make(before, after)`."""
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        node.output[:] = ["raw" if value == name else value for value in node.output]
    model.graph.node.extend(make("raw", name))
    onnx.save(model, folder / "model.onnx")
    return folder


def operator(kind, **attributes):
    return lambda before, after: [helper.make_node(kind, [before], [after], **attributes)]


def divided(before, after):
    """A softmax of other operators."""
    return [
        helper.make_node("Exp", [before], ["powers"]),
        helper.make_node("ReduceL1", ["powers"], ["sums"], axes=[-1], keepdims=1),
        helper.make_node("Div", ["powers", "sums"], [after]),
    ]


@pytest.mark.parametrize(
    ("outputs", "config", "make", "part"),
    [
        ({"text_logits": 2}, CLASSES, operator("Softmax"), "'logits' comes from a Softmax"),
        ({"text_logits": 2}, CLASSES, operator("Sigmoid"), "'logits' comes from a Sigmoid"),
        ({"text_logits": 2}, CLASSES, divided, "sum to 1"),
        ({"logits": 4}, TAGS, divided, "sum to 1"),
    ],
    ids=["softmax", "sigmoid", "divided", "tags"],
)
def test_scores_in_place_of_logits_are_refused(
    wordpiece_json, tmp_path, outputs, config, make, part
):
    folder = behind(write(tmp_path / "f", wordpiece_json, outputs, **config), make)
    with pytest.raises(SourceError, match=part):
        imported(folder, tmp_path / "b")


def test_a_score_of_one_label_can_be_had_as_a_number(wordpiece_json, tmp_path):
    config = {**CLASSES, "id2label": {"0": "fits"}}
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 1}, **config)
    behind(folder, operator("Sigmoid"))
    with pytest.raises(SourceError, match=r"comes from a Sigmoid.*--answer number"):
        imported(folder, tmp_path / "b")
    assert imported(folder, tmp_path / "b", problem="regression").spec.kind == "regression.v1"


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32], ids=["int64", "int32"])
def test_a_graph_that_pools_without_its_mask_reads_no_padding(
    wordpiece, wordpiece_json, tmp_path, caplog, kind
):
    folder = write(tmp_path / "f", wordpiece_json, {"sentence_embedding": None})
    behind(folder, operator("ReduceMean", axes=[1], keepdims=0), "sentence_embedding")
    model = onnx.load(folder / "model.onnx")
    del model.graph.output[0].type.tensor_type.shape.dim[1]
    onnx.save(model, folder / "model.onnx")
    expected = reference(folder, wordpiece.encode(TEXTS))["sentence_embedding"]
    made = imported(retyped(folder, {MASK: kind}, half=False), tmp_path / "b")
    assert (made.graph.layout, made.graph.inputs) == ("exact", (IDS, TYPES))
    assert "change with padding" in caplog.text
    with load(tmp_path / "b", threads=1) as engine:
        np.testing.assert_allclose(engine.logits(TEXTS)["embedding"], expected, atol=1e-5)


def test_a_decoder_is_refused_unless_somebody_says_how_it_pools(wordpiece_json, tmp_path):
    def summed(before, after):
        axis = helper.make_tensor("axis", TensorProto.INT64, [], [1])
        return [
            helper.make_node("Constant", [], ["axis"], value=axis),
            helper.make_node("CumSum", [before, "axis"], [after]),
        ]

    folder = write(tmp_path / "f", wordpiece_json, {"last_hidden_state": None}, model_type="gpt2")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    behind(folder, summed, "last_hidden_state")
    with pytest.raises(SourceError, match=r"is a decoder of the family 'gpt2'.*--pooling"):
        imported(folder, tmp_path / "b")
    assert imported(folder, tmp_path / "b", pooling="mean").spec.kind == "embedding.v1"


def test_the_mean_is_taken_where_nothing_says_how_it_pools(wordpiece_json, tmp_path, caplog):
    folder = write(tmp_path / "f", wordpiece_json, {"last_hidden_state": None})
    assert imported(folder, tmp_path / "b").spec.pooling == "mean"
    assert "it is their mean" in caplog.text


def test_logits_of_tokens_without_names_are_refused(wordpiece_json, tmp_path):
    folder = write(tmp_path / "f", wordpiece_json, {"logits": 40})
    with pytest.raises(SourceError, match="a model of an unnamed class whose logits"):
        imported(folder, tmp_path / "b")


def test_a_graph_with_branches_is_refused(wordpiece_json, tmp_path):
    def branched(before, after):
        value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
        same = helper.make_node("Identity", [before], ["inner"])
        inner = helper.make_graph([same], "branch", [], [value])
        yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
        return [
            helper.make_node("Constant", [], ["yes"], value=yes),
            helper.make_node("If", ["yes"], [after], then_branch=inner, else_branch=inner),
        ]

    folder = behind(write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES), branched)
    with pytest.raises(GraphError, match="a graph inside an operator"):
        imported(folder, tmp_path / "b")


def test_an_int8_graph_is_imported_as_it_is(wordpiece_json, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES)
    quantization.quantize_dynamic(folder / "model.onnx", folder / "model_int8.onnx")
    made = imported(folder / "model_int8.onnx", tmp_path / "b")
    assert (made.graph.precision, made.graph.layout) == ("int8", "padded")
    with load(tmp_path / "b", threads=1) as engine:
        expected = reference(folder, engine.encode(TEXTS), "model_int8.onnx")["logits"]
        alone = [engine.logits([text])["classification"][0] for text in TEXTS]
    np.testing.assert_allclose(alone, expected, atol=1e-6)


OTHERS = {
    "int32": (INT32, False),
    "one_int32": ({IDS: TensorProto.INT32}, False),
    "float_mask": ({MASK: TensorProto.FLOAT}, False),
    "bool_mask": ({MASK: TensorProto.BOOL}, False),
    "half": ({}, True),
    "int32_half": (INT32, True),
}


@pytest.fixture(scope="module")
def usual(wordpiece_json, tmp_path_factory):
    """Logits by output of the graph as `write` makes it."""

    @cache
    def made(output):
        place = tmp_path_factory.mktemp("usual")
        width = 2 if output == "text_logits" else None
        folder = write(place / "f", wordpiece_json, {output: width}, **CLASSES)
        imported(folder, place / "b")
        with load(place / "b", threads=1) as engine:
            (logits,) = engine.logits(TEXTS).values()
        return folder, logits

    return made


@pytest.mark.parametrize("output", ["text_logits", "last_hidden_state"])
@pytest.mark.parametrize(("inputs", "half"), OTHERS.values(), ids=OTHERS)
def test_numbers_of_other_types_are_converted(usual, tmp_path, inputs, half, output):
    folder, expected = usual(output)
    shutil.copytree(folder, tmp_path / "f")
    made = imported(retyped(tmp_path / "f", inputs, half), tmp_path / "b")
    assert made.graph.layout == "padded"
    with load(tmp_path / "b", threads=1) as engine:
        for found, own in zip(engine.logits(TEXTS)[made.name], expected, strict=True):
            np.testing.assert_allclose(found, own, rtol=0, atol=1e-2 if half else 1e-6)


def test_an_input_that_is_no_number_is_refused(wordpiece_json, tmp_path):
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES)
    with pytest.raises(SourceError, match=r"attention_mask is a tensor\(string\)"):
        imported(retyped(folder, {MASK: TensorProto.STRING}, half=False), tmp_path / "b")


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"model_type": "roberta"}, 18),
        ({"model_type": "xlm-roberta", "pad_token_id": 1}, 18),
        ({"model_type": "data2vec-text"}, 18),
    ],
)
def test_positions_that_are_counted_from_the_padding_are_left_out(
    wordpiece_json, tmp_path, config, most
):
    config = {"max_position_embeddings": 20, **CLASSES, **config}
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, positions=20, **config)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert imported(folder, tmp_path / "b").spec.max_tokens == most


def test_positions_that_end_before_are_found(wordpiece_json, tmp_path):
    config = {"max_position_embeddings": 20, **CLASSES}
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, positions=20, **config)
    with pytest.raises(SourceError, match=r"cannot read 20 tokens.*--max-tokens"):
        imported(folder, tmp_path / "b")
    assert imported(folder, tmp_path / "b", max_tokens=18).spec.max_tokens == 18


SIGMOID = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}


def test_a_reranker_gives_the_sigmoid_of_its_logit(wordpiece_json, tmp_path):
    architecture = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "fits"}}
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 1}, **architecture, **SIGMOID)
    made = imported(folder, tmp_path / "b")
    pairs = [("where?", text) for text in TEXTS]
    assert (made.spec.kind, made.spec.input) == ("multilabel.v1", "pair")
    with load(tmp_path / "b", threads=1) as engine:
        logits = np.array(reference(folder, engine.encode(pairs))["logits"])[:, 0]
        found = [p["multilabel"].scores["fits"] for p in engine.predict(pairs)]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_no_answer_may_be_asked_for(wordpiece_json, tmp_path, caplog):
    outputs = {"start_logits": 2, "end_logits": 2}
    folder = write(
        tmp_path / "f", wordpiece_json, outputs, architectures=["BertForQuestionAnswering"]
    )
    imported(folder, tmp_path / "b")
    assert "--no-answer 0" in caplog.text
    assert imported(folder, tmp_path / "b", no_answer=0.0).spec.no_answer == 0


def embedder(folder, wordpiece_json, output="last_hidden_state", **settings):
    """A folder of sentence-transformers with a graph; `settings` are files by name."""
    write(folder, wordpiece_json, {output: None if output == "last_hidden_state" else 4})
    (folder / "modules.json").write_text(f"[{FIRST}, {POOLING}]")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    for name, content in settings.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


PROMPTS = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}


@pytest.mark.parametrize("output", ["last_hidden_state", "text_sentence_embedding"])
def test_remarks_are_those_of_the_import_of_weights(wordpiece_json, tmp_path, caplog, output):
    folder = embedder(tmp_path / "f", wordpiece_json, output, config_sentence_transformers=PROMPTS)
    with pytest.raises(SourceError, match="default_prompt_name: found 'query'"):
        imported(folder, tmp_path / "b")
    imported(folder, tmp_path / "b", ignore=("default_prompt_name",))
    assert "'query: ' before every text" in caplog.text
    assert "an embedding here has length 1" in caplog.text


@pytest.mark.parametrize("output", ["last_hidden_state", "text_sentence_embedding"])
def test_texts_are_lower_cased_where_the_folder_says_so(wordpiece_json, tmp_path, output):
    folder = embedder(
        tmp_path / "f",
        wordpiece_json,
        output,
        sentence_bert_config={"do_lower_case": True, "max_seq_length": 16},
        tokenizer_config={"do_lower_case": False, "tokenizer_class": "BertTokenizer"},
    )
    made = imported(folder, tmp_path / "b")
    with load(tmp_path / "b") as engine:
        first, second = (e.ids.tolist() for e in engine.encode(["OSLO Late", "oslo late"]))
    assert made.spec.max_tokens == 16
    assert first == second


@pytest.mark.parametrize("output", ["last_hidden_state", "text_sentence_embedding"])
@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"adapter_config": {}}, "adapter_config.json: an adapter, such as the PEFT library"),
        (
            {"tokenizer_config": {"truncation_side": "left", "tokenizer_class": "BertTokenizer"}},
            "truncation_side: found 'left'",
        ),
        ({"config_sentence_transformers": {"similarity_fn_name": "dot"}}, "found 'dot'"),
        ({"sentence_bert_config": {"query_length": 8}}, "query_length: found 8"),
        ({"config_sentence_transformers": {"model_type": "SparseEncoder"}}, "'SparseEncoder'"),
        ({"tokenizer_config": {"auto_map": {"AutoTokenizer": "x.Y"}}}, "auto_map: found"),
    ],
    ids=["adapter", "left", "dot", "transformer", "sparse", "tokenizer"],
)
def test_what_cannot_be_obeyed_is_named(wordpiece_json, tmp_path, settings, part, output):
    folder = embedder(tmp_path / "f", wordpiece_json, output, **settings)
    with pytest.raises(SourceError, match=part):
        imported(folder, tmp_path / "b")


def test_a_token_that_only_tokenizer_config_knows_is_read(wordpiece_json, tmp_path):
    folder = write(tmp_path / "f", wordpiece_json, {"text_logits": 2}, **CLASSES)
    flags = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
    number = len(json.loads(wordpiece_json)["model"]["vocab"])
    token = {str(number): {"content": "<order>", **flags}}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": token}))
    model = onnx.load(folder / "model.onnx")  # with room for it
    (table,) = (t for t in model.graph.initializer if t.name == "table")
    rows = np.vstack([numpy_helper.to_array(table), np.zeros((1, WIDTH), np.float32)])
    table.CopyFrom(numpy_helper.from_array(rows, "table"))
    with pytest.raises(SourceError, match=f"cannot read the token id {number}"):
        imported(folder, tmp_path / "b")
    onnx.save(model, folder / "model.onnx")
    imported(folder, tmp_path / "b")
    with load(tmp_path / "b") as engine:
        assert number in engine.encode(["late <order> late"])[0].ids
