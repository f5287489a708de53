"""What a bundle was made from, for its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyhead.bundle import EncoderInfo
from polyhead.bundle.digest import sha256
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint

_LIBRARIES = ("polyhead", "torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime")


def encoder_info(checkpoint: Checkpoint) -> EncoderInfo:
    """The encoder of a checkpoint; of a local folder only the last part is named."""
    encoder, config = checkpoint.model.encoder, checkpoint.description.config
    name = config.encoder.name
    return EncoderInfo(
        name=Path(name).name if Path(name).is_absolute() else name,
        family=str(encoder.config.model_type),
        fingerprint=encoders.fingerprint(encoder),
        hidden_size=int(encoder.config.hidden_size),
        layers=int(encoder.config.num_hidden_layers),
        max_tokens=config.encoder.max_tokens,
    )


def provenance(
    source: Path, checkpoint: Checkpoint, *, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Digests and versions, as plain data.

    Args:
        source: folder of the checkpoint.
        checkpoint: what it holds.
        settings: of the export.
    """
    return {
        "checkpoint_sha256": sha256(source / checkpoints.WEIGHTS),
        "training_config_sha256": checkpoint.description.config.fingerprint,
        "data_sha256": dict(checkpoint.description.data),
        "versions": checkpoints.versions(_LIBRARIES),
        "settings": dict(settings),
    }
