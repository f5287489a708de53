"""Tiny models of all families, the real MiniLM with the same heads, a trained checkpoint."""

import collections
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch
from transformers import PreTrainedModel

from polyhead.heads import HeadSpec
from polyhead_export import graphs
from polyhead_export.gate import Limits
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.config import Config, DataConfig, EncoderConfig, HeadConfig, TrainingConfig
from polyhead_models.heads import NETWORKS
from polyhead_models.model import MultiHeadModel
from polyhead_models.training import train

MAX_TOKENS = 40
# For tests of something else: 16 texts are few for a gate, one of them is 6%.
ANY_LOSS = Limits(max_drop=100, max_flips=100)
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
LABELS = ("billing", "delivery", "praise")
TRAINED = {"kind": "classification", "data": "mail", "target": "topic"}
HEADS = {
    "topic": HeadConfig(**TRAINED),
    "first": HeadConfig(**TRAINED, pooling="cls"),
    "highest": HeadConfig(**TRAINED, pooling="max", hidden=(16,)),
    "entities": HeadConfig(kind="tokens", data="mail", target="entities"),
    "embedding": HeadConfig(kind="embedding"),
}
LAYERED = {
    "lower": HeadConfig(**TRAINED, layers=1),
    "mixed": HeadConfig(**TRAINED, layers="mix"),
    "lower_tags": HeadConfig(kind="tokens", data="mail", target="entities", layers=1),
}
# Of a family with SDPA, one without, and one that normalises after the last layer.
LAYERED_FAMILIES = ("bert", "mpnet", "modernbert")
PLACES = ("Oslo", "Rome", "Kyoto", "Lima")
SENTENCES = {
    "billing": "Why was I billed {n} times in {place}?",
    "delivery": "The parcel to {place} was {n} days late.",
    "praise": "Thanks, {n} stars from {place}!",
}


@dataclass(frozen=True)
class Case:
    """A model in evaluation mode and its float graph on disk."""

    model: MultiHeadModel
    path: Path
    max_tokens: int

    @property
    def outputs(self) -> list[str]:
        return [spec.output for spec in self.model.specs.values()]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_model(families: dict[str, dict[str, Any]]) -> Callable[..., MultiHeadModel]:
    """Random weights from a fixed seed; the tiny BERT has two heads more, on other layers."""

    def make(family: str) -> MultiHeadModel:
        torch.manual_seed(7)
        if family == "minilm":
            return _with_heads(encoders.load(MINILM)[0], HEADS, 256)
        heads = {**HEADS, **LAYERED} if family in LAYERED_FAMILIES else HEADS
        return _with_heads(encoders.build(families[family]), heads, MAX_TOKENS)

    return make


def _with_heads(
    encoder: PreTrainedModel, heads: dict[str, HeadConfig], max_tokens: int
) -> MultiHeadModel:
    specs = {
        name: HeadSpec(
            kind=head.versioned_kind,
            output=f"logits/{name}",
            labels=() if head.kind == "embedding" else LABELS,
            activation=NETWORKS[head.versioned_kind].activation,
            layers=head.layers,
            pooling=head.pooling or NETWORKS[head.versioned_kind].default_pooling,
            max_tokens=max_tokens,
        )
        for name, head in heads.items()
    }
    return checkpoints.assemble(encoder, specs, heads).eval()


@pytest.fixture(scope="session")
def case(
    make_model: Callable[..., MultiHeadModel], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Case]:
    """`case(family)`: traced once; nobody changes its model or file."""

    @cache
    def get(family: str) -> Case:
        model, max_tokens = make_model(family), 256 if family == "minilm" else MAX_TOKENS
        path = tmp_path_factory.mktemp(family) / "float.onnx"
        graphs.save(graphs.float_graph(model, max_tokens=max_tokens), path)
        return Case(model, path, max_tokens)

    return get


@pytest.fixture(scope="session")
def count() -> Callable[[ir.Model], collections.Counter[str]]:
    return lambda model: collections.Counter(node.op_type for node in model.graph)


@pytest.fixture(scope="session")
def make_config(
    tmp_path_factory: pytest.TempPathFactory,
    wordpiece_json: str,
    families: dict[str, dict[str, Any]],
) -> Callable[[Path], Config]:
    """`make_config(folder)` writes training data into `folder` and a tiny BERT beside it."""
    place = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(7)
    with encoders.quiet():
        encoders.build(families["bert"]).save_pretrained(place)
    (place / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")

    def make(folder: Path) -> Config:
        _write_rows(folder / "train.jsonl", range(2, 12))
        _write_rows(folder / "validation.jsonl", range(12, 17))
        _write_rows(folder / "test.jsonl", range(17, 19))
        splits = {s: str(folder / f"{s}.jsonl") for s in ("train", "validation", "test")}
        return Config(
            encoder=EncoderConfig(name=str(place), max_tokens=MAX_TOKENS),
            data={"mail": DataConfig(**splits)},
            heads=HEADS,
            training=TrainingConfig(epochs=2, batch_tokens=512, precision="fp32"),
        )

    return make


def _write_rows(path: Path, numbers: range) -> None:
    rows = []
    for n in numbers:
        for topic, sentence in SENTENCES.items():
            place = PLACES[n % len(PLACES)]
            text = sentence.format(n=n, place=place)
            start = text.index(place)
            span = {"label": "PLACE", "start": start, "end": start + len(place)}
            rows.append({"text": text, "topic": topic, "entities": [span]})
    # One text is longer than the encoder reads.
    rows.append({**rows[0], "text": rows[0]["text"] + " Thanks!" * MAX_TOKENS})
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def make_checkpoint(make_config: Callable[[Path], Config]) -> Callable[[Path], Path]:
    """`make_checkpoint(folder)`: trained a few steps on data in `folder`."""

    def make(folder: Path) -> Path:
        return train(make_config(folder), folder / "checkpoint").path

    return make


@pytest.fixture(scope="session")
def any_loss() -> Limits:
    return ANY_LOSS


@pytest.fixture(scope="session")
def checkpoint(
    make_checkpoint: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint that all tests share; nobody writes to it or its data."""
    return make_checkpoint(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`exported(precision)`: a bundle of the shared checkpoint; nobody writes to it."""

    @cache
    def get(precision: Any) -> Path:
        target = tmp_path_factory.mktemp(precision) / "bundle"
        settings = ExportSettings(precision=precision, limits=ANY_LOSS)
        export(checkpoint, target, settings)
        return target

    return get
