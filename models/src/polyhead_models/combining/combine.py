"""Checkpoints with other heads: those of several, or fewer than there were."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyhead.bundle.digest import sha256
from polyhead.bundle.head_spec import strides
from polyhead.errors import nearest
from polyhead.heads import HeadSpec
from polyhead.system import atomic
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.combining import sharing
from polyhead_models.config import CardConfig, Config, DataConfig, HeadConfig
from polyhead_models.errors import CombineError
from polyhead_models.heads import HeadNetwork
from polyhead_models.model import MultiHeadModel

_PARTS = "parts"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A checkpoint whose heads are taken.

    Attributes:
        path: its folder.
        prefix: put before the names of its heads.
        heads: those that are taken; None takes all.
    """

    path: Path
    prefix: str = ""
    heads: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Opened:
    part: Part
    checkpoint: Checkpoint
    metrics: Mapping[str, Any]
    names: Mapping[str, str]  # new name -> its name in the part


def combine(parts: Sequence[Part], target: Path) -> Description:
    """Put the heads of several checkpoints over the encoder that all of them have.

    Weights are copied and none computed, so every head gives the logits that it gave.

    Args:
        parts: at least one; their heads keep this order.
        target: folder of the new checkpoint; nothing may be there.

    Returns:
        What the new checkpoint is.

    Raises:
        CombineError: when encoders or tokenizers differ, two heads have one name, or a part has no
            such head.
        CheckpointError: when a part cannot be read, or something is at `target`.
    """
    checkpoints.refuse_existing(target)
    opened = [_open(part) for part in parts]
    for other in opened[1:]:
        names = (str(opened[0].part.path), str(other.part.path))
        sharing.check(opened[0].checkpoint, other.checkpoint, names)
    _check_names(opened)
    return _write(opened, target)


def remove(path: Path, heads: Collection[str], target: Path) -> Description:
    """A checkpoint without some of its heads; the others give the logits that they gave.

    Raises:
        CombineError: when there is no such head, or none would be left.
        CheckpointError: when the checkpoint cannot be read, or something is at `target`.
    """
    known = tuple(checkpoints.describe(path).heads)
    for head in heads:
        _check_known(path, head, known)
    kept = tuple(name for name in known if name not in heads)
    if not kept:
        raise CombineError(f"{path}: without {', '.join(heads)} no head is left.")
    return combine([Part(path, heads=kept)], target)


def _open(part: Part) -> _Opened:
    checkpoint = checkpoints.load(part.path)
    known = tuple(checkpoint.model.specs)
    for head in part.heads or ():
        _check_known(part.path, head, known)
    kept = known if part.heads is None else tuple(n for n in known if n in part.heads)
    names = {f"{part.prefix}{name}": name for name in kept}
    return _Opened(part, checkpoint, checkpoints.metrics(part.path), names)


def _check_known(path: Path, head: str, known: Sequence[str]) -> None:
    if head not in known:
        raise CombineError(
            f"{path}: no head {head!r}; it has {', '.join(known)}." + nearest(head, known)
        )


def _check_names(opened: Sequence[_Opened]) -> None:
    for first, other in itertools.combinations(opened, 2):
        if twice := [name for name in first.names if name in other.names]:
            raise CombineError(
                f"{first.part.path} and {other.part.path} both have a head {twice[0]!r}. Give the"
                " heads of one of them a prefix with --prefix, or take only some of them."
            )


def _write(opened: Sequence[_Opened], target: Path) -> Description:
    first = opened[0].checkpoint
    networks: dict[str, HeadNetwork] = {}
    for one in opened:
        own, stride = one.checkpoint.model.networks, strides(one.checkpoint.model.specs.values())
        for name, before in one.names.items():
            networks[name] = own[before]
            spec = own[before].spec
            # Of the head with the longest stride, which may be one that is not taken.
            networks[name].spec = replace(spec, output=f"logits/{name}", stride=stride[spec.input])
    specs: dict[str, HeadSpec] = {name: network.spec for name, network in networks.items()}
    config, data = _config(opened)
    description = Description(
        encoder=first.description.encoder,
        heads=specs,
        config=config,
        data=data,
        provenance={**checkpoints.versions(), _PARTS: _origins(opened)},
        decoders={
            name: shape
            for one in opened
            for name, before in one.names.items()
            if (shape := one.checkpoint.description.decoders.get(before)) is not None
        },
    )
    made = Checkpoint(MultiHeadModel(first.model.encoder, networks), first.tokenizer, description)
    metrics = _metrics(opened)
    with atomic.folder(target) as folder:
        checkpoints.save(folder, made, metrics)
    return description


