"""May heads of two checkpoints stand over one encoder? Only what they read is asked, not names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig

from polyhead.bundle.head_spec import strides
from polyhead.text.tokenizer import Tokenizer
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.errors import CombineError

# These change what any encoder computes; the other settings that all families have do not.
_GENERAL = {"is_decoder", "add_cross_attention", "pruned_heads", "model_type"}
# Settings of single families that are for training, or for how something is computed.
_IDLE = {"initializer_range", "initializer_factor", "torch_dtype", "attn_implementation"}


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


def _check_windows(first: Checkpoint, other: Checkpoint, names: tuple[str, str]) -> None:
    pairs = [
        ("reads at most", *(made.description.config.encoder.max_tokens for made in (first, other)))
    ]
    own, theirs = (strides(made.model.specs.values()) for made in (first, other))
    pairs += [("in windows that share", own[k], theirs[k]) for k in own.keys() & theirs.keys()]
    for how, here, there in pairs:
        if here != there:
            raise CombineError(
                f"{names[0]} {how} {here} tokens and {names[1]} {there}: their heads would answer"
                " long texts otherwise than before. Make both with the same max_tokens and stride."
            )


def _check_weights(first: Checkpoint, other: Checkpoint, names: tuple[str, str]) -> None:
    own, theirs = (made.model.encoder.state_dict() for made in (first, other))
    differing = [
        key
        for key in sorted({*own, *theirs})
        if key not in own or key not in theirs or not torch.equal(own[key], theirs[key])
    ]
    if not differing:
        return
    called = [made.description.config.encoder.name for made in (first, other)]
    alike = f" Both are called {called[0]!r}, which says nothing." if called[0] == called[1] else ""
    raise CombineError(
        f"{names[0]} and {names[1]} have encoders with different weights ({len(differing)} of"
        f" {len({*own, *theirs})} tensors differ, first {differing[0]!r}).{alike} Train heads with"
        ' freeze = "encoder" over one checkpoint, or export both and combine the bundles.'
    )


def _check_settings(
    own: Mapping[str, Any], theirs: Mapping[str, Any], names: tuple[str, str]
) -> None:
    general = set(PretrainedConfig().to_dict()) - _GENERAL
    for key in sorted({*own, *theirs}):
        idle = key in general or key in _IDLE or "dropout" in key or "classifier" in key
        if not idle and own.get(key) != theirs.get(key):
            raise CombineError(
                f"{names[0]} and {names[1]} have encoders of the same weights with another"
                f" {key!r}: {own.get(key)!r} and {theirs.get(key)!r}. An encoder is shared only"
                " when it computes the same."
            )


def _check_tokenizers(own: Tokenizer, theirs: Tokenizer, names: tuple[str, str]) -> None:
    if own.special_tokens != theirs.special_tokens:
        raise CombineError(
            f"{names[0]} reads special tokens in texts as {own.special_tokens!r} and {names[1]} as"
            f" {theirs.special_tokens!r}. Make both with the same special_tokens."
        )
    if own.to_json() == theirs.to_json():
        return
    ids = own.vocabulary, theirs.vocabulary
    if differing := sorted({token for token, _ in ids[0].items() ^ ids[1].items()}):
        token = differing[0]
        what = (
            f"differ in {len(differing)} token{'s' if len(differing) > 1 else ''}, first"
            f" {token!r} (id {ids[0].get(token)} and {ids[1].get(token)})"
        )
    else:
        first, other = json.loads(own.to_json()), json.loads(theirs.to_json())
        parts = [key for key in first if first[key] != other.get(key)]
        what = f"have another {parts[0] if parts else 'form'!r}"
    raise CombineError(
        f"the tokenizers of {names[0]} and {names[1]} {what}. Heads over one encoder read the same"
        " tokens; make both checkpoints with the same tokenizer.json."
    )
