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

from polyhead.errors import MissingExtra, ProviderUnavailable

_INSTALL = "'pip install onnxruntime', or the build for your hardware, such as onnxruntime-gpu"
_NAME = "ORT_DISABLE_TELEMETRY"
_before = os.environ.get(_NAME)
os.environ.setdefault(_NAME, "1")
try:
    import onnxruntime as ort
except ModuleNotFoundError as problem:
    if problem.name != "onnxruntime":
        raise
    raise MissingExtra(f"polyhead needs onnxruntime, which is not installed: {_INSTALL}.") from None
finally:
    if _before is None:
        del os.environ[_NAME]
if not hasattr(ort, "InferenceSession"):
    raise MissingExtra(
        "the installed onnxruntime is not whole: several of its distributions use one folder, and"
        f" one that was uninstalled took files of the others. Uninstall all, then {_INSTALL}."
    )

__all__ = ["check_version", "ort", "trusted"]

_NEEDED, _TRUSTED = (1, 24), (1, 25)


def check_version() -> None:
    """Refuse an onnxruntime that cannot run what is exported; pip does, but not for other builds.

    1.23 has no QuantizeLinear of opset 23.

    Raises:
        ProviderUnavailable: says what is needed.
    """
    if _version() < _NEEDED:
        raise ProviderUnavailable(
            f"onnxruntime {ort.__version__} is too old for these graphs. Install 1.25 or later,"
            " or 1.24 of a build that has no later one, such as onnxruntime-openvino."
        )


def trusted() -> bool:
    """Whether this onnxruntime is right on every CPU.

    1.24 computes wrong integers on some with AMX
    (https://github.com/microsoft/onnxruntime/pull/27671).
    """
    return _version() >= _TRUSTED


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in ort.__version__.split(".")[:2])
