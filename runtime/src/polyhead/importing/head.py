"""Which head an ONNX graph of another library is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from polyhead.errors import SourceError
from polyhead.heads import HeadSpec
from polyhead.heads.answer import LONGEST
from polyhead.importing import graph as graphs
from polyhead.importing import labels
from polyhead.importing.folder import Folder
from polyhead.importing.graph import Foreign

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
_PROBLEMS: dict[str, tuple[str, Literal["softmax", "sigmoid", "identity"]]] = {
    "single_label_classification": ("classification.v1", "softmax"),
    "multi_label_classification": ("multilabel.v1", "sigmoid"),
    "regression": ("regression.v1", "identity"),
}
_STATES = ("last_hidden_state", "token_embeddings")
_SUPPORTED = (
    "*ForSequenceClassification, *ForTokenClassification, *ForQuestionAnswering, and encoders with"
    " the output last_hidden_state, token_embeddings or sentence_embedding"
)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the files leave open.

    Attributes:
        head: name of the head; None takes the kind's.
        pair: whether a classifier reads pairs of texts.
        problem: what the labels of a classifier are; None takes what config.json says.
        pooling: of a plain encoder; None takes the mean.
        max_tokens: longest input; None takes what the files say.
    """

    head: str | None = None
    pair: bool = False
    problem: Problem | None = None
    pooling: Literal["cls", "mean", "max"] | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class Head:
    """A head, and the graph that computes its logits."""

    name: str
    spec: HeadSpec
    content: bytes


def read(folder: Folder, graph: Foreign, wishes: Wishes, note: Callable[[str], None]) -> Head:
    """The head of a folder.

    Raises:
        SourceError: when the class or the outputs are unknown, or labels do not fit.
    """
    tokens = folder.max_tokens(wishes.max_tokens)
    common: dict[str, Any] = {"max_tokens": tokens, "stride": tokens // 4}
    outputs, architecture = graph.outputs, folder.architecture or "a model of an unnamed class"
    if {"start_logits", "end_logits"} <= outputs.keys():
        name = wishes.head or "answer"
        spec = HeadSpec(
            kind="answer.v1",
            output=f"logits/{name}",
            activation="span",
            input="pair",
            longest=LONGEST,
            **common,
        )
        return Head(name, spec, graphs.spans(graph, "start_logits", "end_logits", spec.output))
    vectors = [o for o in ("sentence_embedding", *_STATES) if o in outputs]
    if vectors and "logits" not in outputs:
        return _embedding(folder, graph, vectors[0], wishes, common)
    if "logits" not in outputs:
        raise SourceError(
            f"{graph.path}: {architecture} with the outputs {', '.join(outputs)}; supported:"
            f" {_SUPPORTED}."
        )
    shape = outputs["logits"]
    known = {2: "ForSequenceClassification", 3: "ForTokenClassification"}.get(len(shape), "")
    if folder.architecture is not None and not folder.architecture.endswith(known or "nothing"):
        raise SourceError(
            f"{graph.path}: a {architecture} whose logits have the sizes {list(shape)}; supported:"
            f" {_SUPPORTED}."
        )
    found, named = labels.read(folder.config, _count(folder, shape), where=str(folder.path))
    if len(shape) == 3:
        return _tokens(folder, graph, found, named, wishes, note, common)
    return _classifier(folder, graph, found, named, wishes, note, common)


def _count(folder: Folder, shape: tuple[Any, ...]) -> int:
    """Number of labels: of the logits, else of the configuration."""
    if shape and isinstance(shape[-1], int):
        return int(shape[-1])
    stated = folder.config.get("id2label")
    if isinstance(stated, dict) and stated:
        return len(stated)
    return int(folder.config.get("num_labels") or 2)


def _classifier(
    folder: Folder,
    graph: Foreign,
    found: tuple[str, ...],
    named: bool,
    wishes: Wishes,
    note: Callable[[str], None],
    common: dict[str, Any],
) -> Head:
    stated = wishes.problem or folder.config.get("problem_type")
    stated = stated or ("regression" if len(found) == 1 else "single_label_classification")
    if stated not in _PROBLEMS:
        raise SourceError(
            f"{folder.path}: problem_type: found {stated!r}, allowed: {', '.join(_PROBLEMS)}."
        )
    kind, activation = _PROBLEMS[stated]
    if kind == "regression.v1" and len(found) != 1:
        raise SourceError(f"{folder.path}: regression with {len(found)} numbers; polyhead has one.")
    if kind != "regression.v1":
        _warn(folder, named, note)
    name = wishes.head or kind.partition(".")[0]
    untouched = list(graph.outputs) == ["logits"]
    spec = HeadSpec(
        kind=kind,
        output="logits" if untouched else f"logits/{name}",
        labels=() if kind == "regression.v1" else found,
        activation=activation,
        input="pair" if wishes.pair else "text",
        **common,
    )
    content = graph.content
    if not untouched:
        content = graphs.same(graph, "logits", spec.output, len(found))
    return Head(name, spec, content)


def _tokens(
    folder: Folder,
    graph: Foreign,
    found: tuple[str, ...],
    named: bool,
    wishes: Wishes,
    note: Callable[[str], None],
    common: dict[str, Any],
) -> Head:
    tags = labels.tags(found)
    if tags.note:
        note(f"warning: {folder.path}: {tags.note}")
    _warn(folder, named, note)
    name = wishes.head or "tokens"
    spec = HeadSpec(
        kind="tokens.v1",
        output=f"logits/{name}",
        labels=tags.labels,
        activation="softmax",
        scheme=tags.scheme,
        **common,
    )
    return Head(name, spec, graphs.arranged(graph, "logits", spec.output, tags.rows))


def _embedding(
    folder: Folder, graph: Foreign, output: str, wishes: Wishes, common: dict[str, Any]
) -> Head:
    width = graph.outputs[output][-1]
    width = width if isinstance(width, int) else folder.config.get("hidden_size")
    if not isinstance(width, int):
        raise SourceError(f"{folder.path}: config.json has no hidden_size.")
    name = wishes.head or "embedding"
    # Where the graph pools, what modules.json names is in it.
    stated = None if output == "sentence_embedding" else folder.pooling
    if stated is not None and wishes.pooling not in (None, stated):
        raise SourceError(f"{folder.path}: pools by {stated}, and was trained so.")
    pooling: Any = stated or wishes.pooling or "mean"
    spec = HeadSpec(kind="embedding.v1", output=f"logits/{name}", pooling=pooling, **common)
    if output == "sentence_embedding":
        return Head(name, spec, graphs.same(graph, output, spec.output, width))
    return Head(name, spec, graphs.pooled(graph, output, spec.output, pooling, width))


def _warn(folder: Folder, named: bool, note: Callable[[str], None]) -> None:
    if not named:
        note(
            f"warning: {folder.path}: config.json names no labels; they are called LABEL_0 and so"
            " on. Write id2label there and import again."
        )
