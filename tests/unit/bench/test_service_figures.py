"""`polyhead bench runtime` and `bench soak`: to their ends at tiny sizes; no time is judged."""

import json
from pathlib import Path

import numpy as np
import pytest

import polyhead
from polyhead.bundle import read
from polyhead.cli.main import main
from polyhead.inference.session import OnnxSession
from polyhead_bench import checks, intra_op, runtime, schedules, traffic
from polyhead_bench.checks import Check
from polyhead_bench.errors import PeerFault
from polyhead_bench.graphs import serving
from polyhead_bench.peers import padded
from polyhead_export.gate import Limits
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints

COMMITTED = Path(__file__).parents[2] / "data" / "bundle"
SIZES = {"texts": 12, "rounds": 1, "threads": 2, "calls": 3, "alone": 10, "many": 20}
TINY = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]


@pytest.fixture(scope="module")
def int8(models, tmp_path_factory):
    """The tiny model in int8."""
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    limits = Limits(max_drop=100, max_flips=100)
    export(models.checkpoint, folder, ExportSettings(limits=limits))
    return folder


def figures(folder, name):
    found = json.loads((folder / f"{name}.json").read_text())
    assert found["complete"] is True
    return found


def test_runtime_runs_to_its_end(tmp_path, capfd):
    code = main(["bench", "runtime", str(COMMITTED), *TINY, "-o", str(tmp_path)])
    assert code == 1  # at least the rows that need a checkpoint were not measured
    found = figures(tmp_path, "runtime")
    rows = {row["name"]: row for row in found["checks"]}
    assert [row["passed"] for row in rows.values()][:2] == [None, None]
    assert rows["errors of threads that share an engine"]["found"] == "0.00"
    assert rows["answers unlike a single thread's"]["found"] == "0.00"
    assert not [part for part, of in found["figures"].items() if "fault" in of]
    assert "| `batch_tokens` | 1 worker |" in capfd.readouterr().out


def test_soak_runs_to_its_end(tmp_path):
    words = ["bench", "soak", str(COMMITTED), "--minutes", "0.02", "--threads", "2"]
    assert main([*words, "-o", str(tmp_path)]) in (0, 1)
    found = figures(tmp_path, "soak")
    assert found["figures"]["wrong"] == 0
    assert len(found["figures"]["slices"]) == 12


def test_runtime_with_a_checkpoint_races_the_padded_graph(models, int8, tmp_path):
    words = ["bench", "runtime", str(int8), "--checkpoint", str(models.checkpoint)]
    main([*words, "--cache", str(tmp_path), *TINY, "-o", str(tmp_path)])
    of_padded, of_optimum = figures(tmp_path, "runtime")["checks"][:2]
    assert of_padded["found"] is not None
    assert "100.0% same decisions" in of_padded["note"]
    assert (of_optimum["found"], of_optimum["passed"]) == (None, None)
    assert "polyhead bench setup" in of_optimum["note"]


def test_the_padded_graph_gives_the_answers_of_the_exact_one(models, int8, tmp_path):
    bundle, trained = read(int8), checkpoints.load(models.checkpoint)
    session = OnnxSession(serving.padded(trained, bundle, tmp_path / "padded.onnx"))
    own = OnnxSession(bundle.file(bundle.manifest.graphs[0]))
    ids = np.random.default_rng(0).integers(5, 100, (2, 9))
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    feeds = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": mask}
    (found,) = session.run(["logits/topic"], {name: feeds[name] for name in session.inputs})
    for row, tokens in enumerate((9, 5)):
        alone = {name: feeds[name][row : row + 1, :tokens] for name in own.inputs}
        (expected,) = own.run(["logits/topic"], alone)
        np.testing.assert_allclose(found[row], expected[0], atol=1e-5)


def test_a_padded_graph_of_other_weights_is_refused(models, int8, tmp_path):
    trained = checkpoints.load(models.checkpoint)
    for weights in trained.model.encoder.parameters():
        weights.data.mul_(-1.5)
    with pytest.raises(PeerFault, match="weights of the padded graph and of the bundle's differ"):
        serving.padded(trained, read(int8), tmp_path / "padded.onnx")


@pytest.mark.parametrize("order", padded.SCHEDULES)
@pytest.mark.parametrize("way", [schedules.SIDE_BY_SIDE, schedules.TOGETHER])
def test_every_schedule_answers_in_the_order_of_the_texts(models, tmp_path, order, way):
    bundle, trained = read(models.bundle), checkpoints.load(models.checkpoint)
    graph = serving.padded(trained, bundle, tmp_path / "padded.onnx")
    texts = traffic.texts(models.bundle, [9, 4, 30, 7] * 10, seed=0)
    with polyhead.load(models.bundle) as engine:
        answer = schedules.answering(
            engine, graph=str(graph), options="runtime", order=order, way=way
        )
        found, expected = answer(texts), engine.predict(texts)
    assert [p.text for p in found] == texts
    assert [p["topic"].score for p in found] == pytest.approx([p["topic"].score for p in expected])


@pytest.mark.parametrize(
    ("passed", "allowed", "good"),
    [(True, False, True), (False, True, False), (None, False, False), (None, True, True)],
    ids=["reached", "missed", "not_measured", "not_measured_and_allowed"],
)
def test_a_figure_that_was_not_measured_is_not_reached(passed, allowed, good):
    rows = [
        Check(name="a", found=None, limit="<= 1", passed=passed),
        checks.unlimited("b", "3"),
    ]
    assert checks.passed(rows, allow_unmeasured=allowed) is good


@pytest.mark.parametrize(
    ("factors", "rule"),
    [
        pytest.param((1.3, 1.1, 1.0), "1", id="never"),
        pytest.param((1.3, 0.8, 0.6), "1, from 16 tokens on all", id="long"),
        pytest.param((0.8, 1.1, 0.6), "1, from 128 tokens on all", id="only_the_longest"),
        pytest.param((0.9, 0.8, 0.6), "2", id="always"),
    ],
)
def test_all_threads_are_for_lengths_from_which_they_are_faster(factors, rule):
    ms = {
        str(tokens): {"one": [1.0, 2.0, 3.0], "all": [factor, 2 * factor, 3 * factor]}
        for tokens, factor in zip((8, 16, 128), factors, strict=True)
    }
    assert intra_op.rule({"threads": 2, "ms": ms}) == rule


@pytest.mark.parametrize(("budget", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6])])
def test_memory_is_measured_with_as_many_workers_as_there_can_be(budget, counts):
    assert runtime._counts(budget) == counts


def test_texts_are_no_longer_than_the_encoder_reads(models):
    assert max(traffic.lengths(2000, 0, 40)) == 40
    assert traffic.longest(models.bundle) == 128
