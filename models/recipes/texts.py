"""Texts of many kinds for `polyhead shrink --texts`: the training rows of recipes, without labels.

Long texts become sentences. What stands in a validation or test split of any of them is left out.

    python models/recipes/texts.py models/recipes/*.toml -o texts.txt
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyhead.cli import output
from polyhead.system import atomic
from polyhead.text.sentences import split
from polyhead_models import config
from polyhead_models.data import examples as data

HELD_OUT = ("validation", "test")


def texts(paths: Iterable[Path], splits: Iterable[str]) -> Iterator[str]:
    """All texts of these splits, questions and contexts apart, long ones as sentences."""
    for path in paths:
        made = config.load(path)
        for part in splits:
            for example in data.load(made, part):
                for item in example.inputs:
                    for text in (item,) if isinstance(item, str) else item:
                        for start, end in split(text):
                            yield " ".join(text[start:end].split())


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", type=Path, nargs="+", metavar="CONFIG.toml")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TEXTS.txt")
    arguments = parser.parse_args()
    held_out = set(texts(arguments.configs, HELD_OUT))
    found = [t for t in dict.fromkeys(texts(arguments.configs, ["train"])) if t not in held_out]
    atomic.write(arguments.output, "".join(f"{text}\n" for text in found))
    output.progress(f"{arguments.output}: {len(found):,} texts")


if __name__ == "__main__":
    main()
