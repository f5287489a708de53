"""Answer every row of files once: into Parquet, in many processes, and resumable.

Reads .parquet, .jsonl (or .ndjson) and .csv: files, or folders of them, here or at any URL that
fsspec reads. Rows become output files of at most --shard-rows rows with the columns input_file and
input_row, the kept ones, and those of the answers, whose types depend on the heads alone. A row
that has no answer goes to a side file, _bad-….jsonl, with the reason; so each row is in one of the
two. _polyhead.json says how far the job is: the same command again, after whatever ended it, does
what is left, and new files among the inputs. With another bundle or other settings it refuses.

Example:
  polyhead map bundle/ mails.parquet -o answers/
  polyhead map bundle/ logs/ more.csv -o answers/ --text message --keep id,day --heads topic
  polyhead map bundle/ faq.jsonl -o answers/ --pair question,context --option answer.n=1
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from polyhead.cli import output
from polyhead.cli.run import head_options
from polyhead.system.shorten import counted

if TYPE_CHECKING:
    from polyhead.serving.jobs.job import JobSummary


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead map`."""
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("inputs", nargs="+", metavar="IN")
    parser.add_argument("-o", "--output", required=True, metavar="OUT/", help="folder or URL")
    columns = parser.add_mutually_exclusive_group()
    columns.add_argument("--text", default="text", metavar="COLUMN", help="of the texts (text)")
    columns.add_argument(
        "--pair", type=_names, metavar="COLUMN,COLUMN", help="of pairs: a question and its text"
    )
    parser.add_argument("--heads", type=_names, metavar="HEAD,HEAD", help="only these heads")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="HEAD.NAME=VALUE",
        help="a setting of one head, such as embedding.dimensions=128; may be given again",
    )
    parser.add_argument(
        "--keep",
        type=_names,
        metavar="COLUMN,COLUMN",
        help="columns that go to the output as they are, or 'all' (id, where there is one)",
    )
    parser.add_argument("--prefix", default="", help="before the names of the answers' columns")
    parser.add_argument(
        "--shard-rows", type=int, default=50_000, metavar="N", help="of an output file (50000)"
    )
    parser.add_argument(
        "--processes", type=int, metavar="N", help="each with one thread (as many as cores)"
    )
    parser.add_argument(
        "--on-overflow",
        choices=["window", "truncate", "error"],
        default="window",
        help="what happens to a text longer than the encoder reads (window)",
    )
    parser.add_argument(
        "--restart", action="store_true", help="remove what is done, and begin anew"
    )
    parser.add_argument("--json", action="store_true", help="what was done, as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead map`."""
    from polyhead.serving.jobs.job import run
    from polyhead.serving.jobs.state import JobSettings

    if arguments.pair is not None and len(arguments.pair) != 2:
        arguments.usage_error("--pair: expected two columns")
    settings = JobSettings(
        read=arguments.pair or (arguments.text,),
        heads=arguments.heads,
        options=head_options(arguments.option),
        keep=arguments.keep,
        prefix=arguments.prefix,
        on_overflow=arguments.on_overflow,
        shard_rows=arguments.shard_rows,
    )
    with output.ProgressLine(None, word="row") as progress:
        summary = run(
            arguments.bundle,
            arguments.inputs,
            arguments.output,
            settings,
            processes=arguments.processes,
            restart=arguments.restart,
            tell=lambda rows, of: progress.update(rows, rows, of),
        )
    if arguments.json:
        output.write_json(summary.to_dict())
    else:
        output.write(_told(summary))
    for path, problem in summary.failed.items():
        output.complain(f"polyhead map: {path}: {problem}")
    return 1 if summary.failed else 0


def _names(argument: str) -> tuple[str, ...]:
    return tuple(argument.split(","))


def _told(summary: JobSummary) -> str:
    total = summary.total
    return (
        f"{summary.output}: {counted(total.answered, 'row')} answered,"
        f" {counted(total.bad, 'bad row')}, {counted(summary.shards, 'shard')}"
        f" ({summary.skipped} from before), {counted(total.computed, 'text')} computed"
    )
