"""The error tree of polyhead.

::

    PolyheadError
    ├── BundleError               a bundle on disk that cannot be read or trusted
    │   ├── BundleNotFound        no bundle at this path
    │   ├── ManifestError         manifest.json or golden.json says something it may not
    │   ├── FormatVersionError    written by a newer polyhead
    │   ├── BundleFileMissing     a file that the manifest names is not there, or cannot be read
    │   ├── DigestMismatch        a file, or the manifest, is not the one that was exported
    │   ├── GraphError            an ONNX graph that this runtime refuses or cannot load
    │   ├── GoldenMismatch        answers that differ from the trained model's
    │   └── BundleUnsafe          crashes, or wants more time or memory than `--isolated` gave it
    ├── InputError (ValueError)   what the caller passed in cannot be answered
    │   ├── InvalidText           not a string, not encodable as UTF-8, or without a token
    │   ├── TextTooLong           more tokens or characters than may be read
    │   ├── WrongInput            a single text for a head that reads pairs, or the reverse
    │   ├── UnknownHead (KeyError)  no head of this name
    │   ├── HeadClash             two sub-models have a head of the same name
    │   └── InvalidSetting        a number, option or argument out of its range or of another type
    ├── UnknownKind (KeyError)    a kind of heads that neither polyhead nor a plugin brings
    ├── SourceError               a model of another library cannot be imported
    ├── PluginError               an installed plugin cannot be used
    ├── ProviderUnavailable       the asked provider is not there, or the bundle has no graph for it
    ├── EngineClosed              the engine was closed before this call
    ├── EngineWithoutBundle (TypeError)  nothing to pickle or reload: not made by `polyhead.load`
    ├── BatcherClosed             the batcher is not open, or ended before this request's turn
    ├── QueueFull                 no room or time for this request, or no thread for its batch
    ├── DeadlineExceeded (TimeoutError)  no answer within `deadline_ms`
    └── MissingExtra (ImportError)  an optional library is not installed

Other distributions of polyhead hang their own branches under `PolyheadError`. Every message says
what was found, what is allowed, and what to do next.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_MOST_CHARACTERS = 2_000


class PolyheadError(Exception):
    """Base of every error that polyhead raises on purpose."""


class BundleError(PolyheadError):
    """A bundle on disk that cannot be read or trusted.

    What a bundle says of itself is in the message: so it is cut where it is long, and of its
    characters only those are kept that do nothing to a terminal or a log.
    """

    def __init__(self, message: str) -> None:
        cut = message if len(message) <= _MOST_CHARACTERS else message[:_MOST_CHARACTERS] + "…"
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut))


class BundleNotFound(BundleError):
    """There is no bundle at the given path."""


class ManifestError(BundleError):
    """A JSON file of the bundle has an unknown, missing or ill-typed field."""


class FormatVersionError(BundleError):
    """The bundle was written in a newer format than this version reads."""


class BundleFileMissing(BundleError):
    """A file that the manifest names is missing, cannot be read, or is not a plain file."""


class DigestMismatch(BundleError):
    """A file of the bundle, or the manifest, differs in size or SHA-256 from what was exported."""


class GraphError(BundleError):
    """An ONNX graph that the runtime refuses (external data, foreign ops) or cannot load."""


class GoldenMismatch(BundleError):
    """The bundle does not give the answers that the trained model gave."""


class BundleUnsafe(BundleError):
    """The process that verified the bundle crashed, or wanted more time or memory than it got."""


class InputError(PolyheadError, ValueError):
    """What the caller passed in cannot be answered.

    Attributes:
        index: place of the text in the caller's list; None when no single text is to blame.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class InvalidText(InputError):
    """An input is not a string, is no Unicode text for a lone surrogate, or has no token."""


class TextTooLong(InputError):
    """A text has more tokens or characters than may be read; nothing is cut in silence."""


class WrongInput(InputError):
    """A single text for a head that reads pairs, or a pair for a head that reads texts."""


class UnknownHead(InputError, KeyError):
    """A head was named that the engine, or a prediction, does not have."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class HeadClash(InputError):
    """Two sub-models of one engine have a head of the same name."""


class InvalidSetting(InputError):
    """A setting of the engine, or an argument, is out of its range or of another type."""


class UnknownKind(PolyheadError, KeyError):
    """A kind of heads was named that neither polyhead nor an installed plugin brings."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class SourceError(PolyheadError):
    """A model to import cannot be read, or uses something that polyhead does not support."""


class PluginError(PolyheadError):
    """An installed plugin cannot be used; the message names its distribution."""


class EngineClosed(PolyheadError):
    """The engine was closed before this call."""


class ProviderUnavailable(PolyheadError):
    """onnxruntime cannot use the asked provider here, or the bundle has no graph for it."""


class EngineWithoutBundle(PolyheadError, TypeError):
    """An engine that no bundle is behind can be neither pickled nor reloaded."""


class BatcherClosed(PolyheadError):
    """The batcher is not open, belongs to another event loop, or ended before its turn came."""


class QueueFull(PolyheadError):
    """A batcher cannot take this request, for want of room, time or threads; nothing was computed.

    Attributes:
        expected_wait_s: seconds until this request would have had its turn, for ``Retry-After``; 0
            where nothing was measured yet.
    """

    def __init__(self, message: str, *, expected_wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.expected_wait_s = expected_wait_s


class DeadlineExceeded(PolyheadError, TimeoutError):
    """A batcher had no answer in the time that it was given."""


class MissingExtra(PolyheadError, ImportError):
    """An optional library is not installed; the message says how to install it."""


def of_input(problem: PolyheadError, index: int) -> PolyheadError:
    """A new error with the same message, which names a text of the caller's list."""
    own = type(problem)(f"input {index}: {re.sub('^input [0-9]+: ', '', str(problem))}")
    own.__cause__ = problem.__cause__
    if isinstance(own, InputError):
        own.index = index
    return own


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for messages: ``" Did you mean 'epochs'?"``, or an empty string when nothing is near.

    Args:
        word: what was found.
        known: what is allowed; may be empty.
    """
    close = difflib.get_close_matches(word[:_MOST_CHARACTERS], list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
