"""polyhead: one encoder pass, many answers, on a CPU.

engine = polyhead.load("bundle/")
prediction = engine("Great phone, but the battery died in May.")
prediction["sentiment"].label
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from polyhead.engine import Engine
from polyhead.errors import (
    BatcherClosed,
    BundleError,
    BundleFileMissing,
    BundleNotFound,
    BundleUnsafe,
    DeadlineExceeded,
    DigestMismatch,
    EngineClosed,
    EngineWithoutBundle,
    FormatVersionError,
    GoldenMismatch,
    GraphError,
    HeadClash,
    InputError,
    InvalidSetting,
    InvalidText,
    ManifestError,
    MissingExtra,
    PluginError,
    PolyheadError,
    ProviderUnavailable,
    QueueFull,
    SourceError,
    TextTooLong,
    UnknownHead,
    UnknownKind,
    WrongInput,
)
from polyhead.heads import (
    Answer,
    AnswerSpan,
    Classification,
    Compressed,
    Copied,
    Embedding,
    Entities,
    Generated,
    HeadSpec,
    Kept,
    MultiLabel,
    Regression,
    Sentence,
    Span,
    Summary,
)
from polyhead.loading import load
from polyhead.prediction import Prediction, to_pandas
from polyhead.system.info import __version__

if TYPE_CHECKING:
    from polyhead.serving.batcher import Batcher
    from polyhead.serving.stats import BatcherStats

__all__ = [
    "Answer",
    "AnswerSpan",
    "Batcher",
    "BatcherClosed",
    "BatcherStats",
    "BundleError",
    "BundleFileMissing",
    "BundleNotFound",
    "BundleUnsafe",
    "Classification",
    "Compressed",
    "Copied",
    "DeadlineExceeded",
    "DigestMismatch",
    "Embedding",
    "Engine",
    "EngineClosed",
    "EngineWithoutBundle",
    "Entities",
    "FormatVersionError",
    "Generated",
    "GoldenMismatch",
    "GraphError",
    "HeadClash",
    "HeadSpec",
    "InputError",
    "InvalidSetting",
    "InvalidText",
    "Kept",
    "ManifestError",
    "MissingExtra",
    "MultiLabel",
    "PluginError",
    "PolyheadError",
    "Prediction",
    "ProviderUnavailable",
    "QueueFull",
    "Regression",
    "Sentence",
    "SourceError",
    "Span",
    "Summary",
    "TextTooLong",
    "UnknownHead",
    "UnknownKind",
    "WrongInput",
    "__version__",
    "load",
    "to_pandas",
]

# These need asyncio, which takes longer to import than all of polyhead.
_LATER = {"Batcher": "polyhead.serving.batcher", "BatcherStats": "polyhead.serving.stats"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return __all__
