"""Real servers: an application behind uvicorn in a thread, and the command in a process."""

import asyncio
import json
import re
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn

import polyhead.serving
from polyhead import Classification, Prediction
from polyhead.serving.http.server import bound

KEYS = ("first-key", "second-key")


class StandIn:
    """An engine whose texts each take a turn: until `gate` lets it go, or `seconds`.

    `computed` are the texts that it was still wanted for at the end of their turn, `begun` those
    that it began.
    """

    def __init__(self, seconds=0.0, fails=lambda text: None):
        self.gate, self.seconds, self.fails = threading.Event(), seconds, fails
        self.heads = {"topic": None}
        self.computed, self.begun = [], threading.Semaphore(0)
        self.left = threading.Event()

    def info(self):
        return {"threads": 1, "batch_tokens": 256, "source": "/secret"}

    def predict(self, texts, *, wanted, on_encoded, **_):
        on_encoded()
        found = []
        for row, text in enumerate(texts):
            if problem := self.fails(text):
                raise problem
            self.begun.release()
            while wanted(row) and not self.gate.wait(self.seconds or 0.01):
                if self.seconds:
                    break
            if wanted(row):
                self.computed.append(text)
                found.append(Prediction(text, {"topic": Classification("a", 0.9, {"a": 0.9})}, 8))
            else:
                self.left.set()
                found.append(None)
        return found


@pytest.fixture
def stand_in():
    return StandIn


@contextmanager
def running(app, grace=1):
    """The URL of an application that uvicorn serves in a thread."""
    listener = bound("127.0.0.1", 0)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=grace
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def run_app():
    return running


@pytest.fixture
def client_of():
    """Makes a client of a server of what `polyhead.serving.app` takes."""
    with ExitStack() as stack:

        def start(bundle, **settings):
            url = stack.enter_context(running(polyhead.serving.app(bundle, **settings)))
            return stack.enter_context(client_at(url))

        yield start


def client_at(url, **settings):
    return httpx.Client(base_url=url, trust_env=False, timeout=120, **settings)


@pytest.fixture(scope="module")
def guarded():
    """A client of a server with two API keys."""
    app = polyhead.serving.app({"model": StandIn(seconds=1e-4)}, api_keys=KEYS)
    with running(app) as url, client_at(url) as client:
        yield client


@pytest.fixture(scope="module")
def client(many_heads):
    """A client of a server of a bundle with heads of all kinds."""
    app = polyhead.serving.app({"many": many_heads}, threads=1)
    with running(app) as url, client_at(url) as client:
        yield client


@pytest.fixture(scope="module")
def writing_client():
    """A client of a server of a bundle with heads that write: `with writing_client(bundle)`."""

    @contextmanager
    def opened(bundle):
        app = polyhead.serving.app({"writer": bundle}, threads=1)
        with running(app) as url, client_at(url) as client:
            yield client

    return opened


@pytest.fixture
def ask_all():
    """Sends bodies to a server at the same time; gives the answers in their order."""

    def ask(url, bodies, path="/v1/predict"):
        async def main():
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(
                base_url=url, trust_env=False, timeout=30, limits=limits
            ) as client:
                return await asyncio.gather(*(client.post(path, json=body) for body in bodies))

        return asyncio.run(main())

    return ask


class Served:
    """The command in a process of its own."""

    def __init__(self, command, environment, words):
        self.process = subprocess.Popen(
            [*command, "serve", *map(str, words), "--port", "0"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said, self.url = [], None
        ready = threading.Event()

        def read():
            for line in self.process.stderr:
                self.said.append(line)
                if found := re.search(r"http://\S+:\d+", line):
                    self.url = found[0]
                    ready.set()
            ready.set()

        self._reader = threading.Thread(target=read)
        self._reader.start()
        assert ready.wait(60)
        if self.url is not None:
            self.until_ready()

    def until_ready(self):
        """Wait for the first answer, as a balancer does."""
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"never ready: {self.said}")

    def client(self, **settings):
        return client_at(self.url, **settings)

    def end(self, number=signal.SIGTERM):
        """The exit code after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(60)
        self._reader.join(10)
        return code


@pytest.fixture
def serve(command):
    """Runs ``polyhead serve WORDS`` in a process; `serve(bundle, "--workers", "2").url`."""
    words, environment = command
    with ExitStack() as stack:

        def start(*arguments):
            found = Served(words, environment, arguments)
            stack.callback(found.process.stderr.close)
            stack.callback(found.wait)
            stack.callback(found.process.kill)
            return found

        yield start


@pytest.fixture(scope="session")
def without_texts():
    """A prediction as an answer over HTTP has it."""

    def plain(prediction):
        found = json.loads(json.dumps(prediction.to_dict()))
        return {name: value for name, value in found.items() if name not in ("text", "query")}

    return plain


@pytest.fixture(scope="session")
def refused():
    """Checks that an answer is a problem document, and gives what it says."""

    def detail(answer, status, title):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        found = answer.json()
        assert found["title"] == title
        assert found["type"] == f"urn:polyhead:error:{title}"
        assert found["status"] == status
        assert found["detail"]
        return found["detail"]

    return detail
