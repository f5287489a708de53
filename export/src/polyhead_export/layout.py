"""The fast layout on onnxruntime's CPU provider: the choice for each pattern, in one place.

`LowerToOrtCpu` writes this layout and `polyhead probe` measures the alternatives against it. The
kernels change between releases of onnxruntime: when the probe says that another choice wins, change
it here. Measured with onnxruntime 1.32, one thread, AVX512-VNNI (design, section 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pattern = Literal["norm", "gelu", "attention", "linear"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The operators that stand for each pattern; the names are those of `rewrites.ALTERNATIVES`.

    Attributes:
        norm: of a sum and its normalisation.
        gelu: of a GELU and the bias before it.
        attention: of scaled-dot-product attention.
        linear: of an int8 linear.
    """

    norm: str = "Add + LayerNormalization"
    gelu: str = "Gelu"
    attention: str = "Attention"
    linear: str = "MatMulIntegerToFloat"

    def choice(self, pattern: Pattern) -> str:
        """The name of the alternative for a pattern."""
        name: str = getattr(self, pattern)
        return name


BUILT_IN = Layout()
