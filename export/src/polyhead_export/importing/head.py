"""Which head an ONNX graph of another library is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from polyhead.errors import SourceError
from polyhead.heads import HeadSpec
from polyhead_export.importing import graph as graphs
from polyhead_export.importing.graph import ForeignGraph
from polyhead_models.importing import ImportOptions, labels, sentences
from polyhead_models.importing.labels import HeadMeaning
from polyhead_models.importing.source import Source

# Families that count positions from the padding id + 1 on, which takes these places away.
_FROM_PADDING = {
    *("camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet"),
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
}
_VECTORS = ("sentence_embedding", "last_hidden_state", "token_embeddings")
_SUPPORTED = (
    "*ForSequenceClassification, *ForTokenClassification, *ForQuestionAnswering, and encoders with"
    " the output last_hidden_state, token_embeddings or sentence_embedding"
)


@dataclass(frozen=True, eq=False)
class FolderHead:
    """A head, and the graph that computes its logits."""

    name: str
    spec: HeadSpec
    content: bytes


def read(source: Source, graph: ForeignGraph, options: ImportOptions) -> FolderHead:
    """The head of a folder.

    Raises:
        SourceError: when the class or the outputs are unknown, or labels do not fit.
    """
    limit = _max_tokens(source, options)
    outputs = graph.outputs
    if {"start_logits", "end_logits"} <= outputs.keys():
        meaning = labels.meaning(source, "answer", 2, options)
        _refuse_scores(graph, "start_logits", meaning)
        spec = meaning.spec(options, limit)
        content = graphs.spans(graph, "start_logits", "end_logits", spec.output)
        return FolderHead(meaning.title(options), spec, content)
    vectors = [name for name in _VECTORS if name in outputs]
    if vectors and "logits" not in outputs:
        return _embedding(source, graph, vectors[0], options, limit)
    architecture = source.architecture and f"a {source.architecture}"
    architecture = architecture or "a model of an unnamed class"
    if "logits" not in outputs:
        raise SourceError(
            f"{graph.path}: {architecture} with the outputs {', '.join(outputs)}; supported:"
            f" {_SUPPORTED}."
        )
    shape = outputs["logits"]
    known = {2: "ForSequenceClassification", 3: "ForTokenClassification"}.get(len(shape), "nothing")
    unnamed = source.architecture is None and (len(shape) == 2 or "id2label" in source.config)
    if not unnamed and not architecture.endswith(known):
        raise SourceError(
            f"{graph.path}: {architecture} whose logits have the sizes {list(shape)}; supported:"
            f" {_SUPPORTED}."
        )
    count = _count(source, shape)
    meaning = labels.meaning(source, "tokens" if len(shape) == 3 else "sequence", count, options)
    _refuse_scores(graph, "logits", meaning)
    spec, content = meaning.spec(options, limit), graph.content
    if meaning.rows is not None:
        content = graphs.arranged(graph, "logits", spec.output, meaning.rows)
    elif list(outputs) == ["logits"]:  # the file stays as it is
        spec = replace(spec, output="logits")
    else:
        content = graphs.same(graph, "logits", spec.output, count)
    return FolderHead(meaning.title(options), spec, content)


def _refuse_scores(graph: ForeignGraph, output: str, meaning: HeadMeaning) -> None:
    """Refuse an output that has been through what a head of this kind puts behind its logits."""
    maker = graph.makers[output]
    if maker in ("Softmax", "Sigmoid", "HardSigmoid") and meaning.kind != "regression.v1":
        raise SourceError(
            f"{graph.path}: its output {output!r} comes from a {maker}: these are scores already,"
            " and polyhead makes scores of logits. Export the model without it; of one logit, the"
            " number itself can be had with --answer number."
        )


def _max_tokens(source: Source, options: ImportOptions) -> int:
    stated = [source.config.get("max_position_embeddings"), source.config.get("n_positions")]
    padding = source.config.get("pad_token_id")
    taken = 1 + (padding if isinstance(padding, int) else 1)
    offset = taken if source.config.get("model_type") in _FROM_PADDING else 0
    capacity = [int(n) - offset for n in stated if isinstance(n, int) and n > 3]
    found = source.max_tokens(min(capacity, default=None), options.max_tokens)
    if found is None:
        raise SourceError(
            f"{source.name}: no file says how many tokens it reads. Say it with --max-tokens."
        )
    return found


def _count(source: Source, shape: tuple[Any, ...]) -> int:
    """Number of labels: of the logits, else of the configuration."""
    if shape and isinstance(shape[-1], int):
        return shape[-1]
    stated = source.config.get("id2label")
    if isinstance(stated, dict) and stated:
        return len(stated)
    return int(source.config.get("num_labels") or 2)


def _embedding(
    source: Source, graph: ForeignGraph, output: str, options: ImportOptions, limit: int
) -> FolderHead:
    width = graph.outputs[output][-1]
    width = width if isinstance(width, int) else source.config.get("hidden_size")
    if not isinstance(width, int):
        raise SourceError(f"{source.name}: config.json has no hidden_size.")
    pooling = options.pooling or "mean"
    if output != "sentence_embedding":  # where the graph pools, what modules.json names is in it
        for module in source.modules[1:]:
            if module.kind not in ("Pooling", "Normalize", "Dropout"):
                raise SourceError(
                    f"{source.name}: a module {module.kind!r} follows the graph; polyhead imports"
                    " Transformer, Pooling and Normalize here. Import the folder with its PyTorch"
                    " weights."
                )
        sentences.refuse_decoder(source, options, graph.states(output))
        pooling = sentences.read(source, options).pooling
    meaning = HeadMeaning("embedding.v1", {"pooling": pooling})
    spec = meaning.spec(options, limit)
    if output == "sentence_embedding":
        content = graphs.same(graph, output, spec.output, width)
    else:
        content = graphs.pooled(graph, output, spec.output, pooling, width)
    return FolderHead(meaning.title(options), spec, content)
