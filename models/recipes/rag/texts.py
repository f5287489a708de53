"""Write what a bundle for retrieve and read will read, for `polyhead export --texts`.

A JSON line each: a question, a passage, and both as a pair; of a file in SQuAD's format.

    python models/recipes/rag/texts.py questions.json > texts.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from retrieve_and_read import questions_of


def lines(path: Path, *, count: int, seed: int = 0) -> Iterator[str]:
    """JSON lines of up to `count` questions.

    An export calibrates on every other line and measures on the others: three lines a question give
    both of them questions, passages and pairs.
    """
    passages, questions = questions_of(path)
    for question, own, _ in random.Random(seed).sample(questions, min(count, len(questions))):
        for text in (question, passages[own], [question, passages[own]]):
            yield json.dumps(text, ensure_ascii=False)


def main() -> None:
    """Write the lines to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", type=Path, help="in SQuAD's format")
    parser.add_argument("--count", type=int, default=300, help="of questions (300)")
    given = parser.parse_args()
    for line in lines(given.questions, count=given.count):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
