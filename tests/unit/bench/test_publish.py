import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from polyhead.cli.main import main
from polyhead_bench import results as files
from polyhead_bench.errors import BenchError
from polyhead_bench.report import publish

ROOT = Path(__file__).parents[3]
BLANK = f"# Title\n\n{publish.BEGIN}\n\n{publish.END}\n\nMore.\n"


@pytest.fixture
def root(finished, tmp_path):
    """A checkout with two publications, the newer one of two models."""
    for name in ("2026-01-01-old/demo", "2026-02-01-new/demo", "2026-02-01-new/assistant"):
        shutil.copytree(finished.folder, tmp_path / "results" / name)
    (tmp_path / "README.md").write_text(BLANK)
    return tmp_path


def test_the_readme_shows_each_model_of_the_newest_runs_and_stays_when_made_again(root):
    words = ["bench", "publish", str(root / "results"), str(root / "README.md")]
    assert main(words) == 0
    once = (root / "README.md").read_text()
    for model in ("assistant", "demo"):
        part = once.partition(f"### {model}\n")[2].partition("### ")[0]
        assert "| polyhead-int8 |" in part
        assert f"(results/2026-02-01-new/{model}/latency.svg)" in part
    assert "2026-01-01" not in once
    assert once.startswith("# Title\n")
    assert once.endswith("\n\nMore.\n")
    assert main(words) == 0
    assert (root / "README.md").read_text() == once
    assert main([*words, "--models", "demo"]) == 0
    assert "### assistant" not in (root / "README.md").read_text()


def test_peers_that_failed_or_were_refused_are_published_with_the_reason(finished, tmp_path):
    heads = {"ms": {"1": [1.0, 1.0]}, "samples": {}, "faults": {"2": "refused by the gate"}}
    peers = {
        **finished.results.peers,
        "separate-int8": {"about": "", "agreement": {}, "fault": "no graph keeps the head"},
    }
    scenarios = {**finished.results.scenarios, "heads": {"polyhead-int8": heads}}
    folder = tmp_path / "results" / "2026-03-01-x" / "demo"
    folder.mkdir(parents=True)
    files.write(folder, replace(finished.results, peers=peers, scenarios=scenarios))
    section = publish.section(folder, tmp_path)
    assert "| polyhead-int8 | 2 | - | not measured: refused by the gate |" in section
    assert "- `separate-int8`: no graph keeps the head" in section
    assert "- `openvino-int8`: not installed" in section
    assert "- `torch`" not in section


@pytest.mark.parametrize("readme", ["", BLANK + BLANK], ids=["none", "two"])
def test_a_readme_without_its_markers_is_refused(readme):
    with pytest.raises(BenchError, match="once each"):
        publish.filled(readme, "")


def test_no_published_run_is_told(tmp_path):
    with pytest.raises(BenchError, match="no published run"):
        publish.fill(tmp_path / "README.md", tmp_path)


@pytest.mark.parametrize("model", ["demo", "demo-all-heads", "assistant"])
def test_published_runs_of_version_1_can_be_read(model):
    (folder,) = (ROOT / "benchmarks" / "results").glob(f"2026-11-26-*/{model}")
    assert files.read(folder).version == 1
    section = publish.section(folder, ROOT)
    assert "| polyhead-int8 |" in section
    if model == "assistant":  # its gate refused some of the bundles
        assert "- `separate-int8`: " in section
        assert "- `polyhead-int8`: with 4 heads: " in section


def test_this_readme_shows_published_runs():
    """Whatever stands between the markers is what the runs say."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    runs = {run.name: run for run in publish.newest(ROOT / "benchmarks" / "results")}
    content = readme.partition(publish.BEGIN)[2].partition(publish.END)[0]
    shown = re.findall(r"^### (\S+)$", content, re.MULTILINE)
    assert shown
    expected = "\n\n".join(publish.section(runs[name], ROOT) for name in shown)
    assert content.strip() == expected
