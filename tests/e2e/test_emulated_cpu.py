"""The committed int8 bundle on CPUs without AVX512 and VNNI, which qemu-user emulates."""

import platform
import re
import shutil
import subprocess

import emulated
import pytest

SECONDS = 120  # it takes four
# Float kernels that round otherwise moved logits by 1e-6 here, saturated products by 1.4.
NEAR = 0.03


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
    return emulated.emulated(request.param, [str(committed)], flags=flags, seconds=SECONDS)


def test_it_is_known_to_saturate(without_vnni):
    assert without_vnni["saturates"]


def test_decisions_are_those_of_this_cpu(native, without_vnni):
    assert without_vnni["decisions"] == native["decisions"]


def test_logits_are_those_of_this_cpu(native, without_vnni):
    found = emulated.difference(native, without_vnni)
    assert max(head["largest"] for head in found.values()) < NEAR


def test_products_saturate_where_polyhead_would_not_ask_for_exact_ones(native, committed):
    arguments = [str(committed), "--precision", "0"]
    plain = emulated.emulated("Haswell", arguments, flags="avx2", seconds=SECONDS)
    found = emulated.difference(native, plain)
    assert max(head["largest"] for head in found.values()) > 10 * NEAR
