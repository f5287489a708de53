"""Rows of `polyhead bench export`: figures against limits, faults, and what was not measured."""

import json
import shutil
from dataclasses import replace

import pytest

from polyhead.bundle import HeadQuality, read, writer
from polyhead.cli.main import main
from polyhead_bench import checks
from polyhead_bench.errors import BenchError
from polyhead_bench.graphs import decisions, exporting, rivals, speed
from polyhead_bench.graphs.race import Race
from polyhead_bench.graphs.rivals import OWN

SHAPES = ((1, 128), (1, 256))
RIVAL = rivals.Rival(name="b", about="the b", limit=0.7, limited=SHAPES[:1])
NAME = "m 1x128, time against the b"


def raced(own, other, **faults):
    times = {OWN: own, "b": other}
    return Race({name: {SHAPES[0]: ms} for name, ms in times.items() if ms}, {}, faults)


def quality(fp32, exported, interval):
    return HeadQuality(
        split="validation",
        texts=100,
        metric="accuracy",
        fp32=fp32,
        exported=exported,
        agreement=1,
        max_logit_error=0,
        drop_interval=interval,
    )


@pytest.fixture
def with_drop(models, tmp_path):
    """Makes a bundle whose head lost something."""

    def make(name, *figures):
        folder = shutil.copytree(models.bundle, tmp_path / name)
        manifest = replace(read(folder).manifest, quality={"topic": quality(*figures)})
        writer.write_manifest(folder, manifest)
        return folder

    return make


