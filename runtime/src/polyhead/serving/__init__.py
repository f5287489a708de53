"""Comes in: requests of many callers, files, batches. Goes out: their predictions, and statistics.

`Worker` answers batches of the engines that spread a job over machines, such as Ray and Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyhead.errors import MissingExtra

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from polyhead.engine import Engine
    from polyhead.serving.jobs.worker import Worker

__all__ = ["Worker", "app"]


def app(
    bundle: str | Path | Sequence[str | Path] | Mapping[str, str | Path | Engine],
    **settings: Any,
) -> Starlette:
    """An ASGI application that answers with a bundle; what ``polyhead serve`` runs.

    For any ASGI server: ``app = polyhead.serving.app("bundle/", threads=2)`` in a module of yours.

    Args:
        bundle: a bundle's folder; or several, served by the names of their folders; or by name a
            folder, or an engine that stays yours. Loaded when the server starts the application.
        settings: see `polyhead.serving.http.settings.ServiceSettings`.

    Raises:
        MissingExtra: without ``pip install "polyhead[serve]"``.
        InvalidSetting: when a setting is out of its range, or unknown.
    """
    require_extra("starlette", "msgspec", "prometheus_client")
    from polyhead.serving.http.app import application, service_for

    return application(service_for(bundle, settings))


def require_extra(*modules: str) -> None:
    """See that modules of the extra ``serve`` are installed.

    Raises:
        MissingExtra: names the one that is not.
    """
    from importlib.util import find_spec

    for name in modules:
        if find_spec(name) is None:
            raise MissingExtra(
                f"{name.replace('_', '-')} is not installed, and serving over HTTP needs it. Run"
                " 'pip install \"polyhead[serve]\"'."
            )


def __getattr__(name: str) -> Any:
    if name != "Worker":  # which needs pyarrow, an extra
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("polyhead.serving.jobs.worker").Worker


def __dir__() -> list[str]:
    return __all__
