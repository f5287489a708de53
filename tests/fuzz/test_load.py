"""Any bytes as a file of a bundle: a bundle error."""

import shutil
from contextlib import suppress

import pytest
from fuzz_budget import fuzzed
from hypothesis import given
from hypothesis import strategies as st

from polyhead import BundleError, GraphError, load
from polyhead.bundle.onnx_scan import scan

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@pytest.fixture(scope="module")
def damaged(committed, tmp_path_factory):
    return shutil.copytree(committed, tmp_path_factory.mktemp("fuzz") / "bundle")


@fuzzed(0.05)
@given(content=st.binary(max_size=200) | JSON.map(repr).map(str.encode))
def test_any_bytes_as_a_manifest(damaged, content):
    (damaged / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError):
        load(damaged)


@fuzzed(0.05)
@given(content=st.binary(min_size=1, max_size=300))
def test_any_bytes_as_a_graph(content):
    with suppress(GraphError):
        scan(content, "model.onnx")
