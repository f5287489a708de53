"""What sub-models of one engine share, told from what their bundles say."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from polyhead.bundle.head_spec import strides
from polyhead.bundle.joining import Reading
from polyhead.bundle.reader import Bundle
from polyhead.loading import tokenizer_of
from polyhead.merged_sessions import MergedSession, MergingSessions, Wish
from polyhead.model import SHOWN, Model
from polyhead.sessions import described
from polyhead.settings import Settings
from polyhead.text.tokenizer import Tokenizer

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Part:
    """A sub-model of an engine.

    Attributes:
        bundle: what it says of itself.
        model: its loaded form, its heads under their own names.
        names: of its heads: in the engine -> its own.
        sessions: those of the engine.
    """

    bundle: Bundle
    model: Model
    names: dict[str, str]
    sessions: MergingSessions

    @property
    def title(self) -> str:
        """The sub-model for messages."""
        return f"{self.bundle.path} ({', '.join(self.names)})"

    def own(self, by_head: Mapping[str, T]) -> dict[str, T]:
        """What is said of its heads, under their own names."""
        return {own: by_head[name] for name, own in self.names.items() if name in by_head}

    def renamed(self, by_own: Mapping[str, T]) -> dict[str, T]:
        """What is said of its heads under their own names, under those in the engine."""
        return {name: by_own[own] for name, own in self.names.items() if own in by_own}


def wish(bundle: Bundle, heads: Sequence[str] | None, tokenizer: Tokenizer) -> Wish:
    """A bundle whose graph may be merged with others; None for all of its heads."""
    specs = bundle.manifest.heads
    asked = [specs[name] for name in (specs if heads is None else heads)]
    limit = bundle.manifest.encoder.max_tokens
    return Wish(bundle, heads, Reading(id(tokenizer), limit, strides(asked)))


def reading(model: Model, kind: str) -> tuple[object, ...]:
    """What tokens and windows of an input depend on; models that agree in it read alike.

    Args:
        model: that reads.
        kind: of the input, ``"text"`` or ``"pair"``.
    """
    return (id(model.tokenizer), model.max_tokens, model.strides[kind])


def tokenizers_of(bundles: Sequence[Bundle], settings: Settings) -> list[Tokenizer]:
    """The tokenizer of each bundle; those that do the same are one object.

    They are compared by the digest of their file, and where it differs by all that they hold: the
    same tokenizer may be written with other spaces.

    Raises:
        BundleError: when one cannot be read.
    """
    by_digest: dict[str, Tokenizer] = {}
    by_content: dict[str, Tokenizer] = {}
    for bundle in bundles:
        entry = bundle.manifest.tokenizer
        if entry.sha256 not in by_digest:
            tokenizer = tokenizer_of(bundle, settings)
            by_digest[entry.sha256] = by_content.setdefault(tokenizer.to_json(), tokenizer)
    return [by_digest[bundle.manifest.tokenizer.sha256] for bundle in bundles]


def describe(parts: Sequence[Part]) -> dict[str, Any]:
    """What `Engine.info` says of sub-models, as plain data.

    ``parts`` names for each its heads, encoder, graph and the number of its tokenizer;
    ``tokenizers`` and ``encoder_passes`` count how often a text is read with all heads; ``merged``
    says which sub-models' graphs were made one, and how many operators it has and they had;
    ``notes`` says what is not shared, and why.
    """
    numbers: dict[int, int] = {}
    for part in parts:
        numbers.setdefault(id(part.model.tokenizer), len(numbers))
    return {
        "tokenizers": len(numbers),
        "encoder_passes": max(len(set().union(*(_ways(p, k) for p in parts))) for k in SHOWN),
        "parts": [
            {
                "source": part.model.source,
                "heads": list(part.names),
                "tokenizer": numbers[id(part.model.tokenizer)],
                "encoder": part.bundle.manifest.encoder.name,
                "fingerprint": part.bundle.manifest.encoder.fingerprint,
                "max_tokens": part.model.max_tokens,
                "graph": described(part.sessions.graph(part.bundle)),
            }
            for part in parts
        ],
        "merged": _merged(parts),
        "notes": [note for pair in itertools.combinations(parts, 2) for note in _notes(*pair)],
    }


def _merged(parts: Sequence[Part]) -> list[dict[str, Any]]:
    found = {id(part.model.backend): part.model.backend for part in parts}
    return [
        {
            "parts": [n for n, part in enumerate(parts) if part.model.backend is session],
            "operators": sum(each.nodes - each.shared for each in session.joined),
            "operators_apart": sum(each.nodes for each in session.joined),
        }
        for session in found.values()
        if isinstance(session, MergedSession)
    ]


def _notes(first: Part, other: Part) -> list[str]:
    notes = []
    both = f"{first.title} and {other.title}"
    encoders = first.bundle.manifest.encoder, other.bundle.manifest.encoder
    why = first.sessions.why_apart(first.bundle, other.bundle)
    if first.model.backend is other.model.backend and why is None:
        return []
    if encoders[0].fingerprint == encoders[1].fingerprint:
        notes.append(f"{both}: one encoder, run twice: {why}.")
    elif encoders[0].name == encoders[1].name:
        notes.append(
            f"{both}: both encoders are called {encoders[0].name!r}, but their weights differ:"
            " never shared."
        )
    tokenizers = first.model.tokenizer, other.model.tokenizer
    if tokenizers[0] is not tokenizers[1]:
        notes.append(f"{both}: {difference(*tokenizers)}; each text is tokenised for both.")
    return notes


def _ways(part: Part, kind: str) -> set[tuple[object, ...]]:
    """How its heads read an input of a kind; none where it has none for it."""
    if all(spec.input != kind for spec in part.model.specs.values()):
        return set()
    return {(id(part.model.backend), *reading(part.model, kind))}


def difference(first: Tokenizer, other: Tokenizer) -> str:
    """In what two tokenizers differ, for people."""
    own, theirs = first.vocabulary, other.vocabulary
    differing = sorted(
        {token for token, number in own.items() ^ theirs.items()},
        key=lambda token: (own.get(token, theirs.get(token, 0)), token),
    )
    if not differing:
        return "the tokenizers have the same tokens but other rules"
    return (
        f"the tokenizers differ in {len(differing):,} of {len({*own, *theirs}):,} tokens, first"
        f" {differing[0]!r}"
    )
