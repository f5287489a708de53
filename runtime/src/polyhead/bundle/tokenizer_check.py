"""Refuses a `tokenizer.json` that would keep the tokenizers library busy or eat memory.

Read as plain JSON, before the library sees it. What it refuses is beyond `polyhead.bundle.limits`,
or makes a text longer again and again, or draws tokens by chance. A regular expression that is slow
on some texts cannot be told from an honest one.
"""

from __future__ import annotations

import binascii
import itertools
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from polyhead.bundle import limits
from polyhead.errors import BundleError
from polyhead.system.schema import parse_json

# Each part of a tokenizer, and under which key a sequence has its components.
_PARTS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
# Each makes a text longer, and longer again when it comes twice.
_ONCE = ("BertNormalizer", "ByteLevel", "Precompiled", "Prepend")


def check_tokenizer(content: bytes, name: str) -> None:
    """Check the content of a `tokenizer.json`.

    Args:
        content: the whole file.
        name: what to call it in messages.

    Raises:
        BundleError: when it is no JSON, or holds what no honest tokenizer does.
    """
    limits.TOKENIZER_BYTES.check(len(content), name)
    limits.COMMAS.check(content.count(b","), name)  # before they are made objects of 100 bytes
    try:
        data = parse_json(content.decode("utf-8"), name, BundleError, parse_float=float)
        growth = [_check_part(data.get(p), inner, f"{name}: {p}") for p, inner in _PARTS.items()]
        _check_added(data.get("added_tokens") or (), max(growth), name)
        _check_model(data["model"], f"{name}: model")
    except (AttributeError, KeyError, IndexError, RecursionError, TypeError, ValueError) as problem:
        raise BundleError(
            f"{name}: not the tokenizer.json of a fast tokenizer: {type(problem).__name__}"
            f" {str(problem)[:80]}. Write it again with the tokenizers library."
        ) from problem


def _check_added(tokens: Any, growth: int, name: str) -> None:
    limits.ADDED_TOKENS.check(len(tokens), name)
    for token in tokens:
        if not token["content"]:
            raise BundleError(f"{name}: an added token is empty, expected at least one character.")
        limits.ADDED_TOKEN_CHARACTERS.check(len(token["content"]), name)
    # The library normalises them, and builds an automaton with a state for each byte.
    size = len(_decomposed("".join(token["content"] for token in tokens)))
    limits.ADDED_BYTES.check(size * growth, name)


def _check_part(part: Any, inner: str, where: str) -> int:
    """Check one part; gives how many times as long it may make a text."""
    components = list(_components(part, inner, where))
    own = [
        {key: value for key, value in component.items() if key != inner}
        for component in components
        if component["type"] != "Precompiled"
    ]
    limits.COMPONENT_CHARACTERS.check(len(repr(own)), where)
    growth, rule, special = 1, 1, 0
    for component in components:
        kind = component["type"]
        if kind == "Precompiled":
            rule = _check_charsmap(component["precompiled_charsmap"], where)
        elif kind == "Prepend":
            limits.AFFIX_CHARACTERS.check(len(component["prepend"]), where)
        elif kind == "Replace":
            growth *= _growth(component["pattern"], len(component["content"]), where)
        elif kind == "TemplateProcessing":
            special += _special_tokens(component, where)
    limits.GROWTH.check(growth, where)
    limits.SPECIAL_TOKENS.check(special, where)
    kinds = [component["type"] for component in components]
    for kind in _ONCE:
        if kinds.count(kind) > 1:
            raise BundleError(
                f"{where}: {kind} is there {kinds.count(kind)} times, expected once: each makes a"
                " text longer again."
            )
    return growth * rule


def _decomposed(text: str) -> bytes:
    """As long as any normal form of Unicode makes it."""
    return unicodedata.normalize("NFKD", text).encode()


