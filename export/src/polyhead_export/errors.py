"""What can go wrong while exporting, under the one tree of `polyhead.errors`."""

from __future__ import annotations

from polyhead.errors import PolyheadError

# Families whose graph is checked in the tests.
KNOWN = (
    "BERT, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT, ELECTRA, ALBERT, MPNet, DeBERTa-v2 and -v3,"
    " ModernBERT and NomicBERT"
)


class ExportError(PolyheadError):
    """The model cannot be exported; nothing was written."""


class WeightsError(ExportError):
    """The trained weights are not finite numbers."""


class TraceError(ExportError):
    """PyTorch cannot trace the model."""


class StructureError(ExportError):
    """The graph lacks operators that the architecture calls for."""


class ParityError(ExportError):
    """The graph gives other numbers than the PyTorch model."""


class CalibrationError(ExportError):
    """The ranges of the activations cannot be measured."""


class DeployedError(ExportError):
    """The quantisation of a deployed bundle cannot be kept."""


class GateError(ExportError):
    """A head loses more than is allowed, whatever is tried."""


class StabilityError(ExportError):
    """A text's logits depend on its batch mates or on the number of threads."""
