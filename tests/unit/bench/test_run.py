"""Whole runs over a tiny model: what is measured, what fails, what stays."""

import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from polyhead.bundle import read as read_bundle
from polyhead.cli.main import main
from polyhead.system.schema import plain
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench import report, results, run, scenarios, texts
from polyhead_bench.compare import compare
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.preparation import Models
from polyhead_bench.report.plots import pictures
from polyhead_bench.run import Settings
from polyhead_bench.tables import as_markdown, speedups, tables

HERE = ("polyhead-int8", "torch", "hf-pipeline")


@pytest.fixture(scope="module")
def tokenizer(models):
    bundle = read_bundle(models.bundle)
    return Tokenizer.from_file(bundle.file(bundle.manifest.tokenizer))


@pytest.fixture(scope="module")
def asked(tokenizer):
    words = ["the", "parcel", "was", "late", "thanks", "stars"]
    return texts.mixed(words, tokenizer, count=6, mean=12, longest=40, seed=0)


@pytest.fixture
def known(models, tmp_path):
    return Models(
        bundle=models.bundle,
        checkpoint=models.checkpoint,
        cache=tmp_path / "cache",
        note=lambda _: None,
    )


@pytest.fixture(scope="module")
def settings():
    return Settings(
        peers=HERE, scenarios=("single", "offline", "profile"), threads=1, rounds=2, per_length=2
    )


