"""``polyhead.serving.app``: an application for any ASGI server."""

import subprocess
import sys

import pytest

import polyhead.serving
from polyhead import InvalidSetting, MissingExtra, load

EXTRA = ("httptools", "msgspec", "prometheus_client", "starlette", "uvicorn")


def test_an_engine_stays_the_callers(run_app, many_heads):
    with load(many_heads, threads=1) as engine:
        with run_app(polyhead.serving.app({"mine": engine})):
            pass
        assert engine("anna")["topic"].label


@pytest.mark.parametrize("bundle", [str, lambda path: [path], lambda path: {"bundle": path}])
def test_what_it_takes(client_of, many_heads, bundle):
    answer = client_of(bundle(many_heads)).post("/v1/predict", json={"text": "anna"})
    assert answer.json()["model"] == "bundle"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"thread": 2}, "Did you mean 'threads'?"),
        ({"threads": 0}, "threads=0"),
        ({"threads": True}, "threads=True"),
        ({"deadline_ms": 0}, "deadline_ms=0"),
        ({"verify": "all"}, "digest, golden, none"),
        ({"api_keys": "key"}, "api_keys"),
        ({"api_keys": ("",)}, "api_keys"),
        ({"api_keys": ("né",)}, "api_keys"),
        ({"max_body": 0.5}, "max_body=0.5"),
    ],
)
def test_settings_that_cannot_be(settings, told):
    with pytest.raises(InvalidSetting, match="(?s)" + told.replace("?", r"\?")):
        polyhead.serving.app("bundle", **settings)


def test_no_bundle_at_all():
    with pytest.raises(InvalidSetting, match="at least one"):
        polyhead.serving.app([])


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install \"polyhead\[serve\]\""):
        polyhead.serving.app("bundle")


def test_nothing_of_the_extra_is_imported_without_need():
    code = (
        "import sys, polyhead, polyhead.serving, polyhead.cli.main as cli\n"
        "for words in (['--help'], ['serve', '--help']):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & {set(EXTRA)}), file=sys.stderr)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stderr == "[]\n"
    assert "--deadline-ms" in done.stdout
