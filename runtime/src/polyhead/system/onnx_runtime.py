"""onnxruntime, imported without its telemetry: every module of polyhead takes it from here.

Since 1.29 its wheels send events about process, models and runs to their maker, from threads that
start when it is imported (https://github.com/microsoft/onnxruntime/pull/27379). A runtime that is
embedded in services sends nothing without being asked; and a process that was forked after these
threads began hangs when it ends (seen with 1.32). The variable counts only if it is set before the
first import, so a program that imports onnxruntime itself must import polyhead first or set it.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