def _components(part: Any, inner: str, where: str) -> Iterator[dict[str, Any]]:
    """All components of a part; a sequence is one, and so is each in it."""
    left, count = [] if part is None else [part], 0
    while left:
        component, count = left.pop(), count + 1
        limits.COMPONENTS.check(count, where)
        if not isinstance(component["type"], str):
            raise TypeError("type is no text")
        yield component
        left += component.get(inner, ())


def _growth(pattern: Mapping[str, str], content: int, where: str) -> int:
    """How many times as long as before a text is when all of it was replaced."""
    [(kind, text)] = pattern.items()
    if not text:
        raise BundleError(f"{where}: Replace has an empty pattern, which is found everywhere.")
    # An expression may match nothing at all, between any two characters.
    return 1 + content if kind == "Regex" else max(1, -(-content // len(text)))


def _special_tokens(template: Mapping[str, Any], where: str) -> int:
    """Special tokens that a template puts around a text, or around a pair."""
    counts = []
    for name, texts in (("single", ["A"]), ("pair", ["A", "B"])):
        pieces = template[name]
        found = sorted(piece["Sequence"]["id"] for piece in pieces if "Sequence" in piece)
        if found != texts:
            raise BundleError(
                f"{where}: its template for a {name} has the texts {found}, expected each of"
                f" {texts} once."
            )
        named = [piece["SpecialToken"]["id"] for piece in pieces if "Sequence" not in piece]
        counts.append(sum(len(template["special_tokens"][each]["ids"]) for each in named))
    return max(counts)


def _check_charsmap(text: str, where: str) -> int:
    """Check a charsmap; gives the most bytes that it puts in the place of a character.

    It is the bytes of a trie, their number in front, then UTF-8 texts with a zero behind each.
    """
    limits.CHARSMAP_BYTES.check(len(text) * 3 // 4, where)
    content = binascii.a2b_base64(text, strict_mode=True)
    size = int.from_bytes(content[:4], "little")
    texts = content[4 + size :]
    if len(content) < 8 or size == 0 or size % 4 or 4 + size > len(content):
        raise BundleError(
            f"{where}: a charsmap of {len(content):,} bytes says that {size:,} of them are its"
            " trie, expected a multiple of 4 that fits. Take the tokenizer from where it was made."
        )
    longest = max(map(len, _decomposed(texts.decode("utf-8")).split(b"\0")))
    limits.CHARSMAP_RULE_BYTES.check(longest, where)
    return max(1, longest)


def _check_model(model: Mapping[str, Any], where: str) -> None:
    if model.get("dropout"):
        raise BundleError(
            f"{where}: dropout {model['dropout']!r:.40} draws tokens by chance, expected null or 0."
        )
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "unk_token"):
        most = limits.ADDED_TOKEN_CHARACTERS if name == "unk_token" else limits.AFFIX_CHARACTERS
        most.check(len(model.get(name) or ""), f"{where}: {name}")
    limits.WORD_CHARACTERS.check(model.get("max_input_chars_per_word") or 0, where)
    limits.VOCABULARY.check(len(model.get("merges") or ()), where)
    vocabulary = model["vocab"]
    limits.VOCABULARY.check(len(vocabulary), where)
    if isinstance(vocabulary, list):
        scores = [abs(score) for _, score in vocabulary]
        vocabulary = [piece for piece, _ in vocabulary]
        _check_pieces([piece.encode() for piece in vocabulary], where)
        if not math.isfinite(sum(scores)):
            raise BundleError(f"{where}: its scores are too large, expected finite numbers.")
    limits.TOKEN_CHARACTERS.check(max(map(len, vocabulary), default=0), where)


def _check_pieces(pieces: list[bytes], where: str) -> None:
    """The library builds a trie of them, with a node for each beginning of a piece."""
    size = sum(map(len, pieces))
    limits.UNIGRAM_BYTES.check(size, where)
    if size > limits.UNIGRAM_BEGINNINGS.most:  # else it is too few whatever they share
        neighbours = itertools.pairwise(sorted(pieces))
        size -= sum(len(os.path.commonprefix(pair)) for pair in neighbours)  # noqa: RUF071
    limits.UNIGRAM_BEGINNINGS.check(size, where)
