"""A batcher's numbers as Prometheus reads them."""

import asyncio
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from polyhead import Batcher, InvalidText, load
from polyhead.serving import prometheus as metrics


@pytest.fixture(scope="module")
def engine(bundle):
    with load(bundle, threads=1) as engine:
        yield engine


async def exposition(engine, labels=None):
    registry = CollectorRegistry()
    async with Batcher(engine) as batcher:
        metrics.register(batcher, registry, labels)
        await asyncio.gather(*map(batcher.predict, ["anna", "oslo", "the parcel"]))
        with pytest.raises(InvalidText):
            await batcher.predict(None)
    return generate_latest(registry).decode()


def test_the_numbers_of_the_batcher_are_shown(engine):
    lines = asyncio.run(exposition(engine)).splitlines()
    assert "polyhead_requests_total 4.0" in lines
    assert "polyhead_answered_total 3.0" in lines
    assert "polyhead_errors_total 1.0" in lines
    assert "polyhead_waiting 0.0" in lines
    assert 'polyhead_queue_seconds_bucket{le="+Inf"} 4.0' in lines
    assert "polyhead_queue_seconds_count 4.0" in lines


def test_labels_tell_batchers_apart(engine):
    assert 'polyhead_requests_total{bundle="a"} 4.0' in asyncio.run(
        exposition(engine, {"bundle": "a"})
    )


def test_without_the_library_the_message_says_how_to_install_it():
    script = (
        "import sys\nsys.modules['prometheus_client'] = None\n"
        "from polyhead import MissingExtra\nfrom polyhead.serving import prometheus\n"
        "try: prometheus.register(None)\nexcept MissingExtra as problem: print(problem)"
    )
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert 'pip install "polyhead[prometheus]"' in done.stdout
