"""``[data.NAME]``: where rows come from and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from polyhead.errors import nearest
from polyhead.system.schema import plain
from polyhead_models.config import ranges

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """``[data.NAME]``: one source of rows; paths are relative to the TOML file.

    Attributes:
        train: rows to learn from: a file, a list of files, or what else the format reads (a folder,
            ``file.json#key``, the id of a data set on the hub).
        validation: rows to watch while training; None trains without watching.
        test: rows for `polyhead evaluate --split test`.
        format: None goes by the files' ending.
        columns: names of the columns by position, for formats that do not name them; ``""`` and
            ``"_"`` leave a column out.
        header: whether the first line of csv or tsv names the columns. None: exactly when `columns`
            is empty. With both, `columns` goes before the header's names.
        lists: column -> separator, for cells that hold several values; a blank stands for any
            white space, ``"json"`` for a list in JSON.
        names: column -> file with one name a line; the cells are numbers of lines, from 0.
        joiner: what is between the words of a text that is a list: a blank, or nothing for
            Chinese and Japanese.
        validation_share: share of the training rows, 0 to below 1, that is the validation split of
            a source without one; chosen by a shuffle with `seed`, whatever else is set.
        test_share: the same for the test split.
        limit: split -> most rows, sampled with `seed`; empty takes all rows.
        seed: of the shuffle and the samples.
        skip_bad_rows: pass over rows that cannot be used, and say how many there were, instead of
            refusing them. A file that cannot be read at all stays an error.
    """

    train: str | tuple[str, ...]
    validation: str | tuple[str, ...] | None = None
    test: str | tuple[str, ...] | None = None
    format: (
        Literal["jsonl", "csv", "tsv", "json", "conll", "parallel", "squad", "parquet", "hub"]
        | None
    ) = None
    columns: tuple[str, ...] = ()
    header: bool | None = None
    lists: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    joiner: str = " "
    validation_share: float = 0.0
    test_share: float = 0.0
    limit: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    skip_bad_rows: bool = False

    def __post_init__(self) -> None:
        for split in SPLITS:
            if self.path(split) == ():
                raise ValueError(f"{split}: an empty list, expected at least one file.")
            if split in self.limit and self.limit[split] < 1:
                raise ValueError(f"limit.{split}: found {self.limit[split]}, expected at least 1.")
        if unknown := sorted(set(self.limit) - set(SPLITS)):
            raise ValueError(
                f"limit: unknown split {unknown[0]!r}; allowed: {', '.join(SPLITS)}."
                + nearest(unknown[0], SPLITS)
            )
        if twice := [c for c in self.columns if c not in ("", "_") and self.columns.count(c) > 1]:
            raise ValueError(f"columns: {twice[0]!r} is duplicated.")
        if self.header is False and not self.columns:
            raise ValueError("header: false leaves the columns without names; set columns = [...].")
        if "" in self.lists.values():
            raise ValueError("lists: found an empty separator, expected at least one character.")
        ranges.check(self, "at least 0", "seed")
        ranges.check(self, "0 to below 1", "validation_share", "test_share")
        for split in ("validation", "test"):
            if self.share(split) and self.path(split) is not None:
                raise ValueError(f"{split}_share: the source has a {split!r} of its own; drop one.")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share together leave no row to learn from.")

    def path(self, split: str) -> str | tuple[str, ...] | None:
        """The place of a split, or None when the source has no files of its own for it."""
        value: str | tuple[str, ...] | None = getattr(self, split)
        return value

    def share(self, split: str) -> float:
        """The share of the training rows that a split takes; 0 for the training split."""
        return {"validation": self.validation_share, "test": self.test_share}.get(split, 0.0)

    @property
    def reading(self) -> dict[str, Any]:
        """All settings but the places of files: how the rows are read, not from where."""
        settings: dict[str, Any] = plain(self)
        for split in SPLITS:
            del settings[split]
        return {**settings, "names": list(self.names)}
