"""Reloading under traffic, warming up, what is checked at loading, forks and pickles."""

import asyncio
import contextlib
import gc
import json
import os
import pickle
import shutil
import signal
import subprocess
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest

from polyhead import (
    Batcher,
    BundleError,
    BundleNotFound,
    DigestMismatch,
    Engine,
    EngineClosed,
    EngineWithoutBundle,
    GoldenMismatch,
    GraphError,
    InputError,
    InvalidText,
    UnknownHead,
    load,
)
from polyhead._model import LoadedModel
from polyhead.bundle import writer
from polyhead.inference._graph_file import GraphFile
from polyhead.inference.session import OnnxSession
from polyhead.loading import BundleOrigin
from polyhead.system.onnx_runtime import ort
from polyhead.text.tokenizer import Tokenizer

OPEN = Path("/proc/self/fd")
LABELS = {"billing", "delivery", "praise"}


@pytest.fixture
def other(bundle, tmp_path, edit_json):
    """The same bundle with other names of labels."""
    folder = shutil.copytree(bundle, tmp_path / "other")
    labels = [label.upper() for label in ("billing", "delivery", "praise")]
    edit_json(folder / "manifest.json", lambda data: data["heads"]["topic"].update(labels=labels))
    return folder


def test_a_reloaded_engine_answers_with_the_new_bundle(bundle, other):
    with load(bundle, threads=1) as engine:
        before = engine("anna")["topic"].label
        engine.reload(other)
        assert engine("anna")["topic"].label == before.upper()
        assert engine.info()["source"] == str(other)
        engine.reload()
        assert engine("anna")["topic"].label == before.upper()
        engine.reload(bundle)
        assert engine("anna")["topic"].label == before


