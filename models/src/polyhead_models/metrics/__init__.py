"""Metrics: one file a head kind. Adding a kind is one file and one line here."""

from __future__ import annotations

from polyhead_models.metrics.answer import AnswerMetric
from polyhead_models.metrics.base import Metric
from polyhead_models.metrics.classification import ClassificationMetric
from polyhead_models.metrics.embedding import EmbeddingMetric
from polyhead_models.metrics.multilabel import MultiLabelMetric
from polyhead_models.metrics.regression import RegressionMetric
from polyhead_models.metrics.summary import SummaryMetric
from polyhead_models.metrics.tokens import TokensMetric

__all__ = ["METRICS", "Metric"]

METRICS: dict[str, Metric] = {
    "classification.v1": ClassificationMetric(),
    "multilabel.v1": MultiLabelMetric(),
    "regression.v1": RegressionMetric(),
    "tokens.v1": TokensMetric(),
    "answer.v1": AnswerMetric(),
    "summary.v1": SummaryMetric(),
    "embedding.v1": EmbeddingMetric(),
}
