"""From nothing to the first answer; imports nothing before the clock runs."""

import time

_START = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402

import polyhead  # noqa: E402


def main(bundle: str, text: str) -> None:
    """Print the milliseconds of import, load and first answer, summed up one after another."""
    imported = time.perf_counter()
    engine = polyhead.load(bundle)
    loaded = time.perf_counter()
    engine(text)
    answered = time.perf_counter()
    marks = {"import": imported, "load": loaded, "answer": answered}
    sys.stdout.write(json.dumps({k: (v - _START) * 1e3 for k, v in marks.items()}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