@pytest.fixture
def tested(models, tmp_path):
    """A checkpoint that remembers a test split of three texts."""
    folder = shutil.copytree(models.checkpoint, tmp_path / "tested")
    rows = [{"text": f"The parcel was {n} days late.", "topic": "delivery"} for n in range(3)]
    (tmp_path / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    description = json.loads((folder / "polyhead.json").read_text())
    description["config"]["data"]["mail"]["test"] = str(tmp_path / "test.jsonl")
    (folder / "polyhead.json").write_text(json.dumps(description))
    return folder


@pytest.mark.parametrize(("own", "passed"), [(6.0, True), (8.0, False)], ids=["below", "above"])
def test_a_ratio_of_times_has_a_limit_at_its_shapes(own, passed):
    (row,) = rivals.against(raced([own], [10.0]), [RIVAL], SHAPES[:1], "m")
    assert (row.name, row.found, row.limit) == (NAME, f"{own / 10:.2f}", "<= 0.7")
    assert row.passed is passed


def test_other_shapes_are_shown_without_a_limit():
    shown = replace(RIVAL, limited=())
    (row,) = rivals.against(raced([6.0], [10.0]), [shown], SHAPES[:1], "m")
    assert (row.found, row.limit, row.passed) == ("0.60", "", None)
    assert row.note.endswith("no limit")
    assert "shown" in checks.table([row])


def test_a_shape_that_the_bundle_cannot_read_is_a_row():
    row = rivals.against(raced([6.0], [10.0]), [RIVAL], SHAPES, "m")[1]
    assert (row.found, row.passed, row.note) == (None, None, "the bundle reads fewer tokens")


def test_a_peer_with_a_fault_is_not_measured_at_each_shape():
    rows = rivals.against(raced([6.0], None, b="it ended"), [RIVAL], SHAPES, "m")
    assert [(row.name, row.passed, row.note) for row in rows] == [
        (NAME, None, "it ended"),
        ("m 1x256, time against the b", None, "it ended"),
    ]


def test_without_our_own_times_limits_are_missed():
    race = raced(None, [10.0], **{OWN: "other answers"})
    rows = rivals.against(race, [RIVAL], SHAPES, "m")
    assert [row.passed for row in rows] == [False, None]
    assert rows[0].note == "our graph: other answers"


def test_a_rival_that_did_not_take_part_has_no_row():
    assert rivals.against(Race({OWN: {SHAPES[0]: [1.0]}}), [RIVAL], SHAPES, "m") == []


def test_limits_are_those_that_were_agreed():
    limits = {r.name: (r.limit, len(r.limited)) for r in rivals.of_minilm(("avx512_vnni",))}
    assert limits == {
        "ort-textbook": (0.7, 5),
        "optimum-int8": (0.78, 5),
        "openvino-int8": (1.0, 3),
        "openvino-int8-bf16": (None, 0),
        "polyhead-fp32": (0.38, 1),
    }


@pytest.mark.parametrize(
    ("flags", "configuration", "bf16"),
    [
        (("avx2", "avx_vnni"), "avx2", False),
        (("avx2", "avx512_vnni"), "avx512_vnni", False),
        (("avx2", "avx512_vnni", "amx_bf16"), "avx512_vnni", True),
    ],
    ids=["avx2", "vnni", "amx"],
)
def test_peers_are_those_of_the_cpu(flags, configuration, bf16):
    assert rivals.optimum_configuration(flags) == configuration
    assert any(configuration in rival.about for rival in rivals.of_minilm(flags))
    assert rivals.has_bf16(flags) is bf16


@pytest.mark.parametrize(
    ("figures", "passed"),
    [
        pytest.param((0.9, 0.899, (-0.1, 0.3)), True, id="zero_inside"),
        pytest.param((0.9, 0.91, (-1.5, -0.5)), True, id="gain"),
        pytest.param((0.9, 0.899, (0.05, 0.2)), False, id="above_zero"),
        pytest.param((0.9, 0.89, (-0.5, 2.0)), False, id="large"),
    ],
)
def test_a_drop_is_small_and_its_interval_not_above_zero(with_drop, figures, passed):
    (row,) = decisions.drops(with_drop("assistant", *figures), limited=True)
    assert (row.name, row.passed) == ("assistant: drop of topic", passed)
    assert row.limit == "<= 0.3 points, interval not above 0"


def test_drops_without_a_limit_are_shown(with_drop):
    (row,) = decisions.drops(with_drop("demo", 0.9, 0.8, (5.0, 15.0)), limited=False)
    assert (row.limit, row.passed, row.note) == ("", None, "no limit")
    assert row.found.startswith("+10.00")


def test_changed_decisions_are_counted_in_texts(tested, models):
    rows, found = decisions.decisions(tested, models.bundle, {"topic": 1.0}, lambda _: None)
    assert found == {"topic": {"texts": 3, "changed": 0}}
    assert (rows[0].name, rows[0].found) == ("tested: decisions changed, topic", "0.00 %")
    assert (rows[0].passed, rows[0].note) == (True, "0 of 3 texts")


def test_a_head_without_test_texts_is_not_measured(models):
    (row,), found = decisions.decisions(models.checkpoint, models.bundle, {}, lambda _: None)
    assert found["topic"]["texts"] == 0
    assert (row.found, row.passed, row.note) == (None, None, "no test texts")


def test_a_recipe_that_cannot_be_exported_is_failed_rows(tmp_path):
    part = lambda: decisions.recipe(tmp_path / "sst2", lambda _: None)  # noqa: E731
    (row,), figures = checks.attempt(part, decisions.rows("sst2"))
    assert (row.name, row.limit) == ("sst2: decisions changed, sentiment", "<= 0.8 %")
    assert row.passed is False
    assert "no checkpoint here" in row.note
    assert figures == {"fault": row.note}


def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(BenchError, match=r"^'polyhead export' failed: .*no checkpoint here"):
        exporting.measured(["export", tmp_path, "-o", tmp_path / "bundle"])


def test_a_command_has_time_and_memory():
    seconds, peak = exporting.measured(["--version"])
    assert 0 < seconds < 60
    assert 2**20 < peak < 2**33


def test_bert_base_is_calibrated_with_full_texts(wordpiece):
    texts = speed.bert_texts(["parcel", "late"], wordpiece, longest=40)
    assert len(texts) == speed.TEXTS == 512
    lengths = [len(encoding) for encoding in wordpiece.encode(texts[::2])]
    assert max(lengths) == 40
    assert lengths.count(40) > 4


def test_figures_are_written_whole_with_command_and_commit(tmp_path):
    checks.write(tmp_path, "x", [], {"rounds": 1}, complete=False)
    path = checks.write(tmp_path, "x", [], {"rounds": 2})
    found = json.loads(path.read_text())
    assert (found["figures"], found["complete"]) == ({"rounds": 2}, True)
    assert {"command", "commit", "changed", "machine"} <= set(found)
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_an_interrupted_run_keeps_what_was_measured_and_lists_the_rest(
    models, tmp_path, monkeypatch, capfd
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "small", stop)
    monkeypatch.setattr(exporting, "measured", lambda words: (12.0, 2**30))
    words = ["bench", "export", models.bundle, "--checkpoint", models.checkpoint, "-o", tmp_path]
    assert main([*map(str, words), "--small"]) == 130
    found = json.loads((tmp_path / "export.json").read_text())
    assert found["complete"] is False
    rows = {row["name"]: row for row in found["checks"]}
    assert rows["export with calibration and gate"]["found"] == "12.00 s"
    assert rows["MiniLM bundle's size"]["passed"] is True
    for name in ("snips: decisions changed, intent", "assistant: drop of each head"):
        assert (rows[name]["passed"], rows[name]["found"]) == (None, None)
        assert "--decisions" in rows[name]["note"]
    assert rows["export of a BERT-base-size model"]["note"] == "--small"
