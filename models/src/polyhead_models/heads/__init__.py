"""Networks: one file a head kind. Adding a kind is one file and one line here.

A plugin's network is an entry point in the group ``polyhead_models.heads``.
"""

from __future__ import annotations

from polyhead.system.plugins import Registry
from polyhead_models.heads.answer import AnswerNetwork
from polyhead_models.heads.base import HeadNetwork
from polyhead_models.heads.classification import ClassificationNetwork
from polyhead_models.heads.compress import CompressNetwork
from polyhead_models.heads.embedding import EmbeddingNetwork
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.heads.multilabel import MultiLabelNetwork
from polyhead_models.heads.regression import RegressionNetwork
from polyhead_models.heads.summary import SummaryNetwork
from polyhead_models.heads.tokens import TokensNetwork

__all__ = ["NETWORKS", "HeadNetwork"]

_BUILT_IN: dict[str, type[HeadNetwork]] = {
    network.kind: network
    for network in (
        ClassificationNetwork,
        MultiLabelNetwork,
        RegressionNetwork,
        TokensNetwork,
        AnswerNetwork,
        SummaryNetwork,
        CompressNetwork,
        EmbeddingNetwork,
        GenerationNetwork,
    )
}
NETWORKS = Registry(
    _BUILT_IN,
    group="polyhead_models.heads",
    what="network",
    needs=("outputs", "reference", "target"),
)
