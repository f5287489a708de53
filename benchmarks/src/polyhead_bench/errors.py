"""What can go wrong while measuring, under the one tree of `polyhead.errors`."""

from __future__ import annotations

from polyhead.errors import PolyheadError


class BenchError(PolyheadError):
    """An engine cannot be measured."""
