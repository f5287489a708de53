import shutil
from pathlib import Path

import pytest

from polyhead_bench import published
from polyhead_bench.errors import BenchError

ROOT = Path(__file__).parents[3]
BLANK = f"# Title\n\n{published.BEGIN}\n\n{published.END}\n\nMore.\n"


@pytest.fixture
def root(finished, tmp_path):
    """A checkout with two publications, the newer one of two models."""
    for name in ("2026-01-01-old/demo", "2026-02-01-new/demo", "2026-02-01-new/assistant"):
        shutil.copytree(finished.folder, tmp_path / "results" / name)
    (tmp_path / "README.md").write_text(BLANK)
    return tmp_path


def test_the_readme_shows_each_model_of_the_newest_runs_and_stays_when_made_again(root):
    words = str(root / "README.md"), str(root / "results")
    published.main(*words)
    once = (root / "README.md").read_text()
    for model in ("assistant", "demo"):
        part = once.partition(f"### {model}\n")[2].partition("### ")[0]
        assert "| polyhead-int8 |" in part
        assert f"(results/2026-02-01-new/{model}/latency.svg)" in part
    assert "2026-01-01" not in once
    assert once.startswith("# Title\n")
    assert once.endswith("\n\nMore.\n")
    published.main(*words)
    assert (root / "README.md").read_text() == once


@pytest.mark.parametrize("readme", ["", BLANK + BLANK], ids=["none", "two"])
def test_a_readme_without_its_markers_is_refused(readme):
    with pytest.raises(BenchError, match="once each"):
        published.filled(readme, "")


def test_no_published_run_is_told(tmp_path):
    with pytest.raises(BenchError, match="no published run"):
        published.main(str(tmp_path / "README.md"), str(tmp_path))


def test_this_readme_has_its_markers():
    published.filled((ROOT / "README.md").read_text(encoding="utf-8"), "")


def test_this_readme_shows_the_published_runs():
    runs = published.newest(ROOT / "benchmarks" / "results")
    if not runs:
        pytest.skip("no run is published in benchmarks/results yet")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert published.filled(readme, published.block(runs, ROOT)) == readme
