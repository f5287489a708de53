"""embedding.v1: the pooled vector itself; not trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NoReturn

from torch import Tensor, nn

from polyhead.heads import HeadSpec
from polyhead.tokenizing import Encoding
from polyhead_models.heads.base import HeadNetwork


class EmbeddingNetwork(HeadNetwork):
    """Pooling alone: usable with an encoder that was trained for embeddings."""

    kind: ClassVar[str] = "embedding.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "identity"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = "mean"
    needs_target: ClassVar[bool] = False

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """As many as the encoder's width."""
        return width

    @classmethod
    def reference(cls, raw: Any, text: str) -> NoReturn:
        """There is no target."""
        raise ValueError("this kind of head has no target")

    @classmethod
    def check(cls, reference: Any, labels: Sequence[str]) -> None:
        """Nothing to check."""

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """There is no target."""
        raise ValueError("this kind of head has no target")

    @staticmethod
    def _projection(widths: Sequence[int], dropout: float) -> nn.Module:
        return nn.Identity()
