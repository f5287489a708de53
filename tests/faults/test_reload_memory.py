"""Reloads, under traffic and without: memory, sessions, threads and open files stay as they are.

With BUNDLE=build/demo/bundle the figures are those of a real model.
"""

import gc
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, numpy_helper
from resealing import reseal

import polyhead

TEXTS = ["Where is my lamp?", "The kettle leaks since 3 May, order #58113-C.", "thanks", "a " * 600]
CALLERS, RELOADS, MOST = 16, 200, 1.3

UNDER_TRAFFIC = """
import gc, json, os, sys, threading, time
import polyhead

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def key(prediction):
    return json.dumps(prediction.to_dict()["heads"])

def work(number):
    while not stop.is_set():
        place = calls[number] % len(texts)
        asked = texts if number % 2 else [texts[place]]
        right = [each if number % 2 else [each[place]] for each in expected]
        try:
            if [key(p) for p in engine.predict(asked)] not in right:
                wrong.append(number)
        except Exception as problem:
            wrong.append(repr(problem))
        calls[number] += 1

one, other, callers, reloads, texts = json.loads(sys.argv[1])
expected = []
for path in (one, other):
    with polyhead.load(path, threads=1) as engine:
        expected.append([key(p) for p in engine.predict(texts)])
assert expected[0] != expected[1]
gc.collect()
gc.disable()
os.sched_getaffinity = lambda _: {0, 1}  # two threads, whatever the machine has
engine = polyhead.load(one, threads=2, intra_op_min_tokens=16)
engine.warmup()
stop, wrong, calls = threading.Event(), [], [0] * callers
pool = [threading.Thread(target=work, args=(n,)) for n in range(callers)]
for thread in pool:
    thread.start()
while min(calls) < 3:
    time.sleep(0.1)
start, files = rss(), len(os.listdir("/proc/self/fd"))
peak = start
for turn in range(reloads):
    engine.reload(one if turn % 2 else other)
    peak = max(peak, rss())
while not engine.info()["multi_threaded"]["open"]:
    time.sleep(0.1)
done = list(calls)
while min(now - then for now, then in zip(calls, done)) < 2:  # all that began before are done
    time.sleep(0.1)
end, left = rss(), len(os.listdir("/proc/self/fd"))
stop.set()
for thread in pool:
    thread.join()
engine.close()
del engine
time.sleep(0.5)
threads = len(os.listdir("/proc/self/task"))
print(json.dumps([start, peak, end, sum(calls), wrong, files, left, threads]))
"""


@pytest.fixture(scope="module")
def changed(real_bundle, tmp_path_factory):
    """The same bundle with other answers."""
    folder = shutil.copytree(real_bundle, tmp_path_factory.mktemp("changed") / "bundle")
    path = folder / json.loads((folder / "manifest.json").read_text())["graphs"][0]["file"]
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 1 and tensor.dims[0] > 1:
            moved = (numpy_helper.to_array(tensor) + 0.37).astype("float32")
            tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    onnx.save(model, path)
    reseal(folder)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_reloads_under_sixteen_threads(real_bundle, changed, capsys):
    given = json.dumps([str(real_bundle), str(changed), CALLERS, RELOADS, TEXTS])
    said = subprocess.check_output([sys.executable, "-c", UNDER_TRAFFIC, given], text=True)
    start, peak, end, calls, wrong, files, left, threads = json.loads(said)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{RELOADS} reloads under {CALLERS} threads, gc off: {start:.0f} -> {end:.0f} MiB,"
            f" {end / start:.2f} of the start, at most {peak:.0f}; {calls} calls,"
            f" {len(wrong)} wrong\n"
        )
    assert wrong == []
    assert end <= MOST * start
    assert left == files
    assert threads == 1


def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("how", ["reload", "close", "drop"])
@pytest.mark.parametrize("settings", [{}, {"intra_op_threads": 1}, {"intra_op_threads": 2}])
def test_engines_one_after_the_other(real_bundle, how, settings):
    """A service that takes new versions while it runs, by reload or with an engine for each."""
    tasks = Path("/proc/self/task")
    gc.collect()
    gc.disable()
    try:
        before, engine, seen = len(list(tasks.iterdir())), None, []
        for _ in range(30):
            if engine is not None and how == "reload":
                engine.reload()
            else:
                if engine is not None and how == "close":
                    engine.close()
                engine = polyhead.load(real_bundle, threads=2, **settings)
            engine.warmup()
            engine.predict(TEXTS)
            seen.append(rss())
        assert max(seen[3:]) <= MOST * seen[2]
        engine.close()
        del engine
        end = time.monotonic() + 5  # a thread that was joined still has a way to go in the kernel
        while len(list(tasks.iterdir())) > before:
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        gc.enable()
