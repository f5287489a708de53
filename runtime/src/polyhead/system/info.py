"""The machine and the libraries that an engine runs on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from polyhead.system import cpu
from polyhead.system.onnx_runtime import ort

__version__ = "0.1.0"
"""Of polyhead: the package itself has it from here."""


def system_info() -> dict[str, Any]:
    """CPU and versions, as plain data."""
    found = cpu.describe()
    return {
        "cpu": {"model": found.model, "flags": list(found.flags)},
        "versions": {
            "polyhead": __version__,
            "onnxruntime": ort.__version__,
            "onnxruntime_distributions": onnxruntime_distributions(),
            "tokenizers": tokenizers.__version__,
            "numpy": np.__version__,
        },
    }


_PACKAGE = "\nonnxruntime/__init__.py,"  # a line of the metadata


@cache
def onnxruntime_distributions() -> list[str] | None:
    """Which distributions brought onnxruntime, as ``onnxruntime-gpu 1.32.0``.

    Where there are several, they have written the same files, and the last one to be installed
    runs. None where there are no metadata, as in a frozen program.
    """
    found = []
    for metadata in sorted(Path(ort.__file__).parents[1].glob("onnxruntime*.dist-info")):
        name, _, version = metadata.stem.partition("-")
        record = metadata / "RECORD"  # other distributions have names that begin like this
        files = record.read_text(encoding="utf-8") if record.exists() else _PACKAGE
        if _PACKAGE in f"\n{files}":
            found.append(f"{name.replace('_', '-')} {version}")
    return found or None