def test_under_traffic_a_call_sees_one_bundle_from_start_to_end(bundle, other):
    texts = ["anna", "the parcel was late", "x " * 60, "thanks"] * 5
    seen, mixed, stop = set(), [], threading.Event()

    def traffic():
        while not stop.is_set():
            labels = {p["topic"].label for p in engine.predict(texts)}
            cases = {label.isupper() for label in labels}
            seen.update(cases)
            if len(cases) != 1:
                mixed.append(labels)

    with load(bundle, threads=2) as engine:
        threads = [threading.Thread(target=traffic) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            engine.reload(other)
            engine.reload(bundle)
        stop.set()
        for thread in threads:
            thread.join()
    assert mixed == []
    assert seen


def test_a_bundle_that_cannot_be_read_leaves_the_old_one(bundle, tmp_path):
    with load(bundle) as engine:
        with pytest.raises(BundleNotFound):
            engine.reload(tmp_path)
        assert engine("anna")["topic"].label in LABELS
        assert engine.info()["source"] == str(bundle)


def test_a_bundle_without_an_asked_head_leaves_the_old_one(many_heads, bundle):
    with load(many_heads, heads=["urgency"]) as engine:
        with pytest.raises(UnknownHead):
            engine.reload(bundle)
        assert engine("anna")["urgency"]


@pytest.mark.parametrize("error", [MemoryError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "place", [(Tokenizer, "of_bundle"), (GraphFile, "opened"), (LoadedModel, "of")]
)
def test_a_reload_that_fails_halfway_leaves_the_old_one_and_nothing_else(
    bundle, monkeypatch, place, error
):
    def fail(*_, **__):
        raise error("no room")

    gc.collect()
    gc.disable()
    try:
        with load(bundle) as engine:
            before = engine("anna").to_dict()
            made = WeakSet()
            start = OnnxSession._start
            monkeypatch.setattr(
                OnnxSession, "_start", lambda self, graph: (made.add(self), start(self, graph))[1]
            )
            with monkeypatch.context() as patch:
                patch.setattr(*place, fail)
                with contextlib.suppress(error):
                    engine.reload()
                    pytest.fail("it did not fail")
            assert not made
            assert engine("anna").to_dict() == before
            engine.reload()
            assert engine("anna").to_dict() == before
    finally:
        gc.enable()


def test_reloads_and_an_end_at_the_same_time(bundle, other):
    """Each ends, with one bundle or the other, or as of a closed engine."""
    for _ in range(5):
        engine = load(bundle, threads=2)
        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(engine.reload, path) for path in (bundle, other) * 3]
            done.append(pool.submit(engine.close))
            found = [each.exception(60) for each in done]
        assert {type(each) for each in found} <= {type(None), EngineClosed}
        assert not engine._model.parts


def test_a_reload_waits_while_calls_run_on_two_older_bundles(bundle, monkeypatch):
    """So that few are in memory; but not for ever."""
    inside, go_on, seconds = threading.Semaphore(0), threading.Event(), 0.3
    monkeypatch.setattr("polyhead.engine._PATIENCE", seconds)
    run = OnnxSession.run

    def slow(session, outputs, feeds):
        inside.release()
        assert go_on.wait(60)
        return run(session, outputs, feeds)

    with load(bundle) as engine, ThreadPoolExecutor(2) as pool:
        expected = engine("anna").to_dict()
        monkeypatch.setattr(OnnxSession, "run", slow)
        answers = []
        for _ in range(2):
            answers.append(pool.submit(engine, "anna"))
            assert inside.acquire(timeout=60)
            engine.reload()
        before = time.monotonic()
        engine.reload()
        assert time.monotonic() - before >= seconds
        go_on.set()
        assert [each.result(60).to_dict() for each in answers] == [expected] * 2


def test_a_closed_engine_is_neither_reloaded_nor_pickled(bundle):
    engine = load(bundle)
    engine.close()
    for call in (engine.reload, engine.warmup, lambda: pickle.dumps(engine)):
        with pytest.raises(EngineClosed):
            call()


def test_a_closed_engine_encodes_nothing_but_says_what_ran(bundle):
    engine = load(bundle)
    before = engine.info()
    engine.close()
    with pytest.raises(EngineClosed):
        engine.encode(["a"])
    assert engine.info() == before


def test_an_engine_without_a_bundle_says_so(bundle):
    with load(bundle) as engine:
        session = OnnxSession(bundle / "model.onnx")
        bare = Engine(session, engine.tokenizer, engine.heads, max_tokens=24)
    with bare:
        for call in (bare.reload, lambda: pickle.dumps(bare)):
            with pytest.raises(EngineWithoutBundle, match=r"not made by polyhead\.load"):
                call()


@pytest.mark.parametrize("end", ["close", "reload", "del"])
def test_sessions_are_freed_at_once(bundle, end, monkeypatch):
    """Both of them, without the cycle collector, which takes its time."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    gc.collect()
    gc.disable()
    try:
        engine = load(bundle, intra_op_min_tokens=1)
        bad = engine.predict(["anna", "x " * 60, None, "\ud83d"], heads=["topic"], errors="return")
        assert [type(found) for found in bad[2:]] == [InvalidText] * 2
        engine.warmup()
        part = engine._model.parts[0]
        sessions = [part.backend, part.multi_threaded.session]
        alive = [weakref.ref(session._session.peek()) for session in sessions]
        assert all(ref() is not None for ref in alive)
        del part, sessions
        if end == "close":
            engine.close()
        elif end == "reload":
            engine.reload()
        else:
            del engine
        assert [ref() for ref in alive] == [None, None]
    finally:
        gc.enable()


def _list_with_a_bad_text(engine):
    engine.predict([*["anna", "x " * 60] * 50, "\ud83d"])


def _list_with_a_back_end_that_fails(engine):
    engine._model.parts[0].backend.run = None
    engine.predict(["anna", "x " * 60])


def _logits_that_are_nan(engine):
    engine._model.parts[0].backend.run = partial(_filled, np.nan)
    engine.predict(["anna", "x " * 60])


def _logits_that_cannot_be_decoded(engine):
    engine._model.parts[0].decoders["topic"].decode = _no_such_index
    engine("anna")


def _no_such_index(*_):
    raise IndexError


def _filled(value, outputs, feeds):
    return [np.full((len(feeds["input_ids"]), 77), value, np.float32) for _ in outputs]


def _an_engine_that_exits_in_a_batcher(engine):
    engine.predict = _exits
    asyncio.run(_served(engine))


def _exits(*_, **__):
    raise SystemExit


async def _served(engine):
    async with Batcher(engine) as batcher:
        with pytest.raises(RuntimeError, match="SystemExit"):
            await batcher.predict("anna")


def _requests_of_a_batcher(engine):
    async def serve():
        async with Batcher(engine) as batcher:
            for text, options in (("anna", {"topic": {"k": 1}}), ("\ud83d", None), ("anna", None)):
                with contextlib.suppress(InputError):
                    await batcher.predict(text, options=options)

    asyncio.run(serve())


@pytest.mark.parametrize(
    "fail",
    [
        _list_with_a_bad_text,
        _list_with_a_back_end_that_fails,
        _logits_that_are_nan,
        _logits_that_cannot_be_decoded,
        _an_engine_that_exits_in_a_batcher,
        _requests_of_a_batcher,
    ],
)
def test_an_error_that_was_handled_keeps_no_session(bundle, fail, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    gc.collect()
    gc.disable()
    try:
        engine = load(bundle)
        alive = weakref.ref(engine._model.parts[0].backend._session.peek())
        with contextlib.suppress(InputError, TypeError, GraphError):
            fail(engine)
        del engine
        assert alive() is None
    finally:
        gc.enable()


def test_a_reload_that_ends_after_the_engine_leaves_no_session(bundle, monkeypatch):
    engine = load(bundle)
    read = BundleOrigin.model

    def late(origin):
        model = read(origin)
        engine.close()
        return model

    monkeypatch.setattr(BundleOrigin, "model", late)
    with pytest.raises(EngineClosed):
        engine.reload()
    assert not engine._model.parts
    assert engine.info()["heads"]


def test_an_answer_in_flight_keeps_its_session(bundle):
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        inputs = ("input_ids",)

        def run(self, outputs, feeds):
            inside.set()
            assert go_on.wait(60)
            return session.run(outputs, feeds)

        def info(self):
            return {}

    session = OnnxSession(bundle / "model.onnx")
    with load(bundle) as plain:
        expected = plain("anna").to_dict()
        engine = Engine(Slow(), plain.tokenizer, plain.heads, max_tokens=24)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(engine, "anna")
        assert inside.wait(60)
        engine.close()
        go_on.set()
        assert answer.result().to_dict() == expected


def test_warming_up_changes_no_answer(engine_of_many_heads):
    before = engine_of_many_heads("anna").to_dict()
    engine_of_many_heads.warmup()
    assert engine_of_many_heads("anna").to_dict() == before


@pytest.mark.parametrize("most", [1, 2, 10])
def test_warming_up_keeps_to_the_longest_input(many_heads, most):
    with load(many_heads, max_characters=most) as engine:
        engine.warmup()


def test_a_pickled_engine_keeps_its_settings(bundle):
    chosen = {"threads": 1, "heads": ["topic"], "max_characters": 9, "spin": True}
    with load(bundle, **chosen) as engine, pickle.loads(pickle.dumps(engine)) as copy:
        assert copy.info() == engine.info()


def test_a_pickled_engine_finds_its_bundle_from_another_folder(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(bundle.parent)
    with load("bundle") as engine:
        data = pickle.dumps(engine)
    monkeypatch.chdir(tmp_path)
    with pickle.loads(data) as copy:
        assert copy("anna")


def test_golden_answers_are_compared_on_demand(bundle):
    with load(bundle, verify="golden", on_overflow="truncate") as engine:
        assert engine("anna")


def test_wrong_golden_answers_are_refused(bundle_copy, edit_json, reseal):
    def change(golden):
        golden["examples"][0]["logits"]["topic"][0] += 1

    edit_json(bundle_copy / "golden.json", change)
    reseal(bundle_copy)
    load(bundle_copy).close()
    with pytest.raises(GoldenMismatch, match=r"model\.onnx differs .* in topic \(1"):
        load(bundle_copy, verify="golden")


def test_without_verifying_only_digests_go_unchecked(bundle_copy):
    golden = bundle_copy / "golden.json"
    golden.write_text(golden.read_text().upper())
    with pytest.raises(DigestMismatch):
        load(bundle_copy)
    load(bundle_copy, verify="none").close()
    golden.write_text("shorter than the manifest says")
    with pytest.raises(DigestMismatch, match="bytes"):
        load(bundle_copy, verify="none")
    golden.unlink()
    golden.symlink_to(bundle_copy / "README.md")
    with pytest.raises(BundleError, match="a link"):
        load(bundle_copy, verify="none")


def in_a_fork(work):
    """What `work` returns in a child that ends as Python programs do, by exit."""
    source, target = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        signal.alarm(60)  # a child that hangs is a failure
        try:
            os.write(target, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(target)
    with os.fdopen(source, "rb") as pipe:
        found = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
class TestFork:
    def test_a_child_answers_like_its_parent(self, bundle):
        texts = ["anna", "the parcel was late", "x " * 60] * 4
        with load(bundle, threads=4, intra_op_threads=2) as engine:
            expected = [p.to_dict() for p in engine.predict(texts)]
            assert in_a_fork(lambda: [p.to_dict() for p in engine.predict(texts)]) == expected
            assert [p.to_dict() for p in engine.predict(texts)] == expected

    def test_a_child_of_a_parent_that_was_reloading(self, bundle, other):
        stop = threading.Event()

        def reload():
            while not stop.is_set():
                engine.reload(other)
                engine.reload(bundle)

        def ask():
            found = engine.predict(["anna", "x " * 60])
            engine.reload(other)
            return [p["topic"].label for p in [*found, engine("anna")]]

        with load(bundle, threads=2) as engine:
            thread = threading.Thread(target=reload)
            thread.start()
            try:
                for _ in range(10):
                    *first, last = in_a_fork(ask)
                    assert len({label.isupper() for label in first}) == 1
                    assert last.isupper()
            finally:
                stop.set()
                thread.join()

    def test_a_fork_waits_for_a_session_that_is_being_made(self, bundle, monkeypatch):
        """Otherwise the child would inherit a lock of onnxruntime, which nobody gives back."""
        inside, made, make = threading.Event(), [], ort.InferenceSession

        def slow(*arguments, **settings):
            inside.set()
            time.sleep(0.3)
            made.append(1)
            return make(*arguments, **settings)

        monkeypatch.setattr(ort, "InferenceSession", slow)
        thread = threading.Thread(target=lambda: load(bundle).close())
        thread.start()
        assert inside.wait(60)
        assert in_a_fork(lambda: made) == [1]
        thread.join()

    @pytest.mark.parametrize("verify", ["digest", "none"])
    @pytest.mark.parametrize("deployed", ["exchanged", "renamed", "deleted"])
    def test_a_child_reads_the_bundle_that_its_parent_read(
        self, bundle_copy, other, tmp_path, deployed, verify
    ):
        """Even if another one, which answers in capitals, is at its path by then, or none."""
        texts = ["anna", "x " * 60] * 2
        with load(bundle_copy, verify=verify, intra_op_min_tokens=1) as engine:
            expected = [p.to_dict() for p in engine.predict(texts)]
            if deployed == "exchanged":
                with writer.staged(bundle_copy) as staged:
                    for file in other.iterdir():
                        shutil.copy(file, staged)
            else:
                bundle_copy.rename(tmp_path / "old")
                if deployed == "renamed":
                    other.rename(bundle_copy)
                else:
                    shutil.rmtree(tmp_path / "old")

            def ask():
                engine.warmup()
                return [
                    [p.to_dict() for p in engine.predict(texts)],
                    engine.info()["multi_threaded"],
                ]

            found, fast = in_a_fork(ask)
            assert found == expected
            assert fast is None or fast["open"]
            if deployed != "deleted":
                engine.reload()
                assert engine("anna")["topic"].label.isupper()

    @pytest.mark.parametrize("end", ["more", "less", "none", "other"])
    @pytest.mark.parametrize("verify", ["digest", "none"])
    def test_a_child_says_when_the_file_itself_was_overwritten(self, bundle_copy, end, verify):
        def ask():
            try:
                engine("anna")
            except BundleError as problem:
                return str(problem)
            return "answered"

        graph = bundle_copy / "model.onnx"
        with load(bundle_copy, verify=verify) as engine:
            content = graph.read_bytes()
            changed = {"more": content + b"\0", "less": content[:99], "none": b""}
            with graph.open("r+b") as file:
                file.truncate(0)
                file.write(changed.get(end, content[:-1] + b"\0"))
            said = in_a_fork(ask)
            assert "changed since it was loaded" in said
            assert engine("anna")

    def test_a_child_that_closed_all_files_reads_the_path(self, bundle_copy):
        """As a daemon does; and it leaves alone what has their numbers then."""

        def ask():
            os.closerange(keep, 99)
            own = os.open(bundle_copy / "README.md", os.O_RDONLY)
            label = engine("anna")["topic"].label
            engine.close()
            return label, bool(os.read(own, 9))

        with load(bundle_copy) as engine:
            keep = engine._model.parts[0].backend._file._kept
            assert in_a_fork(ask) == [engine("anna")["topic"].label, True]


@pytest.mark.skipif(not OPEN.exists(), reason="nobody lists open files here")
@pytest.mark.parametrize("end", ["close", "reload", "del", "error"])
def test_no_file_stays_open(bundle, tmp_path, end):
    def opened():
        return sorted(path.name for path in OPEN.iterdir())

    before = opened()
    engine = load(bundle)
    one = len(opened()) - len(before)
    assert one == 1
    if end == "close":
        engine.close()
    elif end == "reload":
        for _ in range(3):
            engine.reload()
        assert len(opened()) == len(before) + one
        engine.close()
    elif end == "error":
        broken = shutil.copytree(bundle, tmp_path / "broken")
        (broken / "model.onnx").write_bytes(b"no graph")
        for verify in ("digest", "none"):
            with pytest.raises(BundleError):
                load(broken, verify=verify)
    del engine
    assert opened() == before


ENDING = """
import builtins, sys
import polyhead

for name, module in [("builtins", builtins), *sys.modules.items()]:
    if name.partition(".")[0] in ("builtins", "polyhead", "sys"):
        module.kept = polyhead.load(sys.argv[1], threads=1, verify="none")
"""


def test_a_process_that_ends_with_open_engines_says_nothing(writing, command):
    words, environment = command
    done = subprocess.run(
        [words[0], "-c", ENDING, writing],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
