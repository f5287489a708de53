import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
import small_decoders
from onnx import TensorProto, helper, numpy_helper
from resealing import reseal as reseal_bundle

from polyhead import Engine, HeadSpec, load
from polyhead.bundle import Collection, digest, read, writer
from polyhead.cli.main import main
from polyhead.system.schema import plain
from polyhead.text.encoding import Input
from polyhead.text.tokenizer import Tokenizer

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session", params=["wordpiece", "byte_bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def collection() -> Path:
    """A bundle of two sub-models with one graph, as `polyhead combine` wrote it once."""
    return Path(__file__).parents[2] / "data" / "combined"


@pytest.fixture
def collection_copy(collection: Path, tmp_path: Path) -> Path:
    """One of the test's own, to damage."""
    return Path(shutil.copytree(collection, tmp_path / "collection"))


@pytest.fixture(scope="session")
def edit_json() -> Callable[[Path, Edit], None]:
    """Changes a JSON file in place: `edit_json(path, lambda data: data.update(…))`.

    A manifest gets the digest that fits, so that a test sees what is wrong with the change.
    """

    def edit(path: Path, change: Edit) -> None:
        data = json.loads(path.read_text(encoding="utf-8"))
        change(data)
        path.write_text(json.dumps(data), encoding="utf-8")
        if path.name == "manifest.json":
            reseal_bundle(path.parent, files=False)

    return edit


@pytest.fixture(scope="session")
def reseal() -> Callable[[Path], None]:
    """Writes the digests of a changed bundle's files into its manifest, as an attacker would."""
    return reseal_bundle


@pytest.fixture(scope="session")
def command() -> tuple[list[str], dict[str, str]]:
    """How to start the command line in a process of its own: words and environment."""
    source = next(path for path in sys.path if path.endswith("runtime/src"))
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONUTF8": "1"}
    environment.pop("PYTHONUNBUFFERED", None)
    return [sys.executable, "-m", "polyhead"], environment


@pytest.fixture(scope="session")
def polyhead() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `polyhead WORDS` in this process, with streams of its own; see `command` for another."""

    def run(*words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        given, out, err = (
            io.TextIOWrapper(io.BytesIO(content), encoding="utf-8") for content in (stdin, b"", b"")
        )
        with (
            mock.patch.multiple(sys, stdin=given, stdout=out, stderr=err),
            mock.patch.dict(os.environ),
        ):
            try:
                code = main([*map(str, words)])
            except SystemExit as ended:  # of argparse
                code = ended.code
        said = []
        for stream in (out, err):
            stream.flush()
            said.append(stream.buffer.getvalue().decode())
        return subprocess.CompletedProcess(words, code, *said)

    return run


LABELS = ("no", "yes")
MANY_HEADS = {
    "topic": HeadSpec(
        kind="classification.v1",
        output="logits/topic",
        labels=("billing", "delivery", "praise"),
        activation="softmax",
        pooling="mean",
        max_tokens=24,
        stride=4,
    ),
    "flags": HeadSpec(
        kind="multilabel.v1",
        output="logits/flags",
        labels=LABELS,
        activation="sigmoid",
        pooling="mean",
        max_tokens=24,
    ),
    "urgency": HeadSpec(
        kind="regression.v1", output="logits/urgency", pooling="mean", max_tokens=24, scale=(3, 2)
    ),
    "entities": HeadSpec(
        kind="tokens.v1", output="logits/entities", labels=("PERSON", "PLACE"), max_tokens=24
    ),
    "match": HeadSpec(
        kind="classification.v1",
        output="logits/match",
        labels=LABELS,
        activation="softmax",
        pooling="mean",
        input="pair",
        max_tokens=24,
    ),
    "answer": HeadSpec(
        kind="answer.v1", output="logits/answer", input="pair", max_tokens=24, stride=3, longest=4
    ),
    "summary": HeadSpec(kind="summary.v1", output="logits/summary", max_tokens=24, sentences=1),
    "embedding": HeadSpec(
        kind="embedding.v1",
        output="logits/embedding",
        pooling="mean",
        max_tokens=24,
        dimensions=(2, 4),
    ),
    "short": HeadSpec(
        kind="compress.v1",
        output="logits/short",
        activation="sigmoid",
        max_tokens=24,
        words=5,
    ),
}
LATER = {"short": 1}  # per token, too; drawn last, so that the others keep their weights
PER_TOKEN = {"entities": 5, "answer": 2, "summary": 1}
PER_TEXT = {"topic": 3, "flags": 2, "urgency": 1, "match": 2}
"""Outputs of the heads that answer per token and per text; the embedding has 8."""
MANY_TEXTS = (
    "The parcel was late. Thanks!",
    "the parcel was late . " * 9,
    "",
    ("is anna late?", "Anna lives in Oslo"),
    ("", ""),
    ("who?", "né à 東京 👍 " * 9),
)


CASCADE = {"topic": 0.55, "flags": 0.96, "match": 0.8}
"""About half of the texts of these heads are sure enough."""


@pytest.fixture(scope="session")
def many_heads(
    make_bundle: Callable[..., Path],
    graph: onnx.ModelProto,
    edit_json: Callable[[Path, Edit], None],
    reseal: Callable[[Path], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bundle with a head of every kind, two of them for pairs; nobody writes to it."""
    folder = make_bundle(
        tmp_path_factory.mktemp("many") / "bundle", model=_graph_of_many_heads(graph)
    )

    def change(manifest: dict[str, Any]) -> None:
        manifest["heads"] = plain(MANY_HEADS)
        manifest["graphs"][0].update(heads=list(MANY_HEADS), inputs=["input_ids", "token_type_ids"])

    edit_json(folder / "manifest.json", change)
    _write_golden(folder, reseal)
    return folder


