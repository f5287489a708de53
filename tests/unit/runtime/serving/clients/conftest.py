"""A server on a port of this machine, for clients of their own kind."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import polyhead.serving


def running(bundle: Any, **settings: Any) -> AbstractContextManager[str]:
    """Answers at the address that it gives."""
    return running_app(polyhead.serving.app(bundle, threads=1, **settings))


@contextmanager
def running_app(app: Any) -> Iterator[str]:
    """The same for any application."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    """What a machine says about proxies is not for its own servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Serves a bundle, or several: ``with serve(bundle, api_keys=("k",)) as address``."""
    return running


@pytest.fixture(scope="session")
def serve_app() -> Callable[..., Any]:
    """Serves an application: ``with serve_app(app) as address``."""
    return running_app


@pytest.fixture(scope="module")
def many(many_heads: Path) -> Iterator[str]:
    """The address of a server with a head of every kind, called ``many``."""
    with running({"many": many_heads}) as address:
        yield address


@pytest.fixture(scope="session")
def demo() -> Path:
    """The tiny bundle that a training left: topic, sentiment, entities, embedding."""
    return Path(__file__).parents[4] / "data" / "bundle"


@pytest.fixture(scope="module")
def tiny(demo: Path) -> Iterator[str]:
    """The address of a server of `demo`, called ``tiny``."""
    with running({"tiny": demo}) as address:
        yield address
