"""A checkpoint of the tiny encoder and its rows, and ways to stop a training."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

from polyhead_models import checkpoint, config, training
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on many threads; other folders' tests have others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
