"""How many CPUs the control group of this process may use (Linux, cgroup v1 and v2).

A quota holds for a group and all groups below it: the smallest on the way up counts. See
``cpu.max`` in the kernel's cgroup-v2 page and ``cpu.cfs_quota_us`` in its page on CFS bandwidth.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cpus(mount: Path = _MOUNT, own: Path = _OWN) -> float:
    """CPUs that this process's group may use; infinity without a quota or a readable file.

    Args:
        mount: root of the mounted cgroup file systems.
        own: the kernel's list of this process's groups, a line ``number:controllers:path`` each.
    """
    v1, v2 = _paths(own)
    # Mixed set-ups mount v2 in `unified`, and v1's controller under one of two names.
    places = [(mount, v2, _v2), (mount / "unified", v2, _v2)]
    places += [(mount / name, v1, _v1) for name in ("cpu", "cpu,cpuacct")]
    return min(quota(folder) for root, path, quota in places for folder in _upwards(root, path))


def _paths(own: Path) -> tuple[PurePosixPath, PurePosixPath]:
    """The group of the v1 controller `cpu`, and that of v2; the root where it cannot be read."""
    v1 = v2 = PurePosixPath("/")
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return v1, v2
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/"):
            continue
        if not controllers:
            v2 = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            v1 = PurePosixPath(path)
    return v1, v2


def _upwards(root: Path, path: PurePosixPath) -> list[Path]:
    """The group's folder and all above it, up to `root`.

    A container may see only its own part of the tree, mounted as `root`, while its path names all
    of it: folders that are not there have no quota, and `root` is always looked at.
    """
    parts = [part for part in path.parts[1:] if part != ".."]
    return [root.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _v2(folder: Path) -> float:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _v1(folder: Path) -> float:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _ratio(quota: str, period: str) -> float:
    """CPUs by quota and period in microseconds; ``max`` and ``-1`` mean none."""
    try:
        numbers = int(quota), int(period)
    except ValueError:
        return math.inf
    return numbers[0] / numbers[1] if min(numbers) > 0 else math.inf
