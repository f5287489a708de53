"""A tiny encoder on disk, rows that it can learn, and a configuration over both."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from polyhead_models import checkpoint, config, training
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config

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


def settings(encoder: str) -> dict[str, Any]:
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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on many threads; other folders' tests have others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
        path.write_text(toml(merged(settings(str(encoder_folder)), changes)), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def trained(write_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that has learnt its rows, with its config.toml beside; nobody writes to it."""
    folder = tmp_path_factory.mktemp("trained")
    path = write_config(
        folder,
        training={"epochs": 60, "learning_rate": 6e-3},
        data={"messages": {"validation": "data/train.jsonl"}},
    )
    return training.train(config.load(path), folder / "checkpoint").path


@pytest.fixture(scope="session")
def trained_config(trained: Path) -> Config:
    return config.load(trained.parent / "config.toml")


@pytest.fixture(scope="session")
def learnt(trained: Path) -> Checkpoint:
    """The trained checkpoint, loaded; nobody changes it."""
    return checkpoint.load(trained)


class _Stop(Exception):
    """What stops a run."""


class _StopAt(logging.Handler):
    def __init__(self, prefix: str, nth: int) -> None:
        super().__init__(logging.INFO)
        self._prefix, self._left = prefix, nth

    def emit(self, record: logging.LogRecord) -> None:
        self._left -= record.getMessage().startswith(self._prefix)
        if self._left == 0:
            raise _Stop


@contextmanager
def _stopped_at(prefix: str, nth: int = 1) -> Iterator[None]:
    logger, handler = logging.getLogger("polyhead_models"), _StopAt(prefix, nth)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with pytest.raises(_Stop):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@pytest.fixture(scope="session")
def stopped_at() -> Callable[..., AbstractContextManager[None]]:
    """Stops a run with its n-th line of progress: `with stopped_at("epoch ", nth=3): train(…)`."""
    return _stopped_at


@pytest.fixture
def notes(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of progress so far."""
    caplog.set_level(logging.INFO, "polyhead_models")
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("polyhead_models")
    ]


@pytest.fixture(scope="session")
def command() -> tuple[list[str], dict[str, str]]:
    """How to start the command line in a process of its own: words and environment."""
    sources = os.pathsep.join(path for path in sys.path if path.endswith("/src"))
    changes = {"PYTHONPATH": sources, "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **changes, "OMP_NUM_THREADS": "1"}
    return [sys.executable, "-m", "polyhead"], environment
