"""Decoders: one file a head kind. Adding a kind is one file and one line here."""

from __future__ import annotations

from polyhead.errors import ManifestError, nearest
from polyhead.heads.answer import Answer, AnswerDecoder, AnswerSpan
from polyhead.heads.base import Decoder, Result
from polyhead.heads.classification import Classification, ClassificationDecoder
from polyhead.heads.embedding import Embedding, EmbeddingDecoder
from polyhead.heads.multilabel import MultiLabel, MultiLabelDecoder
from polyhead.heads.regression import Regression, RegressionDecoder
from polyhead.heads.spec import HeadSpec
from polyhead.heads.summary import Sentence, Summary, SummaryDecoder
from polyhead.heads.tokens import Entities, Span, TokensDecoder

__all__ = [
    "DECODERS",
    "Answer",
    "AnswerSpan",
    "Classification",
    "Decoder",
    "Embedding",
    "Entities",
    "HeadSpec",
    "MultiLabel",
    "Regression",
    "Result",
    "Sentence",
    "Span",
    "Summary",
    "decoder",
]

DECODERS: dict[str, type[Decoder]] = {
    "classification.v1": ClassificationDecoder,
    "multilabel.v1": MultiLabelDecoder,
    "regression.v1": RegressionDecoder,
    "tokens.v1": TokensDecoder,
    "answer.v1": AnswerDecoder,
    "summary.v1": SummaryDecoder,
    "embedding.v1": EmbeddingDecoder,
}


def decoder(name: str, spec: HeadSpec) -> Decoder:
    """The decoder of the head called `name`.

    Raises:
        ManifestError: when this version does not know the head's kind.
    """
    try:
        return DECODERS[spec.kind](spec)
    except KeyError:
        raise ManifestError(
            f"head {name!r}: unknown kind {spec.kind!r}; this version knows"
            f" {', '.join(DECODERS)}.{nearest(spec.kind, DECODERS)} A newer polyhead may know it."
        ) from None
