"""Check a bundle: manifest, digests, and the trained model's golden answers.

Exit code 0 when all holds, 1 when not.

Example:
  polyhead verify bundle/
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path

from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead verify`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", action="store_true", help="the findings as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead verify`."""
    from polyhead.verification import verify

    found = verify(arguments.bundle)
    if arguments.json:
        data = {"passed": found.passed, **asdict(found)}
        for head in data["heads"]:
            head["max_error"] = head["max_error"] if math.isfinite(head["max_error"]) else None
        output.write_json(data)
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
    if not found.passed:
        output.write(
            "This bundle does not give the trained model's answers here."
            " Export it again, or upgrade polyhead and onnxruntime to the versions of its manifest."
        )
    return 0 if found.passed else 1


def _word(passed: bool) -> str:
    return "ok  " if passed else "FAIL"
