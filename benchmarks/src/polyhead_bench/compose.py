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

import polyhead
from polyhead.bundle.combining import combine as combine_bundles
from polyhead.importing import Wishes, import_folder
from polyhead_bench.errors import BenchError

LABELS = 6
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
    """One measured figure, and what it should be."""

    name: str
    found: float
    sign: Literal["<=", ">="]
    wanted: float

    @property
    def passed(self) -> bool:
        """Whether it is as wanted."""
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
    """Times are ratios of medians over alternating rounds, one thread unless said otherwise."""
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
    return [
        Figure(f"time: {count} heads in one graph / one head", five / one, "<=", 1.05),
        Figure(f"disk: {count} heads in one graph / one head", size[0] / size[1], "<=", 1.02),
        Figure(f"RSS: {count} heads in one graph / one head", rss[0] / rss[1], "<=", 1.10),
        Figure(f"time: {count} run separately / one graph", apart / five, ">=", 0.9 * count),
        Figure("time: two encoders at once / one after the other", together / after, "<=", 0.65),
    ]


def against_optimum(made: Made, python: Path, *, rounds: int) -> Figure:
    """An int8 folder of Optimum: ORTModel's time over the lean runtime's, one text at a time."""
    folder, int8 = made.work / "optimum", made.work / "optimum-int8"
    _export(made.checkpoint, folder, "--format", "optimum")
    command = [str(python), str(_OPTIMUM), str(folder), str(int8)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdin is not None and peer.stdout is not None  # noqa: PT018 - pipes

        def answer() -> str:
            line = peer.stdout.readline() if peer.stdout is not None else ""
            if not line:
                raise BenchError("Optimum's process ended; run it by hand to see why.")
            return line.strip()

        logits = np.array([float(x) for x in answer().split()])
        bundle = made.work / "imported"
        import_folder(int8, bundle, Wishes(), note=lambda _: None)
        with polyhead.load(bundle, threads=1) as engine:
            (head,) = engine.heads
            own = engine.logits([TEXTS[0]])[head][0]
            if not np.allclose(own, logits, atol=1e-3):
                raise BenchError(f"the logits differ: {own} here, {logits} in ORTModel.")
            mine, theirs = [], []
            for _ in range(rounds):
                peer.stdin.write("go\n")
                peer.stdin.flush()
                theirs.append(float(answer()))
                start = time.perf_counter()
                _pass(engine)
                mine.append(time.perf_counter() - start)
        peer.stdin.close()
    return Figure(
        "time: ORTModel / lean runtime, an int8 folder of Optimum",
        float(np.median(theirs) / np.median(mine)),
        ">=",
        1.0,
    )


def _pass(engine: polyhead.Engine) -> None:
    for text in TEXTS:
        engine(text)


def _times(jobs: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Median seconds of each job; rounds go forth and back (A-B-B-A)."""
    found: list[list[float]] = [[] for _ in jobs]
    for job in jobs:
        job()
    for number in range(rounds):
        order = range(len(jobs)) if number % 2 == 0 else reversed(range(len(jobs)))
        for place in order:
            start = time.perf_counter()
            jobs[place]()
            found[place].append(time.perf_counter() - start)
    return [float(np.median(times)) for times in found]


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
    """One classification head, untrained; `moved` changes the encoder's weights a little."""
    import torch
    import transformers

    from polyhead_models import encoder as encoders
    from polyhead_models.importing import Wishes as ModelWishes
    from polyhead_models.importing import import_model

    torch.manual_seed(number)
    place = encoders.locate(encoder)
    with encoders.quiet():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            place, num_labels=LABELS
        )
    if moved:
        with torch.no_grad():
            for parameter in model.base_model.parameters():
                parameter.mul_(1.001)
    source = work / f"source-{number}"
    model.save_pretrained(source)
    transformers.AutoTokenizer.from_pretrained(place).save_pretrained(source)
    target = work / f"checkpoint-{number}"
    return import_model(str(source), target, ModelWishes(max_tokens=256), note=lambda _: None).path
