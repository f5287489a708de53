"""A model of transformers or sentence-transformers as a checkpoint with one head."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from polyhead.bundle.digest import sha256
from polyhead.heads import HeadSpec
from polyhead.system import atomic
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config, EncoderConfig, HeadConfig
from polyhead_models.errors import SourceError
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.dense import Dense
from polyhead_models.importing import head as heads
from polyhead_models.importing import loading
from polyhead_models.importing.head import Wishes
from polyhead_models.importing.parity import check
from polyhead_models.importing.source import Source

logger = logging.getLogger(__name__)

_LONGEST = 512
_LIBRARIES = ("polyhead", "torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Imported:
    """Outcome of `import_model`.

    Attributes:
        path: the checkpoint.
        spec: of its head.
        name: of its head.
        architecture: the class that the weights were of.
        difference: largest difference of a logit from the original's; None for an embedding, whose
            original gives token vectors only.
    """

    path: Path
    name: str
    spec: HeadSpec
    architecture: str | None
    difference: float | None


def import_model(
    name: str, target: Path, wishes: Wishes, *, note: Callable[[str], None] = logger.info
) -> Imported:
    """Make a checkpoint of a model, after its logits were compared with the original's.

    Args:
        name: a local folder, the name of a model that an installed package ships, or a hub id. The
            library's own settings for working offline are honoured.
        target: folder of the checkpoint; nothing may be there.
        wishes: what the model's files leave open.
        note: called with short remarks, such as that labels have no names.

    Raises:
        SourceError: when the model cannot be read, or has parts that polyhead has not.
        EncoderError: when the encoder cannot be built without them.
        CheckpointError: when something is at `target`.
    """
    checkpoints.refuse_existing(target)
    source = Source.find(name)
    original, parts = loading.model(source)
    tokenizer = source.tokenizer()
    encoder = loading.encoder(original, source)
    if tokenizer.vocabulary_size > encoder.config.vocab_size:
        raise SourceError(
            f"{source.name}: its tokenizer has {tokenizer.vocabulary_size} tokens, but its"
            f" embeddings only {encoder.config.vocab_size}."
        )
    head = heads.read(source, original, parts, wishes, note)
    max_tokens = _max_tokens(source, encoder, wishes)
    kind = head.kind
    title = wishes.head or kind.partition(".")[0]
    spec = replace(
        HeadSpec(kind=kind, output=f"logits/{title}", max_tokens=max_tokens),
        activation=NETWORKS[kind].activation,
        stride=max_tokens // 4,
        **head.spec,
    )
    config = _config(source.name, title, spec, head.hidden, max_tokens)
    model = checkpoints.assemble(encoder, {title: spec}, config.heads).eval()
    head.fill(model.networks[title])
    difference = None
    if parts.task != "embedding":
        difference = check(original, model, title, head.rows, where=source.name)
    made = Checkpoint(
        model,
        tokenizer,
        Description(
            encoder=encoders.settings(encoder),
            heads={title: spec},
            config=config,
            data={},
            provenance=_provenance(source),
        ),
    )
    with atomic.folder(target) as folder:
        checkpoints.save(folder, made, {})
    return Imported(target, title, spec, source.architecture, difference)


def _max_tokens(source: Source, encoder: PreTrainedModel, wishes: Wishes) -> int:
    capacity = encoders.capacity(encoder)
    if wishes.max_tokens is not None:
        if capacity is not None and wishes.max_tokens > capacity:
            raise SourceError(
                f"{source.name}: max_tokens: found {wishes.max_tokens}; it reads at most"
                f" {capacity}."
            )
        return wishes.max_tokens
    known = [n for n in (source.longest(), capacity) if n is not None]
    return min(known, default=_LONGEST)


def _config(
    name: str, title: str, spec: HeadSpec, hidden: tuple[Dense, ...], max_tokens: int
) -> Config:
    try:
        head = HeadConfig(
            kind=spec.kind,
            text=("first", "second") if spec.input == "pair" else "text",
            pooling=spec.pooling,
            hidden=hidden,
            longest=spec.longest,
        )
        return Config(encoder=EncoderConfig(name=name, max_tokens=max_tokens), heads={title: head})
    except ValueError as problem:
        raise SourceError(f"{name}: {problem}") from problem


def _provenance(source: Source) -> dict[str, Any]:
    files = sorted(
        path
        for folder in {source.top, source.folder}
        for ending in ("*.safetensors", "*.bin", "config.json")
        for path in folder.glob(ending)
    )
    return {
        **{name: version(name) for name in _LIBRARIES},
        "imported": {
            "source": source.name,
            "architecture": source.architecture,
            "sha256": {str(path.relative_to(source.top)): sha256(path) for path in files},
        },
    }
