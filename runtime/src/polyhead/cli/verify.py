"""Check a bundle: manifest, digests, and the trained model's golden answers.

With --stability also whether a text's logits are the same to the bit on this machine: alone, in
batches of 8 and 64 among other texts, and with 1, 2 and 4 threads.

With --isolated for the bundle of a stranger: in a process of its own with limits for memory and
time, so that a crash or a hang is an answer, too (Linux).

Exit code 0 when all holds, 1 when not.

Example:
  polyhead verify bundle/ --stability
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyhead.bundle import Certificate
from polyhead.cli import output
from polyhead.cli.output import listed
from polyhead.errors import BundleUnsafe


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead verify`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--stability", action="store_true", help="measure batches and threads here (seconds)"
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    parser.add_argument("--isolated", action="store_true", help="in a process with limits")
    parser.add_argument(
        "--memory",
        type=float,
        default=4,
        metavar="GIB",
        help="limit of --isolated (default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=120, help="limit of --isolated (default %(default)s)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead verify`."""
    if not arguments.isolated:
        return _verify(arguments)
    from polyhead.verify.isolation import run_isolated

    try:
        return run_isolated(
            lambda: output.reported("polyhead verify", lambda: _verify(arguments)),
            memory_gib=arguments.memory,
            seconds=arguments.seconds,
        )
    except BundleUnsafe as problem:
        raise BundleUnsafe(f"{arguments.bundle}: {problem}") from problem


def _verify(arguments: argparse.Namespace) -> int:
    from polyhead.verify.golden import verify

    found = verify(arguments.bundle, stability=arguments.stability)
    if arguments.json:
        output.write_json({"passed": found.passed, **_finite(asdict(found))})
        return 0 if found.passed else 1
    output.write(f"ok    manifest of {arguments.bundle}")
    output.write(f"ok    SHA-256 and size of {found.files} files")
    output.write(f"{_word(found.token_ids_equal)}  token ids of the golden texts")
    for check in found.heads:
        output.write(
            f"{_word(check.passed)}  {check.head}: {check.same_decisions} of {check.texts}"
            f" decisions as trained, largest logit error {check.max_error:.2g}"
            f" (allowed {check.tolerance:.2g}), recorded results"
            f" {'reproduced' if check.reproduced else 'NOT reproduced'}"
        )
    if found.stability is not None:
        output.write(_stability(found.stability))
    if not found.passed:
        output.write(
            "This bundle does not give the trained model's answers here."
            " Export it again, or upgrade polyhead and onnxruntime to the versions of its manifest."
        )
    return 0 if found.passed else 1


def _stability(found: Certificate) -> str:
    return (
        f"{_word(found.passed)}  logits of {found.texts} texts in batches of"
        f" {listed(found.batch_sizes)} and with {listed(found.threads)} threads"
        f" ({found.cpu}, onnxruntime {found.onnxruntime}):"
        f" {'the same to the bit' if found.passed else f'differ by {found.max_difference:.2g}'}"
    )


def _finite(value: Any) -> Any:
    """Plain data with None for numbers that JSON cannot write."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _word(passed: bool) -> str:
    return "ok  " if passed else "FAIL"
