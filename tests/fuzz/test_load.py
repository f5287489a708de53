"""Any bytes as a file of a bundle, any objects as arguments: an error of the tree."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from fuzz_budget import fuzzed
from hypothesis import given
from hypothesis import strategies as st

from polyhead import BundleError, GraphError, PolyheadError, load
from polyhead.bundle.onnx_check import check_onnx

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@pytest.fixture(scope="module")
def damaged(committed, tmp_path_factory):
    return shutil.copytree(committed, tmp_path_factory.mktemp("fuzz") / "bundle")


# No number between: onnxruntime would start as many threads.
NUMBERS = st.integers(-2, 4) | st.sampled_from([2**31, 2**63, 10**400])
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | st.floats()
    | st.binary(max_size=9)
    | st.text(max_size=9)
    | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=9) | NUMBERS, inner, max_size=3)
    ),
    max_leaves=5,
)
# No address of a hub: nothing is asked of a network.
PATHS = JUNK.filter(lambda junk: not str(junk).startswith("hf:")) | st.sampled_from(
    ["", "\0", "\ud800", "a" * 300, "a/" * 5000, "hf:", "hf:x", Path("hf:a/b/c"), Path("x" * 256)]
)
SETTINGS = {
    "prefix": ["", "a-", ["a-"], {"": "a-"}],
    "heads": ["topic", ["topic"], ("topic", "entities"), [["topic"]], ["topics"], {"topic"}],
    "threads": [1, 2],
    "batch_tokens": [1, 64],
    "on_overflow": ["window", "truncate", "error"],
    "max_characters": [1, None],
    "verify": ["digest", "golden", "none"],
    "provider": ["cpu", "cuda", "auto", ["cpu"]],
    "provider_options": [{}, {"x": "y"}, {1: 2}],
    "intra_op_threads": [1, 2],
    "spin": [True, False],
    "session_options": [None],
}
GIVEN = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(good) | JUNK for name, good in SETTINGS.items()}
)


@fuzzed(0.05)
@given(data=st.data(), settings=GIVEN)
def test_any_arguments(committed, data, settings):
    paths = data.draw(st.lists(st.just(committed) | PATHS, min_size=1, max_size=2))
    with suppress(PolyheadError):
        load(*paths, **settings).close()


@pytest.mark.parametrize("name", SETTINGS)
@fuzzed(0.002)
@given(value=JUNK)
def test_any_object_as_one_argument(committed, name, value):
    with suppress(PolyheadError):
        load(committed, **{name: value}).close()


@fuzzed(0.02)
@given(path=PATHS)
def test_any_object_as_a_path(committed, path):
    with pytest.raises(PolyheadError):
        load(path)
    if path is not None:  # which is the old bundle
        with load(committed, threads=1) as engine, pytest.raises(PolyheadError):
            engine.reload(path)


@fuzzed(0.02)
@given(content=st.binary(max_size=200) | JSON.map(repr).map(str.encode))
def test_any_bytes_as_a_manifest(damaged, content):
    (damaged / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError):
        load(damaged)


@fuzzed(0.02)
@given(content=st.binary(min_size=1, max_size=300))
def test_any_bytes_as_a_graph(content):
    with suppress(GraphError):
        check_onnx(content, "model.onnx")
