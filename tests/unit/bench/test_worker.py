import gc

import pytest

from polyhead_bench.errors import BenchError
from polyhead_bench.process import Worker


def test_a_worker_answers_every_text_with_a_time_and_the_decisions(models):
    with Worker("polyhead", models.bundle, threads=1) as worker:
        times, decisions = worker.answer(["The parcel was late.", ""])
    assert len(times) == 2
    assert all(time > 0 for time in times)
    assert [list(decision) for decision in decisions] == [["topic"], ["topic"]]


def test_a_worker_answers_again_and_any_text(models):
    texts = ["né à 東京 👍\n\t", '"]}\u2028', "late " * 50, "late " * 600]
    with Worker("polyhead", models.bundle, threads=1) as worker:
        assert worker.answer(texts)[1] == worker.answer(texts)[1]


def test_the_process_is_gone_afterwards(models):
    with Worker("polyhead", models.bundle, threads=1) as worker:
        assert worker._process.poll() is None
    assert worker._process.poll() is not None


def test_the_process_is_gone_after_an_error_of_the_caller(models):
    with (
        pytest.raises(KeyboardInterrupt),
        Worker("polyhead", models.bundle, threads=1) as worker,
    ):
        raise KeyboardInterrupt
    assert worker._process.poll() is not None


@pytest.mark.parametrize(
    ("engine", "message"), [("polyhead", "no bundle here"), ("torch", "no checkpoint here")]
)
def test_a_missing_folder_is_told_in_the_engines_last_words(tmp_path, engine, message):
    with pytest.raises(BenchError, match=f"'{engine}' ended with code 1: .*none: {message}"):
        Worker(engine, tmp_path / "none", threads=1)


def test_a_worker_that_could_not_start_leaves_no_pipe_open(tmp_path):
    with pytest.raises(BenchError):
        Worker("polyhead", tmp_path / "none", threads=1)
    gc.collect()  # an open pipe would warn here, and warnings are errors


def test_a_text_that_the_engine_refuses_is_told_in_its_last_words(models):
    with (
        pytest.raises(BenchError, match="WrongInput: input 0: found a pair"),
        Worker("polyhead", models.bundle, threads=1) as worker,
    ):
        worker.answer([("late", "late")])


def test_a_worker_that_was_killed_is_told(models):
    worker = Worker("polyhead", models.bundle, threads=1)
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(BenchError, match="'polyhead' ended with code -9: it said nothing"), worker:
        worker.answer(["late"])
