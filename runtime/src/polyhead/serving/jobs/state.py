"""What a job is and how far it got: the file from which it goes on after whatever ended it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from polyhead.errors import InputError, InvalidSetting
from polyhead.serving.jobs.sources import InputFile, Piece
from polyhead.serving.jobs.storage import OutputFolder
from polyhead.system.info import __version__
from polyhead.system.schema import parse, parse_json, plain

STATE = "_polyhead.json"
"""Its name in the output folder; readers of folders pass over what begins with ``_``."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """All that decides what a job writes, but for the bundle.

    Attributes:
        read: the column of texts, or two for pairs.
        heads: names of the wanted heads; None for all.
        options: of single heads.
        keep: columns that go to the output as they are; None keeps `id`, where there is one.
        prefix: before the name of each column of answers.
        on_overflow: what happens to texts longer than the encoder reads.
        shard_rows: most rows of an output file.
    """

    read: tuple[str, ...] = ("text",)
    heads: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    keep: tuple[str, ...] | None = None
    prefix: str = ""
    on_overflow: str = "window"
    shard_rows: int = 50_000

    def __post_init__(self) -> None:
        if len(self.read) not in (1, 2):
            raise InvalidSetting(f"found {len(self.read)} columns of texts, expected one or two.")
        if self.shard_rows < 1:
            raise InvalidSetting(f"shard_rows={self.shard_rows}: expected at least 1.")


@dataclass(frozen=True)
class ShardCounts:
    """What became of a shard's rows.

    Attributes:
        rows: all, blank lines not counted: `answered` and `bad` together.
        answered: rows of the output file.
        bad: rows of the side file.
        computed: texts that the engine was asked; equal ones are asked once.
    """

    rows: int = 0
    answered: int = 0
    bad: int = 0
    computed: int = 0

    def __add__(self, other: ShardCounts) -> ShardCounts:
        return ShardCounts(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(ShardCounts))
        )


@dataclass(frozen=True)
class Shard:
    """Rows of one input file that become one output file.

    Attributes:
        input: number of the file in the state.
        piece: which rows.
        done: when it is finished.
    """

    input: int
    piece: Piece
    done: ShardCounts | None = None


@dataclass(frozen=True)
class ShardOrder:
    """A shard to answer, with the names of its output file and of that of its bad rows."""

    number: int
    file: InputFile
    piece: Piece
    names: tuple[str, str]


@dataclass
class JobState:
    """A job's folder.

    Attributes:
        version: of polyhead, that planned the job.
        bundle: digest of the bundle's manifest.
        settings: of the job.
        inputs: the files.
        shards: in the order of the output files' numbers.
    """

    version: str
    bundle: str
    settings: JobSettings
    inputs: tuple[InputFile, ...] = ()
    shards: tuple[Shard, ...] = ()

    @classmethod
    def new(cls, bundle: str, settings: JobSettings) -> JobState:
        """A job without inputs yet."""
        return cls(__version__, bundle, settings)

    @classmethod
    def read(cls, folder: OutputFolder) -> JobState:
        """What a run before left.

        Raises:
            InputError: when the file is not one of this version's.
        """
        where = f"{folder.place}/{STATE}"
        text = folder.read(STATE).decode("utf-8", "replace")
        return parse(cls, parse_json(text, where, InputError), where=where, error=InputError)

    def write(self, folder: OutputFolder) -> None:
        """Keep it."""
        with folder.writing(STATE) as file:
            file.write(json.dumps(plain(self)).encode())

    @property
    def key(self) -> str:
        """Part of the names of output files, so that those of another job are never taken."""
        told = json.dumps([self.bundle, plain(self.settings)], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:8]

    def part(self, number: int) -> str:
        """The name of a shard's output file."""
        return f"part-{number:05}-{self.key}.parquet"

    def bad(self, number: int) -> str:
        """The name of the side file of a shard's bad rows; there is none without any."""
        return f"_bad-{number:05}-{self.key}.jsonl"

    def is_result(self, name: str) -> bool:
        """Whether a file is named as one that a job, this or another, wrote for a shard."""
        return re.fullmatch(r"(part|_bad)-\d{5,}-[0-9a-f]{8}\.(parquet|jsonl)", name) is not None

    def order(self, number: int) -> ShardOrder:
        """A shard for a process to answer."""
        shard = self.shards[number]
        names = self.part(number), self.bad(number)
        return ShardOrder(number, self.inputs[shard.input], shard.piece, names)

    def refuse_other(self, bundle: str, settings: JobSettings) -> None:
        """See that a run goes on with what this one was begun with.

        Raises:
            InvalidSetting: names what differs.
        """
        if bundle != self.bundle:
            raise InvalidSetting(
                f"the rows that are done were answered by the bundle {self.bundle[:16]}…, this one"
                f" is {bundle[:16]}…. --restart removes them and begins anew; or name another"
                " folder."
            )
        for each in fields(JobSettings):
            before, now = getattr(self.settings, each.name), getattr(settings, each.name)
            if plain(before) != plain(now):
                raise InvalidSetting(
                    f"the rows that are done were answered with {each.name}={before!r}, this run"
                    f" has {now!r}. --restart removes them and begins anew; or name another folder."
                )

    def new_inputs(self, found: Iterable[InputFile]) -> list[InputFile]:
        """The files that were not planned yet.

        Raises:
            InputError: when one that was is gone or changed.
        """
        given = {file.path: file for file in found}
        for before in self.inputs:
            now = given.pop(before.path, None)
            if now != before:
                what = "is not among the inputs now" if now is None else "has changed since"
                raise InputError(
                    f"{before.path}: {what}, and rows of it are done. --restart begins anew; or"
                    " name another folder."
                )
        return list(given.values())

    def add(self, file: InputFile, pieces: Sequence[Piece]) -> None:
        """Plan a file; its shards are numbered behind those that there are."""
        number = len(self.inputs)
        self.inputs += (file,)
        self.shards += tuple(Shard(number, piece) for piece in pieces)

    def finish(self, number: int, counts: ShardCounts | None) -> None:
        """A shard is done; None: it is not, after all."""
        shards = list(self.shards)
        shards[number] = replace(shards[number], done=counts)
        self.shards = tuple(shards)
