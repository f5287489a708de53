"""What can go wrong while measuring, under the one tree of `polyhead.errors`."""

from __future__ import annotations

from polyhead.errors import PolyheadError


class BenchError(PolyheadError):
    """Something cannot be measured.

    `PeerFault`: one peer failed; the others go on.
    """


class PeerFault(BenchError):
    """A peer could not be loaded, crashed, hung, ran out of memory or talked nonsense."""
