"""`polyhead heads` on the command line."""

import pytest

from polyhead.cli.main import main
from polyhead_models import checkpoint


@pytest.fixture
def polyhead(capfd):
    """Runs `polyhead WORDS` here: exit code, stdout and stderr."""

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit:
            code = exit.code
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_help_shows_an_example(polyhead):
    code, out, err = polyhead("heads", "--help")
    assert (code, err) == (0, "")
    assert "Example:\n  polyhead heads " in out


def test_heads_are_listed(polyhead, trained):
    code, out, _ = polyhead("heads", "list", trained)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["topic", "entities", "embedding"]


def test_heads_are_removed_and_added_again(polyhead, trained, tmp_path):
    fewer, again = tmp_path / "fewer", tmp_path / "again"
    assert polyhead("heads", "remove", trained, "topic", "embedding", "-o", fewer)[0] == 0
    assert list(checkpoint.describe(fewer).heads) == ["entities"]
    words = ("--head", "topic", "--prefix", "old-", "-o", again)
    assert polyhead("heads", "add", fewer, trained, *words)[0] == 0
    assert list(checkpoint.describe(again).heads) == ["entities", "old-topic"]