@pytest.fixture(scope="module")
def finished(models, asked, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    made = Models(
        bundle=models.bundle,
        checkpoint=models.checkpoint,
        cache=folder / "cache",
        note=lambda _: None,
    )
    scenario = ("single", "offline", "lengths", "server", "startup", "profile")
    wanted = replace(settings, scenarios=scenario)
    found = run.run(made, asked, folder / "report", wanted, note=lambda _: None)
    return folder / "report", found


def test_every_peer_answers_as_the_pytorch_model_does(finished):
    _, found = finished
    assert {name: peer["agreement"] for name, peer in found.peers.items()} == {
        name: {"topic": 1.0} for name in HERE
    }
    assert not [peer for peer in found.peers.values() if "fault" in peer]


def test_all_rounds_and_texts_are_kept_as_samples(finished, asked):
    _, found = finished
    for row in found.scenarios["single"].values():
        assert [len(one) for one in row["ms"]] == [len(asked.inputs)] * 2
    for row in found.scenarios["offline"].values():
        assert [len(seconds) for seconds in row["seconds"].values()] == [2] * len(row["seconds"])


def test_the_baseline_is_once_as_fast_as_itself(finished):
    _, found = finished
    own = speedups(found, "single")[found.baseline]
    assert (own.low, own.value, own.high) == (1, 1, 1)


def test_results_are_read_back_as_they_were(finished):
    folder, found = finished
    kept = results.read(folder)
    assert kept == results.read(folder / "results.json")
    assert plain(kept) == plain(found)


def test_results_say_what_they_were_measured_on(finished, asked):
    _, found = finished
    assert found.machine["versions"]["onnxruntime"]
    assert found.texts["sha256"] == asked.digest
    assert found.model["heads"] == ["topic"]
    assert found.complete


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"version": 2}, "version 2; this polyhead-bench reads 1", id="newer"),
        pytest.param({"format": "x"}, "no results of", id="foreign"),
        pytest.param({"rounds": "two"}, "rounds: found 'two'", id="wrong_type"),
        pytest.param({"more": 1}, "more", id="unknown_field"),
    ],
)
def test_other_results_are_refused(finished, tmp_path, change, message):
    data = json.loads((finished[0] / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(BenchError, match=message):
        results.read(tmp_path)


def test_a_missing_file_of_results_is_told(tmp_path):
    with pytest.raises(BenchError, match="no such file"):
        results.read(tmp_path)


class Page(HTMLParser):
    """The tags of a page, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.figures = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [v for k, v in found.items() if k in ("src", "href", "xlink:href") and v]
        if tag == "figure":
            self.figures.append(found["id"])


def test_the_page_needs_nothing_else_and_has_every_picture(finished):
    folder, found = finished
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    names = [picture.name for picture in pictures(found)]
    assert page.figures == names
    assert set(names) == {"latency", "distribution", "load", "throughput", "pareto", "split"}
    assert page.tags.count("svg") == len(names)
    assert page.tags.count("table") == len(tables(found))
    assert all(link.startswith("#") for link in page.links)


def test_pictures_name_model_threads_and_cpu(finished):
    _, found = finished
    for picture in pictures(found):
        assert found.model["name"] in picture.caption
        assert "1 threads each" in picture.caption
        assert found.machine["cpu"]["model"] in picture.caption


def test_pictures_are_the_same_to_the_byte_for_the_same_results(finished):
    _, found = finished
    assert [p.svg for p in pictures(found)] == [p.svg for p in pictures(found)]


def test_the_markdown_page_shows_tables_and_the_pictures_beside_it(finished):
    folder, found = finished
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert all(as_markdown(table) in page for table in tables(found))
    for picture in pictures(found):
        assert f"({picture.name}.svg)" in page
        assert (folder / f"{picture.name}.svg").read_text(encoding="utf-8") == picture.svg


def test_a_peer_that_cannot_run_is_told_and_the_others_go_on(known, asked, settings, tmp_path):
    alone = replace(known, checkpoint=None)
    short = replace(settings, scenarios=("single",), rounds=1)
    found = run.run(alone, asked, tmp_path / "report", short, note=lambda _: None)
    assert list(found.scenarios["single"]) == ["polyhead-int8"]
    assert "pass --checkpoint" in found.peers["torch"]["fault"]
    assert "pass --checkpoint" in (tmp_path / "report" / "report.md").read_text()


def test_a_run_without_a_living_peer_is_an_error(known, asked, settings, tmp_path):
    alone = replace(known, checkpoint=None)
    with pytest.raises(BenchError, match=r"no peer could be loaded: .*--checkpoint"):
        run.run(alone, asked, tmp_path, replace(settings, peers=("torch",)), note=lambda _: None)


def test_an_interrupted_run_keeps_what_it_measured(known, asked, settings, tmp_path, monkeypatch):
    def interrupted(context):
        raise KeyboardInterrupt

    monkeypatch.setitem(scenarios.SCENARIOS, "offline", interrupted)
    short = replace(settings, peers=("polyhead-int8",), rounds=1)
    with pytest.raises(KeyboardInterrupt):
        run.run(known, asked, tmp_path, short, note=lambda _: None)
    kept = results.read(tmp_path)
    assert list(kept.scenarios) == ["single"]
    assert not kept.complete
    assert "interrupted" in (tmp_path / "report.md").read_text()


def test_an_interrupt_before_the_first_scenario_is_a_report(
    known, asked, settings, tmp_path, monkeypatch
):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_expected", interrupted)
    short = replace(settings, peers=("polyhead-int8",))
    with pytest.raises(KeyboardInterrupt):
        run.run(known, asked, tmp_path, short, note=lambda _: None)
    kept = results.read(tmp_path)
    assert (list(kept.peers), kept.scenarios, kept.complete) == (["polyhead-int8"], {}, False)


def peers_table(found):
    return {row[0]: row for row in tables(found)[0].rows}


def test_a_peer_with_other_answers_is_told_in_its_state(finished):
    _, found = finished
    odd = {**found.peers["torch"], "agreement": {"topic": 0.125}}
    changed = replace(found, peers={**found.peers, "torch": odd})
    assert peers_table(found)["torch"][-1] == "measured"
    assert peers_table(changed)["torch"][-1] == "other answers: 0.12 the same"


def test_a_peer_that_leaves_a_head_out_is_told_in_its_state(finished):
    _, found = finished
    more = replace(found, model={**found.model, "heads": ["topic", "embedding"]})
    assert peers_table(more)["torch"][-1] == "measured; without heads: embedding"


def test_a_schedule_with_other_answers_is_told_in_its_peers_state(finished):
    _, found = finished
    rows = {**found.scenarios["offline"]}
    rows["torch"] = {**rows["torch"], "same": {"batch 32, sorted": 0.5}}
    changed = replace(found, scenarios={**found.scenarios, "offline": rows})
    expected = "other answers in lists, batch 32, sorted: 0.50 the same"
    assert peers_table(changed)["torch"][-1] == expected


def test_every_schedule_has_a_ratio_and_one_is_the_best(finished):
    _, found = finished
    (table,) = [one for one in tables(found) if one.title.startswith("All texts at once")]
    rows = [row for row in table.rows if row[0] == "torch"]
    assert {row[1].removesuffix(" (best)") for row in rows} == {
        "equal lengths",
        "batch 32, arrival order",
        "batch 32, sorted",
    }
    assert sum(row[1].endswith(" (best)") for row in rows) == 1
    assert all(row[4] and row[5] == "1.0000" for row in rows)


def test_memory_at_its_peak_and_samples_are_kept(finished):
    _, found = finished
    for name, peer in found.peers.items():
        assert peer["memory"]["peak"] >= peer["memory"]["rss"] > 0
        (rounds,) = {len(one) for one in found.scenarios["lengths"][name]["samples"].values()}
        assert rounds == found.rounds
        assert peer["info"]["versions"]["numpy"]
    (table,) = [one for one in tables(found) if "peak after the run" in one.header]
    assert all(int(row[3]) > 0 for row in table.rows)
    assert {"quota", "affinity"} <= found.machine.keys()
    assert {"tokenizer.json"} < found.model["files"].keys()


def test_a_folder_that_cannot_be_made_is_found_before_the_run(known, asked, settings, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="cannot be made"):
        run.run(known, asked, tmp_path / "file" / "report", settings, note=pytest.fail)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"peers": ("torhc",)}, "no peer 'torhc'"), ({"scenarios": ("x",)}, "no scenario 'x'")],
    ids=["peer", "scenario"],
)
def test_unknown_names_are_found_before_the_run(known, asked, settings, tmp_path, change, message):
    with pytest.raises(BenchError, match=message):
        run.run(known, asked, tmp_path, replace(settings, **change), note=pytest.fail)


def test_models_are_made_once(known, monkeypatch):
    first = known.folder("fp32", ["topic"])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("made again"))
    assert known.folder("fp32", ["topic"]) == first
    assert read_bundle(first).manifest.graphs[0].precision == "fp32"


def test_a_model_that_cannot_be_made_names_the_command(known, tmp_path):
    broken = replace(known, checkpoint=tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(PeerFault, match=r"'polyhead export .*failed: .*no checkpoint here"):
        broken.folder("fp32", ["topic"])


def faster(found, factor):
    """The same run with the bundle `factor` times as slow."""
    rows = dict(found.scenarios["single"])
    name = found.baseline
    rows[name] = {"ms": [[factor * ms for ms in one] for one in rows[name]["ms"]]}
    return replace(found, scenarios={"single": rows})


def steady(found):
    """Every round alike, so that intervals are points."""
    rows = {n: {"ms": [row["ms"][0]] * 3} for n, row in found.scenarios["single"].items()}
    return replace(found, scenarios={"single": rows})


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(2.0, "worse"), (0.5, "better"), (1.0, "no difference shown")],
    ids=["slower", "faster", "same"],
)
@pytest.mark.parametrize("baseline", [None, "torch"])
def test_two_runs_are_compared(finished, factor, verdict, baseline):
    before = steady(finished[1])
    changes = compare(before, faster(before, factor), baseline=baseline)
    (own,) = [change for change in changes if change.peer == "polyhead-int8"]
    assert own.verdict == verdict
    assert own.relative is (baseline is not None)
    assert baseline not in [change.peer for change in changes]


def test_overlapping_intervals_show_no_difference(finished):
    rows = {"polyhead-int8": {"ms": [[1.0], [2.0], [3.0]]}}
    later = {"polyhead-int8": {"ms": [[1.5], [2.5], [3.5]]}}
    one, two = (replace(finished[1], scenarios={"single": r}) for r in (rows, later))
    (change,) = compare(one, two)
    assert change.verdict == "no difference shown"


def test_the_commands_work_from_end_to_end(models, tmp_path, capfd):
    words = ["bench", "run", str(models.bundle), "--checkpoint", str(models.checkpoint), "--smoke"]
    words += ["--peers", "polyhead-int8,torch", "--threads", "1", "--limit", "3"]
    words += ["--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "report")]
    assert main(words) == 0
    out = capfd.readouterr().out
    assert "One text at a time" in out
    assert main(["bench", "roofline", str(models.bundle), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["peaks"]["int8"]["measured"] > 0
    for point in found["points"]:
        assert sum(point["by_operator"].values()) == pytest.approx(1)


def words_of_a_run(models, tmp_path, *more):
    words = ["bench", "run", str(models.bundle), "--peers", "polyhead-int8", "--threads", "1"]
    words += ["--scenarios", "single", "--rounds", "1", "--limit", "4"]
    return [*words, "-o", str(tmp_path / "report"), *more]


@pytest.mark.parametrize(
    ("more", "about"),
    [
        pytest.param([], "4 texts, log-normal lengths, mean 28 tokens", id="default"),
        pytest.param(["--texts", "golden"], "golden texts", id="golden"),
        pytest.param(["--tokens", "7"], "4 texts of 7 tokens", id="fixed"),
    ],
)
def test_texts_are_chosen_by_name(models, tmp_path, more, about):
    assert main(words_of_a_run(models, tmp_path, *more)) == 0
    found = results.read(tmp_path / "report").texts
    assert (found["about"], found["count"]) == (about, 4)


def test_labels_of_a_file_give_an_accuracy_and_its_picture(models, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "late", "topic": "praise"}\n{"text": "late", "topic": "delivery"}\n')
    assert main(words_of_a_run(models, tmp_path, "--texts", str(file))) == 0
    found = results.read(tmp_path / "report")
    assert found.peers["polyhead-int8"]["accuracy"] == {"topic": 0.5}
    (picture,) = [one for one in pictures(found) if one.name == "pareto"]
    assert "accuracy on these texts" in picture.svg
    assert peers_table(found)["polyhead-int8"][3] == "0.5000"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tokens", "2"], "--tokens: expected 3 to 256"),
        (["--tokens", "9", "--texts", "golden"], "--tokens: is of synthetic texts"),
        (["--sigma", "-1"], "--sigma: expected 0 or more"),
    ],
    ids=["too_short", "golden", "sigma"],
)
def test_texts_that_cannot_be_made_are_a_usage_error(models, tmp_path, capfd, more, message):
    with pytest.raises(SystemExit) as stopped:
        main(words_of_a_run(models, tmp_path, *more))
    assert stopped.value.code == 2
    assert message in capfd.readouterr().err


def test_a_smoke_run_fails_when_a_peer_does(models, tmp_path, capfd):
    words = ["bench", "run", str(models.bundle), "--smoke", "--peers", "polyhead-int8,torch"]
    words += ["--threads", "1", "--limit", "2", "-o", str(tmp_path)]
    assert main(words) == 1
    assert "pass --checkpoint" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["run", "compare", "roofline"])
def test_help_imports_no_torch(name):
    code = (
        "import sys\nfrom polyhead.cli.main import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
        "    sys.exit(1 if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, "bench", name, "--help"], check=False)
    assert done.returncode == 0


def test_operations_are_those_of_a_hand_count():
    from polyhead_bench.roofline import operations

    # One layer of width 2 with a feed-forward of 8, three tokens: four linears of 2 x 2 are 16
    # multiplications a token, two of 2 x 8 are 32, attention 3 x 2 twice is 12; each with an
    # addition.
    assert operations(layers=1, hidden=2, feed_forward=8, tokens=3) * 1e9 == 2 * 3 * (16 + 32 + 12)


@pytest.mark.parametrize("tokens", [3, 4, 16, 40])
def test_texts_have_exactly_as_many_tokens_as_asked_for(tokenizer, tokens):
    made = texts.fixed(["late", "parcel", "stars"], tokenizer, tokens=tokens, count=5)
    assert made.tokens == (tokens,) * 5


def test_a_mix_of_lengths_has_the_mean_and_is_reproducible(tokenizer):
    one, two = (
        texts.mixed(["late"], tokenizer, count=400, mean=20, longest=200, seed=4) for _ in range(2)
    )
    assert one == two
    assert sum(one.tokens) / 400 == pytest.approx(20, rel=0.1)


def test_no_texts_are_refused(tokenizer, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(BenchError, match="no texts"):
        texts.of_file(tmp_path / "empty.jsonl", "text", tokenizer, limit=5)


def test_a_report_can_be_written_again(finished, tmp_path):
    report.write(tmp_path, finished[1])
    for file in ("results.json", "report.md", "report.html"):
        assert (tmp_path / file).read_text() == (finished[0] / file).read_text()
