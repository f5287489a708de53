"""Whole runs over a tiny model: what is measured, what fails, what stays."""

import json
from dataclasses import replace

import pytest

from polyhead.cli.main import main
from polyhead.system.schema import plain
from polyhead_bench import metrics, results, run, scenarios
from polyhead_bench.convert.cache import Models
from polyhead_bench.errors import BenchError
from polyhead_bench.report.markdown import write
from polyhead_bench.report.plots import pictures
from polyhead_bench.report.tables import as_markdown, tables
from polyhead_bench.scenarios import RunSettings
from polyhead_bench.texts import TextSource

MEASURED = ("polyhead-int8", "torch")


@pytest.fixture(scope="module")
def asked(tokenizer):
    return TextSource(("the", "parcel", "was", "late"), tokenizer).mixed(
        6, mean=12, longest=40, seed=0
    )


@pytest.fixture
def known(models, tmp_path):
    return Models(bundle=models.bundle, checkpoint=models.checkpoint, cache=tmp_path / "cache")


@pytest.fixture
def short():
    return RunSettings(
        peers=("polyhead-int8", "torch"),
        scenarios=("single", "offline"),
        threads=1,
        rounds=1,
        per_length=1,
    )


def peers_table(found):
    return {row[0]: row for row in tables(found)[0].rows}


def changed(finished, **fields):
    return replace(finished.results, **fields)


def test_every_peer_answers_as_the_pytorch_model_does(finished):
    for name in MEASURED:
        assert finished.results.peers[name]["agreement"] == {"topic": 1.0}
        assert "fault" not in finished.results.peers[name]


def test_a_peer_that_is_not_installed_is_a_row_that_says_how_to_get_it(finished):
    fault = finished.results.peers["openvino-int8"]["fault"]
    assert fault.startswith("not installed: the environment")
    assert "polyhead bench setup openvino" in fault
    assert peers_table(finished.results)["openvino-int8"][-1] == fault


def test_every_scenario_has_samples_of_every_round(finished):
    found = finished.results
    assert list(found.scenarios) == list(scenarios.SCENARIOS) == list(found.asked)
    for name in MEASURED:
        assert [len(one) for one in found.scenarios["single"][name]["ms"]] == [6] * 2
        for key in ("8", "256"):
            assert len(metrics.rounds(found, "lengths", name, key)) == 2
        for shape in ("1x16", "8x128"):
            assert len(metrics.rounds(found, "shapes", name, shape)) == 2
        assert len(metrics.rounds(found, "server", name, "rate")) == 2
        for mark in ("first_ms", "answered_ms", "loaded_ms", "rss"):
            assert len(metrics.rounds(found, "startup", name, mark)) == 2
        assert metrics.rounds(found, "memory", name, "growth")[0] > 0


def test_engines_that_take_many_callers_are_asked_by_many(finished):
    found = finished.results.scenarios
    row = found["concurrency"]["polyhead-int8"]
    assert (row["calls"], row["errors"], row["different"]) == (6, 0, 0)
    slices = found["soak"]["polyhead-int8"]["slices"]
    assert len(slices) == 12
    assert sum(one["errors"] + one["different"] for one in slices) == 0
    assert "torch" not in found["concurrency"]


def test_memory_is_measured_by_the_settings_of_an_engine(finished):
    found = finished.results.scenarios["memory"]["polyhead-int8"]["by_settings"]
    assert {size: list(by_threads) for size, by_threads in found.items()} == {
        size: ["1"] for size in ("64", "256", "1024", "4096")
    }


def test_the_parts_of_an_answer_are_told_by_length(finished):
    found = finished.results.scenarios["profile"]
    assert list(found["polyhead-int8"]) == ["8", "16", "32", "64", "128", "256"]
    assert found["torch"]["16"].keys() == {"tokenise", "run", "decode"}


