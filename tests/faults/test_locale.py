"""From texts to answers in a process whose locale knows ASCII only."""

import json
import os
import subprocess
import sys

import pytest

PLACES = ("Zürich", "東京", "Łódź", "Αθήνα")
ROWS = [
    {
        "text": f"Päckchen {n} ist in {place} 👍",
        "topic": ("verspätet", "gelobt")[n % 2],
        "entities": [
            {"label": "ORT·名", "start": 16 + len(str(n)), "end": 16 + len(str(n)) + len(place)}
        ],
    }
    for n in range(24)
    for place in PLACES
]
# Warnings of other libraries are theirs.
PROGRAM = (
    "import sys, warnings\n"
    "warnings.filterwarnings('error', category=EncodingWarning, module='polyhead')\n"
    "from polyhead.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture
def polyhead():
    """Runs a command; its standard output, which has to be UTF-8, as text."""
    own = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **own}
    environment.pop("PYTHONIOENCODING", None)

    def run(*words, stdin=""):
        done = subprocess.run(
            [sys.executable, "-X", "warn_default_encoding", "-c", PROGRAM, *map(str, words)],
            input=stdin.encode(),
            capture_output=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode("utf-8")

    return run


def test_train_evaluate_export_and_run(polyhead, encoder, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (folder / "texts.jsonl").write_text(lines, encoding="utf-8")
    (folder / "config.toml").write_text(
        f"# für später\n[encoder]\nname = '{encoder}'\nmax_tokens = 48\n"
        "[data.briefe]\ntrain = 'texts.jsonl'\nvalidation_share = 0.2\ntest_share = 0.2\n"
        "[heads.topic]\nkind = 'classification'\ndata = 'briefe'\ntarget = 'topic'\n"
        "[heads.entities]\nkind = 'tokens'\ndata = 'briefe'\ntarget = 'entities'\n"
        "[training]\nepochs = 1\nprecision = 'fp32'\n",
        encoding="utf-8",
    )
    config, checkpoint, bundle = (folder / n for n in ("config.toml", "checkpoint", "bundle"))
    assert "gelobt" in polyhead("data", config)
    polyhead("train", config, "-o", checkpoint)
    assert "topic" in polyhead("evaluate", checkpoint, config, "--split", "test", "--baseline")
    polyhead("export", checkpoint, "-o", bundle, "--precision", "fp32")
    assert "ORT·名" in polyhead("inspect", bundle)
    assert "ok" in polyhead("verify", bundle)
    text = ROWS[1]["text"]
    answers = [
        polyhead("run", bundle, text),
        polyhead("run", bundle, "--input", "-", stdin=json.dumps(text, ensure_ascii=False)),
        polyhead("run", bundle, "--input", folder / "texts.jsonl").split("\n")[1],
    ]
    assert [json.loads(answer)["text"] for answer in answers] == [text] * 3
