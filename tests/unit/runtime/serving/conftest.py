"""An engine that answers when a test lets it, and a batcher of it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from polyhead import Batcher, Engine, Prediction, load


class Gate:
    """A real engine behind a gate: what runs and what waits is then certain.

    `calls` are the lists of texts that it was asked for; `alone` the texts by themselves.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open = threading.Event()
        self.calls: list[list[object]] = []
        self.alone: list[object] = []

    def info(self) -> dict[str, Any]:
        return self._engine.info()

    def predict(self, texts: list[Any], **settings: Any) -> Any:
        self.calls.append(list(texts))
        self._open.wait()
        return self._engine.predict(texts, **settings)

    def __call__(self, text: Any, **settings: Any) -> Prediction:
        self.alone.append(text)
        return self._engine(text, **settings)

    def open(self) -> "Gate":
        """Let every call through."""
        self._open.set()
        return self


@pytest.fixture(scope="module")
def engine(bundle) -> Iterator[Engine]:
    with load(bundle, threads=1) as engine:
        engine.warmup()  # the first call takes long, and batches are bounded by time
        yield engine


@pytest.fixture
def gate(engine: Engine) -> Gate:
    """A closed gate; `gate.open()` lets all calls through."""
    return Gate(engine)


@pytest.fixture
def gate_of() -> type[Gate]:
    return Gate


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Runs `scenario(batcher)` in an event loop: `serve(engine, scenario, max_queue=2)`."""

    def run(engine: Any, scenario: Callable[[Batcher], Awaitable[Any]], **settings: Any) -> Any:
        async def main() -> Any:
            async with asyncio.timeout(60):
                async with Batcher(engine, **settings) as batcher:
                    return await scenario(batcher)

        return asyncio.run(main())

    return run


class Requests:
    """Starts requests, lets the loop go round, and gathers what becomes of them."""

    def __call__(self, batcher: Batcher, *texts: Any, **settings: Any) -> list[asyncio.Task[Any]]:
        return [asyncio.ensure_future(batcher.predict(text, **settings)) for text in texts]

    async def begun(self, batcher: Batcher, *texts: Any, **settings: Any) -> list[Any]:
        """Start requests and see them arrive."""
        tasks = self(batcher, *texts, **settings)
        await self.turns()
        return tasks

    async def turns(self, count: int = 5) -> None:
        """Let the event loop go round."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def ended(self, tasks: list[Any]) -> list[Any]:
        """Answers and errors."""
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def requests() -> Requests:
    return Requests()
