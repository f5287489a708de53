"""Execution providers of onnxruntime.

Nothing falls back in silence: a provider that was asked for and is not there is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from polyhead.bundle.selection import CPU, CUDA
from polyhead.errors import InvalidSetting, ProviderUnavailable
from polyhead.system.info import onnxruntime_distributions
from polyhead.system.onnx_runtime import check_version, ort

Provider = Literal["cpu", "cuda", "auto"]
NAMES = {"cpu": CPU, "cuda": CUDA}
_NEXT = "Check driver and libraries, or load with provider='cpu'."


def order(provider: Provider) -> tuple[str, ...]:
    """Onnxruntime's names of the providers to try, in this order; one if the caller named it.

    Raises:
        InvalidSetting: for an unknown name.
    """
    if not isinstance(provider, str) or provider not in (*NAMES, "auto"):
        raise InvalidSetting(f"provider={provider!r}: allowed: {', '.join(NAMES)}, auto.")
    if provider == "auto":
        return (CUDA, CPU) if CUDA in ort.get_available_providers() else (CPU,)
    return (NAMES[provider],)


def require(provider: str) -> None:
    """Refuse a provider that this onnxruntime was built without, and one that is too old.

    Raises:
        ProviderUnavailable: names the providers that it has, or the version that is needed.
    """
    check_version()
    available = ort.get_available_providers()
    if provider not in available:
        brought = onnxruntime_distributions() or ()
        if len(brought) > 1:
            next_step = (
                f" {' and '.join(brought)} use one folder, and the last one to be installed runs:"
                " uninstall all, then install the one with it,"
            )
        else:
            next_step = " Install onnxruntime-gpu in place of onnxruntime," * (provider == CUDA)
        raise ProviderUnavailable(
            f"onnxruntime {ort.__version__} has no {provider}; it has {', '.join(available)}."
            f"{next_step} or load with provider='cpu'."
        )


def failed(provider: str, problem: Exception) -> ProviderUnavailable:
    """The error for a provider that onnxruntime has and that did not start.

    Args:
        provider: onnxruntime's name of it.
        problem: what onnxruntime raised; its first line is shown, a stack trace may follow it.
    """
    said = str(problem).strip().partition("\n")[0]
    return ProviderUnavailable(
        f"onnxruntime {ort.__version__} has {provider} but could not start it: {said}. {_NEXT}"
    )


def require_used(provider: str, used: Sequence[str]) -> None:
    """Refuse a session that does not run on the provider that was asked for.

    Raises:
        ProviderUnavailable: when another one is first.
    """
    if not used or used[0] != provider:
        raise ProviderUnavailable(
            f"onnxruntime {ort.__version__} has {provider} but could not start it, and took"
            f" {', '.join(used) or 'none'}. {_NEXT}"
        )