def _config(opened: Sequence[_Opened]) -> tuple[Config, dict[str, str]]:
    """The parts' configurations as one, and the digests of the data that it names.

    Sources of one name that are not the same get the number of their part.
    """
    sources: dict[str, DataConfig] = {}
    heads: dict[str, HeadConfig] = {}
    digests: dict[str, str] = {}
    for number, one in enumerate(opened, start=1):
        config, recorded = one.checkpoint.description.config, one.checkpoint.description.data
        for name, before in one.names.items():
            head = config.heads[before]
            if head.data is not None:
                source = head.data
                content = (config.data[source], _digests_of(source, recorded))
                if source in sources and content != (sources[source], _digests_of(source, digests)):
                    source = f"{source}-{number}"
                sources[source] = content[0]
                digests |= {f"{source}.{split}": found for split, found in content[1].items()}
                head = replace(head, data=source)
            heads[name] = head
            if (teacher := recorded.get(f"{before}.teacher")) is not None:
                digests[f"{name}.teacher"] = teacher
    base = opened[0].checkpoint.description.config
    return replace(base, data=sources, heads=heads, card=_card(opened)), digests


def _card(opened: Sequence[_Opened]) -> CardConfig:
    """The licence, where the parts have the same, and the languages of all."""
    cards = {one.part.path: one.checkpoint.description.config.card for one in opened}
    license, *others = {card.license for card in cards.values()}
    if others:
        found = ", ".join(f"{path} has {card.license or 'none'}" for path, card in cards.items())
        logger.warning("the combined checkpoint has no licence, since they differ: %s", found)
        license = None
    languages = dict.fromkeys(code for card in cards.values() for code in card.language)
    return CardConfig(license=license, language=tuple(languages))


def _digests_of(source: str, recorded: Mapping[str, str]) -> dict[str, str]:
    """Digests of one source by split."""
    return {
        split: recorded[key]
        for split in ("train", "validation")
        if (key := f"{source}.{split}") in recorded
    }


def _origins(opened: Sequence[_Opened]) -> list[dict[str, Any]]:
    """Where the heads came from; a part that is made of others gives theirs."""
    found: list[dict[str, Any]] = []
    for one in opened:
        description = one.checkpoint.description
        own = {
            "heads": one.names,
            "weights_sha256": sha256(one.part.path / checkpoints.WEIGHTS),
            "training_config_sha256": description.config.fingerprint,
            "provenance": dict(description.provenance),
        }
        found += _renamed(description.provenance.get(_PARTS), one.names) or [own]
    return found


def _metrics(opened: Sequence[_Opened]) -> dict[str, Any]:
    """What metrics.json holds: figures by head, and all that each part's own says."""
    figures: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for one in opened:
        measured = one.metrics.get("validation", {})
        figures |= {new: measured[old] for new, old in one.names.items() if old in measured}
        own = {"heads": one.names, "metrics": dict(one.metrics)}
        found += _renamed(one.metrics.get(_PARTS), one.names) or [own]
    return {"validation": figures, _PARTS: found}


def _renamed(parts: Sequence[Mapping[str, Any]] | None, names: Mapping[str, str]) -> list[Any]:
    """Parts with the heads that are still taken; those without any are left out."""
    made = []
    for part in parts or ():
        heads = {new: part["heads"][old] for new, old in names.items() if old in part["heads"]}
        if heads:
            made.append({**part, "heads": heads})
    return made
