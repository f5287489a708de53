"""Small real things for every test: two tokenizers, an ONNX graph and a bundle made of them."""

import json
import os
import shutil
import string
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper
from tokenizers import models, normalizers, pre_tokenizers, processors

from polyhead.bundle import EncoderInfo, Graph, HeadQuality, Manifest, digest, writer
from polyhead.heads import HeadSpec, decoder
from polyhead.inference.session import OnnxSession
from polyhead.text.tokenizer import Tokenizer

settings.register_profile("polyhead", derandomize=True, deadline=None, database=None)
settings.load_profile("polyhead")

WORDS = (
    "anna",
    "late",
    "lives",
    "in",
    "is",
    "not",
    "oslo",
    "parcel",
    "thanks",
    "the",
    "was",
    "##ly",
)
MERGES = [("o", "s"), ("l", "o"), ("os", "lo"), ("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("a", "n")]
HIDDEN = 8
MAX_TOKENS = 24
HEADS = {
    "topic": HeadSpec(
        kind="classification.v1",
        output="logits/topic",
        labels=("billing", "delivery", "praise"),
        activation="softmax",
        pooling="mean",
        max_tokens=MAX_TOKENS,
    ),
    "entities": HeadSpec(
        kind="tokens.v1",
        output="logits/entities",
        labels=("PERSON", "PLACE"),
        activation="softmax",
        max_tokens=MAX_TOKENS,
    ),
    "embedding": HeadSpec(
        kind="embedding.v1", output="logits/embedding", pooling="mean", max_tokens=MAX_TOKENS
    ),
}
ENCODER = EncoderInfo(
    name="tiny",
    family="bert",
    fingerprint="0" * 64,
    hidden_size=HIDDEN,
    layers=1,
    max_tokens=MAX_TOKENS,
)
QUALITY = HeadQuality(
    split="test", texts=5, metric="accuracy", fp32=0.8, exported=0.8, agreement=1, max_logit_error=0
)
GOLDEN_TEXTS = ("The parcel was late.", "Anna lives in Oslo", "", "né à 東京 👍", "thanks, thanks!")
TOLERANCE = 1e-4


PEOPLE = ("Anna", "Bo", "Zoé", "Chen")
PLACES = ("Oslo", "Lima", "東京", "Rome")
SENTENCES = {
    "home": "{person} lives in {place}",
    "delivery": "the parcel of {person} was late in {place}",
    "praise": "thanks, {person}: in {place} the parcel is not late!",
}


def rows(pairs: range) -> list[dict[str, Any]]:
    """Three rows a pair of a person and a place; the 16 pairs are all different."""
    found = []
    for pair in pairs:
        person, place = PEOPLE[pair % 4], PLACES[(pair + pair // 4) % 4]
        for topic, sentence in SENTENCES.items():
            text = sentence.format(person=person, place=place)
            spans = [
                {"label": label, "start": text.index(name), "end": text.index(name) + len(name)}
                for label, name in (("PERSON", person), ("PLACE", place))
            ]
            found.append({"text": text, "topic": topic, "entities": spans})
    return found


def configuration(encoder: str) -> dict[str, Any]:
    return {
        "encoder": {"name": encoder, "max_tokens": 48},
        "data": {
            "messages": {split: f"data/{split}.jsonl" for split in ("train", "validation", "test")}
        },
        "heads": {
            "topic": {"kind": "classification", "data": "messages", "target": "topic"},
            "entities": {"kind": "tokens", "data": "messages", "target": "entities"},
            "embedding": {"kind": "embedding"},
        },
        "training": {
            "epochs": 2,
            "batch_tokens": 128,
            "learning_rate": 3e-3,
            "precision": "fp32",
            "seed": 1,
        },
    }


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged, None takes a key out, all else replaces."""
    found = dict(table)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = merged(found[key], value)
        else:
            found[key] = value
    return {key: value for key, value in found.items() if value is not None}


def toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A table of tables as TOML."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"[{'.'.join(map(json.dumps, path))}]"] if path else []
    lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    return "\n".join([*lines, *(toml(value, (*path, key)) for key, value in tables.items())])


@pytest.fixture(scope="session")
def wordpiece_json() -> str:
    """A BERT-style tokenizer: lower case, no accents; other scripts are [UNK]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner = string.ascii_lowercase + string.digits
    pieces = [*special, *inner, *string.punctuation, *(f"##{c}" for c in inner), *WORDS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.add_special_tokens(special)
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def byte_bpe_json() -> str:
    """A RoBERTa-style tokenizer: every byte is a token, a few merges."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [
        *special,
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        *("".join(pair) for pair in MERGES),
    ]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocabulary["</s>"]),
        ("<s>", vocabulary["<s>"]),
        trim_offsets=True,
        add_prefix_space=False,
    )
    tokenizer.add_special_tokens(special)
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def wordpiece(wordpiece_json: str) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(wordpiece_json))


@pytest.fixture(scope="session")
def byte_bpe(byte_bpe_json: str) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(byte_bpe_json))


@pytest.fixture(scope="session")
def save_bert(wordpiece_json: str, wordpiece: Tokenizer) -> Callable[..., Path]:
    """A tiny BERT with random weights: `save_bert(folder, "BertForQuestionAnswering", seed=3, …)`.

    The folder is one of the transformers library; further keywords are of its configuration.
    """

    def save(folder: Path, kind: str = "BertModel", *, seed: int = 0, **changes: Any) -> Path:
        import torch
        import transformers

        sizes = {
            "vocab_size": wordpiece.vocabulary_size,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        }
        torch.manual_seed(seed)
        made = getattr(transformers, kind)(transformers.BertConfig(**{**sizes, **changes}))
        made.eval().save_pretrained(folder)
        (folder / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
        return folder

    return save


@pytest.fixture(scope="session")
def encoder_folder(
    save_bert: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A BERT of two layers with random weights, as a folder of the transformers library."""
    folder = tmp_path_factory.mktemp("encoder")
    return save_bert(folder, num_hidden_layers=2, intermediate_size=64)


@pytest.fixture(scope="session")
def write_rows() -> Callable[[Path, list[Any]], Path]:
    """Writes JSON lines: `write_rows(path, rows)`."""

    def write(path: Path, values: list[Any]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(value, ensure_ascii=False) for value in values]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def write_config(
    encoder_folder: Path, write_rows: Callable[[Path, list[Any]], Path]
) -> Callable[..., Path]:
    """A configuration over 36 learnable rows: `write_config(tmp_path, training={"epochs": 9})`.

    Changes are merged into the tables; None takes a key out.
    """

    def write(folder: Path, **changes: Any) -> Path:
        for split, pairs in {
            "train": range(12),
            "validation": range(12, 14),
            "test": range(14, 16),
        }.items():
            write_rows(folder / "data" / f"{split}.jsonl", rows(pairs))
        path = folder / "config.toml"
        path.write_text(toml(merged(configuration(str(encoder_folder)), changes)), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def command() -> tuple[list[str], dict[str, str]]:
    """How to start the command line in a process of its own: words and environment."""
    sources = os.pathsep.join(path for path in sys.path if path.endswith("/src"))
    changes = {"PYTHONPATH": sources, "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **changes, "OMP_NUM_THREADS": "1"}
    return [sys.executable, "-m", "polyhead"], environment


@pytest.fixture(scope="session")
def graph(wordpiece: Tokenizer) -> onnx.ModelProto:
    """Embeddings and three heads; opset 23, IR 10, weights from a fixed seed."""
    random = np.random.default_rng(20)
    shapes = {
        "embeddings": (wordpiece.vocabulary_size, HIDDEN),
        "topic.weight": (HIDDEN, len(HEADS["topic"].labels)),
        "entities.weight": (HIDDEN, 1 + 2 * len(HEADS["entities"].labels)),
    }
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    # Not ReduceMean: onnxruntime sums a lone text in another order than the rows of a batch.
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["states"]),
        helper.make_node("Transpose", ["states"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("GlobalAveragePool", ["columns"], ["means"]),
        helper.make_node("Flatten", ["means"], ["logits/embedding"]),
        helper.make_node("MatMul", ["logits/embedding", "topic.weight"], ["logits/topic"]),
        helper.make_node("MatMul", ["states", "entities.weight"], ["logits/entities"]),
    ]
    outputs: dict[str, list[Any]] = {
        "logits/topic": ["batch", 3],
        "logits/entities": ["batch", "tokens", 5],
        "logits/embedding": ["batch", HIDDEN],
    }
    return helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=10,
    )


@pytest.fixture(scope="session")
def mixing(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The tiny graph, but each row has the mean of all rows of the batch added."""
    mixed = onnx.ModelProto()
    mixed.CopyFrom(graph)
    nodes = mixed.graph.node
    nodes[0].output[0] = "own"
    mixed.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [0]))
    nodes.insert(1, helper.make_node("ReduceMean", ["own", "axes"], ["mean"], keepdims=1))
    nodes.insert(2, helper.make_node("Add", ["own", "mean"], ["states"]))
    return mixed


@pytest.fixture(scope="session")
def make_bundle(graph: onnx.ModelProto, wordpiece_json: str) -> Callable[..., Path]:
    """Writes a complete bundle: `make_bundle(folder, model=…, tokenizer=…, **manifest_fields)`."""

    def make(
        folder: Path,
        *,
        model: onnx.ModelProto | bytes = graph,
        tokenizer: str = wordpiece_json,
        answers_of: onnx.ModelProto = graph,
        **changes: Any,
    ) -> Path:
        content = model if isinstance(model, bytes) else model.SerializeToString()
        with writer.staged(folder) as staged:
            (staged / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
            (staged / "README.md").write_text("# tiny\n", encoding="utf-8")
            (staged / "model.onnx").write_bytes(answers_of.SerializeToString())
            golden = _golden(staged, GOLDEN_TEXTS)
            (staged / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
            (staged / "model.onnx").write_bytes(content)
            writer.write_manifest(staged, replace(_manifest(staged), **changes))
        return folder

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle that all tests share; nobody writes to it."""
    return make_bundle(tmp_path_factory.mktemp("shared") / "bundle")


@pytest.fixture
def bundle_copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own, to damage."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def _golden(folder: Path, texts: Iterable[str]) -> dict[str, Any]:
    session = OnnxSession(folder / "model.onnx")
    names = [spec.output for spec in HEADS.values()]
    examples = []
    for encoding in Tokenizer.from_file(folder / "tokenizer.json").encode(list(texts)):
        arrays = session.run(names, {"input_ids": encoding.ids[None]})
        logits = {head: array[0] for head, array in zip(HEADS, arrays, strict=True)}
        examples.append(
            {
                "text": encoding.text,
                "ids": encoding.ids.tolist(),
                "logits": {head: array.tolist() for head, array in logits.items()},
                "results": {
                    head: decoder(head, spec).decode(logits[head], encoding).to_dict()
                    for head, spec in HEADS.items()
                },
            }
        )
    return {"tolerance": {"model.onnx": dict.fromkeys(HEADS, TOLERANCE)}, "examples": examples}


def _manifest(folder: Path) -> Manifest:
    weights = digest.entry(folder / "model.onnx")
    return Manifest(
        format="polyhead-bundle",
        version=1,
        encoder=ENCODER,
        tokenizer=digest.entry(folder / "tokenizer.json"),
        golden=digest.entry(folder / "golden.json"),
        card=digest.entry(folder / "README.md"),
        graphs=(
            Graph(
                file=weights.file,
                sha256=weights.sha256,
                size=weights.size,
                precision="fp32",
                layout="exact",
                target="onnx",
                heads=tuple(HEADS),
                inputs=("input_ids",),
            ),
        ),
        heads=HEADS,
        quality={"topic": QUALITY},
        provenance={"made_by": "tests/conftest.py"},
    )
