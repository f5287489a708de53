"""A tiny trained checkpoint and the bundle that was exported from it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from polyhead.bundle import read
from polyhead.text.tokenizing import Tokenizer
from polyhead_bench.convert import Models as Forms
from polyhead_bench.results import Results
from polyhead_bench.run import run
from polyhead_bench.scenarios import SCENARIOS, Settings
from polyhead_bench.texts import Source
from polyhead_export import export as exports
from polyhead_models import encoder as encoders
from polyhead_models.config import Config, DataConfig, EncoderConfig, HeadConfig, TrainingConfig
from polyhead_models.training import train

MAX_TOKENS = 256
ENCODER = {
    "model_type": "bert",
    "vocab_size": 128,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": MAX_TOKENS,
}
ROWS = [{"text": f"The parcel was {n} days late.", "topic": "delivery"} for n in range(6)]
ROWS += [{"text": f"Thanks, {n} stars!", "topic": "praise"} for n in range(6)]


@dataclass(frozen=True)
class Models:
    checkpoint: Path
    bundle: Path


@dataclass(frozen=True)
class Finished:
    folder: Path
    results: Results


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, wordpiece_json: str) -> Models:
    """Nobody writes to them."""
    folder = tmp_path_factory.mktemp("bench")
    torch.set_num_threads(2)
    torch.manual_seed(7)
    with encoders.quiet():
        encoders.build(ENCODER).save_pretrained(folder / "encoder")
    (folder / "encoder" / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
    rows = folder / "train.jsonl"
    rows.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS), encoding="utf-8")
    config = Config(
        encoder=EncoderConfig(name=str(folder / "encoder"), max_tokens=MAX_TOKENS),
        data={"mail": DataConfig(train=str(rows))},
        heads={"topic": HeadConfig(kind="classification", data="mail", target="topic")},
        training=TrainingConfig(epochs=1, batch_tokens=64, precision="fp32"),
    )
    checkpoint = train(config, folder / "checkpoint", note=lambda _: None).path
    export(checkpoint, folder / "bundle", ExportSettings(precision="fp32"))
    return Models(checkpoint, folder / "bundle")


@pytest.fixture(scope="session")
def tokenizer(models: Models) -> Tokenizer:
    bundle = read(models.bundle)
    return Tokenizer.from_file(bundle.file(bundle.manifest.tokenizer))


@pytest.fixture(scope="session")
def finished(
    models: Models, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A short run of all scenarios with three peers, and one that cannot be loaded."""
    tmp = tmp_path_factory.mktemp("run")
    source = Source(("the", "parcel", "was", "late", ",", "thanks"), tokenizer)
    texts = source.mixed(6, mean=12, longest=64, seed=0)
    made = run(
        asked_models(models, tmp / "cache"),
        texts,
        tmp / "report",
        Settings(
            peers=("polyhead-int8", "torch", "separate-int8", "openvino-int8"),
            scenarios=tuple(SCENARIOS),
            threads=1,
            rounds=2,
            per_length=1,
            callers=2,
            calls=3,
            many=20,
            minutes=0.02,
            command="polyhead bench run",
        ),
    )
    return Finished(tmp / "report", made)


def asked_models(models: Models, cache: Path) -> Forms:
    """The tiny model in the forms that peers ask for."""
    return Forms(
        bundle=models.bundle,
        checkpoint=models.checkpoint,
        cache=cache,
        environments=cache / "no-environments",
    )
