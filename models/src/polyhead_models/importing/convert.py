"""A model of transformers or sentence-transformers as a checkpoint with one head."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polyhead.bundle.digest import sha256
from polyhead.heads import HeadSpec
from polyhead.system import atomic
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config, EncoderConfig, HeadConfig
from polyhead_models.errors import SourceError
from polyhead_models.heads.dense import Dense
from polyhead_models.importing import head as heads
from polyhead_models.importing import loading
from polyhead_models.importing.options import ImportOptions
from polyhead_models.importing.parity import check
from polyhead_models.importing.source import Source

_LONGEST = 512
_LIBRARIES = ("polyhead", "torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class ImportedCheckpoint:
    """Outcome of `import_model`.

    Attributes:
        path: the checkpoint.
        name: of its head.
        spec: of its head.
        architecture: the class that the weights were of.
        difference: largest difference of a logit from the original's; None for an embedding, whose
            original gives token vectors only.
    """

    path: Path
    name: str
    spec: HeadSpec
    architecture: str | None
    difference: float | None


def import_model(name: str, target: Path, options: ImportOptions) -> ImportedCheckpoint:
    """Make a checkpoint of a model, after its logits were compared with the original's.

    What the user should know, such as labels without names, is logged as a warning.

    Args:
        name: a local folder, the name of a model that an installed package ships, or a hub id. The
            library's own settings for working offline are honoured.
        target: folder of the checkpoint; nothing may be there.
        options: what the model's files leave open.

    Raises:
        SourceError: when the model cannot be read, or has parts that polyhead does not support.
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
    head = heads.read(source, original, parts, options)
    max_tokens = source.max_tokens(encoders.capacity(encoder), options.max_tokens) or _LONGEST
    title, spec = head.meaning.title(options), head.meaning.spec(options, max_tokens)
    config = _config(source.name, title, spec, head.hidden)
    model = checkpoints.assemble(encoder, {title: spec}, config.heads).eval()
    head.fill(model.networks[title])
    difference = None
    if parts.task != "embedding":
        difference = check(original, model, title, head.meaning.rows, where=source.name)
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
    return ImportedCheckpoint(target, title, spec, source.architecture, difference)


def _config(name: str, title: str, spec: HeadSpec, hidden: tuple[Dense, ...]) -> Config:
    try:
        head = HeadConfig(
            kind=spec.kind,
            text=("first", "second") if spec.input == "pair" else "text",
            pooling=spec.pooling,
            hidden=hidden,
            longest=spec.longest,
        )
        encoder = EncoderConfig(name=name, max_tokens=spec.max_tokens)
        return Config(encoder=encoder, heads={title: head})
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
