"""How a bundle is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from polyhead.errors import InvalidSetting
from polyhead.inference import threads as thread_budget
from polyhead.inference.providers import Provider
from polyhead.request import OnOverflow
from polyhead.system.onnx_runtime import ort

Verify = Literal["digest", "golden", "none"]
_VERIFY = ("digest", "golden", "none")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `load` was asked for; see there."""

    heads: tuple[str, ...] | None = None
    threads: int | None = None
    batch_tokens: int = 256
    on_overflow: OnOverflow = "window"
    max_characters: int | None = 2_000_000
    verify: Verify = "digest"
    provider: Provider = "cpu"
    provider_options: Mapping[str, Any] | None = None
    intra_op_threads: int | None = None
    spin: bool = False
    session_options: ort.SessionOptions | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.verify, str) or self.verify not in _VERIFY:
            raise InvalidSetting(f"verify={self.verify!r}: allowed: {', '.join(_VERIFY)}.")
        if self.intra_op_threads is not None:
            thread_budget.whole("intra_op_threads", self.intra_op_threads)
        if type(self.spin) is not bool:
            raise InvalidSetting(f"spin={self.spin!r}: expected True or False.")
        for name, kind, expected in (
            ("session_options", ort.SessionOptions, "onnxruntime.SessionOptions"),
            ("provider_options", Mapping, "a mapping of names to values"),
        ):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise InvalidSetting(
                    f"{name}: found {type(value).__name__}, expected None or {expected}."
                )
        for name in self.provider_options or {}:
            if not isinstance(name, str):
                raise InvalidSetting(f"provider_options: found the name {name!r}, expected a text.")

    @property
    def intra_op(self) -> int:
        """Threads of onnxruntime for one call."""
        if self.session_options is not None:
            return max(1, int(self.session_options.intra_op_num_threads))
        return self.intra_op_threads or thread_budget.INTRA_OP

    @property
    def wide(self) -> int:
        """Threads for a lone text; 1 where the caller has set the threads of a call."""
        if self.session_options is not None or self.intra_op_threads is not None:
            return 1
        return thread_budget.wide(thread_budget.budget(self.threads))
