"""The tokenizer that transformers makes of a folder, and whether ours gives its token ids."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import tokenizers
import transformers
from tokenizers import normalizers
from transformers import PreTrainedTokenizerBase

from polyhead.errors import SourceError
from polyhead.text.encoding import Input
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import encoder as encoders
from polyhead_models.importing.source import ImportOptions, Source

TEXTS = (
    "The parcel was late.",
    "Anna Lives In OSLO",
    "Élan, naïve: Größe İSTANBUL ΟΔΟΣ née à Lima",
    "東京は晴れです。北京天气",
    "한국어 العربية हिन्दी ไทย Текст",
    "👍🏽 fine 👩\u200d👩\u200d👧 🇳🇴",
    "3.14, 10,000 or ½ on 2026-11-28",
    "don't e-mail me@example.org, <b>tags</b> & [brackets]!",
    " leading",
    "trailing  ",
    "two  blanks   here",
    "tab\there\nline\r\nend\n",
    "",
    " ",
    "e\u0301 combines, \u00a0no-break\u3000wide\u200bzero\ufeff \x07bell",
    "ab" * 60,
    "The parcel of Anna was late again. " * 100,
)
"""What a tokenizer may read otherwise than another; the last is longer than most models read."""

LONGEST_TRIED = 1024
"""Tokens that a model is run on to see what it reads; more take gigabytes in large models."""

_MOST_ADDED = 256


def read(source: Source, options: ImportOptions) -> tuple[Tokenizer, PreTrainedTokenizerBase]:
    """Ours with the ids of AutoTokenizer, and that itself, both as the folder's files set them.

    Raises:
        SourceError: when there is none, transformers makes no fast one of it, or it cuts long texts
            at the left.
    """
    original = _original(source)
    if original.truncation_side == "left":
        options.leave(
            "truncation_side",
            f"{source.folder}: truncation_side: found 'left': its tokenizer keeps the end of a long"
            ' text; polyhead reads it in windows, or its start with on_overflow="truncate".',
        )
    backend: tokenizers.Tokenizer = original.backend_tokenizer
    if source.transformer.get("do_lower_case"):
        backend.normalizer = _lowercased(backend.normalizer)
    state = json.loads(backend.to_str())
    if "token_type_ids" not in original.model_input_names:  # both texts of a pair are the same
        state["post_processor"] = _untyped(state["post_processor"])
    return Tokenizer.from_json(json.dumps(state), source.special_tokens), original


def check_ids(tokenizer: Tokenizer, rows: int, *, where: str) -> None:
    """Refuse a tokenizer with ids beyond the rows of its model's embeddings.

    Raises:
        SourceError: names both.
    """
    if (last := max(tokenizer.vocabulary.values())) >= rows:
        raise SourceError(
            f"{where}: its tokenizer has ids up to {last}, but its embeddings only {rows} rows."
        )


def check(ours: Tokenizer, original: PreTrainedTokenizerBase, *, where: str) -> int:
    """Compare ids, and of pairs token types, on `TEXTS` and on texts with every special token.

    Args:
        ours: the tokenizer that is kept.
        original: of transformers.
        where: the place to name in messages.

    Returns:
        How many texts and pairs are the same.

    Raises:
        SourceError: names the first that differs, with both ids.
    """
    inputs: list[Input] = [*TEXTS, *_with_special_tokens(original), *itertools.pairwise(TEXTS[:8])]
    for item in inputs:
        expected, found = encoded(original, item), ours.encode([item])[0]
        types = found.token_types.tolist()
        if expected["input_ids"] != found.ids.tolist() or types != expected["token_type_ids"]:
            raise SourceError(
                f"{where}: its tokenizer reads {item!r:.80} otherwise than AutoTokenizer of"
                f" transformers {transformers.__version__}: found the ids"
                f" {found.ids.tolist()[:24]}, expected {expected['input_ids'][:24]}."
                " Please report it."
            )
    return len(inputs)


def encoded(
    original: PreTrainedTokenizerBase, item: Input, limit: int | None = None
) -> dict[str, list[int]]:
    """Ids and token types of a text or pair as transformers makes them; types are 0 without.

    Args:
        original: of transformers.
        item: a text or pair.
        limit: most tokens of a text; None for all.

    Raises:
        SourceError: when it cannot, such as one without its own unknown token.
    """
    cut: dict[str, Any] = {} if limit is None else {"truncation": True, "max_length": limit}
    # As a batch of one: transformers 5 takes a lone pair whose second text is empty for one text.
    texts = [[item]] if isinstance(item, str) else [[item[0]], [item[1]]]
    try:
        with encoders.quiet():
            found = original(*texts, **cut)
    except Exception as problem:  # the tokenizers library raises no other class
        raise SourceError(
            f"{original.name_or_path}: its tokenizer cannot read {item!r:.80}: {problem}"
        ) from problem
    ids: list[int] = found["input_ids"][0]
    types = found["token_type_ids"][0] if "token_type_ids" in found else [0] * len(ids)
    return {"input_ids": ids, "token_type_ids": types}


def _original(source: Source) -> PreTrainedTokenizerBase:
    try:
        return encoders.fast_tokenizer(str(source.folder))
    except Exception as problem:  # a tokenizer of another kind makes its class raise what it likes
        reason = str(problem)
        model = next(iter(sorted(source.folder.glob("*.model"))), None)
        if model is not None and find_spec("sentencepiece") is None:
            reason = (
                f"{model.name} is a model of SentencePiece, and to convert it transformers needs"
                " packages that are not installed: pip install sentencepiece protobuf"
            )
        raise SourceError(
            f"{source.name}: its tokenizer cannot be loaded: {reason}. Expected tokenizer.json, or"
            " files that transformers makes a fast tokenizer of. To have tokenizer.json read as it"
            ' is, set "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json.'
        ) from problem


def _lowercased(normalizer: Any) -> Any:
    """With lower-casing in front, where there is none, as sentence-transformers 6 does it."""
    parts: list[Any] = [] if normalizer is None else [normalizer]
    if isinstance(normalizer, normalizers.Sequence):
        parts = [normalizer[place] for place in range(len(normalizer))]
    if any(isinstance(part, normalizers.Lowercase) for part in parts):
        return normalizer
    return normalizers.Sequence([normalizers.Lowercase(), *parts])


def _untyped(state: Any) -> Any:
    """A post-processor that gives every token the type 0."""
    if isinstance(state, list):
        return [_untyped(part) for part in state]
    if isinstance(state, dict):
        return {key: 0 if key == "type_id" else _untyped(part) for key, part in state.items()}
    return state


def _with_special_tokens(original: PreTrainedTokenizerBase) -> Sequence[str]:
    """Texts with the added and special tokens, between blanks, glued and in capitals."""
    added = [str(token) for token in original.added_tokens_decoder.values()]
    tokens = list(dict.fromkeys([*original.all_special_tokens, *added]))[:_MOST_ADDED]
    forms = ("the {0} was", "the{0}was{0}", " {0} {0}")
    return [
        form.format(case)
        for token in tokens
        for form in forms
        for case in dict.fromkeys((token, token.upper(), token.lower()))
    ]
