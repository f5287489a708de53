"""The original model as transformers builds it: its head's parts, its encoder, its logits.

Each class is an encoder, layers of a head, and a last linear layer. What the layers are called and
what stands between them was read off the classes' `forward`; an import checks the logits, too.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto as auto

from polyhead.errors import SourceError
from polyhead.text.encoding import Input
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.errors import EncoderError
from polyhead_models.importing import sentences
from polyhead_models.importing.labels import Task
from polyhead_models.importing.source import ImportOptions, Source, reason, weights
from polyhead_models.importing.tokenizing import LONGEST_TRIED, TEXTS, encoded

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


def _parts(source: Source, config: PretrainedConfig) -> Parts:
    """The head of the class that the weights are of.

    Raises:
        SourceError: when polyhead does not know the class; names it and those that it knows.
    """
    family, architecture = str(config.model_type), source.architecture
    encodes = family not in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    stem = str(auto.MODEL_MAPPING_NAMES.get(family)).removesuffix("Model")
    plain = (None, *(f"{stem}{ending}" for ending in _PLAIN))
    if encodes and (source.is_sentence_model or architecture in plain):
        return Parts("embedding", None, (), "")
    layers, output = _SEQUENCE.get(family, ((), ""))
    task = next((task for task, of in _CLASSES.items() if of.get(family) == architecture), None)
    if task is None or not output:
        raise SourceError(
            f"{source.name}: is a {architecture or 'model'} of the family {family!r}, which"
            " polyhead cannot import."
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


def model(source: Source, options: ImportOptions) -> tuple[PreTrainedModel, Parts]:
    """The model in evaluation mode, all its weights found, and where its head's parts are.

    Raises:
        SourceError: when transformers cannot load it, or leaves weights of its parts out; or
            polyhead does not know its class, or that is no encoder.
    """
    try:
        with encoders.quiet():
            config = transformers.AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
            parts = _parts(source, config)
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
    except SourceError:
        raise
    except Exception as problem:  # a damaged or refused pickle raises whatever it likes
        raise SourceError(
            f"{source.name}: transformers {transformers.__version__} cannot load it:"
            f" {reason(problem)}"
        ) from problem
    _check_weights(made, info, parts, source, options)
    made.eval()
    if parts.task == "embedding":
        sentences.refuse_decoder(source, options, partial(_states, made))
    return made, parts


def _check_weights(
    made: PreTrainedModel,
    info: Mapping[str, Any],
    parts: Parts,
    source: Source,
    options: ImportOptions,
) -> None:
    """Refuse missing weights, and those that are left out of a part; log other unused ones."""
    name = type(made).__name__
    missing = sorted(
        k for k in info["missing_keys"] if parts.task != "embedding" or ".pooler." not in f".{k}"
    )
    unused = sorted(info["unexpected_keys"])
    if missing or info.get("mismatched_keys"):
        other = f" It does not use {unused[0]!r}, which is there." if unused else ""
        raise SourceError(
            f"{source.name}: its weights have no {(missing or ['fitting shapes'])[0]!r}, which a"
            f" {name} needs.{other} Is config.json of another model, or are they of an adapter?"
        )
    if inner := [key for key in unused if _belongs(key, made)]:
        options.leave(
            "weights",
            f"{source.name}: a {name} of transformers {transformers.__version__} has no place for"
            f" {len(inner)} weights of its parts, such as {inner[0]!r}, of an adapter or an older"
            " version: it gives other answers than the model that was trained.",
        )
    elif unused and (parts.task != "embedding" or source.architecture is None):
        logger.warning(
            "%s: a %s does not use %d of its weights, such as %s. Does 'architectures' in"
            " config.json name the class that was trained?",
            source.name,
            name,
            len(unused),
            unused[0],
        )


def _belongs(key: str, model: PreTrainedModel) -> bool:
    """Whether a weight is of a part of the model, and not of another head or a further layer."""
    parts = {**dict(model.base_model.named_modules()), **dict(model.named_modules())}
    names = key.removeprefix(f"{model.base_model_prefix}.").split(".")
    paths = (".".join(names[:end]) for end in range(len(names) - 1, 0, -1))
    owner = next((parts[path] for path in paths if path in parts), None)
    return owner is not None and not isinstance(owner, nn.ModuleList)


@torch.inference_mode()
def _states(model: PreTrainedModel, ids: list[int]) -> NDArray[np.float32]:
    """Vectors of tokens, `(tokens, hidden)`.

    Raises:
        SourceError: when the model gives none, as one for pictures.
    """
    try:
        found = model(input_ids=torch.tensor([ids]), return_dict=True).last_hidden_state[0]
    except Exception as problem:  # a model for something else raises whatever it likes
        raise SourceError(
            f"{model.name_or_path}: a {type(model).__name__} gives no vectors of tokens: {problem}"
        ) from problem
    return cast("NDArray[np.float32]", found.numpy())


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
        if tokens > limit and (limit > LONGEST_TRIED or spec.input == "pair"):
            continue
        if tokens > limit:
            ids = encoded(tokenizer, text, limit)
        names = [name for name in made.model.inputs if name in ids]
        try:
            feeds = {name: torch.tensor([ids[name]]) for name in names}
            output = original(**feeds, return_dict=True)
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
