"""The original model as transformers builds it, and the encoder inside."""

from __future__ import annotations

from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedModel

from polyhead_models import encoder as encoders
from polyhead_models.errors import EncoderError, SourceError
from polyhead_models.importing import architectures
from polyhead_models.importing.architectures import Parts
from polyhead_models.importing.source import Source

_AUTO: dict[str, Any] = {
    "sequence": transformers.AutoModelForSequenceClassification,
    "tokens": transformers.AutoModelForTokenClassification,
    "answer": transformers.AutoModelForQuestionAnswering,
    "embedding": transformers.AutoModel,
}


def model(source: Source) -> tuple[PreTrainedModel, Parts]:
    """The model in evaluation mode, all its weights found, and where its head's parts are.

    Raises:
        SourceError: when transformers cannot load it, or polyhead does not know its class.
    """
    try:
        with encoders.quiet():
            config = transformers.AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
            sentence = source.is_sentence_model
            architecture = None if sentence else source.architecture
            parts = architectures.parts(architecture, config, where=source.name)
            counted = "id2label" in source.config or "num_labels" in source.config
            if parts.task in ("sequence", "tokens") and not counted:
                config.num_labels = source.rows(f"{parts.output}.weight") or config.num_labels
            made, info = _AUTO[parts.task].from_pretrained(
                source.folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as problem:
        raise SourceError(
            f"{source.name}: transformers {transformers.__version__} cannot load it: {problem}"
        ) from problem
    except Exception as problem:  # a damaged or refused pickle raises whatever it likes
        raise SourceError(f"{source.name}: its weights cannot be read: {problem}") from problem
    missing = sorted(
        k for k in info["missing_keys"] if parts.task != "embedding" or ".pooler." not in f".{k}"
    )
    if missing or info.get("mismatched_keys"):
        raise SourceError(
            f"{source.name}: its weights have no {(missing or ['fitting shapes'])[0]!r}, which a"
            f" {type(made).__name__} needs. Is config.json of another model?"
        )
    return made.eval(), parts


def encoder(original: PreTrainedModel, source: Source) -> PreTrainedModel:
    """The encoder of a model as training builds it: without its pooler.

    Raises:
        EncoderError: when polyhead builds another one from the same configuration.
    """
    base = cast(PreTrainedModel, getattr(original, original.base_model_prefix, original))
    built = encoders.build(encoders.settings(base))
    state = {k: v for k, v in base.state_dict().items() if not k.startswith("pooler.")}
    try:
        built.load_state_dict(state)
    except RuntimeError as problem:
        raise EncoderError(
            f"{source.name}: a {type(base).__name__} that polyhead cannot build: {problem}"
        ) from problem
    built.eval()  # type: ignore[no-untyped-call]
    return built
