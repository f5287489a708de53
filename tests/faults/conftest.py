"""What the attacks need; they take minutes, so `make faults` runs them and `make test` does not."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def real_bundle() -> Path:
    """The bundle under attack: `BUNDLE`, or the small one of the repository."""
    return Path(os.environ.get("BUNDLE") or ROOT / "tests" / "data" / "bundle").resolve()
