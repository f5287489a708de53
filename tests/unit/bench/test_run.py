"""Whole runs with the tiny model: what goes wrong is told, and the rest goes on."""

import json

import pytest

from polyhead_bench.errors import BenchError
from polyhead_bench.preparation import Models as Forms
from polyhead_bench.results import read
from polyhead_bench.run import Settings, run
from polyhead_bench.scenarios import SCENARIOS
from polyhead_bench.tables import tables
from polyhead_bench.texts import Texts

TEXTS = Texts(("The parcel was late.", "Thanks!"), "two texts", (6, 4))


@pytest.fixture
def measure(models, tmp_path):
    def make(target=tmp_path / "report", texts=TEXTS, checkpoint=models.checkpoint, **more):
        forms = Forms(
            bundle=models.bundle, checkpoint=checkpoint, cache=tmp_path / "c", note=lambda _: None
        )
        settings = {"peers": ("polyhead-int8",), "scenarios": ("single",), "threads": 1}
        settings |= {"rounds": 1, "per_length": 1, **more}
        return run(forms, texts, target, Settings(**settings), note=lambda _: None)

    return make


def test_a_run_has_all_scenarios_and_the_agreement(finished):
    assert list(finished.results.scenarios) == list(SCENARIOS)
    assert finished.results.peers["torch"]["agreement"] == {"topic": 1.0}
    assert finished.results.peers["polyhead-int8"]["agreement"] == {"topic": 1.0}
    assert finished.results.complete


def test_a_peer_that_cannot_be_loaded_is_told_and_the_others_go_on(measure):
    found = measure(peers=("polyhead-int8", "torch"), checkpoint=None)
    assert "needs the checkpoint" in found.peers["torch"]["fault"]
    assert list(found.scenarios["single"]) == ["polyhead-int8"]


def test_a_peer_that_dies_is_told_and_the_others_go_on(measure, monkeypatch):
    def dies(context):
        context.roster.workers["torch"]._process.kill()
        return SCENARIOS["offline"](context)

    monkeypatch.setitem(SCENARIOS, "dies", dies)
    found = measure(peers=("polyhead-int8", "torch"), scenarios=("dies", "single"))
    assert "killed; out of memory?" in found.peers["torch"]["fault"]
    assert list(found.scenarios["single"]) == ["polyhead-int8"]
    assert found.scenarios["dies"]["polyhead-int8"]["seconds"]


def test_no_peer_at_all_is_an_error(measure):
    with pytest.raises(BenchError, match=r"no peer could be loaded: .*--checkpoint"):
        measure(peers=("torch",), checkpoint=None)


def test_an_interrupted_run_keeps_what_was_measured(measure, monkeypatch, tmp_path):
    def interrupted(context):
        SCENARIOS["offline"](context)
        raise KeyboardInterrupt

    monkeypatch.setitem(SCENARIOS, "half", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(scenarios=("single", "half", "lengths"))
    found = read(tmp_path / "report")
    assert list(found.scenarios) == ["single", "half"]
    assert not found.complete
    assert "was interrupted" in (tmp_path / "report" / "report.html").read_text()


def test_a_folder_that_cannot_be_written_is_found_before_anything_starts(measure, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=r"file.*Name another folder"):
        measure(target=tmp_path / "file", checkpoint=tmp_path / "none")
    with pytest.raises(BenchError, match=r"cannot be .*Name another folder"):
        measure(target=tmp_path / "file" / "below")


def test_texts_longer_than_a_peers_limit_are_counted(measure):
    long = Texts(("late " * 400, "late"), "one long text", (402, 3))
    found = measure(texts=long, peers=("polyhead-int8", "torch"))
    assert {name: row["longer"] for name, row in found.peers.items()} == {
        "polyhead-int8": 1,
        "torch": 1,
    }
    assert "texts beyond its limit" in tables(found)[0].header


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"peers": ("torhc",)}, "no peer 'torhc'.*Did you mean 'torch'"),
        ({"scenarios": ("singel",)}, "no scenario 'singel'; there are single"),
    ],
    ids=["peer", "scenario"],
)
def test_an_unknown_name_is_told_before_anything_starts(measure, more, message):
    with pytest.raises(BenchError, match=message):
        measure(**more)


def test_ratios_are_of_the_first_peer(finished):
    assert finished.results.baseline == "polyhead-int8"
    single = next(table for table in tables(finished.results) if "ms" in table.title)
    assert single.rows[0][4].startswith("1.00 (1.00 to 1.00)")


def test_results_come_back_as_they_were_written(finished):
    assert read(finished.folder) == read(finished.folder / "results.json")
    again = read(finished.folder)
    assert again.scenarios == json.loads(json.dumps(finished.results.scenarios))
    assert again.peers == json.loads(json.dumps(finished.results.peers))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"version": 2}, "version 2; this polyhead-bench reads 1"), ({"format": "x"}, "no results")],
    ids=["newer", "foreign"],
)
def test_newer_and_foreign_files_are_refused(finished, tmp_path, change, message):
    data = json.loads((finished.folder / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(data | change))
    with pytest.raises(BenchError, match=message):
        read(tmp_path)


def test_missing_results_are_told(tmp_path):
    with pytest.raises(BenchError, match=r"no such file; expected results of 'polyhead bench run'"):
        read(tmp_path)
