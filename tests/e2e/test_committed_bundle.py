"""The bundle that is committed goes on loading, whatever version reads it."""

from pathlib import Path

import polyhead
from polyhead.verify.golden import verify

BUNDLE = Path(__file__).parents[1] / "data" / "bundle"


def test_it_verifies():
    assert verify(BUNDLE).passed


def test_it_is_small():
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) < 64 * 1024


def test_it_answers_all_four_heads():
    with polyhead.load(BUNDLE) as engine:
        assert list(engine("great phone , many thanks")) == [
            "topic",
            "sentiment",
            "entities",
            "embedding",
        ]
