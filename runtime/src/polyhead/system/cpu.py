"""What this CPU is and can do, as far as it decides how fast matrices are multiplied."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FOR_MATRICES = frozenset(
    {
        *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
        *("asimd", "asimddp", "i8mm", "bf16", "sve"),  # ARM
    }
)


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """A CPU, for people.

    Attributes:
        model: its name, or the kind of machine where the kernel gives none.
        flags: instruction sets that make matrix products fast, by the kernel's names; empty where
            the kernel gives none.
    """

    model: str
    flags: tuple[str, ...]


@cache
def describe(cpuinfo: Path = _CPUINFO) -> Cpu:
    """This CPU; flags are those that all cores have.

    Args:
        cpuinfo: the kernel's description of the CPU.
    """
    lines = _lines(cpuinfo)
    names = [value.strip() for key, _, value in lines if key == "model name"]
    shared = frozenset.intersection(*found) if (found := _flags(lines)) else frozenset()
    model = names[0] if names else platform.machine()
    return Cpu(model=model, flags=tuple(sorted(shared & _FOR_MATRICES)))


def _lines(cpuinfo: Path) -> list[tuple[str, str, str]]:
    """Key, colon and value of each line; none where the file cannot be read."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    parts = (line.partition(":") for line in lines)
    return [(key.strip(), colon, value) for key, colon, value in parts]


def _flags(lines: list[tuple[str, str, str]]) -> list[frozenset[str]]:
    """The flags of each core; x86 calls them flags, ARM Features."""
    return [frozenset(value.split()) for key, _, value in lines if key in ("flags", "Features")]
