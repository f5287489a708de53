"""Sub-models apart and combined, over a tiny encoder."""

import json
import sys

import pytest

from polyhead.bundle import read
from polyhead.cli.main import main
from polyhead_bench import compose
from polyhead_bench.compose import Figure, Made
from polyhead_models import checkpoint as checkpoints


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("compose")


@pytest.fixture(scope="module")
def figures(models, work):
    """What the command writes."""
    encoder = models.checkpoint.parent / "encoder"
    file = work / "figures.json"
    words = ["bench", "compose", "--encoder", str(encoder), "--rounds", "3", "--heads", "2"]
    words += ["--work", str(work / "made"), "-o", str(file), "--optimum", str(work / "no-python")]
    assert main(words) == 1  # there is no such environment
    return json.loads(file.read_text())


def test_every_figure_has_a_verdict(figures):
    found = figures["figures"]
    assert len(found) == 6
    for figure in found[:5]:
        assert figure["found"] > 0
        assert figure["passed"] in (True, False)
        if figure["name"].startswith("time"):
            assert figure["low"] <= figure["found"] <= figure["high"]
    assert found[5]["found"] is None
    assert not found[5]["passed"]
    assert "no-python" in found[5]["fault"]
    assert figures["rounds"] == 3
    assert figures["load_average"].keys() == {"before", "after"}


@pytest.mark.usefixtures("figures")
def test_the_heads_are_linear_and_share_one_encoder(work):
    made = work / "made"
    alone, combined = read(made / "alone-0").manifest, read(made / "combined").manifest
    assert list(combined.heads) == ["h0-topic", "h1-topic"]
    assert alone.encoder.fingerprint == combined.encoder.fingerprint
    assert alone.encoder.fingerprint != read(made / "other").manifest.encoder.fingerprint
    (network,) = checkpoints.load(made / "checkpoint-0").model.networks.values()
    assert [p.ndim for p in network.parameters()] == [2, 1]


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("import sys; sys.exit('out of order')", "process ended: out of order"),
        ("print('hello', flush=True)", "said 'hello', expected numbers"),
        ("print('9 9 9 9 9 9', flush=True)", "the logits differ"),
    ],
)
def test_what_optimum_does_wrong_is_a_fault(work, tmp_path, monkeypatch, script, part):
    from polyhead_export import optimum_folder

    made = work / "made"
    optimum_folder.write(made / "checkpoint-0", tmp_path / "optimum-int8")
    (tmp_path / "peer.py").write_text(script)
    monkeypatch.setattr(compose, "_OPTIMUM", tmp_path / "peer.py")
    monkeypatch.setattr(compose, "_export", lambda *_: None)
    paths = [made / name for name in ("combined", "pair", "alone-0", "other", "checkpoint-0")]
    known = Made((paths[2],), *paths, work=tmp_path)
    figure = compose.against_optimum(known, sys.executable, rounds=1)
    assert figure.found is None
    assert part in figure.fault


@pytest.mark.parametrize(
    ("found", "sign", "passed"),
    [
        (1.0, "<=", True),
        (1.1, "<=", False),
        (1.0, ">=", True),
        (0.9, ">=", False),
        (None, ">=", False),
    ],
)
def test_a_figure_passes_at_its_limit(found, sign, passed):
    assert Figure("x", found, sign, 1.0).passed is passed
