"""The examples serve: uvicorn with two workers and FastAPI, gunicorn --preload and WSGI."""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import polyhead

UVICORN = "uvicorn service:app --host 127.0.0.1 --port {port} --log-level warning"
TEXTS = [f"where is my {noun} ?" for noun in ("lamp", "kettle", "phone", "radio")] * 10


@pytest.fixture
def expected(committed):
    with polyhead.load(committed, threads=1) as engine:
        return [json.loads(json.dumps(engine(text).to_dict())) for text in TEXTS]


async def ask(url, texts):
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        answers = [client.post("/predict", json={"text": text}) for text in texts]
        return [answer.json() for answer in await asyncio.gather(*answers)]


def ask_both_workers(url, texts):
    """Answers by process id; a connection that is kept stays with its worker."""
    found, end = {}, time.monotonic() + 60
    while len(found) < 2 and time.monotonic() < end:
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            pid = client.get("/health").json()["pid"]
            if pid not in found:
                answers = [client.post("/predict", json={"text": text}) for text in texts]
                found[pid] = [answer.json() for answer in answers]
    return found


def test_fastapi_with_two_workers_answers_as_the_engine(serve, expected):
    server = serve("fastapi", UVICORN + " --workers 2")
    assert asyncio.run(ask(server.url, TEXTS)) == expected
    by_worker = ask_both_workers(server.url, TEXTS)
    assert list(by_worker.values()) == [expected, expected]
    assert server.process.pid not in by_worker
    said = server.stop()
    assert "Traceback" not in said, said


@pytest.fixture
def client(serve):
    server = serve("fastapi", UVICORN)
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        yield client
    said = server.stop()
    assert "Traceback" not in said, said


def test_the_example_of_a_service(client):
    answered = client.post("/predict", json={"text": "thanks", "heads": ["topic"]})
    assert list(answered.json()["heads"]) == ["topic"]
    refused = client.post("/predict", json={"text": "thanks", "heads": ["topics"]})
    assert refused.status_code == 422
    assert refused.json()["error"] == "UnknownHead"
    assert "Did you mean 'topic'?" in refused.json()["message"]
    assert client.post("/predict", json={"text": ["a", "b"]}).json()["error"] == "WrongInput"
    assert client.post("/predict", json={}).status_code == 422
    assert client.get("/health").json()["threads"] == 1
    numbers = client.get("/metrics").text.splitlines()
    assert "polyhead_requests_total 3.0" in numbers
    assert "polyhead_errors_total 2.0" in numbers


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")
def test_gunicorn_that_loads_before_it_forks(serve, expected):
    server = serve(
        "gunicorn",
        "gunicorn --preload --workers 2 --threads 4 --bind 127.0.0.1:{port} wsgi:application",
    )

    def one(text):
        # No connection is kept, so that both workers are asked.
        answer = httpx.post(server.url, content=text.encode(), trust_env=False, timeout=60)
        return answer.json(), answer.headers["x-pid"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, TEXTS))
    assert [answer for answer, _ in answers] == expected
    assert str(server.process.pid) not in {pid for _, pid in answers}
    said = server.stop()
    assert "Traceback" not in said, said
