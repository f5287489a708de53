"""Where the parts of a head stand in the classes of transformers, as data.

Each class is an encoder, layers of a head, and a last linear layer. What the layers are called and
what stands between them was read off the classes' `forward`; an import checks the logits, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PretrainedConfig
from transformers.models.auto import modeling_auto as auto

from polyhead_models.errors import SourceError
from polyhead_models.importing.labels import Task


@dataclass(frozen=True)
class Layer:
    """A dense layer of a head.

    Attributes:
        linear: path of the `nn.Linear` in the model.
        activation: name of the function behind it, as transformers calls it.
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


_TASKS: dict[str, tuple[Task, dict[str, Any]]] = {
    "ForSequenceClassification": (
        "sequence",
        dict(auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
    ),
    "ForTokenClassification": ("tokens", dict(auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES)),
    "ForQuestionAnswering": ("answer", dict(auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES)),
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
"""By family; an activation with an underscore is the name of a setting that holds it."""

FAMILIES = tuple(_SEQUENCE)


def parts(architecture: str | None, config: PretrainedConfig, *, where: str) -> Parts:
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
    for task, classes in _TASKS.values():
        if family in _SEQUENCE and classes.get(family) == architecture:
            return _head(task, family, config)
    known = ", ".join(f"*{ending}" for ending in _TASKS)
    raise SourceError(
        f"{where}: is a {architecture} of the family {family!r}, which polyhead cannot import."
        f" It knows {known} of the families {', '.join(FAMILIES)}, encoders without a head (*Model,"
        " *ForMaskedLM), and folders of sentence-transformers."
    )


def _head(task: Task, family: str, config: PretrainedConfig) -> Parts:
    layers, output = _SEQUENCE[family]
    named = tuple(
        Layer(
            x.linear, getattr(config, x.activation) if "_" in x.activation else x.activation, x.norm
        )
        for x in layers
    )
    if task == "sequence":
        by_mean = getattr(config, "classifier_pooling", "cls") == "mean"
        return Parts(task, "mean" if by_mean else "cls", named, output)
    if family == "modernbert":  # one head for all its tasks
        return Parts(task, None, named, output)
    return Parts(task, None, (), "classifier" if task == "tokens" else "qa_outputs")
