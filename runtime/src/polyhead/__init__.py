"""polyhead: one encoder pass, many answers, on a CPU.

engine = polyhead.load("bundle/")
prediction = engine("Great phone, but the battery died in May.")
prediction["sentiment"].label
"""

from __future__ import annotations

from polyhead.engine import Engine, load
from polyhead.errors import (
    BundleError,
    BundleFileMissing,
    BundleNotFound,
    DigestMismatch,
    EngineClosed,
    FormatVersionError,
    GraphError,
    InputError,
    InvalidSetting,
    InvalidText,
    ManifestError,
    PluginError,
    PolyheadError,
    TextTooLong,
    UnknownHead,
    UnknownKind,
    WrongInput,
)
from polyhead.heads import (
    Answer,
    AnswerSpan,
    Classification,
    Embedding,
    Entities,
    HeadSpec,
    MultiLabel,
    Regression,
    Sentence,
    Span,
    Summary,
)
from polyhead.prediction import Prediction

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AnswerSpan",
    "BundleError",
    "BundleFileMissing",
    "BundleNotFound",
    "Classification",
    "DigestMismatch",
    "Embedding",
    "Engine",
    "EngineClosed",
    "Entities",
    "FormatVersionError",
    "GraphError",
    "HeadSpec",
    "InputError",
    "InvalidSetting",
    "InvalidText",
    "ManifestError",
    "MultiLabel",
    "PluginError",
    "PolyheadError",
    "Prediction",
    "Regression",
    "Sentence",
    "Span",
    "Summary",
    "TextTooLong",
    "UnknownHead",
    "UnknownKind",
    "WrongInput",
    "__version__",
    "load",
]