@pytest.fixture(scope="session")
def teacher(
    many_heads: Path, reseal: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same heads over other weights."""
    folder = Path(shutil.copytree(many_heads, tmp_path_factory.mktemp("teacher") / "bundle"))
    model = onnx.load(folder / "model.onnx")
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)[::-1].copy()
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, folder / "model.onnx")
    _write_golden(folder, reseal)
    return folder


@pytest.fixture(scope="session")
def cascade(many_heads: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of both: `many_heads` answers topic, flags and match where it is sure."""
    folder = tmp_path_factory.mktemp("cascade") / "bundle"
    with writer.staged(folder) as staged:
        parts = []
        for source, number in ((many_heads, ""), (teacher, "-2")):
            manifest = read(source).manifest
            golden = json.loads((source / "golden.json").read_text(encoding="utf-8"))
            golden["tolerance"] = {f"model{number}.onnx": golden["tolerance"]["model.onnx"]}
            (staged / f"golden{number}.json").write_text(json.dumps(golden), encoding="utf-8")
            for name in ("tokenizer.json", "README.md"):
                shutil.copy(source / name, staged)
            shutil.copy(source / "model.onnx", staged / f"model{number}.onnx")
            graph = replace(manifest.graphs[0], file=f"model{number}.onnx")
            entry = digest.entry(staged / f"golden{number}.json")
            parts.append(replace(manifest, graphs=(graph,), golden=entry))
        whole = Collection(
            format="polyhead-bundle",
            version=2,
            card=parts[0].card,
            parts=tuple(parts),
            cascade=CASCADE,
        )
        writer.write_manifest(staged, whole)
    return folder


@pytest.fixture(scope="session")
def writing(
    make_bundle: Callable[..., Path],
    graph: onnx.ModelProto,
    wordpiece: Tokenizer,
    edit_json: Callable[[Path, Edit], None],
    reseal: Callable[[Path], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bundle with a head that classifies and two that write, one of which can copy."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    shape = ["batch", "tokens", 8]
    model.graph.output.append(helper.make_tensor_value_info("states", TensorProto.FLOAT, shape))
    folder = make_bundle(tmp_path_factory.mktemp("writing") / "bundle", model=model)
    vocabulary, special = wordpiece.vocabulary_size, wordpiece.vocabulary
    tokens = {"start": special["[CLS]"], "end": (special["[SEP]"],), "suppressed": (0, 1, 4)}
    heads, entries = {}, {}
    for name, copies, seed in (("short", False, 12), ("copy", True, 8)):
        windows = "all" if copies else "first"
        spec = small_decoders.generation(vocabulary, **tokens, copies=copies, windows=windows)
        heads[name] = HeadSpec(
            kind="generation.v1", output="states", max_tokens=24, stride=4, generation=spec
        )
        entries[name] = {}
        for kind, made in (
            ("cross", small_decoders.cross_graph(spec)),
            ("step", small_decoders.step_graph(spec, seed)),
        ):
            onnx.save(made, folder / f"{name}.{kind}.onnx")
            entries[name][kind] = {
                **plain(digest.entry(folder / f"{name}.{kind}.onnx")),
                "precision": "fp32",
            }

    def change(manifest: dict[str, Any]) -> None:
        manifest["heads"] = {**manifest["heads"], **plain(heads)}
        manifest["graphs"][0]["heads"] += list(heads)
        manifest["decoders"] = entries

    edit_json(folder / "manifest.json", change)
    reseal(folder)
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    texts = [example["text"] for example in golden["examples"]]
    golden["tolerance"]["model.onnx"].update(dict.fromkeys(heads, 1e-4))
    with load(folder) as engine:
        logits, answers = engine.logits(texts), engine.predict(texts)
    for row, example in enumerate(golden["examples"]):
        for name in heads:
            example["logits"][name] = logits[name][row].tolist()
            example["results"][name] = answers[row][name].to_dict()
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    reseal(folder)
    return folder


@pytest.fixture
def writing_copy(writing: Path, tmp_path: Path) -> Path:
    """One of the test's own, to damage."""
    return Path(shutil.copytree(writing, tmp_path / "writing"))


@pytest.fixture(scope="session")
def writer_engine(writing: Path) -> Iterator[Engine]:
    with load(writing, threads=1) as engine:
        yield engine


def _write_golden(folder: Path, reseal: Callable[[Path], None]) -> None:
    reseal(folder)
    with load(folder) as engine:
        golden = {
            "tolerance": {"model.onnx": dict.fromkeys(MANY_HEADS, 1e-4)},
            "examples": [_golden_example(engine, item) for item in MANY_TEXTS],
        }
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    reseal(folder)


@pytest.fixture(scope="session")
def engine_of_many_heads(many_heads: Path) -> Iterator[Engine]:
    with load(many_heads, threads=1) as engine:
        yield engine


def _golden_example(engine: Engine, item: Input) -> dict[str, Any]:
    [encoding] = engine.encode([item])
    heads = [name for name, spec in MANY_HEADS.items() if spec.input == encoding.kind]
    logits = engine.logits([item])
    return {
        "text": item,
        "ids": encoding.ids.tolist(),
        "logits": {head: logits[head][0].tolist() for head in heads},
        "results": {head: result.to_dict() for head, result in engine(item).results.items()},
    }


def _graph_of_many_heads(small: onnx.ModelProto) -> onnx.ModelProto:
    """Embeddings of ids and types, added, and a matrix a head."""
    random = np.random.default_rng(21)
    weights = {
        "embeddings": numpy_helper.to_array(small.graph.initializer[0]),
        "type_embeddings": random.normal(size=(2, 8)).astype(np.float32),
        **{
            f"{head}.weight": random.normal(size=(8, width)).astype(np.float32)
            for head, width in {**PER_TOKEN, **PER_TEXT, **LATER}.items()
        },
    }
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["words"]),
        helper.make_node("Gather", ["type_embeddings", "token_type_ids"], ["types"]),
        helper.make_node("Add", ["words", "types"], ["states"]),
        helper.make_node("Transpose", ["states"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("GlobalAveragePool", ["columns"], ["means"]),
        helper.make_node("Flatten", ["means"], ["logits/embedding"]),
    ]
    nodes += [
        helper.make_node("MatMul", [source, f"{head}.weight"], [f"logits/{head}"])
        for source, heads in (("states", {**PER_TOKEN, **LATER}), ("logits/embedding", PER_TEXT))
        for head in heads
    ]
    shapes = {
        f"logits/{head}": ["batch", "tokens", n] for head, n in {**PER_TOKEN, **LATER}.items()
    }
    shapes |= {f"logits/{head}": ["batch", n] for head, n in PER_TEXT.items()}
    shapes["logits/embedding"] = ["batch", 8]
    inputs = ("input_ids", "token_type_ids")
    return helper.make_model(
        helper.make_graph(
            nodes,
            "many",
            [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "n"]) for n in inputs],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=10,
    )


@pytest.fixture(scope="session")
def several_graphs(
    bundle: Path,
    graph: onnx.ModelProto,
    edit_json: Callable[[Path, Edit], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The shared bundle with two more graphs: one head alone, and all with a mask."""
    folder = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("several") / "bundle"))
    onnx.save(_with_one_head(graph), folder / "model.topic.onnx")
    onnx.save(_with_a_mask(graph), folder / "model.padded.onnx")

    def change(manifest: dict[str, Any]) -> None:
        [first] = manifest["graphs"]
        more = [
            {**first, "heads": ["topic"], **plain(digest.entry(folder / "model.topic.onnx"))},
            {
                **first,
                "layout": "padded",
                "inputs": ["input_ids", "attention_mask"],
                **plain(digest.entry(folder / "model.padded.onnx")),
            },
        ]
        manifest["graphs"] += more

    def change_golden(golden: dict[str, Any]) -> None:
        limits = golden["tolerance"]["model.onnx"]
        golden["tolerance"]["model.topic.onnx"] = {"topic": limits["topic"]}
        golden["tolerance"]["model.padded.onnx"] = limits

    edit_json(folder / "golden.json", change_golden)
    edit_json(folder / "manifest.json", change)
    edit_json(
        folder / "manifest.json",
        lambda data: data.update(golden=plain(digest.entry(folder / "golden.json"))),
    )
    return folder


def _with_one_head(graph: onnx.ModelProto) -> onnx.ModelProto:
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    nodes = [node for node in small.graph.node if "logits/entities" not in node.output]
    outputs = [value for value in small.graph.output if value.name == "logits/topic"]
    for found, wanted in ((small.graph.node, nodes), (small.graph.output, outputs)):
        del found[:]
        found.extend(wanted)
    del small.graph.initializer[2]
    return small


def _with_a_mask(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The mean over tokens leaves out those that the mask leaves out."""
    masked = onnx.ModelProto()
    masked.CopyFrom(graph)
    kept = [n for n in masked.graph.node if n.op_type not in ("Transpose", "Flatten")]
    gather, *matrices = [n for n in kept if n.op_type != "GlobalAveragePool"]
    mean = [
        helper.make_node("Cast", ["attention_mask"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["ones", "last"], ["column"]),
        helper.make_node("Mul", ["states", "column"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["column", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["logits/embedding"]),
    ]
    del masked.graph.node[:]
    masked.graph.node.extend([gather, *mean, *matrices])
    masked.graph.initializer.append(numpy_helper.from_array(np.array([2]), "last"))
    masked.graph.initializer.append(numpy_helper.from_array(np.array([1]), "tokens"))
    shape = ["batch", "tokens"]
    masked.graph.input.append(
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape)
    )
    return masked
