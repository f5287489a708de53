"""The committed bundle, and the bundle with every kind of head that the runtime's tests make."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

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