def test_the_baseline_is_once_as_fast_as_itself(finished):
    own = metrics.speedups(finished.results, "single")["polyhead-int8"]
    assert (own.low, own.value, own.high) == (1, 1, 1)


def test_results_are_read_back_as_they_were(finished):
    kept = results.read(finished.folder)
    assert kept == results.read(finished.folder / "results.json")
    assert plain(kept) == plain(finished.results)


def test_results_say_what_they_were_measured_on(finished):
    found = finished.results
    assert found.machine["versions"]["onnxruntime"]
    assert {"quota", "affinity"} <= found.machine.keys()
    assert found.model["heads"] == ["topic"]
    assert {"tokenizer.json"} < found.model["files"].keys()
    assert found.complete


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"version": 3}, "version 3; this polyhead-bench reads 1 and 2", id="newer"),
        pytest.param({"format": "x"}, "no results of", id="foreign"),
        pytest.param({"rounds": "two"}, "rounds: found 'two'", id="wrong_type"),
        pytest.param({"more": 1}, "more", id="unknown_field"),
    ],
)
def test_other_results_are_refused(finished, tmp_path, change, message):
    data = json.loads((finished.folder / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(BenchError, match=message):
        results.read(tmp_path)


def test_a_missing_file_of_results_is_told(tmp_path):
    with pytest.raises(BenchError, match="no such file"):
        results.read(tmp_path)


def test_the_report_has_every_table_and_picture(finished):
    page = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert all(as_markdown(table) in page for table in tables(finished.results))
    names = [picture.name for picture in pictures(finished.results)]
    assert names == ["latency", "distribution", "throughput", "heads"]
    for picture in pictures(finished.results):
        assert f"({picture.name}.svg)" in page
        assert (finished.folder / f"{picture.name}.svg").read_text("utf-8") == picture.svg
        assert finished.results.machine["cpu"]["model"] in picture.caption
        assert "1 threads each" in picture.caption


def test_a_report_can_be_written_again(finished, tmp_path):
    write(tmp_path, results.read(finished.folder))
    for file in ("results.json", "report.md"):
        assert (tmp_path / file).read_text() == (finished.folder / file).read_text()


def test_every_table_has_as_many_cells_as_columns(finished):
    shown = tables(finished.results)
    assert len(shown) == 13
    for table in shown:
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_a_peer_with_other_answers_is_told_before_its_times(finished):
    odd = {**finished.results.peers["torch"], "agreement": {"topic": 0.125}}
    other = changed(finished, peers={**finished.results.peers, "torch": odd})
    assert tables(other)[0].title.startswith("Peers")
    assert peers_table(finished.results)["torch"][-1] == "measured"
    assert peers_table(other)["torch"][-1] == "other answers: 0.12 the same"


def test_a_peer_that_leaves_a_head_out_is_told_in_its_state(finished):
    more = changed(finished, model={**finished.results.model, "heads": ["topic", "embedding"]})
    assert peers_table(more)["torch"][-1] == "without heads: embedding"


def test_a_schedule_with_other_answers_is_told_in_its_peers_state(finished):
    rows = {**finished.results.scenarios["offline"]}
    rows["torch"] = {**rows["torch"], "same": {"batch 32, sorted": 0.5}}
    other = changed(finished, scenarios={**finished.results.scenarios, "offline": rows})
    expected = "other answers in lists, batch 32, sorted: 0.50 the same"
    assert peers_table(other)["torch"][-1] == expected


@pytest.mark.parametrize(("faster", "said"), [(0.9, True), (1.2, False)])
def test_int8_that_is_slower_than_float_is_told(finished, faster, said):
    times = finished.results.scenarios["single"]
    own = times[finished.results.baseline]["ms"]
    floats = {"ms": [[faster * ms for ms in one] for one in own]}
    peers = {**finished.results.peers, "polyhead-fp32": {"about": "fp32"}}
    other = changed(
        finished,
        peers=peers,
        scenarios={**finished.results.scenarios, "single": {**times, "polyhead-fp32": floats}},
    )
    state = peers_table(other)[finished.results.baseline][-1]
    assert ("load with precision='fp32'" in state) == said


def test_every_schedule_has_a_ratio_and_one_is_the_best(finished):
    (table,) = [t for t in tables(finished.results) if t.title.startswith("All texts at once")]
    rows = [row for row in table.rows if row[0] == "torch"]
    assert {row[1].removesuffix(" (best)") for row in rows} == {
        "equal lengths",
        "batch 32, arrival order",
        "batch 32, sorted",
    }
    assert sum(row[1].endswith(" (best)") for row in rows) == 1
    assert all(row[4] and row[5] == "1.0000" for row in rows)


def test_a_peer_that_cannot_run_is_told_and_the_others_go_on(known, asked, short, tmp_path):
    alone = replace(known, checkpoint=None)
    found = run.run(alone, asked, tmp_path / "report", replace(short, scenarios=("single",)))
    assert list(found.scenarios["single"]) == ["polyhead-int8"]
    assert "pass --checkpoint" in found.peers["torch"]["fault"]
    assert "pass --checkpoint" in (tmp_path / "report" / "report.md").read_text()


def test_a_run_without_a_living_peer_is_an_error(known, asked, short, tmp_path):
    alone = replace(known, checkpoint=None)
    with pytest.raises(BenchError, match=r"no peer could be loaded: .*--checkpoint"):
        run.run(alone, asked, tmp_path, replace(short, peers=("torch",)))


def test_an_interrupted_run_keeps_what_it_measured(known, asked, short, tmp_path, monkeypatch):
    def interrupted(context):
        raise KeyboardInterrupt

    monkeypatch.setitem(scenarios.SCENARIOS, "offline", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(known, asked, tmp_path, replace(short, peers=("polyhead-int8",)))
    kept = results.read(tmp_path)
    assert list(kept.scenarios) == ["single"]
    assert not kept.complete
    assert "interrupted" in (tmp_path / "report.md").read_text()


def test_a_folder_that_cannot_be_written_to_is_found_before_the_run(known, asked, short, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="cannot be written to"):
        run.run(known, asked, tmp_path / "file" / "report", short)
    assert not known.cache.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"peers": ("torhc",)}, "no peer 'torhc'"), ({"scenarios": ("x",)}, "no scenario 'x'")],
    ids=["peer", "scenario"],
)
def test_unknown_names_are_found_before_the_run(known, asked, short, tmp_path, change, message):
    with pytest.raises(BenchError, match=message):
        run.run(known, asked, tmp_path / "report", replace(short, **change))
    assert not (tmp_path / "report").exists()


def words_of_a_run(models, tmp_path, *more):
    words = ["bench", "run", str(models.bundle), "--peers", "polyhead-int8", "--threads", "1"]
    words += ["--scenarios", "single", "--rounds", "1", "--limit", "4"]
    return [*words, "-o", str(tmp_path / "report"), *more]


@pytest.mark.parametrize(
    ("more", "about"),
    [
        pytest.param([], "4 texts, log-normal lengths, mean 28 tokens", id="default"),
        pytest.param(["--texts", "golden"], "golden texts", id="golden"),
    ],
)
def test_texts_are_chosen_by_name(models, tmp_path, more, about):
    assert main(words_of_a_run(models, tmp_path, *more)) == 0
    found = results.read(tmp_path / "report").texts
    assert (found["about"], found["count"]) == (about, 4)


def test_a_run_can_be_held_against_limits(models, tmp_path, capfd):
    file = tmp_path / "limits.toml"
    file.write_text('[[limit]]\nscenario = "single"\npeer = "polyhead-int8"\nat_most = 1e-9\n')
    assert main(words_of_a_run(models, tmp_path, "--check", "--limits", str(file))) == 1
    assert "missed" in capfd.readouterr().out
