"""The clients of `make bench-serve`, against servers of the test's own."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from polyhead_bench import infinity, overload
from polyhead_bench.convert.cache import Models
from polyhead_bench.errors import PeerFault
from polyhead_bench.goals import row
from polyhead_bench.harness.http import Caller, request


@contextmanager
def serving(answer):
    """The port of a server: `answer(body)` gives status and content, in a thread each."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = answer(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 500

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_caller_waits_for_all_of_an_answer():
    content = b"x" * 500_000
    with serving(lambda body: (200 + body, content)) as port:
        caller = Caller(port)
        assert [caller.ask(request("/", n)) for n in (0, 1)] == [(200, content), (201, content)]
        caller.close()


def test_an_open_loop_counts_what_is_answered_in_time_and_what_is_refused():
    """One text at a time, 10 ms each, and no queue: what comes meanwhile is refused."""
    computing = threading.Lock()
    patient, asked = [True], []

    def answer(body):
        asked.append(body)
        if not computing.acquire(blocking=patient[0]):
            return 429, b""
        time.sleep(0.01)
        computing.release()
        return 200, b"answer"

    def bodies(count):
        patient[0] = count == 20_000  # as long as the capacity is measured
        return [request("/", n) for n in range(count)]

    with serving(answer) as port:
        found = overload.measure(port, bodies, times=3, seconds=1)
    assert 0 < found.capacity <= 100
    assert len(found.answers) == int(3 * found.capacity)
    assert {status for status, _ in found.answers} == {200, 429}
    assert found.share(200) + found.share(429) == 1
    assert found.in_time(0.5) > 0
    assert found.in_time(0) == 0
    assert min(found.times_s(200)) >= 0.01
    assert found.own > 0


def vectors(scale, turn=0.0):
    def answer(body):
        data = [{"embedding": [scale * len(t), turn, scale]} for t in body["input"]]
        return 200, json.dumps({"data": data}).encode()

    return answer


TEXTS = ["a" * n for n in range(1, 80)]


def test_servers_of_the_same_vectors_are_measured():
    with serving(vectors(1)) as ours, serving(vectors(2)) as theirs:
        found = infinity.compared((ours, "ours"), theirs, TEXTS, rounds=2)
    assert found.cosine == pytest.approx(1)
    assert len(found.ratios) == 2
    assert min(found.ratios) > 0


def test_servers_of_other_vectors_are_not_compared():
    with (
        serving(vectors(1)) as ours,
        serving(vectors(1, turn=9)) as theirs,
        pytest.raises(PeerFault, match="vectors differ"),
    ):
        infinity.compared((ours, "ours"), theirs, TEXTS, rounds=2)


def test_a_server_that_refuses_is_told():
    with (
        serving(vectors(1)) as ours,
        serving(lambda _: (404, b"no such model")) as theirs,
        pytest.raises(PeerFault, match="404: no such model"),
    ):
        infinity.compared((ours, "ours"), theirs, TEXTS, rounds=2)


def test_without_its_environment_the_peer_is_left_out(tmp_path):
    models = Models(bundle=tmp_path, checkpoint=None, cache=tmp_path, environments=tmp_path)
    with (
        pytest.raises(PeerFault, match="polyhead bench setup infinity"),
        infinity.server(models, 1),
    ):
        pass


def test_a_row_says_whether_its_median_reaches_the_goal():
    assert row("x", [1, 2, 9], "<=", 2) == ("x", "2.00 (1.00 to 9.00)", "<= 2", "pass")
    assert row("x", [1, 2, 9], ">=", 3)[-1] == "fail"
