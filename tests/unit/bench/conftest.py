"""A tiny trained checkpoint and the bundle that was exported from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from polyhead.bundle import read
from polyhead.cli.main import main
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench.convert.cache import Models as Forms
from polyhead_bench.results import Results
from polyhead_bench.run import run
from polyhead_bench.scenarios import SCENARIOS, RunSettings
from polyhead_bench.texts import TextSource

ROWS = [{"text": f"The parcel was {n} days late.", "topic": "delivery"} for n in range(6)]
ROWS += [{"text": f"Thanks, {n} stars!", "topic": "praise"} for n in range(6)]
HEADS = {"topic": {"kind": "classification", "data": "rows", "target": "topic"}}
Rows = Sequence[Mapping[str, object]]
Heads = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Models:
    checkpoint: Path
    bundle: Path


@dataclass(frozen=True)
class Finished:
    folder: Path
    results: Results


@pytest.fixture(scope="session")
def trained(
    save_bert: Callable[..., Path],
    write_config: Callable[..., Path],
    write_rows: Callable[..., Path],
) -> Callable[..., Models]:
    """`trained(folder, rows, heads, …)`: a tiny checkpoint and its fp32 bundle, in a folder."""

    def make(folder: Path, rows: Rows, heads: Heads, *, tokens: int, epochs: int = 1) -> Models:
        torch.set_num_threads(2)
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        save_bert(folder / "encoder", seed=3, max_position_embeddings=tokens, **sizes)
        write_rows(folder / "rows.jsonl", rows)
        config = write_config(
            folder,
            encoder={"name": str(folder / "encoder"), "max_tokens": tokens},
            data={"messages": None, "rows": {"train": "rows.jsonl"}},
            heads={**dict.fromkeys(("topic", "entities", "embedding")), **heads},
            training={"epochs": epochs, "batch_tokens": 64},
        )
        checkpoint, bundle = folder / "checkpoint", folder / "bundle"
        assert main(["train", str(config), "-o", str(checkpoint)]) == 0
        assert main(["export", str(checkpoint), "-o", str(bundle), "--precision", "fp32"]) == 0
        return Models(checkpoint, bundle)

    return make


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, trained: Callable[..., Models]) -> Models:
    """Nobody writes to them."""
    return trained(tmp_path_factory.mktemp("bench"), ROWS, HEADS, tokens=256)


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
    source = TextSource(("the", "parcel", "was", "late", ",", "thanks"), tokenizer)
    texts = source.mixed(6, mean=12, longest=64, seed=0)
    made = run(
        asked_models(models, tmp / "cache"),
        texts,
        tmp / "report",
        RunSettings(
            peers=("polyhead-int8", "torch", "separate-int8", "openvino-int8"),
            scenarios=tuple(SCENARIOS),
            threads=1,
            rounds=2,
            server_seconds=0.05,
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
