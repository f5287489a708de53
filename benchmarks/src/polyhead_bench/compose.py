"""Sub-models over one encoder and over two, apart and combined."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import polyhead
from polyhead.heads import HeadSpec
from polyhead.system import atomic
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.statistics import Interval, ratio
from polyhead_export.combining import combine as combine_bundles
from polyhead_export.importing import import_folder
from polyhead_models.importing import ImportOptions

HEAD, LABELS, MAX_TOKENS = "topic", 6, 256
TEXTS = tuple(
    "the parcel of Anna came late and the kettle in it was broken , please call me back " * n
    for n in (1, 2, 1, 3)
)
_RSS = """
import sys, polyhead, psutil
with polyhead.load(sys.argv[1], threads=1) as engine:
    for _ in range(20):
        engine("the parcel of Anna came late and the kettle in it was broken")
    print(psutil.Process().memory_info().rss)
"""
_OPTIMUM = Path(__file__).parent / "foreign" / "optimum_single.py"


@dataclass(frozen=True)
class Figure:
    """One measured figure, and what it should be.

    Attributes:
        name: what was measured.
        found: a ratio; of times the median over rounds. None when it could not be measured.
        sign: how it should stand to `wanted`.
        wanted: the limit.
        low: bootstrap 95% interval of `found`, from here; None of what was measured once.
        high: to here.
        fault: why it could not be measured.
    """

    name: str
    found: float | None
    sign: Literal["<=", ">="]
    wanted: float
    low: float | None = None
    high: float | None = None
    fault: str | None = None

    @classmethod
    def of(cls, name: str, found: Interval, sign: Literal["<=", ">="], wanted: float) -> Figure:
        """A ratio of times."""
        return cls(name, found.value, sign, wanted, found.low, found.high)

    @property
    def passed(self) -> bool:
        """Whether it is as wanted."""
        if self.found is None:
            return False
        return self.found <= self.wanted if self.sign == "<=" else self.found >= self.wanted

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class Made:
    """Bundles to measure.

    Attributes:
        alone: one head each, over one encoder.
        combined: all of their heads in one graph.
        pair: two encoders in one bundle; `first` and `second` by themselves.
        first: a bundle.
        second: a bundle with another encoder.
        checkpoint: of one head.
        work: folder for more.
    """

    alone: tuple[Path, ...]
    combined: Path
    pair: Path
    first: Path
    second: Path
    checkpoint: Path
    work: Path


def prepare(encoder: str, work: Path, *, heads: int, note: Callable[[str], None]) -> Made:
    """Make checkpoints with untrained heads over `encoder`, combine and export them (int8)."""
    try:
        from polyhead_models.combining import Part, combine
    except ImportError as problem:
        raise BenchError(f"sub-models are made with polyhead-models: {problem}") from problem
    texts = work / "texts.txt"
    work.mkdir(parents=True, exist_ok=True)
    texts.write_text("\n".join(text[: 20 + 7 * i] for i in range(16) for text in TEXTS))

    def bundle(checkpoint: Path, name: str) -> Path:
        note(f"exporting {name}")
        loose = ("--max-drop", "100", "--max-flips", "100", "--calibration-texts", "32")
        _export(checkpoint, work / name, "--precision", "int8", "--texts", str(texts), *loose)
        return work / name

    checkpoints = [_checkpoint(encoder, work, number) for number in range(heads)]
    parts = [Part(path, prefix=f"h{number}-") for number, path in enumerate(checkpoints)]
    combine(parts, work / "combined.checkpoint")
    alone = tuple(bundle(path, f"alone-{number}") for number, path in enumerate(checkpoints))
    other = bundle(_checkpoint(encoder, work, heads, moved=True), "other")
    combine_bundles([(alone[0], ""), (other, "other-")], work / "pair")
    combined = bundle(work / "combined.checkpoint", "combined")
    return Made(alone, combined, work / "pair", alone[0], other, checkpoints[0], work)


def measure(made: Made, *, rounds: int) -> list[Figure]:
    """Times are compared round by round, one thread unless said otherwise.

    Raises:
        BenchError: when a process that measures memory fails.
        BundleError: when a bundle cannot be loaded.
    """
    with polyhead.load(made.combined, threads=1) as combined:
        alone = [polyhead.load(path, threads=1) for path in made.alone]

        def each() -> None:
            for engine in alone:
                _pass(engine)

        one, five, apart = _times([lambda: _pass(alone[0]), lambda: _pass(combined), each], rounds)
        for engine in alone:
            engine.close()
    with (
        polyhead.load(made.pair, threads=2) as pair,
        polyhead.load(made.first, threads=2) as first,
        polyhead.load(made.second, threads=2) as second,
    ):

        def after_each_other() -> None:
            _pass(first)
            _pass(second)

        together, after = _times([lambda: _pass(pair), after_each_other], rounds)
    size = [sum(f.stat().st_size for f in p.iterdir()) for p in (made.combined, made.alone[0])]
    rss = [_rss(path) for path in (made.combined, made.alone[0])]
    count = len(made.alone)
    more, least = f"time: {count} heads in one graph / one head", 0.9 * count
    return [
        Figure.of(more, ratio(five, one), "<=", 1.05),
        Figure(f"disk: {count} heads in one graph / one head", size[0] / size[1], "<=", 1.02),
        Figure(f"RSS: {count} heads in one graph / one head", rss[0] / rss[1], "<=", 1.10),
        Figure.of(f"time: {count} run separately / one graph", ratio(apart, five), ">=", least),
        Figure.of(
            "time: two encoders at once / one after the other", ratio(together, after), "<=", 0.65
        ),
    ]


def against_optimum(made: Made, python: Path, *, rounds: int) -> Figure:
    """An int8 folder of Optimum: ORTModel's time over the lean runtime's, one text at a time.

    An environment that fails, or other logits than ours, make a figure with a fault.
    """
    name, limit = "time: ORTModel / lean runtime, an int8 folder of Optimum", 1.0
    try:
        return Figure.of(name, _against_optimum(made, python, rounds), ">=", limit)
    except (PeerFault, OSError) as fault:
        return Figure(name, None, ">=", limit, fault=str(fault))


def _against_optimum(made: Made, python: Path, rounds: int) -> Interval:
    folder, int8 = made.work / "optimum", made.work / "optimum-int8"
    _export(made.checkpoint, folder, "--format", "optimum")
    errors = made.work / "optimum.log"
    command = [str(python), str(_OPTIMUM), str(folder), str(int8)]
    with (
        errors.open("w") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as peer,
    ):

        def answer(question: str = "") -> str:
            try:
                if question and peer.stdin is not None:
                    peer.stdin.write(question + "\n")
                    peer.stdin.flush()
                line = peer.stdout.readline() if peer.stdout is not None else ""
            except OSError:
                line = ""
            if not line:
                raise PeerFault(f"Optimum's process ended: {errors.read_text()[-300:].strip()}")
            return line.strip()

        theirs = _numbers(answer())
        bundle = made.work / "imported"
        import_folder(int8, bundle, ImportOptions())
        with polyhead.load(bundle, threads=1) as engine:
            (head,) = engine.heads
            own = engine.logits([TEXTS[0]])[head][0]
            if own.shape != theirs.shape or not np.allclose(own, theirs, atol=1e-3):
                raise PeerFault(f"the logits differ: {own} here, {theirs} in ORTModel.")
            times: list[float] = []

            def ask() -> None:
                times.append(float(_numbers(answer("go"))[0]))

            _, mine = _times([ask, lambda: _pass(engine)], rounds)
        if peer.stdin is not None:
            peer.stdin.close()
    return ratio(times[1:], mine)  # the first was for warming up


def _numbers(line: str) -> NDArray[np.float64]:
    try:
        return np.array([float(word) for word in line.split()])
    except ValueError as problem:
        raise PeerFault(f"Optimum's process said {line[:80]!r}, expected numbers.") from problem


def _pass(engine: polyhead.Engine) -> None:
    for text in TEXTS:
        engine(text)


def _times(jobs: Sequence[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Seconds of each job by round; rounds go forth and back (A-B-B-A)."""
    found: list[list[float]] = [[] for _ in jobs]
    for job in jobs:
        job()
    for number in range(rounds):
        order = range(len(jobs)) if number % 2 == 0 else reversed(range(len(jobs)))
        for place in order:
            start = time.perf_counter()
            jobs[place]()
            found[place].append(time.perf_counter() - start)
    return found


