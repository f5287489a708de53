"""The seeded generator of the demo corpus: three splits that share no pattern and no frame.

A message is a hand-written pattern with its slots filled, sometimes between an opener and a
closer, sometimes with light noise. The same seed gives the same bytes on every platform.
"""

import json
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from polyhead_models.demo.noise import disturb, emoji_for
from polyhead_models.demo.slots import Piece, Values, render

TOPICS = (
    *("account", "billing", "cancellation", "defect"),
    *("delivery", "product_question", "refund", "service"),
)
SENTIMENTS = ("negative", "neutral", "positive")
LABELS = ("DATE", "EMAIL", "MONEY", "ORDER_ID", "PERSON", "PRODUCT")
SIZES = {"train": 2400, "validation": 400, "test": 400}
HELD_OUT = 0.15
FRAMED = 0.3

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Pattern:
    """A hand-written message with slots; ``name`` is its topic and number."""

    name: str
    topic: str
    sentiment: str
    text: str


@dataclass(frozen=True)
class Span:
    """An entity by its character offsets, the end excluded."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Message:
    """A customer message with its answers; no entities means that none is named in it."""

    text: str
    topic: str
    sentiment: str
    entities: tuple[Span, ...]
    pattern: str


@dataclass(frozen=True)
class _Material:
    """What one split is made from: patterns by label pair, openers and closers by kind."""

    cells: Sequence[Sequence[Pattern]]
    openers: Sequence[Sequence[str]]
    closers: Sequence[Sequence[str]]
    values: Values


def load_patterns() -> list[Pattern]:
    """Every hand-written pattern, by topic and in file order."""
    return [
        Pattern(f"{topic}-{number:02}", topic, entry["sentiment"], entry["text"])
        for topic in TOPICS
        for number, entry in enumerate(_read(f"patterns/{topic}.toml")["pattern"], start=1)
    ]


def generate(seed: int = 0) -> dict[str, list[Message]]:
    """The messages of the splits "train", "validation" and "test"."""
    rng = random.Random(seed)
    emoji = _read("frames.toml")["emoji"]
    seen: set[str] = set()
    return {
        split: _messages(SIZES[split], material, emoji, seen, rng)
        for split, material in _materials(rng).items()
    }


def write(folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write one JSON Lines file a split and return the paths; old files are replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for split, messages in generate(seed).items():
        path = paths[split] = folder / f"{split}.jsonl"
        beside = path.with_suffix(".jsonl.part")
        with beside.open("w", encoding="utf-8", newline="\n") as lines:
            lines.writelines(f"{_to_json(message)}\n" for message in messages)
        beside.replace(path)
    return paths


def _to_json(message: Message) -> str:
    record = asdict(message)
    del record["pattern"]
    return json.dumps(record, ensure_ascii=False)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("polyhead_models.demo").joinpath(name).read_text(encoding="utf-8"))


def _materials(rng: random.Random) -> dict[str, _Material]:
    patterns, frames, written = load_patterns(), _read("frames.toml"), _read("values.toml")
    cells = [
        _partition([p for p in patterns if (p.topic, p.sentiment) == (topic, sentiment)], rng)
        for topic in TOPICS
        for sentiment in SENTIMENTS
    ]
    openers = [_partition(kind, rng) for kind in frames["openers"].values()]
    closers = [_partition(kind, rng) for kind in frames["closers"].values()]
    products = _hold_third(written["product"], rng)
    persons = _hold_third(written["person"], rng)
    return {
        split: _Material(
            cells=[cell[split] for cell in cells],
            openers=[kind[split] for kind in openers],
            closers=[kind[split] for kind in closers],
            values=Values(products[split], persons[split], written["mail_domain"]),
        )
        for split in SIZES
    }


def _partition(items: Sequence[_Item], rng: random.Random) -> dict[str, list[_Item]]:
    mixed = rng.sample(items, len(items))
    held = max(1, round(len(items) * HELD_OUT))
    return {
        "train": mixed[2 * held :],
        "validation": mixed[held : 2 * held],
        "test": mixed[:held],
    }


def _hold_third(items: Sequence[str], rng: random.Random) -> dict[str, list[str]]:
    mixed = rng.sample(items, len(items))
    held, shared = mixed[: len(items) // 3], mixed[len(items) // 3 :]
    return {"train": shared, "validation": shared, "test": held}


def _messages(
    size: int,
    material: _Material,
    emoji: Mapping[str, Sequence[str]],
    seen: set[str],
    rng: random.Random,
) -> list[Message]:
    messages = []
    for index in range(size):
        turn, cell = divmod(index, len(material.cells))
        patterns = material.cells[cell]
        message = _message(patterns[turn % len(patterns)], material, emoji, rng)
        # Shouting alone does not make a message new.
        while message.text.casefold() in seen:
            message = _message(patterns[turn % len(patterns)], material, emoji, rng)
        seen.add(message.text.casefold())
        messages.append(message)
    rng.shuffle(messages)
    return messages


def _message(
    pattern: Pattern,
    material: _Material,
    emoji: Mapping[str, Sequence[str]],
    rng: random.Random,
) -> Message:
    text = pattern.text
    if rng.random() < FRAMED:
        text = _join(rng.choice(rng.choice(material.openers)), text)
    if rng.random() < FRAMED:
        text = _join(text, rng.choice(rng.choice(material.closers)))
    pieces = render(text, material.values, rng)
    pieces = disturb(pieces, emoji_for(pattern.sentiment, emoji), rng)
    return Message(
        text="".join(piece.text for piece in pieces),
        topic=pattern.topic,
        sentiment=pattern.sentiment,
        entities=_spans(pieces),
        pattern=pattern.name,
    )


def _join(first: str, second: str) -> str:
    touching = first.endswith("\n") or second.startswith("\n")
    return first + ("" if touching else " ") + second


def _spans(pieces: Sequence[Piece]) -> tuple[Span, ...]:
    spans, end = [], 0
    for piece in pieces:
        start, end = end, end + len(piece.text)
        if piece.label is not None:
            spans.append(Span(piece.label, start, end))
    return tuple(spans)
