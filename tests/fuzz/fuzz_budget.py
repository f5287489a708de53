"""How many inputs the fuzz tests try, and where they begin; `make fuzz` asks for more."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, seed, settings

INPUTS = int(os.environ.get("INPUTS", "2000"))
"""All fuzz tests together."""
SEED = int(os.environ.get("SEED", "0"))
HANG_S = 60 + INPUTS // 10
"""Seconds after which a test hangs: many times what its inputs take."""


def fuzzed(share: float) -> Callable[[Any], Any]:
    """Decorates a hypothesis test that tries a share of the inputs."""
    most = settings(
        max_examples=max(1, round(INPUTS * share)),
        suppress_health_check=list(HealthCheck),
        derandomize=False,
    )
    return lambda test: seed(SEED)(most(test))
