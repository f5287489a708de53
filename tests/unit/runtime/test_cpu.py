"""How a CPU is described, and which int8 kernel onnxruntime takes on it."""

import platform

import pytest

from polyhead.inference import options
from polyhead.inference.int8_kernels import Int8Kernel, int8_kernel
from polyhead.system import cpu

PRECISION = "session.x64quantprecision"


@pytest.mark.parametrize(
    ("machine", "text", "name", "saturates"),
    [
        ("x86_64", "flags\t: avx2 avx512f avx512_vnni amx_int8", "AMX", False),
        ("x86_64", "flags\t: avx2 avx512f avx512_vnni", "AVX512-VNNI", False),
        ("x86_64", "flags\t: avx2 avx_vnni", "AVX-VNNI", False),
        ("x86_64", "flags\t: avx2 avx512f", "AVX512 without VNNI", True),
        ("AMD64", "flags\t: sse4_2 avx2", "AVX2 without VNNI", True),
        ("x86_64", "flags : avx2 avx_vnni\nflags : avx2", "AVX2 without VNNI", True),
        ("x86_64", "flags : sse4_2", "unknown", True),
        ("x86_64", "model name : something", "unknown", True),
        ("aarch64", "Features : asimd asimddp i8mm", "i8mm", False),
        ("aarch64", "Features : asimd asimddp", "dot product", False),
        ("aarch64", "Features : asimd", "NEON", False),
        ("arm64", "", "unknown", False),
    ],
)
def test_the_kernel_goes_by_flags_that_all_cores_have(
    tmp_path, monkeypatch, machine, text, name, saturates
):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    path = tmp_path / "cpuinfo"
    path.write_text(text + "\n")
    assert int8_kernel(cpu.describe(path)) == Int8Kernel(name, saturates)


@pytest.mark.parametrize("flag", ["avx2", "avx_vnni"])
def test_exact_kernels_are_asked_for_where_sums_are_cut_off(tmp_path, monkeypatch, flag):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(f"flags : {flag}\n")
    found = cpu.describe(tmp_path / "cpuinfo")
    monkeypatch.setattr(cpu, "describe", lambda: found)
    made = options.cpu_session_options()
    if flag == "avx2":
        assert made.get_session_config_entry(PRECISION) == "1"
    else:
        with pytest.raises(RuntimeError, match=PRECISION):
            made.get_session_config_entry(PRECISION)


def test_an_unreadable_description_gives_the_safe_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert int8_kernel(cpu.describe(tmp_path / "missing")).saturates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "model name\t: Some CPU @ 2 GHz\nflags\t: fpu avx512_vnni avx2\n",
            cpu.Cpu(model="Some CPU @ 2 GHz", flags=("avx2", "avx512_vnni")),
            id="x86",
        ),
        pytest.param(
            "flags : avx2 avx_vnni\nflags : avx2\n",
            cpu.Cpu(model="someone's", flags=("avx2",)),
            id="flags_of_all_cores",
        ),
        pytest.param(
            "Features : fp asimd i8mm\n",
            cpu.Cpu(model="someone's", flags=("asimd", "i8mm")),
            id="arm",
        ),
        pytest.param("", cpu.Cpu(model="someone's", flags=()), id="nothing"),
    ],
)
def test_describe(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(platform, "machine", lambda: "someone's")
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu.describe(tmp_path / "cpuinfo") == expected


def test_a_missing_description_leaves_the_kind_of_machine(tmp_path):
    assert cpu.describe(tmp_path / "missing") == cpu.Cpu(model=platform.machine(), flags=())
