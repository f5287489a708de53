# ruff: noqa: T201 (a program prints)
# pyright: strict
"""What a user writes, all of the public API once: type checkers read it, and it is run."""

import asyncio
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy import float32
from numpy.typing import NDArray

import polyhead
from polyhead import (
    Answer,
    AnswerSpan,
    Batcher,
    BatcherStats,
    Classification,
    Compressed,
    Embedding,
    Engine,
    Entities,
    HeadSpec,
    InputError,
    Kept,
    MultiLabel,
    Prediction,
    Regression,
    Sentence,
    Span,
    Summary,
)


def shown(prediction: Prediction) -> str:
    """Every kind of result and its fields."""
    lines: list[str] = []
    for name in prediction:
        result = prediction.results[name]
        if isinstance(result, Classification):
            label: str | None = result.label
            scores: dict[str, float] = result.scores
            lines.append(f"{label} {result.score:.2f} {len(scores)}")
        elif isinstance(result, MultiLabel):
            labels: tuple[str, ...] = result.labels
            lines.append(" ".join(labels))
        elif isinstance(result, Regression):
            value: float = result.value
            lines.append(f"{value:.1f}")
        elif isinstance(result, Entities):
            spans: tuple[Span, ...] = result.spans
            lines += [f"{s.label} {s.text} {s.start} {s.end} {s.score:.2f}" for s in spans]
        elif isinstance(result, Answer):
            candidates: tuple[AnswerSpan, ...] = result.candidates
            lines.append(f"{result.text} {result.start} {result.end} {len(candidates)}")
        elif isinstance(result, Summary):
            sentences: tuple[Sentence, ...] = result.sentences
            lines.append(" ".join(sentence.text for sentence in sentences))
        elif isinstance(result, Compressed):
            pieces: tuple[Kept, ...] = result.spans
            lines.append(f"{result.text} {len(pieces)}")
        elif isinstance(result, Embedding):
            vector: NDArray[float32] = result.vector
            lines.append(str(vector.shape))
    return "\n".join(lines)


def answered(engine: Engine) -> None:
    """Calls of an engine."""
    one: Prediction = engine("my kettle broke", heads=["topic"], options={})
    if engine("a", heads="topic").truncated or one.windows != 1:
        raise SystemExit("a short text was cut")
    many: list[Prediction] = engine.predict(["a", "b"])
    for found in engine.predict(["a", ("b", "c")], errors="return"):
        if isinstance(found, InputError):
            index: int | None = found.index
            print(index, found)
        elif isinstance(found, Prediction):
            print(found.text, found.query, found.tokens, found.to_dict()["heads"])
    streamed: list[Prediction] = engine.predict(text for text in ("a", "b"))
    row: dict[str, Any] = streamed[0].to_row()
    print(row["text"], repr(engine), repr(streamed))
    for missing in engine.predict(["a", None], errors="return"):
        print(missing)
    left = engine.predict(["a"], wanted=lambda row: row > 0)[0]
    if left is not None:
        raise SystemExit("a text was computed that nobody wants")
    print(shown(many[0]), shown(one.utf16()))
    logits: dict[str, list[NDArray[float32]]] = engine.logits(["a"])
    heads: dict[str, HeadSpec] = engine.heads
    print(len(logits), [spec.kind for spec in heads.values()], engine.info()["provider"])
    print(engine.encode(["a"])[0].ids.tolist())


async def served(engine: Engine) -> BatcherStats:
    """A batcher."""
    async with Batcher(engine, max_wait_ms=1, max_queue=8, deadline_ms=60_000) as batcher:
        try:
            found: Prediction = await batcher.predict("my kettle broke", heads=["topic"])
            print(found)
        except polyhead.QueueFull as problem:
            seconds: float = problem.expected_wait_s
            print(seconds)
        await batcher.aclose(drain=True, grace=5)
        return batcher.stats()


def main(bundle: Path) -> None:
    """Everything once."""
    with polyhead.load(
        bundle,
        heads=None,
        threads=1,
        batch_tokens=256,
        on_overflow="window",
        max_characters=None,
        verify="golden",
        provider="auto",
        provider_options=None,
        intra_op_threads=None,
        spin=False,
        session_options=None,
        cascade=None,
    ) as engine:
        engine.warmup()
        answered(engine)
        print(asyncio.run(served(engine)).answered)
        copy: Engine = pickle.loads(pickle.dumps(engine))
        engine.reload()
        engine.reload(bundle)
        copy.close()
    with polyhead.load(bundle, bundle, cascade={"topic": 0.5}) as engine:
        by: Mapping[str, str] = engine("a").answered_by
        print(by["topic"], Batcher(engine).engine.info()["cascade"])
    try:
        engine("a")
    except polyhead.EngineClosed as problem:
        print(problem)
    try:
        polyhead.load("nowhere")
    except polyhead.BundleError as problem:
        print(problem)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
