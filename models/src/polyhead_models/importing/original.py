"""The original model as transformers builds it: its head's parts, its encoder, its logits.

Each class is an encoder, layers of a head, and a last linear layer. What the layers are called and
what stands between them was read off the classes' `forward`; an import checks the logits, too.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto as auto

from polyhead.errors import SourceError
from polyhead.text.encoding import Input
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.errors import EncoderError
from polyhead_models.importing.labels import Task
from polyhead_models.importing.source import Source, weights
from polyhead_models.importing.tokenizing import TEXTS, encoded

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layer:
    """A dense layer of a head.

    Attributes:
        linear: path of the `nn.Linear` in the model.
        activation: name of the function behind it, as transformers calls it, or of the setting that
            holds that name.
        norm: path of the `nn.LayerNorm` behind that; None for none.
    """

    linear: str
    activation: str
    norm: str | None = None


@dataclass(frozen=True)
class Parts:
    """A head of transformers.

    Attributes:
        task: what it is for.
        pooling: how it makes one vector of the tokens'; None for heads that answer per token.
        layers: before the last.
        output: path of the last `nn.Linear`.
    """

    task: Task
    pooling: Literal["cls", "mean"] | None
    layers: tuple[Layer, ...]
    output: str


_CLASSES: dict[Task, dict[str, Any]] = {
    "sequence": dict(auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
    "tokens": dict(auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES),
    "answer": dict(auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES),
}
_PLAIN = ("Model", "ForMaskedLM", "ForPreTraining")
_ROBERTA = ((Layer("classifier.dense", "tanh"),), "classifier.out_proj")
_SEQUENCE: dict[str, tuple[tuple[Layer, ...], str]] = {
    "albert": ((Layer("albert.pooler", "tanh"),), "classifier"),
    "bert": ((Layer("bert.pooler.dense", "tanh"),), "classifier"),
    "camembert": _ROBERTA,
    "deberta": ((Layer("pooler.dense", "pooler_hidden_act"),), "classifier"),
    "deberta-v2": ((Layer("pooler.dense", "pooler_hidden_act"),), "classifier"),
    "distilbert": ((Layer("pre_classifier", "relu"),), "classifier"),
    "electra": ((Layer("classifier.dense", "gelu"),), "classifier.out_proj"),
    "modernbert": ((Layer("head.dense", "classifier_activation", "head.norm"),), "classifier"),
    "mpnet": _ROBERTA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
"""Layers of a classifier of texts, and its output, by family."""


def _parts(architecture: str | None, config: PretrainedConfig, *, where: str) -> Parts:
    """The head of a class.

    Args:
        architecture: the class's name; None is an encoder without a head.
        config: of the model.
        where: the place to name in messages.

    Raises:
        SourceError: when polyhead does not know the class; names it and those that it knows.
    """
    if architecture is None or re.fullmatch(rf"\w+?({'|'.join(_PLAIN)})", architecture):
        return Parts("embedding", None, (), "")
    family = str(config.model_type)
    layers, output = _SEQUENCE.get(family, ((), ""))
    task = next((task for task, of in _CLASSES.items() if of.get(family) == architecture), None)
    if task is None or not output:
        raise SourceError(
            f"{where}: is a {architecture} of the family {family!r}, which polyhead cannot import."
            " It knows *ForSequenceClassification, *ForTokenClassification and"
            f" *ForQuestionAnswering of the families {', '.join(_SEQUENCE)}, encoders without a"
            " head (*Model, *ForMaskedLM), and folders of sentence-transformers."
        )
    if task == "sequence":
        by_mean = getattr(config, "classifier_pooling", "cls") == "mean"
        return Parts(task, "mean" if by_mean else "cls", layers, output)
    if family == "modernbert":  # one head for all its tasks
        return Parts(task, None, layers, output)
    return Parts(task, None, (), "classifier" if task == "tokens" else "qa_outputs")


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
            architecture = None if source.is_sentence_model else source.architecture
            parts = _parts(architecture, config, where=source.name)
            counted = "id2label" in source.config or "num_labels" in source.config
            if parts.task in ("sequence", "tokens") and not counted:
                output = weights(source.folder).get(f"{parts.output}.weight")
                config.num_labels = config.num_labels if output is None else len(output)
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
    except SourceError:
        raise
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
    unused = sorted(info["unexpected_keys"])
    if unused and (parts.task != "embedding" or source.architecture is None):
        logger.warning(
            "%s: a %s does not use %d of its weights, such as %s. Does 'architectures' in"
            " config.json name the class that was trained?",
            source.name,
            type(made).__name__,
            len(unused),
            unused[0],
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


TOLERANCE = 1e-4
_LONGEST_CHECKED = 1024  # tokens; attention over more takes gigabytes in large models


@torch.inference_mode()
def check(
    original: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    made: Checkpoint,
    rows: Sequence[int | None] | None,
    *,
    where: str,
) -> float:
    """Compare logits on `TEXTS`: the original's whole path, and an engine over the checkpoint.

    Of an encoder without a head, its token vectors go through the imported head.

    Args:
        original: the model of transformers, in evaluation mode.
        tokenizer: that of transformers.
        made: the checkpoint with our only head.
        rows: for each of our logits the original's; None where it has none, and for the same order.
        where: the place to name in messages.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        SourceError: when it is above `TOLERANCE` times the largest logit, or 1; names the text.
    """
    ((head, spec),) = made.model.specs.items()
    network, limit = made.model.networks[head], spec.max_tokens
    engine = made.engine(on_overflow="truncate")
    texts: list[Input] = list(TEXTS)
    if spec.input == "pair":
        texts = list(itertools.pairwise(TEXTS[:-1]))
    tokenizer.truncation_side = "right"
    largest = 0.0
    for text in texts:
        ids = encoded(tokenizer, text)
        tokens = len(ids["input_ids"])
        if tokens > limit and (limit > _LONGEST_CHECKED or spec.input == "pair"):
            continue
        if tokens > limit:
            ids = encoded(tokenizer, text, limit)
        names = [name for name in made.model.inputs if name in ids]
        try:
            output = original(**{name: torch.tensor([ids[name]]) for name in names})
        except (IndexError, RuntimeError) as problem:
            raise SourceError(
                f"{where}: the {type(original).__name__} cannot read {len(ids['input_ids'])} tokens"
                f" ({problem}). Say with --max-tokens how many it reads."
            ) from problem
        if spec.kind == "embedding.v1":
            expected = network([output.last_hidden_state], None)[0]
        else:
            expected = _logits(output)[0]
        found = torch.from_numpy(engine.logits([text])[head][0])
        if rows is not None:
            found = found[..., [place for place, row in enumerate(rows) if row is not None]]
            expected = expected[..., [row for row in rows if row is not None]]
        difference = float((found - expected).abs().max())
        largest = max(largest, difference)
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise SourceError(
                f"{where}: for {text!r:.80} the imported head differs from the"
                f" {type(original).__name__} by {difference:.2g}. Please report it."
            )
    return largest


def _logits(output: object) -> Tensor:
    """Of a class for questions, starts and ends side by side."""
    if hasattr(output, "start_logits") and hasattr(output, "end_logits"):
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    logits: Tensor = output.logits  # type: ignore[attr-defined]
    return logits
