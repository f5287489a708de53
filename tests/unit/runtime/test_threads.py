import os
from pathlib import Path

import pytest

from polyhead import InvalidSetting
from polyhead.threads import budget


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
