"""Groups of equal length, batches that need no padding; and of similar length, for masks."""

from __future__ import annotations

from collections.abc import Sequence


def groups(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Split texts into groups of exactly equal length, the longest first.

    Args:
        lengths: tokens of each text.
        batch_tokens: most tokens in a group; a longer text is a group by itself.

    Returns:
        Indices into `lengths`: every text in one group, in the order of the call inside a group.
    """
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    result = []
    for length in sorted(by_length, reverse=True):
        rows = max(1, batch_tokens // max(1, length))
        same = by_length[length]
        result += [same[i : i + rows] for i in range(0, len(same), rows)]
    return result


def padded_groups(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Split texts into groups of similar length, the longest first, for graphs with a mask.

    Args:
        lengths: tokens of each text.
        batch_tokens: most tokens in a group, those of the padding included; a longer text is a
            group by itself.

    Returns:
        Indices into `lengths`: every text in one group, the longest of a group first.
    """
    result: list[list[int]] = []
    rows = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not result or len(result[-1]) >= rows:
            result.append([])
            rows = max(1, batch_tokens // max(1, lengths[index]))
        result[-1].append(index)
    return result
