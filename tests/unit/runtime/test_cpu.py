"""Which CPUs need the slower, exact integer kernels, and how a CPU is described."""

import platform

import pytest

from polyhead.system import cpu


@pytest.mark.parametrize(
    ("machine", "text", "expected"),
    [
        pytest.param("x86_64", "flags\t: avx2 avx512f avx512_vnni", False, id="avx512_vnni"),
        pytest.param("x86_64", "flags\t: avx2 avx_vnni", False, id="avx_vnni"),
        pytest.param("AMD64", "flags\t: sse4_2 avx2", True, id="avx2_only"),
        pytest.param("x86_64", "flags : avx_vnni\nflags : avx2", True, id="one_core_without"),
        pytest.param("x86_64", "model name : something", True, id="no_flags"),
        pytest.param("aarch64", "Features : asimd", False, id="arm"),
    ],
)
def test_saturates(tmp_path, monkeypatch, machine, text, expected):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (tmp_path / "cpuinfo").write_text(text + "\n")
    assert cpu.saturates(tmp_path / "cpuinfo") is expected


def test_an_unreadable_description_gives_the_safe_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert cpu.saturates(tmp_path / "missing") is True


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
