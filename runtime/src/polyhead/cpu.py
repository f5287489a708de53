"""What this CPU can do, as far as it decides how a session is set up."""

from __future__ import annotations

import platform
from pathlib import Path

_VNNI = frozenset({"avx512_vnni", "avx_vnni"})


def saturates(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether u8 x s8 products may overflow 16 bits and be cut off.

    x86 without VNNI adds two such products in 16 bits (``vpmaddubsw``). Where the flags cannot be
    read, the answer is the safe one.

    Args:
        cpuinfo: the kernel's description of the CPU.
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i686", "x86"):
        return False
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = [set(line.split()) for line in lines if line.startswith("flags")]
    return not flags or not all(found & _VNNI for found in flags)
