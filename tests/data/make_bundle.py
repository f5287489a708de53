"""Makes tests/data/bundle, the few kilobytes that the runtime's contract tests load.

    .venv/bin/python tests/data/make_bundle.py

It is the model of `tiny.py`. Run it again only when the bundle's format changes: the committed
bundle shows that old ones still load.
"""

import shutil
import tempfile
from pathlib import Path

import tiny


def main() -> None:
    """Make it."""
    with tempfile.TemporaryDirectory() as name:
        tiny.make(Path(name))
        shutil.copytree(Path(name) / "bundle", Path(__file__).parent / "bundle", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
