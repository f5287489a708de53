"""The committed bundle, the bundle with every kind of head, and a guard against hanging."""

import faulthandler
import os
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TextIO

import pytest
from fuzz_budget import HANG_S

_TESTS = Path(__file__).parents[1]
_SPEC = spec_from_file_location("runtime_conftest", _TESTS / "unit" / "runtime" / "conftest.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_RUNTIME = module_from_spec(_SPEC)
_SPEC.loader.exec_module(_RUNTIME)

edit_json, reseal = _RUNTIME.edit_json, _RUNTIME.reseal
many_heads, engine_of_many_heads = _RUNTIME.many_heads, _RUNTIME.engine_of_many_heads


@pytest.fixture(scope="session")
def committed() -> Path:
    """Nobody writes to it."""
    return _TESTS / "data" / "bundle"


@pytest.fixture(scope="session")
def terminal(pytestconfig: pytest.Config) -> Iterator[TextIO]:
    """The true stderr; what pytest captured is lost when the process ends at once."""
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        number = os.dup(2)
    with os.fdopen(number, "w") as file:
        yield file


@pytest.fixture(autouse=True)
def hang_guard(terminal: TextIO) -> Iterator[None]:
    """A test that hangs, in native code too, ends the run and shows where each thread was."""
    faulthandler.dump_traceback_later(HANG_S, exit=True, file=terminal)
    yield
    faulthandler.cancel_dump_traceback_later()
