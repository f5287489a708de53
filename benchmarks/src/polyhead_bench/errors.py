"""What can go wrong while measuring, under the one tree of `polyhead.errors`."""

from __future__ import annotations

from polyhead.errors import PolyheadError


class BenchError(PolyheadError):
    """Something cannot be measured.

    `PeerFault`: one peer failed; the others go on.
    `Incomparable`: two runs that say nothing of each other.
    """


class PeerFault(BenchError):
    """A peer could not be loaded, crashed, hung, ran out of memory or talked nonsense."""


class Incomparable(BenchError):
    """Two runs were asked different things, or too little."""
