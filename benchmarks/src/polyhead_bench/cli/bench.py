"""Measure a bundle against what else answers the same texts.

Each engine runs in a process of its own with the same number of threads; rounds alternate, answers
are compared first, tokenising and decoding are inside every time. Ratios of one run hold; absolute
times depend on the machine.

Examples:
  polyhead bench setup
  polyhead bench run bundle/ --checkpoint checkpoint/ -o report/
  polyhead bench run bundle/ --checkpoint checkpoint/ --scenarios single --peers polyhead-int8,torch
  polyhead bench compare before/ after/
  polyhead bench check report/
"""

from __future__ import annotations

import argparse

from polyhead_bench.cli import check, compare, publish, run, setup

_VERBS = {
    "setup": (setup, "make the environments that some peers need"),
    "run": (run, "measure peers in scenarios, and write a report with pictures"),
    "compare": (compare, "two runs: has anything become slower?"),
    "check": (check, "a run against limits: pass, missed, unmeasured"),
    "publish": (publish, "a README's tables, from published runs"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench`."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module, summary) in _VERBS.items():
        own = verbs.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(own)


def execute(arguments: argparse.Namespace) -> int:
    """Run the verb that was named."""
    code: int = _VERBS[arguments.verb][0].execute(arguments)
    return code
