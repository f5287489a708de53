"""Limits against results: reached, missed, not measured, not asked for."""

from dataclasses import replace

import pytest

from polyhead.cli.main import main
from polyhead_bench import limits, metrics
from polyhead_bench import results as files
from polyhead_bench.errors import BenchError
from polyhead_bench.limits import Limit


@pytest.fixture
def run(finished):
    """Two peers, of which one takes half of the other's time in each round."""
    single = {"polyhead-int8": {"ms": [[1.0], [2.0]]}, "torch": {"ms": [[2.0], [4.0]]}}
    shapes = {"polyhead-int8": {"ms": {"1x16": [3.0, 5.0]}}}
    return replace(finished.results, scenarios={"single": single, "shapes": shapes})


def limit(**more):
    return Limit(**{"scenario": "single", "peer": "polyhead-int8", **more})


@pytest.mark.parametrize(
    ("more", "value", "state"),
    [
        pytest.param({"at_most": 1.5}, 1.5, "pass", id="at_the_limit"),
        pytest.param({"at_most": 1.4}, 1.5, "missed", id="above"),
        pytest.param({"against": "torch", "at_most": 0.5}, 0.5, "pass", id="ratio"),
        pytest.param({"against": "torch", "at_least": 0.6}, 0.5, "missed", id="at_least"),
        pytest.param({"scenario": "shapes", "metric": ("1x16",), "at_most": 4}, 4, "pass", id="m"),
    ],
)
def test_a_figure_is_held_against_its_limit(run, more, value, state):
    (row,) = limits.check(run, [limit(**more)])
    assert (row.found.value, row.state) == (pytest.approx(value), state)
    assert limits.passed([row]) is (state == "pass")


def test_a_figure_that_was_not_measured_fails_and_says_why(run):
    peers = {**run.peers, "torch": {**run.peers["torch"], "fault": "it ended"}}
    broken = replace(run, peers=peers, scenarios={"single": {"polyhead-int8": {"ms": [[1.0]]}}})
    (row,) = limits.check(broken, [limit(against="torch", at_most=1)])
    assert (row.found, row.state, row.reason) == (None, "unmeasured", "torch: it ended")
    assert not limits.passed([row])
    assert limits.passed([row], allow_unmeasured=True)


def test_a_scenario_that_was_asked_for_and_gave_nothing_is_unmeasured(run):
    asked = replace(run, scenarios={}, asked=("single",))
    assert [row.state for row in limits.check(asked, [limit(at_most=1)])] == ["unmeasured"]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"scenario": "offline"}, id="scenario"),
        pytest.param({"peer": "optimum-int8"}, id="peer"),
        pytest.param({"against": "optimum-int8"}, id="against"),
        pytest.param({"threads": 8}, id="threads"),
        pytest.param({"hidden_size": 384}, id="model"),
        pytest.param({"heads": 5}, id="heads"),
        pytest.param({"vnni": True}, id="vnni"),
    ],
)
def test_limits_of_other_runs_have_no_row_and_none_at_all_is_no_pass(run, more):
    machine = {**run.machine, "cpu": {"model": "a Haswell", "flags": ["avx2"]}}
    short = replace(run, asked=("single",), machine=machine)
    assert limits.check(short, [limit(at_most=1, **more)]) == []
    assert not limits.passed([])


def test_bytes_are_divided_by_the_unit(run):
    startup = {"polyhead-int8": {"first_ms": [1.0], "rss": [1], "disk": 24_000_000}}
    found = replace(run, scenarios={"startup": startup})
    row = limit(scenario="startup", metric=("disk",), at_most=24, unit="MB")
    (check,) = limits.check(found, [row])
    assert (check.found.value, check.limit, check.state) == (24, "<= 24 MB", "pass")


def test_the_last_third_of_a_soak_is_held_against_the_first(run):
    slices = [
        {"rss": rss, "p99": 1.0, "errors": 0, "different": number == 3}
        for number, rss in enumerate([9, 100, 100, 100, 110, 110, 110])
    ]
    found = replace(run, scenarios={"soak": {"polyhead-int8": {"slices": slices}}})
    read = [metrics.rounds(found, "soak", "polyhead-int8", m) for m in ("memory", "p99", "wrong")]
    assert read == [[1.1], [1.0], [1.0]]


def test_the_projects_limits_are_read_and_name_known_figures(finished):
    known = limits.read()
    assert {row.scenario for row in known} <= set(finished.results.scenarios)
    rows = [replace(row, threads=None, hidden_size=None, heads=None, vnni=None) for row in known]
    states = {row.name: row.state for row in limits.check(finished.results, rows)}
    for name in (
        "concurrency errors polyhead-int8",
        "startup answered_ms polyhead-int8",
        "startup disk polyhead-int8",
        "memory growth polyhead-int8",
        "profile outside/16 polyhead-int8",
        "soak memory polyhead-int8",
        "soak wrong polyhead-int8",
    ):
        assert states[name] != "unmeasured", name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('[[limit]]\nscenario="x"\npeer="y"\n', "at_most or at_least", id="no_limit"),
        pytest.param('[[limit]]\nscenario="x"\npeer="y"\nat_mst=1\n', "at_mst", id="unknown_key"),
        pytest.param("[[limit", "no file of limits", id="no_toml"),
        pytest.param('limit = "x"', "expected tables", id="no_tables"),
    ],
)
def test_a_file_of_limits_that_is_wrong_is_refused(tmp_path, text, message):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(BenchError, match=message):
        limits.read(tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("most", "more", "code"),
    [(9, [], 0), (1, [], 1)],
    ids=["reached", "missed"],
)
def test_the_command_says_what_a_run_reaches(run, tmp_path, capfd, most, more, code):
    files.write(tmp_path, replace(run, asked=("single",)))
    file = tmp_path / "limits.toml"
    file.write_text(
        f'[[limit]]\nscenario = "single"\npeer = "polyhead-int8"\nat_most = {most}\nunit = "ms"\n'
    )
    assert main(["bench", "check", str(tmp_path), "--limits", str(file), *more]) == code
    out = capfd.readouterr().out
    assert f"<= {most} ms" in out
    assert ("missed" in out) is bool(code)
