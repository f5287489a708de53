"""Makes tests/data/bundle, the few kilobytes that the runtime's contract tests load.

    .venv/bin/python tests/data/make_bundle.py [FOLDER]

It is the model of `polyhead_bench.tiny`. Run it again only when the bundle's format changes: the
committed bundle shows that old ones still load. With FOLDER everything is made there instead, and
stays: encoder, rows, checkpoint, bundle.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from polyhead_bench import tiny


def main() -> None:
    """Make it."""
    if sys.argv[1:]:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        tiny.make(folder, note=print)
        return
    with tempfile.TemporaryDirectory() as name:
        tiny.make(Path(name), note=print)
        shutil.copytree(Path(name) / "bundle", Path(__file__).parent / "bundle", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