def _export(checkpoint: Path, target: Path, *words: str) -> None:
    """`polyhead export` as a user runs it: the benchmarks do not import polyhead-export."""
    command = (sys.executable, "-m", "polyhead.cli.main", "export", str(checkpoint), "-o")
    done = subprocess.run(
        [*command, str(target), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{checkpoint}: export failed: {done.stderr[-500:]}")


def _rss(bundle: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _RSS, str(bundle)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{bundle}: {done.stderr[-300:]}")
    return int(done.stdout)


def _checkpoint(encoder: str, work: Path, number: int, *, moved: bool = False) -> Path:
    """One linear classification head, untrained; `moved` changes the encoder's weights a little."""
    import torch

    from polyhead_models import checkpoint as checkpoints
    from polyhead_models import encoder as encoders
    from polyhead_models.checkpoint import Checkpoint, Description
    from polyhead_models.config import Config, EncoderConfig, HeadConfig

    torch.manual_seed(number)
    model, tokenizer = checkpoints.encoder(encoder)
    if moved:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.001)
    longest = min(MAX_TOKENS, encoders.capacity(model) or MAX_TOKENS)
    spec = HeadSpec(
        kind="classification.v1",
        output=f"logits/{HEAD}",
        labels=tuple(f"label {i}" for i in range(LABELS)),
        activation="softmax",
        pooling="cls",
        max_tokens=longest,
        stride=longest // 4,
    )
    config = Config(
        encoder=EncoderConfig(name=encoder, max_tokens=longest),
        heads={HEAD: HeadConfig(kind=spec.kind, pooling="cls")},
    )
    network = checkpoints.assemble(model, {HEAD: spec}, config.heads).eval()
    description = Description(
        encoder=encoders.settings(model),
        heads={HEAD: spec},
        config=config,
        data={},
        provenance={"made_by": "polyhead bench compose"},
    )
    target = work / f"checkpoint-{number}"
    with atomic.folder(target) as folder:
        checkpoints.save(folder, Checkpoint(network, tokenizer, description), {})
    return target
