"""Hidden states into logits; its loss and its targets."""

from dataclasses import replace

import torch
from torch import nn

from polyhead_models.heads.base import NumericNetwork, label


class OrdinalNetwork(NumericNetwork):
    """A pooled vector into `classes - 1` cumulative logits; binary cross-entropy."""

    kind = "ordinal.v1"
    activation = "sigmoid"
    default_pooling = "mean"

    @classmethod
    def outputs(cls, spec, width):
        return len(spec.labels) - 1

    @classmethod
    def reference(cls, raw, text):
        float(found := label(raw))  # classes are numbers: that is their order
        return found

    @classmethod
    def fitted(cls, spec, references):
        return replace(spec, labels=tuple(sorted(set(references), key=float)))

    @classmethod
    def labels_of(cls, reference):
        return [reference]

    def target(self, reference, encoding):
        rank = self.spec.labels.index(reference)
        return (torch.arange(self.count) < rank).float()

    @staticmethod
    def criterion(logits, targets):
        return nn.functional.binary_cross_entropy_with_logits(logits, targets)
