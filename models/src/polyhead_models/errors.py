"""What can go wrong while training, under the one tree of `polyhead.errors`.

::

    PolyheadError
    ├── ConfigError       the TOML says something it may not
    ├── DataError         a row or file of the data cannot be used; names file and line
    ├── EncoderError      the encoder cannot be found or loaded
    ├── CheckpointError   a checkpoint cannot be read, written or resumed
    ├── CombineError      heads or checkpoints that cannot stand over one encoder
    ├── ShrinkError       an encoder cannot be made smaller in this way
    └── PeerError         another process of the same training run failed
"""

from __future__ import annotations

from polyhead.errors import PolyheadError


class ConfigError(PolyheadError):
    """The configuration has an unknown key, a missing key or a value out of its range."""


class DataError(PolyheadError):
    """A file or a row of the data cannot be used; the message names file and line."""


class EncoderError(PolyheadError):
    """The encoder cannot be found or loaded."""


class CheckpointError(PolyheadError):
    """A checkpoint cannot be read, written or resumed."""


class CombineError(PolyheadError):
    """Heads or checkpoints cannot stand over one encoder; says what differs."""


class ShrinkError(PolyheadError):
    """An encoder cannot be made smaller in this way; says what it has and what can be done."""


class PeerError(PolyheadError):
    """Another process of the same training run failed; the message says which, and its message."""
