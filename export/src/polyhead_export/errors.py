"""What can go wrong while exporting, under the one tree of `polyhead.errors`.

::

    PolyheadError
    └── ExportError
        ├── TraceError         PyTorch cannot trace the model
        ├── StructureError     the graph has not the fused operators that it should have
        ├── ParityError        the graph gives other numbers than the model
        ├── CalibrationError   no ranges can be measured
        └── ProbeError         the graph has no layouts to choose from
"""

from __future__ import annotations

from polyhead.errors import PolyheadError


class ExportError(PolyheadError):
    """The model cannot be exported; nothing was written."""


class TraceError(ExportError):
    """PyTorch cannot trace the model."""


class StructureError(ExportError):
    """The graph has not the operators that the architecture calls for."""


class ParityError(ExportError):
    """The graph gives other numbers than the PyTorch model."""


class CalibrationError(ExportError):
    """The ranges of the activations cannot be measured."""


class ProbeError(ExportError):
    """The graph has no layouts to choose from."""
