"""Comes in: logits, and the encoding of their text. Goes out: a typed result, by kind of head.

Adding a kind is one file and one line here.

A plugin's decoder is an entry point in the group ``polyhead.heads``.
"""

from __future__ import annotations

from polyhead.bundle.head_spec import HeadSpec
from polyhead.errors import ManifestError, UnknownKind
from polyhead.heads.answer import Answer, AnswerDecoder, AnswerSpan
from polyhead.heads.base import Decoder, Result
from polyhead.heads.classification import Classification, ClassificationDecoder
from polyhead.heads.compress import CompressDecoder, Compressed, Kept
from polyhead.heads.embedding import Embedding, EmbeddingDecoder
from polyhead.heads.generation import Copied, Generated, GenerationDecoder
from polyhead.heads.multilabel import MultiLabel, MultiLabelDecoder
from polyhead.heads.regression import Regression, RegressionDecoder
from polyhead.heads.summary import Sentence, Summary, SummaryDecoder
from polyhead.heads.tokens import Entities, Span, TokensDecoder
from polyhead.system.plugins import Registry

__all__ = [
    "DECODERS",
    "Answer",
    "AnswerSpan",
    "Classification",
    "Compressed",
    "Copied",
    "Decoder",
    "Embedding",
    "Entities",
    "Generated",
    "HeadSpec",
    "Kept",
    "MultiLabel",
    "Regression",
    "Result",
    "Sentence",
    "Span",
    "Summary",
    "decoder",
]

_BUILT_IN: dict[str, type[Decoder]] = {
    "classification.v1": ClassificationDecoder,
    "multilabel.v1": MultiLabelDecoder,
    "regression.v1": RegressionDecoder,
    "tokens.v1": TokensDecoder,
    "answer.v1": AnswerDecoder,
    "summary.v1": SummaryDecoder,
    "compress.v1": CompressDecoder,
    "embedding.v1": EmbeddingDecoder,
    "generation.v1": GenerationDecoder,
}
DECODERS = Registry(_BUILT_IN, group="polyhead.heads", what="decoder", needs=("decode",))


def decoder(name: str, spec: HeadSpec) -> Decoder:
    """The decoder of the head called `name`.

    Raises:
        ManifestError: when neither this version nor a plugin knows the head's kind.
        PluginError: when the plugin that knows it cannot be loaded.
    """
    try:
        made = DECODERS[spec.kind]
    except UnknownKind as problem:
        raise ManifestError(f"head {name!r}: {problem} A newer polyhead may know it.") from None
    return made(spec)
