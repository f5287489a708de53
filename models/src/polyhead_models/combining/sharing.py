"""May heads of two checkpoints stand over one encoder? Only what they read is asked, not names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig

from polyhead.text.tokenizer import Tokenizer
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.errors import CombineError

# These change what any encoder computes; the other settings that all families have do not.
_GENERAL = {"is_decoder", "add_cross_attention", "pruned_heads", "model_type"}


def check(first: Checkpoint, other: Checkpoint, names: tuple[str, str]) -> None:
    """Refuse checkpoints whose heads would read anything else than before.

    Args:
        first: a checkpoint.
        other: another one.
        names: of both, for messages.

    Raises:
        CombineError: when encoders, their settings, tokenizers or longest inputs differ.
    """
    _check_weights(first, other, names)
    _check_settings(first.description.encoder, other.description.encoder, names)
    _check_tokenizers(first.tokenizer, other.tokenizer, names)
    _check_windows(first, other, names)


def strides(checkpoint: Checkpoint) -> dict[str, int]:
    """Tokens that two windows of a long input share, by kind of input; see `Engine`."""
    found: dict[str, int] = {}
    for spec in checkpoint.model.specs.values():
        found[spec.input] = max(spec.stride, found.get(spec.input, 0))
    return found


def _check_windows(first: Checkpoint, other: Checkpoint, names: tuple[str, str]) -> None:
    limits = [made.description.config.encoder.max_tokens for made in (first, other)]
    if limits[0] != limits[1]:
        raise CombineError(
            f"{names[0]} reads at most {limits[0]} tokens at once and {names[1]} {limits[1]}:"
            " their heads would answer long texts in another way than before. Make both with the"
            " same max_tokens."
        )
    own, theirs = strides(first), strides(other)
    for kind in own.keys() & theirs.keys():
        if own[kind] != theirs[kind]:
            raise CombineError(
                f"windows of {names[0]} share {own[kind]} tokens and those of {names[1]}"
                f" {theirs[kind]}: their heads would answer long texts in another way than before."
                " Make both with the same stride."
            )


def _check_weights(first: Checkpoint, other: Checkpoint, names: tuple[str, str]) -> None:
    digests = [encoders.fingerprint(made.model.encoder) for made in (first, other)]
    if digests[0] == digests[1]:
        return
    own, theirs = (made.model.encoder.state_dict() for made in (first, other))
    differing = [
        key
        for key in sorted({*own, *theirs})
        if key not in own or key not in theirs or not torch.equal(own[key], theirs[key])
    ]
    called = [made.description.config.encoder.name for made in (first, other)]
    alike = f" Both are called {called[0]!r}, which says nothing." if called[0] == called[1] else ""
    raise CombineError(
        f"{names[0]} and {names[1]} have encoders with different weights (fingerprints"
        f" {digests[0][:12]}… and {digests[1][:12]}…, {len(differing)} of {len({*own, *theirs})}"
        f" tensors differ, first {differing[0]!r}).{alike} An encoder is shared only when every"
        ' weight is the same: train heads with freeze = "encoder" over one checkpoint, or export'
        " both and combine the bundles."
    )


def _check_settings(
    own: Mapping[str, Any], theirs: Mapping[str, Any], names: tuple[str, str]
) -> None:
    general = set(PretrainedConfig().to_dict()) - _GENERAL
    for key in sorted({*own, *theirs}):
        idle = key in general or "dropout" in key or "classifier" in key
        if not idle and key not in _IDLE and own.get(key) != theirs.get(key):
            raise CombineError(
                f"{names[0]} and {names[1]} have encoders of the same weights with another"
                f" {key!r}: {own.get(key)!r} and {theirs.get(key)!r}. An encoder is shared only"
                " when it computes the same."
            )


_IDLE = {"initializer_range", "initializer_factor", "torch_dtype", "attn_implementation"}
"""Settings of single families that are for training, or for how something is computed."""


def _check_tokenizers(own: Tokenizer, theirs: Tokenizer, names: tuple[str, str]) -> None:
    if own.to_json() == theirs.to_json():
        return
    first, other = json.loads(own.to_json()), json.loads(theirs.to_json())
    tokens = [_tokens(made) for made in (first, other)]
    differing = sorted(
        token for token in {*tokens[0], *tokens[1]} if tokens[0].get(token) != tokens[1].get(token)
    )
    if differing:
        shown = differing[0]
        ids = [made.get(shown) for made in tokens]
        what = (
            f"differ in {len(differing)} token{'s' if len(differing) > 1 else ''}, first"
            f" {shown!r} (id {ids[0]} and {ids[1]})"
        )
    else:
        parts = [key for key in first if first.get(key) != other.get(key)]
        what = f"have another {parts[0] if parts else 'form'!r}"
    raise CombineError(
        f"the tokenizers of {names[0]} and {names[1]} {what}. Heads over one encoder read the same"
        " tokens; make both checkpoints with the same tokenizer.json."
    )


def _tokens(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Every token with its id, or with its place and score in a list."""
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
    known = (
        dict(vocabulary)
        if isinstance(vocabulary, Mapping)
        else {token: (place, score) for place, (token, score) in enumerate(vocabulary)}
    )
    return {**known, **{t["content"]: t["id"] for t in tokenizer.get("added_tokens") or ()}}
