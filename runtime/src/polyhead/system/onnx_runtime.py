"""onnxruntime, imported without its telemetry: every module of polyhead takes it from here.

Since 1.29 its wheels send events about process, models and runs to their maker, from threads that
start when it is imported (https://github.com/microsoft/onnxruntime/pull/27379). A runtime that is
embedded in services sends nothing without being asked; and a process that was forked after these
threads began hangs when it ends (seen with 1.32). The variable is read at the first import only: it
is set for that moment, and the environment is left as it was. A program that imports onnxruntime
itself must import polyhead first or set the variable.
"""

from __future__ import annotations

import os

_NAME = "ORT_DISABLE_TELEMETRY"
_before = os.environ.get(_NAME)
os.environ.setdefault(_NAME, "1")
try:
    import onnxruntime as ort
finally:
    if _before is None:
        del os.environ[_NAME]

__all__ = ["ort"]
