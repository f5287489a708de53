"""The command line around its commands: streams, encodings, signals, and what a stranger writes."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from polyhead import load
from polyhead.cli import run
from polyhead.cli.main import main

TEXT = "Zoë wohnt in 東京 👍"
ASCII_ONLY = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def start(command):
    """Starts `polyhead WORDS` by hand: `start("run", bundle, stdout=…)`; streams are pipes."""
    words, usual = command

    def begin(*more, environment=None, **streams):
        return subprocess.Popen(
            [*words, *map(os.fspath, more)],
            stdin=streams.get("stdin", subprocess.PIPE),
            stdout=streams.get("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            env={**usual, **(environment or {})},
        )

    return begin


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"PYTHONIOENCODING": "cp1252"}, id="cp1252"),
        pytest.param({"PYTHONIOENCODING": "ascii:strict"}, id="ascii"),
        pytest.param(ASCII_ONLY, id="C"),
    ],
)
def test_output_and_input_are_utf8_whatever_the_locale(start, bundle, environment):
    line = json.dumps(TEXT, ensure_ascii=False).encode()
    out, err = start("run", bundle, "--input", "-", environment=environment).communicate(line)
    assert err.startswith(b"1 text in 0:0")
    assert json.loads(out.decode())["text"] == TEXT


def test_arguments_and_messages_are_utf8_too(start, bundle):
    out, _ = start("run", bundle, TEXT, environment=ASCII_ONLY).communicate()
    assert json.loads(out.decode())["text"] == TEXT
    _, err = start("run", bundle, "a", "--heads", "東京", environment=ASCII_ONLY).communicate()
    assert "'東京'" in err.decode()


def test_a_name_that_is_no_unicode_is_shown(start):
    _, err = start("inspect", b"/absent\xff").communicate()
    assert err.startswith(rb"polyhead inspect: /absent\udcff: no bundle here")


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [
        ((1,), ("run", "BUNDLE", "a"), 0),
        ((1,), ("--help",), 0),
        ((0, 1, 2), ("run", "BUNDLE", "a"), 0),
        ((0, 1, 2), ("run", "BUNDLE", "--input", "-"), 0),
        ((0, 1, 2), ("inspect", "absent"), 1),
        ((0, 1, 2), ("inpsect",), 2),
    ],
    ids=str,
)
def test_streams_that_the_caller_closed(command, bundle, words, code, closed):
    start, environment = command
    given = [str(bundle) if word == "BUNDLE" else word for word in words]
    shell = ["sh", "-c", '"$@" ' + " ".join(f"{fd}>&-" for fd in closed), "sh", *start, *given]
    done = subprocess.run(
        shell, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("run", "--help"),
        pytest.param(("run", "BUNDLE", *["x"] * 400), id="many answers"),
        ("inspect", "BUNDLE"),
        ("verify", "BUNDLE", "--isolated"),
    ],
    ids=str,
)
def test_a_reader_that_went_away_is_no_error(start, bundle, words):
    reader, writer = os.pipe()
    os.close(reader)
    given = [bundle if word == "BUNDLE" else word for word in words]
    process = start(*given, stdout=writer)
    os.close(writer)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")


def test_another_pipe_that_breaks_is_an_error(monkeypatch, capsys):
    def broken(arguments):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(run, "execute", broken)
    assert main(["run", "bundle", "a"]) == 1
    assert capsys.readouterr().err == "polyhead run: [Errno 32] Broken pipe\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_with_one_line(start, bundle, number, code):
    words = ("run", bundle, "--input", "-", "--heads", "topic")
    before = signal.signal(number, signal.SIG_DFL)  # tests in the background ignore some
    process = start(*words)
    signal.signal(number, before)
    process.stdin.write(b'"a"\n' * 512)
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["text"] == "a"  # it waits for more
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == code
    assert err.decode() == f"\npolyhead run: interrupted ({number.name})\n"


STRANGE = "\x1b[31mred\x9b2J\x7f\nok    a line of its own"


@pytest.fixture
def strange(bundle_copy, edit_json):
    """A bundle with a label that a terminal would obey."""

    def change(manifest):
        manifest["heads"]["topic"]["labels"][0] = STRANGE

    edit_json(bundle_copy / "manifest.json", change)
    return bundle_copy


def test_a_page_shows_control_codes_and_does_not_send_them(polyhead, strange):
    out = polyhead("inspect", strange).stdout
    assert r"\x1b[31mred\x9b2J\x7f\x0aok    a line of its own" in out
    assert not {"\x1b", "\x9b", "\x7f"} & {*out}


def test_json_has_them_as_escapes(polyhead, strange):
    out = polyhead("inspect", strange, "--json").stdout
    assert json.loads(out)["heads"]["topic"]["labels"][0] == STRANGE
    assert not {"\x1b", "\x9b", "\x7f"} & {*out}


def test_a_message_shows_them(polyhead, strange):
    err = polyhead("run", strange, "a", "--heads", STRANGE).stderr
    assert "red" in err
    assert not {"\x1b", "\x9b", "\x7f"} & {*err}


def test_built_in_commands_need_no_metadata(command, bundle):
    """As in a frozen program, or where a layer is packed without ``*.dist-info``."""
    script = (
        "import importlib.metadata, sys\n"
        "importlib.metadata.distributions = lambda **_: ()\n"
        "from polyhead.cli.main import main\n"
        "sys.exit(main(['--version']) or main(['inspect', sys.argv[1]])"
        " or main(['verify', sys.argv[1]]) or main(['run', sys.argv[1], 'a']))"
    )
    _, environment = command
    words = [sys.executable, "-c", script, str(bundle)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("polyhead 0.1.0\n")


def test_without_a_home(start, bundle):
    homeless = {"HOME": "/proc/1/nohome", "TMPDIR": "/proc/1/notmp", "USERPROFILE": "/proc/1/no"}
    out, err = start("run", bundle, "a", environment=homeless).communicate()
    assert err == b""
    assert json.loads(out)["text"] == "a"


@pytest.mark.parametrize("bundles", [1, 2])
def test_the_command_does_not_keep_a_signal_handler(bundle, capsys, bundles):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for _ in range(bundles):
        assert main(["run", str(bundle), "a"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with load(bundle) as engine:
        assert engine("a").to_dict() == json.loads(capsys.readouterr().out.splitlines()[0])
