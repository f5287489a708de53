"""An engine that answers when a test lets it, a batcher of it, and batchers in simulated time."""

import asyncio
import selectors
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import polyhead.serving.admission
import polyhead.serving.batcher
import polyhead.serving.queue
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


class _Jump(selectors.SelectSelector):
    """Does not wait: time goes on at once."""

    now = 0.0

    def select(self, timeout=None):
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of its next timer."""

    def __init__(self):
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self):
        return self._jump.now


class StandIn:
    """An engine whose texts take `cost(text)` seconds of a thread each.

    `computed` are the texts that it took the time for, `sizes` the lengths of the lists that it
    was asked for; `fails` gives an error for some.
    """

    def __init__(self, cost=lambda text: 0.01, threads=2, fails=lambda text: None):
        self.cost, self.threads, self.fails = cost, threads, fails
        self.batch_tokens = 256
        self.computed, self.sizes = [], []

    def info(self):
        return {"threads": self.threads, "batch_tokens": self.batch_tokens}

    def predict(self, texts, *, wanted, **_):
        self.sizes.append(len(texts))
        for text in texts:
            if problem := self.fails(text):
                raise problem
        done = self.computed
        return [
            Prediction(text, {}, tokens=8) if text in done and wanted(row) else None
            for row, text in enumerate(texts)
        ]


class _Threads:
    """Takes the place of `DaemonThreads`: a batch ends after its texts' time, one after the other.

    Between two texts it looks who is still wanted, as the engine does between groups.
    """

    def __init__(self, engine):
        self._engine = engine
        self.most = self._now = 0

    def ready(self):
        pass

    def run(self, work):
        self._now += 1
        self.most = max(self.most, self._now)
        self._task = asyncio.ensure_future(self._compute(work))

    async def _compute(self, work):
        for entry in work.args[1].entries:
            if entry.wanted:
                await asyncio.sleep(self._engine.cost(entry.item))
                self._engine.computed.append(entry.item)
        work()

    def release(self):
        self._now -= 1

    def close(self):
        pass


@pytest.fixture
def stand_in():
    return StandIn


@pytest.fixture
def simulate(monkeypatch):
    """Runs `scenario(batcher)` in simulated time: `simulate(stand_in(), scenario, max_queue=2)`.

    An event loop jumps to what comes next, and threads only wait: it is exact, and takes no time.
    """

    def run(engine, scenario, **settings):
        async def main():
            clock = SimpleNamespace(perf_counter=asyncio.get_running_loop().time)
            monkeypatch.setattr(polyhead.serving.batcher, "time", clock)
            monkeypatch.setattr(polyhead.serving.dispatch, "time", clock)
            monkeypatch.setattr(polyhead.serving.queue, "time", clock)
            monkeypatch.setattr(polyhead.serving.admission, "time", clock)
            batcher = Batcher(engine, **settings)
            batcher._dispatch.pool = _Threads(engine)
            async with batcher:
                return await scenario(batcher)

        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            return runner.run(main())

    return run
