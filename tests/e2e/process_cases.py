"""What the process tests run in other processes: importable there by name."""

from typing import Any

import polyhead

engine: polyhead.Engine | None = None


def load(path: str) -> None:
    """What a pool's initializer does."""
    global engine
    engine = polyhead.load(path, threads=1)


def answer(texts: list[str]) -> list[dict[str, Any]]:
    """With this process's engine, inherited or loaded here."""
    assert engine is not None
    return [prediction.to_dict() for prediction in engine.predict(texts)]


def answer_with(given: polyhead.Engine, texts: list[str]) -> list[dict[str, Any]]:
    """With an engine that came along."""
    return [prediction.to_dict() for prediction in given.predict(texts)]
