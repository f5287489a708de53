import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from polyhead import InvalidSetting
from polyhead.inference.threads import budget


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def v2(root: Path, content: str | bytes) -> Path:
    data = content if isinstance(content, bytes) else content.encode()
    (root / "cpu.max").write_bytes(data)
    return root


def v1(root: Path, quota: str, period: str) -> Path:
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (root / "cpu" / "cpu.cfs_period_us").write_text(period)
    return root


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("400000 100000\n", 4, id="whole"),
        pytest.param("250000 100000\n", 2, id="fraction_rounds_down"),
        pytest.param("50000 100000\n", 1, id="half_a_cpu"),
        pytest.param("1600000 100000\n", 8, id="more_than_the_affinity"),
        pytest.param("max 100000\n", 8, id="no_quota"),
        pytest.param("max\n", 8, id="one_word"),
        pytest.param("400000 0\n", 8, id="period_zero"),
        pytest.param("many few\n", 8, id="garbage"),
        pytest.param(b"\xff\xfe", 8, id="no_utf8"),
        pytest.param("", 8, id="empty"),
    ],
)
def test_cgroup_v2(tmp_path, content, expected):
    assert budget(cgroup=v2(tmp_path, content)) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        pytest.param("300000\n", "100000\n", 3, id="whole"),
        pytest.param("150000\n", "100000\n", 1, id="fraction_rounds_down"),
        pytest.param("-1\n", "100000\n", 8, id="no_quota"),
        pytest.param("x\n", "100000\n", 8, id="garbage"),
        pytest.param("300000\n", "0\n", 8, id="period_zero"),
    ],
)
def test_cgroup_v1(tmp_path, quota, period, expected):
    assert budget(cgroup=v1(tmp_path, quota, period)) == expected


@pytest.fixture
def own(tmp_path):
    """Writes the kernel's list of this process's groups."""

    def write(*lines):
        file = tmp_path / "own"
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write


def nested(root, path, quotas):
    """Groups of v2 from `root` down `path`, each with a quota in CPUs; None for none."""
    folders = [root.joinpath(*path[:depth]) for depth in range(len(path) + 1)]
    for folder, cpus in zip(folders, quotas, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        if cpus is not None:
            v2(folder, f"{int(cpus * 100000)} 100000")
    return root


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        pytest.param([None, None, 3], 3, id="own"),
        pytest.param([None, 2, 6], 2, id="parent_is_smaller"),
        pytest.param([4, 7, 6], 4, id="root_is_smallest"),
        pytest.param([None, None, None], 8, id="none"),
    ],
)
def test_the_smallest_quota_from_the_own_group_upwards_counts(tmp_path, own, quotas, expected):
    root = nested(tmp_path / "v2", ["pods", "mine"], quotas)
    assert budget(cgroup=root, own=own("0::/pods/mine")) == expected


def test_other_groups_do_not_count(tmp_path, own):
    root = nested(tmp_path / "v2", ["pods", "mine"], [None, None, 6])
    nested(root, ["pods", "theirs"], [None, None, 1])
    assert budget(cgroup=root, own=own("0::/pods/mine")) == 6


def test_a_container_that_sees_only_its_own_part_of_the_tree(tmp_path, own):
    root = v2(tmp_path, "300000 100000")
    assert budget(cgroup=root, own=own("0::/system.slice/docker-5f.scope")) == 3


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_the_own_group_of_v1(tmp_path, own, folder):
    mine = tmp_path / folder / "docker" / "mine"
    mine.mkdir(parents=True)
    (mine / "cpu.cfs_quota_us").write_text("500000\n")
    (mine / "cpu.cfs_period_us").write_text("100000\n")
    groups = own("4:memory:/other", "1:cpu,cpuacct:/docker/mine", "0::/")
    assert budget(cgroup=tmp_path, own=groups) == 5


def test_v2_next_to_v1(tmp_path, own):
    nested(tmp_path / "unified", ["mine"], [None, 2])
    v1(tmp_path, "300000", "100000")
    assert budget(cgroup=tmp_path, own=own("1:cpu:/", "0::/mine")) == 2


@pytest.mark.parametrize(
    "lines", [["garbage"], ["0::"], ["0::../../etc"], [":::"], ["0::/../../x"], []], ids=str
)
def test_a_strange_list_of_groups_leaves_the_root(tmp_path, own, lines):
    assert budget(cgroup=v2(tmp_path, "300000 100000"), own=own(*lines)) == 3


@pytest.mark.skipif(shutil.which("taskset") is None, reason="there is no taskset here")
def test_a_process_pinned_to_one_cpu_has_one_thread(bundle):
    script = "import sys, polyhead; print(polyhead.load(sys.argv[1]).info()['threads'])"
    found = subprocess.check_output(
        ["taskset", "-c", min_cpu(), sys.executable, "-c", script, bundle],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )
    assert found.strip() == "1"


def min_cpu():
    """A CPU that this process may use; the list above is of no machine."""
    allowed = re.search(r"Cpus_allowed_list:\s*(\d+)", Path("/proc/self/status").read_text())
    assert allowed is not None
    return allowed[1]


def test_without_a_cgroup_the_affinity_decides(tmp_path):
    assert budget(cgroup=tmp_path / "absent") == 8


def test_without_affinity_the_number_of_cpus_decides(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert budget(cgroup=tmp_path) == 5


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        pytest.param(1, 1, id="one"),
        pytest.param(2, 2, id="below_the_quota"),
        pytest.param(64, 4, id="above_the_quota"),
    ],
)
def test_the_setting_is_an_upper_limit(tmp_path, setting, expected):
    assert budget(setting, cgroup=v2(tmp_path, "400000 100000")) == expected


@pytest.mark.parametrize("setting", [0, -1])
def test_a_setting_below_one_is_refused(tmp_path, setting):
    with pytest.raises(InvalidSetting, match=rf"threads={setting}"):
        budget(setting, cgroup=tmp_path)


def test_the_cgroup_of_this_machine_can_be_read():
    assert budget() >= 1
