"""The machine and the libraries that an engine runs on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import tokenizers

from polyhead.system import cpu
from polyhead.system.onnx_runtime import ort

__version__ = "0.1.0"
"""Of polyhead: the package itself has it from here."""


def system_info() -> dict[str, Any]:
    """CPU and versions, as plain data."""
    found = _cpu()
    return {
        "cpu": {"model": found.model, "flags": list(found.flags)},
        "versions": {
            "polyhead": __version__,
            "onnxruntime": ort.__version__,
            "tokenizers": tokenizers.__version__,
            "numpy": np.__version__,
        },
    }


@cache
def _cpu() -> cpu.Cpu:
    return cpu.describe()
