"""Int8 on CPUs without AVX512 and VNNI, which qemu-user emulates: the committed bundle, products.

The weights of the committed bundle have 8 bits, as those of bundles before 7-bit ones.
"""

import json
import platform
import re
import shutil
import subprocess
import sys

import emulated
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SECONDS = 120  # it takes four
# Float kernels that round otherwise moved logits by 1e-6 here, saturated products by 0.02.
NEAR = 1e-3


def qemu_version() -> tuple[int, ...]:
    if platform.machine() != "x86_64" or shutil.which(emulated.QEMU) is None:
        return ()
    said = subprocess.run([emulated.QEMU, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+)\.(\d+)", said.stdout)
    return tuple(map(int, found.groups())) if found else ()


pytestmark = pytest.mark.skipif(
    qemu_version() < (7, 2),
    reason="needs x86-64 and qemu-x86_64 (Debian's qemu-user), 7.2 or later for AVX2",
)


@pytest.fixture(scope="module")
def native(committed):
    return emulated.answers(committed, emulated.texts_of(committed))


@pytest.fixture(scope="module", params=["Haswell", "Nehalem"])
def without_vnni(request, committed):
    flags = {"Haswell": "sse4_2 avx avx2 fma", "Nehalem": "sse4_2"}[request.param]
    arguments = [emulated.__file__, str(committed)]
    return emulated.emulated(request.param, arguments, flags=flags, seconds=SECONDS)


def test_it_is_known_to_saturate(without_vnni):
    assert without_vnni["saturates"]


def test_decisions_are_those_of_this_cpu(native, without_vnni):
    assert without_vnni["decisions"] == native["decisions"]


def test_logits_are_those_of_this_cpu(native, without_vnni):
    found = emulated.difference(native, without_vnni)
    assert max(head["largest"] for head in found.values()) < NEAR


def test_products_saturate_where_polyhead_would_not_ask_for_exact_ones(native, committed):
    arguments = [emulated.__file__, str(committed), "--precision", "0"]
    plain = emulated.emulated("Haswell", arguments, flags="avx2", seconds=SECONDS)
    found = emulated.difference(native, plain)
    assert max(head["largest"] for head in found.values()) > 10 * NEAR


# No option for exact kernels is set.
PRODUCT = """
import json, sys
import numpy as np
from polyhead.system.onnx_runtime import ort
session = ort.InferenceSession(sys.argv[1])
json.dump([session.run(None, dict(x=np.array(x, np.uint8)))[0].tolist() for x in {0}], sys.stdout)
"""


@pytest.fixture(scope="module")
def activations():
    """One row and many, among them nothing but 255; 64 values each."""
    random = np.random.default_rng(17).integers(0, 256, (6, 64))
    most = np.full((1, 64), 255)
    return [most, random[:1], np.vstack([most, most * 0, random])]


def multiplied(folder, activations, limit):
    """Their product with weights of up to a limit: here, on Haswell, and as it is in whole numbers.

    Weights are extremes and random ones. Sums stay below 2^24, and so exact in float32.
    """
    random = np.random.default_rng(18).integers(-limit, limit + 1, (64, 13))
    most = np.full((64, 1), limit)
    turns = np.where(np.arange(64)[:, None] % 4 < 2, limit, -limit)
    weights = np.hstack([most, -most, turns, random])
    constants = {
        "w": weights.astype(np.int8),
        "one": np.array(1, np.float32),
        "x_zero": np.array(0, np.uint8),
        "w_zero": np.array(0, np.int8),
    }
    node = helper.make_node(
        "MatMulIntegerToFloat",
        ["x", "w", "one", "one", "x_zero", "w_zero"],
        ["y"],
        domain="com.microsoft",
    )
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [None, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 16])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    file = folder / f"{limit}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), file)
    arguments = ["-c", PRODUCT.format([x.tolist() for x in activations]), str(file)]
    here = subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    there = emulated.emulated("Haswell", arguments, flags="avx avx2 fma", seconds=SECONDS)
    return json.loads(here.stdout), there, [(x @ weights).tolist() for x in activations]


def test_products_of_7_bits_are_exact_without_an_option(tmp_path, activations):
    here, there, exact = multiplied(tmp_path, activations, limit=64)
    assert here == there == exact


@pytest.mark.parametrize("limit", [65, 127])
def test_products_of_larger_weights_are_not(tmp_path, activations, limit):
    _, there, exact = multiplied(tmp_path, activations, limit)
    assert there != exact
