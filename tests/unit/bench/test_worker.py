import gc

import pytest

from polyhead_bench.errors import PeerFault
from polyhead_bench.process import Worker


@pytest.fixture
def worker(models):
    with Worker("polyhead-int8", models.bundle, threads=1) as worker:
        yield worker


def test_a_worker_says_what_it_is(worker):
    assert worker.ready["first_ms"] > 0
    assert worker.ready["rss"] > worker.ready["disk"] > 0
    assert worker.ready["schedules"] == ["engine"]


def test_a_worker_answers_every_text_with_a_time_and_the_answers(worker):
    found = worker.ask("single", texts=["The parcel was late.", ""], answers=True)
    assert len(found["ms"]) == 2
    assert all(time > 0 for time in found["ms"])
    assert [list(answer) for answer in found["answers"]] == [["topic"], ["topic"]]


def test_a_worker_answers_again_and_any_text(worker):
    texts = ["né à 東京 👍\n\t", '"]}\u2028', "late " * 50, "late " * 600]
    one, other = (worker.ask("single", texts=texts, answers=True)["answers"] for _ in range(2))
    assert one == other


def test_all_at_once_are_answered_as_one_by_one(worker):
    texts = ["The parcel was late.", "Thanks!", ""]
    one = worker.ask("single", texts=texts, answers=True)
    many = worker.ask("offline", texts=texts, schedule="engine", answers=True)
    assert one["answers"] == many["answers"]
    assert many["seconds"] > 0


def test_texts_that_arrive_have_a_latency_each(worker):
    assert len(worker.ask("server", texts=["a", "b"], arrivals=[0.0, 0.001])["ms"]) == 2


def test_a_profile_has_the_parts(worker):
    (parts,) = worker.ask("profile", texts=["late"])["parts"]
    assert {"tokenise", "run", "decode"} <= set(parts)


def test_memory_is_at_most_its_peak(worker):
    found = worker.ask("memory")
    assert 0 < found["rss"] <= found["peak"]


def test_the_process_is_gone_afterwards(models):
    with Worker("polyhead-int8", models.bundle, threads=1) as worker:
        assert worker._process.poll() is None
    assert worker._process.poll() is not None


def test_the_process_is_gone_after_an_error_of_the_caller(models):
    with (
        pytest.raises(KeyboardInterrupt),
        Worker("polyhead-int8", models.bundle, threads=1) as worker,
    ):
        raise KeyboardInterrupt
    assert worker._process.poll() is not None


@pytest.mark.parametrize(
    ("peer", "message"), [("polyhead-int8", "no bundle here"), ("torch", "no checkpoint here")]
)
def test_a_missing_folder_is_told_in_the_peers_last_words(tmp_path, peer, message):
    with pytest.raises(PeerFault, match=f"'{peer}' ended with code 1: .*none: {message}"):
        Worker(peer, tmp_path / "none", threads=1)


def test_a_worker_that_could_not_start_leaves_no_pipe_open(tmp_path):
    with pytest.raises(PeerFault):
        Worker("polyhead-int8", tmp_path / "none", threads=1)
    gc.collect()  # an open pipe would warn here, and warnings are errors


def test_a_text_that_the_peer_refuses_is_told_in_its_last_words(worker):
    with pytest.raises(PeerFault, match="WrongInput: input 0: found a pair"):
        worker.ask("single", texts=[("late", "late")])


def test_a_worker_that_was_killed_is_told(worker):
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(PeerFault, match=r"code -9 .killed; out of memory.*: it said nothing"):
        worker.ask("single", texts=["late"])
