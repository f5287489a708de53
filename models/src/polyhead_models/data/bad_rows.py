"""Rows that cannot be used: collected and refused together, or passed over and counted."""

from __future__ import annotations

import logging
from types import TracebackType

from polyhead.system.schema import whole_number
from polyhead.system.shorten import counted
from polyhead_models.errors import DataError

MOST = 20
"""Bad rows that an error lists where nothing else is said."""

_WAYS_OUT = (
    "Correct the file, or set skip_bad_rows = true under [data.NAME] to pass over such rows."
)

logger = logging.getLogger(__name__)


class BadRows:
    """What is wrong with rows of any number of sources and splits, told when the block ends.

    In the block, refused rows go before an error that they may be the reason of.
    """

    def __init__(self, most: int = MOST) -> None:
        """Collect up to `most` rows; then reading ends.

        Raises:
            InvalidSetting: when that is not at least 1.
        """
        self._most = whole_number("max_errors", most)
        self._refused: dict[str, None] = {}  # a row may be read twice, for two splits
        self._passed: dict[str, None] = {}

    def __enter__(self) -> BadRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Refuse the rows of sources without `skip_bad_rows`; say how many were passed over."""
        if kind is not None and not issubclass(kind, DataError):
            return
        if self._passed:
            count = counted(len(self._passed), "bad row")
            logger.warning("passed over %s; the first: %s", count, next(iter(self._passed)))
        self._refuse()

    def add(self, problem: DataError, *, skip: bool) -> None:
        """Take what is wrong with a row: to pass over it, or to refuse it.

        Raises:
            DataError: when there are as many as an error lists.
        """
        (self._passed if skip else self._refused)[str(problem)] = None
        if len(self._refused) >= self._most:
            self._refuse()

    def _refuse(self) -> None:
        if len(found := list(self._refused)) > 1:
            more = " or more ('polyhead data --max-errors' sets how many are listed)"
            count = f"{len(found)}{more if len(found) >= self._most else ''}"
            found = [f"{count} rows cannot be used:", *found]
        if found:
            raise DataError("\n".join([*found, _WAYS_OUT]))
