"""Networks: one file a head kind. Adding a kind is one file and one line here."""

from __future__ import annotations

from polyhead_models.heads.answer import AnswerNetwork
from polyhead_models.heads.base import HeadNetwork
from polyhead_models.heads.classification import ClassificationNetwork
from polyhead_models.heads.embedding import EmbeddingNetwork
from polyhead_models.heads.multilabel import MultiLabelNetwork
from polyhead_models.heads.regression import RegressionNetwork
from polyhead_models.heads.summary import SummaryNetwork
from polyhead_models.heads.tokens import TokensNetwork

__all__ = ["NETWORKS", "HeadNetwork"]

NETWORKS: dict[str, type[HeadNetwork]] = {
    network.kind: network
    for network in (
        ClassificationNetwork,
        MultiLabelNetwork,
        RegressionNetwork,
        TokensNetwork,
        AnswerNetwork,
        SummaryNetwork,
        EmbeddingNetwork,
    )
}
