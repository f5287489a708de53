import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from polyhead.bundle import manifest_digest
from polyhead.serving.jobs.formats import opened
from polyhead.serving.jobs.shards import ShardWriter
from polyhead.serving.jobs.sources import InputFile
from polyhead.serving.jobs.state import JobSettings, JobState, ShardCounts
from polyhead.serving.jobs.storage import OutputFolder


def _write(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Path:
    """Rows as a file, in the format of its ending; a list of rows is never empty."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist([*rows]), path, **options)
    elif path.suffix == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., Path]:
    """`write_rows(path, rows)`: a file in the format of its ending."""
    return _write


@pytest.fixture(params=["parquet", "jsonl", "csv"])
def ending(request) -> str:
    return request.param


class Folder:
    """The output folder of a job, and what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def parts(self) -> list[Path]:
        return sorted(self.path.glob("part-*.parquet"))

    def rows(self) -> list[dict[str, Any]]:
        return [row for part in self.parts() for row in parquet.read_table(part).to_pylist()]

    def bad(self) -> list[dict[str, Any]]:
        files = sorted(self.path.glob("_bad-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def numbers(self) -> list[tuple[str, int]]:
        """File and number of every row, answered or bad, sorted."""
        return sorted((row["input_file"], row["input_row"]) for row in [*self.rows(), *self.bad()])


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path / "out")


@pytest.fixture
def write_shards(engine_of_many_heads, many_heads, folder) -> Callable[..., ShardCounts]:
    """Answers a file in this process, shard by shard, as a process of a job does."""

    def write(file: Path, engine: Any = engine_of_many_heads, **asked: Any) -> ShardCounts:
        settings = JobSettings(**asked)
        state = JobState.new(manifest_digest(many_heads), settings)
        with opened(str(file), settings.read, settings.keep) as source:
            state.add(InputFile.at(str(file)), source.pieces(settings.shard_rows))
        output = OutputFolder(str(folder.path))
        writer = ShardWriter(engine, settings, state.bundle, output)
        total = ShardCounts()
        with output.locked():
            for number in range(len(state.shards)):
                order = state.order(number)
                total += writer.write(order.file, order.piece, order.names, lambda rows: None)
        return total

    return write
