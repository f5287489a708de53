"""File formats: one file a family. Adding one is a file and a line here."""

from __future__ import annotations

from polyhead_models.data.formats import (
    conll,
    hub,
    json_files,
    parallel,
    parquet,
    squad,
    tables,
)
from polyhead_models.data.formats.base import FileLayout, Format, Row, each

__all__ = ["FORMATS", "FileLayout", "Format", "Row"]

FORMATS: dict[str, Format] = {
    "jsonl": Format(read=each(json_files.read_lines), endings=("jsonl",)),
    "csv": Format(read=each(tables.read_csv), endings=("csv",), columns="allowed", header=True),
    "tsv": Format(read=each(tables.read_tsv), endings=("tsv",), columns="allowed", header=True),
    "json": Format(
        read=each(json_files.read_list),
        files=json_files.files,
        endings=("json",),
        columns="allowed",
    ),
    "conll": Format(read=each(conll.read), endings=("conll", "conllu", "iob2"), columns="needed"),
    "parallel": Format(read=parallel.read, files=parallel.files, columns="needed"),
    "squad": Format(read=each(squad.read)),
    "parquet": Format(read=each(parquet.read), endings=("parquet",)),
    "hub": Format(read=each(hub.read), files=lambda places, layout: []),
}
