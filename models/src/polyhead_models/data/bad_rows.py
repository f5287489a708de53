"""Rows that cannot be used: collected and refused together, or passed over and counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from polyhead.system.schema import whole_number
from polyhead_models.config import DataConfig
from polyhead_models.errors import DataError

MOST = 20
"""Bad rows that an error lists where nothing else is said."""

logger = logging.getLogger(__name__)


class BadRows:
    """What is wrong with rows, of any number of sources and splits."""

    def __init__(self, most: int = MOST) -> None:
        """Collect up to `most` rows; then reading ends.

        Raises:
            InvalidSetting: when that is not at least 1.
        """
        self._most = whole_number("max_errors", most)
        self._refused: dict[str, None] = {}  # a row may be read twice, for two splits
        self._passed: dict[str, None] = {}

    def add(self, data: DataConfig, problem: DataError) -> None:
        """Take a row of a source.

        Raises:
            DataError: when there are as many as an error lists.
        """
        if data.skip_bad_rows:
            self._passed[str(problem)] = None
            return
        self._refused[str(problem)] = None
        if len(self._refused) >= self._most:
            self.check()

    def check(self) -> None:
        """Refuse the rows, and say how many were passed over.

        Raises:
            DataError: when there are rows of sources without `skip_bad_rows`.
        """
        if self._passed:
            logger.warning(
                "passed over %s bad rows; the first: %s",
                *(f"{len(self._passed):,}", next(iter(self._passed))),
            )
            self._passed = {}
        found = list(self._refused)
        if not found:
            return
        if len(found) == 1:
            raise DataError(f"{found[0]}\n{_WAYS_OUT}")
        more = " or more (--max-errors lists others)" if len(found) >= self._most else ""
        raise DataError(
            f"{len(found)}{more} rows cannot be used:\n" + "\n".join(found) + f"\n{_WAYS_OUT}"
        )

    @contextmanager
    def first(self) -> Iterator[None]:
        """In the block, refused rows go before an error that they may be the reason of."""
        try:
            yield
        except DataError:
            self.check()
            raise


_WAYS_OUT = (
    "Correct the file, or set skip_bad_rows = true under [data.NAME] to pass over such rows."
)
