"""More requests than can be answered in time, and clients that leave."""

import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import polyhead.serving


def test_what_cannot_be_answered_in_time_is_refused_at_once(client_of, stand_in, ask_all):
    engine = stand_in(seconds=0.02)
    client = client_of({"model": engine}, deadline_ms=400)
    for number in range(5):  # its pace is known then
        client.post("/v1/predict", json={"text": f"before {number}"})
    bodies = [{"text": f"text {number}"} for number in range(200)]  # 4 s of work, in 0.4
    answers = ask_all(str(client.base_url), bodies)
    by_status = {answer.status_code for answer in answers}
    assert {200, 429} <= by_status <= {200, 429, 504}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) > 100
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["title"] == "QueueFull"
    asked = {f"text {n}" for n, answer in enumerate(answers) if answer.status_code == 429}
    assert not asked & set(engine.computed), "what was refused was computed"


def test_a_request_of_many_texts_is_taken_or_refused_as_a_whole(client_of, stand_in):
    engine = stand_in(seconds=0.02)
    client = client_of({"model": engine})
    texts = [f"text {number}" for number in range(200)]
    client.post("/v1/predict", json={"texts": texts[:5]})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/predict", json={"texts": texts[5:50]})
        for _ in range(6):
            assert engine.begun.acquire(timeout=30)
        answer = client.post("/v1/predict", json={"texts": texts[50:], "deadline_ms": 500})
        assert answer.status_code == 429
        found = first.result().json()["predictions"]
    assert all("heads" in each for each in found)
    assert set(engine.computed) == set(texts[:50])


def test_a_queue_without_room(client_of, stand_in):
    engine = stand_in()
    client = client_of({"model": engine}, max_queue=2)
    with ThreadPoolExecutor(2) as pool:
        running = []
        for text in "ab":  # one after the other, for a thread of its own each
            running.append(pool.submit(client.post, "/v1/predict", json={"text": text}))
            assert engine.begun.acquire(timeout=30)
        assert client.post("/v1/predict", json={"texts": ["c", "d", "e"]}).status_code == 429
        engine.gate.set()
        assert [each.result().status_code for each in running] == [200, 200]


def test_a_request_without_an_answer_in_its_time(client_of, stand_in):
    engine = stand_in()
    client = client_of({"model": engine})
    answer = client.post("/v1/predict", json={"text": "a", "deadline_ms": 50})
    assert answer.status_code == 504
    assert answer.json()["title"] == "DeadlineExceeded"
    assert engine.left.wait(30), "it was computed in vain"
    answer = client.post("/v1/predict", json={"texts": ["b", "c"], "deadline_ms": 50})
    assert answer.status_code == 504


@pytest.mark.parametrize("body", [b'{"text": "a"}', b'{"texts": ["a", "b", "c"]}'])
def test_a_client_that_hangs_up_stops_its_work(client_of, stand_in, body):
    engine = stand_in()
    client = client_of({"model": engine})
    url = client.base_url
    with socket.create_connection((url.host, url.port)) as connection:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert engine.begun.acquire(timeout=30)
    assert engine.left.wait(30)
    assert engine.computed == []


def test_a_client_that_hangs_up_within_its_body_is_forgotten(client_of, stand_in):
    client = client_of({"model": stand_in(seconds=1e-4)})
    url = client.base_url
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(
            b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"te'
        )
    assert client.post("/v1/predict", json={"text": "a"}).status_code == 200


def test_what_is_under_way_at_the_end_is_told(run_app, stand_in):
    """A server that ends answers with a problem document what its time of grace cuts off."""
    engine = stand_in()
    with ThreadPoolExecutor(1) as pool:
        with run_app(polyhead.serving.app({"model": engine}), grace=0) as url:
            asked = pool.submit(
                httpx.post, f"{url}/v1/predict", json={"text": "a"}, trust_env=False, timeout=30
            )
            assert engine.begun.acquire(timeout=30)
        answer = asked.result()
    assert answer.status_code == 503
    assert answer.json()["title"] == "BatcherClosed"
    assert engine.left.wait(30)
