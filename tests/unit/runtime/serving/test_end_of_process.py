"""A process that ends while a batcher's thread is within onnxruntime."""

import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, helper

SCRIPT = """
import asyncio, sys, time
import numpy as np, onnxruntime
import polyhead

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)

def turns(count):
    return session.run(None, {"turns": np.array(count), "square": np.eye(64, dtype=np.float32)})

def seconds():
    begun = time.perf_counter()
    turns(2000)
    return time.perf_counter() - begun

some = int(2000 * 0.2 / min(seconds() for _ in range(3))) + 1

class Engine:
    "Is within onnxruntime for 0.2 s at a time, as long as its answer is wanted."

    def info(self):
        return {"threads": 2, "batch_tokens": 256}

    def predict(self, texts, *, wanted, **_):
        while wanted(0):
            turns(some)
        return [None for _ in texts]

async def main():
    batcher = await polyhead.Batcher(Engine()).__aenter__()
    kept.append(asyncio.ensure_future(batcher.predict("a")))
    await asyncio.sleep(0.1)

class Slow:
    "A part of the program whose end takes longer than the thread needs to come back."

    def __del__(self, sleep=time.sleep):
        sleep(1)

kept = [Slow()]
"""
ENDS = {
    "asyncio.run": "asyncio.run(main())",
    "a loop of its own": "loop = asyncio.new_event_loop(); loop.run_until_complete(main())",
    "sys.exit": "loop = asyncio.new_event_loop(); loop.run_until_complete(main()); sys.exit(0)",
}


@pytest.fixture(scope="module")
def graph_of_turns(tmp_path_factory):
    """A graph that multiplies a matrix with itself as often as it is told."""
    square = helper.make_tensor_value_info("square", TensorProto.FLOAT, [64, 64])
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["inner", "inner"], ["next"]),
            helper.make_node("Identity", ["go"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("inner", TensorProto.FLOAT, [64, 64]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [64, 64]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "", "square"], ["found"], body=body)],
        "turns",
        [helper.make_tensor_value_info("turns", TensorProto.INT64, []), square],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [64, 64])],
    )
    path = tmp_path_factory.mktemp("turns") / "turns.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_well_while_a_batch_is_computed(graph_of_turns, end):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + ENDS[end], graph_of_turns],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr  # it was aborted: "terminate called without …"
    assert "terminate" not in done.stderr
