import json
from dataclasses import replace

import pytest

from polyhead.cli.main import main
from polyhead_bench import results as files
from polyhead_bench.compare import compare


def scaled(results, peer, factor):
    """The run with one peer's single times multiplied."""
    single = {
        name: {"ms": [[(factor if name == peer else 1) * t for t in one] for one in row["ms"]]}
        for name, row in results.scenarios["single"].items()
    }
    return replace(results, scenarios={"single": single})


@pytest.fixture
def before(finished):
    rounds = [[1.0 + 0.01 * i] * 3 for i in range(9)]
    single = {name: {"ms": rounds} for name in ("polyhead-int8", "torch")}
    return replace(finished.results, scenarios={"single": single})


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1, "no difference shown"), (1.01, "no difference shown"), (2, "worse"), (0.5, "better")],
)
@pytest.mark.parametrize("baseline", [None, "torch"])
def test_a_verdict_needs_intervals_apart(before, factor, verdict, baseline):
    found = compare(before, scaled(before, "polyhead-int8", factor), baseline=baseline)
    change = next(c for c in found if c.peer == "polyhead-int8")
    if baseline is None or factor != 1.01:  # both runs have the same noise, so ratios are exact
        assert change.verdict == verdict
    assert (change.verdict == "no difference shown") is change.before.overlaps(change.after)


def test_a_baseline_cancels_the_noise_of_the_machine(before):
    slow = scaled(scaled(before, "polyhead-int8", 3), "torch", 3)
    assert {c.verdict for c in compare(before, slow)} == {"worse"}
    assert [c.verdict for c in compare(before, slow, baseline="torch")] == ["no difference shown"]


@pytest.mark.parametrize(("factor", "code"), [(1, 0), (2, 1), (0.5, 0)])
def test_the_exit_code_says_whether_something_is_worse(before, tmp_path, capfd, factor, code):
    files.write(tmp_path / "a", before)
    files.write(tmp_path / "b", scaled(before, "polyhead-int8", factor))
    assert main(["bench", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == code
    assert ("worse" in capfd.readouterr().out) is bool(code)


def test_runs_with_nothing_in_common_are_told(before, tmp_path, capfd):
    files.write(tmp_path / "a", before)
    files.write(tmp_path / "b", replace(before, scenarios={}))
    assert main(["bench", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "no peer and scenario in common" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"threads": 7}, "different threads: 1; 7", id="threads"),
        pytest.param({"rounds": 1}, "second run has 1 round", id="one_round"),
        pytest.param({"texts": {"sha256": "00"}}, "different texts: ", id="texts"),
        pytest.param({"model": {"heads": ["tone"]}}, "different heads: topic; tone", id="heads"),
    ],
)
def test_runs_that_say_nothing_of_each_other_are_refused(before, tmp_path, capfd, change, message):
    changed = {
        key: {**getattr(before, key), **value} if isinstance(value, dict) else value
        for key, value in change.items()
    }
    files.write(tmp_path / "a", before)
    files.write(tmp_path / "b", replace(before, **changed))
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "compare", str(tmp_path / "a"), str(tmp_path / "b")])
    assert stopped.value.code == 2
    assert message in capfd.readouterr().err


def test_a_peer_with_one_round_in_an_interrupted_run_is_left_out(before):
    single = {**before.scenarios["single"], "torch": {"ms": [[1.0]]}}
    cut = replace(before, scenarios={"single": single}, complete=False)
    assert [change.peer for change in compare(before, cut)] == ["polyhead-int8"]


def test_a_run_of_version_1_is_compared_with_a_new_one(finished, before, tmp_path):
    files.write(tmp_path, before)
    data = json.loads((tmp_path / "results.json").read_text())
    del data["asked"]
    (tmp_path / "results.json").write_text(json.dumps({**data, "version": 1}))
    (change, _) = compare(files.read(tmp_path), scaled(before, "polyhead-int8", 2))
    assert change.verdict == "worse"
