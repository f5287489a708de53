"""Measure a bundle and its peers in all scenarios, and write a report.

Writes results.json (all samples), report.md, report.html (with its pictures inside) and the
pictures. Peers that need the PyTorch model or another export need --checkpoint. A peer that cannot
be loaded, crashes, hangs or gives other answers is told in the report; the others go on.

Examples:
  polyhead bench run bundle/ --checkpoint checkpoint/ -o report/
  polyhead bench run bundle/ --checkpoint checkpoint/ --peers polyhead-int8,torch --heads topic
  polyhead bench run bundle/ --checkpoint checkpoint/ --peers polyhead-int8,optimum-int8
  polyhead bench run bundle/ --checkpoint checkpoint/ --smoke
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from polyhead.bundle import read
from polyhead.cli import output
from polyhead.inference import threads
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench import peers, scenarios
from polyhead_bench import texts as asked
from polyhead_bench.preparation import Models
from polyhead_bench.results import Results
from polyhead_bench.run import Settings, run, words_of
from polyhead_bench.tables import agreement, tables, troubles
from polyhead_bench.texts import Texts

_GOLDEN, _SYNTHETIC = "golden", "synthetic"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench run`."""
    here = [n for n, spec in peers.PEERS.items() if not (spec.environment or spec.kind)]
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--checkpoint", type=Path, metavar="CHECKPOINT", help="behind the bundle")
    parser.add_argument(
        "--peers",
        type=_names,
        default=tuple(here),
        metavar="NAME[,NAME…]",
        help=f"ratios are of the first; {', '.join(peers.PEERS)} (those that need no environment"
        " of their own and take heads of several kinds)",
    )
    parser.add_argument(
        "--scenarios",
        type=_names,
        default=tuple(scenarios.SCENARIOS),
        metavar="NAME[,NAME…]",
        help=f"{', '.join(scenarios.SCENARIOS)} (all)",
    )
    parser.add_argument(
        "--heads", type=_names, default=(), metavar="NAME[,NAME…]", help="to answer with (all)"
    )
    parser.add_argument(
        "--texts",
        default=_SYNTHETIC,
        metavar="FILE.jsonl",
        help="or golden, the bundle's own; or synthetic, a seeded mix of lengths (synthetic)",
    )
    parser.add_argument("--field", default="text", help="key of the text in a line (text)")
    parser.add_argument("--limit", type=int, default=300, metavar="N", help="at most N texts (300)")
    parser.add_argument(
        "--mean", type=float, default=28.0, metavar="TOKENS", help="of the seeded mix (28)"
    )
    parser.add_argument(
        "--sigma", type=float, default=0.6, help="of the logarithm of its lengths (0.6)"
    )
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="synthetic texts all of N tokens, no mix"
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="of each peer (9)")
    parser.add_argument("--threads", type=int, metavar="N", help="each peer's (all of them)")
    parser.add_argument(
        "--p99-ms", type=float, default=50.0, metavar="MS", help="bound of the open loop (50)"
    )
    parser.add_argument(
        "--limit-s", type=float, default=300.0, metavar="S", help="for a peer's answer (300)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the mix of lengths (0)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("build/bench"),
        metavar="DIR",
        help="for models in other forms (build/bench)",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path("build/peers"),
        metavar="DIR",
        help="that 'polyhead bench setup' made (build/peers)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("build/report"),
        metavar="DIR",
        help="(build/report)",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="few texts, one round: does every peer answer right?"
    )
    parser.add_argument("--json", action="store_true", help="the report's tables as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench run`."""
    if min(arguments.limit, arguments.rounds) < 1:
        arguments.usage_error("--limit and --rounds: expected at least 1")
    if arguments.tokens is not None and arguments.texts != _SYNTHETIC:
        arguments.usage_error("--tokens: is of synthetic texts; leave --texts away")
    if arguments.sigma < 0:
        arguments.usage_error("--sigma: expected 0 or more")
    if arguments.smoke:
        arguments.limit, arguments.rounds = min(arguments.limit, 16), 1
    models = Models(
        bundle=arguments.bundle,
        checkpoint=arguments.checkpoint,
        cache=arguments.cache,
        environments=arguments.environments,
        note=output.progress,
    )
    settings = Settings(
        peers=arguments.peers,
        scenarios=("single", "offline") if arguments.smoke else arguments.scenarios,
        heads=arguments.heads,
        threads=threads.budget(arguments.threads),
        rounds=arguments.rounds,
        bound_ms=arguments.p99_ms,
        limit_s=arguments.limit_s,
        command=f"polyhead {shlex.join(sys.argv[1:])}",
    )
    results = run(models, _texts(arguments), arguments.output, settings, note=output.progress)
    shown = tables(results)
    if arguments.json:
        output.write_json(
            {
                table.title: [dict(zip(table.header, row, strict=True)) for row in table.rows]
                for table in shown
            }
        )
    else:
        for table in shown:
            output.write(f"{table.title}\n")
            output.write(output.table(list(table.header), [list(row) for row in table.rows]))
            output.write("")
    output.progress(f"report: {arguments.output / 'report.html'}")
    return 1 if arguments.smoke and not _right(results) else 0


def _right(results: Results) -> bool:
    """Whether no peer failed and each answers nearly all like the PyTorch model."""
    return all(
        not troubles(results, name) and agreement(results, name) is not None
        for name in results.peers
    )


def _texts(arguments: argparse.Namespace) -> Texts:
    bundle = read(arguments.bundle)
    tokenizer = Tokenizer.from_file(bundle.file(bundle.manifest.tokenizer))
    if arguments.texts == _GOLDEN:
        return asked.golden(bundle, tokenizer, pairs=False, limit=arguments.limit)
    if arguments.texts != _SYNTHETIC:
        return asked.of_file(
            arguments.texts,
            arguments.field,
            tokenizer,
            limit=arguments.limit,
            heads=bundle.manifest.heads,
        )
    words = words_of(asked.golden(bundle, tokenizer))
    longest = bundle.manifest.encoder.max_tokens
    if arguments.tokens is not None:
        if not 3 <= arguments.tokens <= longest:
            arguments.usage_error(f"--tokens: expected 3 to {longest}, which the model reads")
        return asked.fixed(words, tokenizer, tokens=arguments.tokens, count=arguments.limit)
    return asked.mixed(
        words,
        tokenizer,
        count=arguments.limit,
        mean=arguments.mean,
        sigma=arguments.sigma,
        longest=longest,
        seed=arguments.seed,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
