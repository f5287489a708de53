"""A whole job: processes, state, what is done again and what is refused."""

import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import time

import pytest

from polyhead import DigestMismatch, InputError, InvalidSetting, PolyheadError
from polyhead.bundle import manifest_digest
from polyhead.serving.jobs import job
from polyhead.serving.jobs.state import STATE, JobSettings
from polyhead.serving.jobs.storage import OutputFolder

ROWS = [{"id": n, "text": f"the parcel {n % 7} was late"} for n in range(50)]
SETTINGS = JobSettings(heads=("topic",), shard_rows=15)


@pytest.fixture
def inputs(write_rows, tmp_path):
    """Two files of 50 rows each, so eight shards."""
    folder = tmp_path / "in"
    folder.mkdir()
    return [str(write_rows(folder / name, ROWS)) for name in ("a.jsonl", "b.parquet")]


@pytest.fixture
def run(many_heads, inputs, folder):
    """Runs the job over `inputs`, with one process unless told."""

    def start(given=None, settings=SETTINGS, bundle=many_heads, **options):
        options = {"processes": 1, **options}
        given = inputs if given is None else given
        return job.run(bundle, given, str(folder.path), settings, **options)

    return start


def expected(inputs, rows=50):
    return sorted((path, n) for path in inputs for n in range(rows))


def test_every_row_is_answered_once_and_a_second_run_does_nothing(run, inputs, folder):
    told = []
    first = run(processes=2, tell=lambda rows, of: told.append((rows, of)))
    assert (first.shards, first.skipped, first.rows, first.failed) == (8, 0, 100, {})
    assert (first.total.answered, first.total.bad, first.total.computed) == (
        100,
        0,
        2 * (7 + 7 + 7 + 5),
    )
    assert told[-1] == (100, 100)
    assert folder.numbers() == expected(inputs)
    before = {part: part.stat().st_mtime_ns for part in folder.parts()}
    second = run()
    assert (second.shards, second.skipped, second.rows) == (8, 8, 0)
    assert second.total == first.total
    assert {part: part.stat().st_mtime_ns for part in folder.parts()} == before


def test_the_state_says_what_was_done(run, many_heads, folder):
    run()
    state = json.loads((folder.path / STATE).read_text())
    assert state["bundle"] == manifest_digest(many_heads)
    assert state["settings"]["heads"] == ["topic"]
    assert [shard["done"]["rows"] for shard in state["shards"]] == [15, 15, 15, 5] * 2


def test_only_what_is_gone_is_done_again(run, inputs, folder):
    run()
    lost = folder.parts()[3]
    lost.unlink()
    again = run()
    assert (again.skipped, again.rows) == (7, 5)
    assert folder.numbers() == expected(inputs)


def test_another_bundle_is_refused_unless_told(run, teacher, inputs, folder):
    run()
    before = folder.rows()
    with pytest.raises(InvalidSetting, match=r"answered by the bundle \w{16}….*--restart"):
        run(bundle=teacher)
    assert folder.rows() == before
    again = run(bundle=teacher, restart=True)
    assert (again.skipped, again.bundle) == (0, manifest_digest(teacher))
    assert len(folder.parts()) == 8
    assert folder.numbers() == expected(inputs)
    assert folder.rows() != before


def test_other_settings_are_refused_unless_told(run, folder):
    run()
    other = JobSettings(heads=("topic",), shard_rows=40)
    with pytest.raises(InvalidSetting, match="shard_rows=15, this run has 40"):
        run(settings=other)
    assert run(settings=other, restart=True).shards == 4
    assert len(folder.parts()) == 4


def test_new_inputs_are_added_and_changed_ones_refused(run, write_rows, inputs, folder, tmp_path):
    run([inputs[1]])
    added = run(inputs)
    assert (added.skipped, added.shards) == (4, 8)
    assert folder.numbers() == expected(inputs)
    with pytest.raises(InputError, match="is not among the inputs now"):
        run([inputs[0]])
    write_rows(tmp_path / "in" / "a.jsonl", ROWS[:20])
    with pytest.raises(InputError, match=r"a\.jsonl: has changed since, and rows of it are done"):
        run(inputs)
    assert run(inputs, restart=True).total.answered == 70
    assert len(folder.parts()) == 6


def test_after_a_kill_in_a_restart_nothing_old_is_left(run, inputs, folder):
    run()
    names = [part.name for part in folder.parts()]
    contents = {name: (folder.path / name).read_bytes() for name in names}
    run([inputs[0]], restart=True)
    for name, content in contents.items():  # as if it had been killed before it removed them
        (folder.path / name).write_bytes(content)
    (folder.path / f".{names[0]}.writing").touch()
    (folder.path / "mine.parquet").touch()
    run([inputs[0]])
    assert [part.name for part in folder.parts()] == names[:4]
    assert folder.numbers() == expected([inputs[0]])
    assert not list(folder.path.glob("*.writing"))
    assert (folder.path / "mine.parquet").exists()


