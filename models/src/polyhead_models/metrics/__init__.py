"""Metrics: one file a head kind. Adding a kind is one file and one line here.

A plugin's metric, an object and not its class, is an entry point in the group
``polyhead_models.metrics``.
"""

from __future__ import annotations

from polyhead.system.plugins import Registry
from polyhead_models.metrics.answer import AnswerMetric
from polyhead_models.metrics.base import Metric
from polyhead_models.metrics.classification import ClassificationMetric
from polyhead_models.metrics.compress import CompressMetric
from polyhead_models.metrics.embedding import EmbeddingMetric
from polyhead_models.metrics.generation import GenerationMetric
from polyhead_models.metrics.multilabel import MultiLabelMetric
from polyhead_models.metrics.regression import RegressionMetric
from polyhead_models.metrics.summary import SummaryMetric
from polyhead_models.metrics.tokens import TokensMetric

__all__ = ["METRICS", "Metric"]

_BUILT_IN: dict[str, Metric] = {
    "classification.v1": ClassificationMetric(),
    "multilabel.v1": MultiLabelMetric(),
    "regression.v1": RegressionMetric(),
    "tokens.v1": TokensMetric(),
    "answer.v1": AnswerMetric(),
    "summary.v1": SummaryMetric(),
    "compress.v1": CompressMetric(),
    "embedding.v1": EmbeddingMetric(),
    "generation.v1": GenerationMetric(),
}
METRICS = Registry(
    _BUILT_IN,
    group="polyhead_models.metrics",
    what="metric",
    needs=("primary", "score", "agreement"),
)