def test_a_shard_that_cannot_be_read_fails_alone(run, inputs, folder, tmp_path):
    content = bytearray((tmp_path / "in" / "b.parquet").read_bytes())
    content[4:200] = bytes(196)  # the pages of the first column; the footer stays
    (tmp_path / "in" / "b.parquet").write_bytes(content)
    summary = run()
    assert [*summary.failed] == [inputs[1]]
    assert "cannot be read" in summary.failed[inputs[1]]
    assert folder.numbers() == expected([inputs[0]])
    assert run().skipped == 4


def test_heads_that_are_not_there_are_refused(run, folder):
    with pytest.raises(InputError, match="no head 'topik'"):
        run(settings=JobSettings(heads=("topik",)))
    assert not folder.parts()


def test_a_damaged_bundle_is_refused(run, many_heads, folder, tmp_path):
    bundle = shutil.copytree(many_heads, tmp_path / "bundle")
    (bundle / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(PolyheadError, match=DigestMismatch.__name__):
        run(bundle=bundle)
    assert not folder.parts()


def test_inputs_in_the_output_folder_are_refused(run, write_rows, folder):
    folder.path.mkdir()
    with pytest.raises(InvalidSetting, match="in the output folder"):
        run([str(write_rows(folder.path / "in.csv", ROWS))])


def test_two_jobs_do_not_write_to_one_folder(run, folder, monkeypatch):
    monkeypatch.setattr("polyhead.serving.jobs.storage._PATIENCE", 0.2)
    with (
        OutputFolder(str(folder.path)).locked(),
        pytest.raises(PolyheadError, match="another job writes here"),
    ):
        run()


def test_a_process_that_dies_ends_the_job_and_the_next_run_goes_on(run, inputs, folder):
    def kill(rows, of):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(PolyheadError, match=r"died \(exit code -9\).*Run the same command again"):
        run(tell=kill)
    run()
    assert folder.numbers() == expected(inputs)


def test_an_url(run, inputs, folder):
    pytest.importorskip("fsspec", reason="optional")
    summary = run([f"file://{path}" for path in inputs])
    assert summary.total.answered == 100
    assert len(folder.rows()) == 100


def test_the_command(polyhead, many_heads, inputs, folder, tmp_path):
    words = ["map", many_heads, *inputs, "-o", folder.path, "--heads", "topic", "--processes", "1"]
    done = polyhead(*words, "--keep", "id", "--prefix", "our_")
    assert (done.returncode, done.stdout) == (
        0,
        f"{folder.path}: 100 rows answered, 0 bad rows, 2 shards (0 from before),"
        " 14 texts computed\n",
    )
    assert [*folder.rows()[0]] == ["input_file", "input_row", "id", "our_topic", "our_topic_score"]
    done = polyhead(*words, "--keep", "id", "--prefix", "our_", "--json")
    summary = json.loads(done.stdout)
    assert (summary["shards"], summary["skipped"], summary["rows"]) == (2, 2, 0)
    assert summary["total"] == {"rows": 100, "answered": 100, "bad": 0, "computed": 14}
    done = polyhead(*words)
    assert done.returncode == 1
    assert "keep=('id',), this run has None" in done.stderr


def test_a_command_with_a_pair_and_options(polyhead, many_heads, write_rows, folder, tmp_path):
    path = write_rows(tmp_path / "in.csv", [{"q": "who?", "c": "Anna lives in Oslo"}])
    words = ["map", many_heads, path, "-o", folder.path, "--processes", "1"]
    assert polyhead(*words, "--pair", "q").returncode == 2
    done = polyhead(*words, "--pair", "q,c", "--option", "answer.n=0")
    assert (done.returncode, "n=0" in done.stderr) == (1, True)
    assert polyhead(*words, "--pair", "q,c", "--option", "answer.n=2").returncode == 0
    assert len(folder.rows()) == 1


def test_what_it_says_without_pyarrow(command, many_heads, tmp_path):
    words, environment = command
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from polyhead.cli.main import main\nsys.exit(main())"
    )
    given = ["map", str(many_heads), "in.csv", "-o", "out"]
    done = subprocess.run(
        [words[0], "-c", code, *given], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'polyhead[map]'" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_ends_its_processes(command, many_heads, inputs, folder, number):
    words, environment = command
    job_words = ["map", many_heads, *inputs, "-o", folder.path, "--shard-rows", "1"]
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
    try:
        process = subprocess.Popen(
            [*words, *map(str, job_words)], env=environment, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    while not folder.parts():
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (128 + number, False), said
    with OutputFolder(str(folder.path)).locked():  # no process of it holds the lock any more
        assert len(folder.parts()) < 100
