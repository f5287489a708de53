"""Which graph is run on what, and that nothing else is run instead."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import onnx
import pytest

from polyhead import (
    Engine,
    EngineWithoutBundle,
    GoldenMismatch,
    GraphError,
    InvalidSetting,
    ProviderUnavailable,
    UnknownHead,
    load,
)
from polyhead.bundle import read
from polyhead.bundle.selection import graph_for
from polyhead.inference import providers
from polyhead.inference.grouping import padded_groups
from polyhead.inference.providers import CPU, CUDA
from polyhead.inference.session import OnnxSession
from polyhead.system.onnx_runtime import ort

TEXTS = ["", "anna", "the parcel was late", "thanks anna . thanks", "x " * 80] * 5


def with_targets(bundle, **targets):
    """The manifest, with other targets for some graphs."""
    manifest = read(bundle).manifest
    graphs = tuple(replace(g, target=targets.get(g.file, g.target)) for g in manifest.graphs)
    return replace(manifest, graphs=graphs)


@pytest.mark.parametrize(
    ("provider", "heads", "file"),
    [
        pytest.param(CPU, None, "model.onnx", id="cpu_all"),
        pytest.param(CPU, ["topic"], "model.topic.onnx", id="cpu_smallest"),
        pytest.param(CPU, ["entities"], "model.onnx", id="cpu_only_in_the_first"),
        pytest.param(CPU, ["topic", "entities"], "model.onnx", id="cpu_two"),
        pytest.param(CUDA, None, "model.padded.onnx", id="cuda_all"),
        pytest.param(CUDA, ["topic"], "model.padded.onnx", id="cuda_some"),
    ],
)
def test_the_graph_for_a_provider(several_graphs, provider, heads, file):
    assert graph_for(read(several_graphs).manifest, provider, heads).file == file


def test_a_precision_that_no_graph_has_says_how_to_get_it(several_graphs):
    manifest = read(several_graphs).manifest
    assert graph_for(manifest, CPU, ["topic"], "fp32").file == "model.topic.onnx"
    with pytest.raises(ProviderUnavailable, match=r"in int8 for CPU.*Export again, or .*precision"):
        graph_for(manifest, CPU, None, "int8")
    other = replace(manifest, graphs=tuple(replace(g, precision="int8") for g in manifest.graphs))
    with pytest.raises(ProviderUnavailable, match=r"in fp32 .*--also fp32"):
        graph_for(other, CPU, None, "fp32")


def test_cuda_prefers_the_graph_made_for_it(several_graphs):
    manifest = with_targets(several_graphs, **{"model.padded.onnx": "ort-cuda"})
    assert graph_for(manifest, CUDA).file == "model.padded.onnx"


def test_the_cpu_never_takes_a_graph_for_cuda(several_graphs):
    files = ("model.onnx", "model.topic.onnx", "model.padded.onnx")
    manifest = with_targets(several_graphs, **dict.fromkeys(files, "ort-cuda"))
    with pytest.raises(ProviderUnavailable, match=r"no graph of this bundle has .*CPUExecution"):
        graph_for(manifest, CPU)


def test_other_targets_are_no_smaller_graphs(several_graphs):
    """Answers for some heads are those of all heads, so the graphs must be of one kind."""
    manifest = with_targets(several_graphs, **{"model.onnx": "ort-cpu"})
    assert graph_for(manifest, CPU, ["topic"]).file == "model.onnx"


def test_a_bundle_without_a_graph_for_cuda_says_how_to_get_one(bundle):
    with pytest.raises(ProviderUnavailable, match=r"model\.onnx \(fp32, exact.*--also cuda"):
        graph_for(read(bundle).manifest, CUDA)


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="CUDA is here")
def test_cuda_that_is_not_there_is_an_error(several_graphs):
    with pytest.raises(ProviderUnavailable, match=r"has no CUDAExecutionProvider.*onnxruntime-gpu"):
        load(several_graphs, provider="cuda")


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="CUDA is here")
def test_builds_that_overwrote_each_other_are_named(several_graphs, monkeypatch):
    both = ["onnxruntime 1.32.0", "onnxruntime-gpu 1.31.1"]
    monkeypatch.setattr(providers, "onnxruntime_distributions", lambda: both)
    message = r"onnxruntime 1\.32\.0 and onnxruntime-gpu 1\.31\.1 use one folder.*: uninstall all"
    with pytest.raises(ProviderUnavailable, match=message):
        load(several_graphs, provider="cuda")


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="CUDA is here")
def test_auto_takes_the_cpu_where_there_is_no_cuda(several_graphs):
    with load(several_graphs, provider="auto") as engine:
        assert engine.info()["provider"] == CPU
        assert engine.info()["graph"]["layout"] == "exact"


NO_DEVICE = """/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 \
CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; expr=cudaSetDevice(device_id);
a second line"""


def raises(*arguments, providers, **settings):
    """onnxruntime-gpu 1.31 without a device."""
    if providers[0][0] == CUDA:
        raise RuntimeError(NO_DEVICE)
    return SESSION(*arguments, providers=providers, **settings)


def takes_the_cpu(*arguments, providers, **settings):
    """onnxruntime where it goes on without the provider."""
    return SESSION(*arguments, providers=[CPU], **settings)


SESSION = ort.InferenceSession
BROKEN_CUDA = [
    pytest.param(
        raises, r"could not start it: .*CUDA failure 100: .*device_id\);\. Check", id="raises"
    ),
    pytest.param(takes_the_cpu, "could not start it, and took CPUExecution", id="takes_the_cpu"),
]


@pytest.fixture
def break_cuda(monkeypatch):
    """Has an onnxruntime with CUDA whose sessions are made by a function."""

    def put(session):
        monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(ort, "InferenceSession", session)

    return put


@pytest.mark.parametrize(("session", "message"), BROKEN_CUDA)
def test_cuda_that_does_not_start_is_an_error(several_graphs, break_cuda, session, message):
    break_cuda(session)
    with pytest.raises(ProviderUnavailable, match=message):
        load(several_graphs, provider="cuda")


@pytest.mark.parametrize(("session", "message"), BROKEN_CUDA)
def test_auto_goes_on_where_cuda_does_not_start(several_graphs, break_cuda, session, message):
    break_cuda(session)
    with load(several_graphs, provider="auto") as engine:
        assert engine.info()["provider"] == CPU
        assert engine.info()["graph"]["layout"] == "exact"


def test_a_bad_graph_is_not_the_fault_of_cuda(tmp_path, graph, break_cuda):
    bad = onnx.ModelProto()
    bad.CopyFrom(graph)
    bad.graph.node[0].input[0] = "nowhere"
    onnx.save(bad, tmp_path / "bad.onnx")
    break_cuda(raises)
    with pytest.raises(GraphError, match=r"bad\.onnx: onnxruntime"):
        OnnxSession(tmp_path / "bad.onnx", provider=CUDA)


@pytest.mark.parametrize("version", ["1.23.2", "1.9.0"])
def test_an_onnxruntime_that_is_too_old_is_refused(bundle, monkeypatch, version):
    """pip refuses it, but knows nothing of onnxruntime-gpu and other builds."""
    monkeypatch.setattr(ort, "__version__", version)
    with pytest.raises(ProviderUnavailable, match=rf"onnxruntime {version} is too old .* 1\.25"):
        load(bundle, verify="none")


@pytest.mark.parametrize(
    ("version", "checked"), [("1.24.4", True), ("1.25.0", False), ("2.0.0.dev20270101", False)]
)
def test_one_that_is_wrong_on_some_cpus_must_give_the_golden_answers(
    bundle_copy, edit_json, reseal, monkeypatch, version, checked
):
    edit_json(bundle_copy / "golden.json", lambda data: data["examples"][0]["ids"].append(1))
    reseal(bundle_copy)
    monkeypatch.setattr(ort, "__version__", version)
    with pytest.raises(GoldenMismatch) if checked else nullcontext():
        load(bundle_copy, verify="none").close()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param("sys.modules['onnxruntime'] = None", "not installed", id="absent"),
        pytest.param("sys.path.insert(0, sys.argv[1])", "is not whole", id="remains"),
    ],
)
def test_no_onnxruntime_is_an_error_of_the_tree(tmp_path, prepare, message):
    (tmp_path / "onnxruntime").mkdir()  # what is left when one of two builds was uninstalled
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    script = (
        f"import sys; {prepare}\n"
        "try:\n    import polyhead\n"
        "except ImportError as problem:\n    print(type(problem).__name__, problem)"
    )
    words = [sys.executable, "-c", script, tmp_path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = subprocess.check_output(words, text=True, env=environment)
    assert found.startswith("MissingExtra ")
    assert message in found
    assert "pip install onnxruntime" in found


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        pytest.param({"provider": "tpu"}, "provider='tpu': allowed: cpu, cuda, auto", id="name"),
        pytest.param({"provider_options": 5}, "provider_options: found int", id="options"),
        pytest.param({"session_options": {}}, "session_options: found dict", id="session"),
        pytest.param({"spin": 1}, "spin=1: expected True or False", id="spin"),
        pytest.param({"intra_op_threads": 0}, "intra_op_threads=0", id="intra_op"),
        pytest.param({"intra_op_threads": 10**30}, "at most 1,024", id="many_intra_op"),
        pytest.param({"max_characters": 0}, "max_characters=0", id="characters"),
        pytest.param({"verify": "all"}, "verify='all': allowed: digest, golden", id="verify"),
    ],
)
def test_a_bad_setting_is_refused(bundle, setting, message):
    with pytest.raises(InvalidSetting, match=message):
        load(bundle, **setting)


@pytest.fixture(scope="module")
def padded(several_graphs):
    """An engine of the padded graph, which on the CPU runs only where there is no other."""
    exact = load(several_graphs, threads=2)
    session = OnnxSession(several_graphs / "model.padded.onnx")
    with Engine(session, exact.tokenizer, exact.heads, max_tokens=24, batch_tokens=64) as engine:
        yield engine
    exact.close()


def test_a_padded_graph_gives_the_answers_of_the_exact_one(several_graphs, padded):
    texts = random.Random(3).sample(TEXTS, len(TEXTS))
    with load(several_graphs) as exact:
        expected = exact.logits(texts)
    found = padded.logits(texts)
    for head, arrays in expected.items():
        for a, b in zip(arrays, found[head], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_padded_graph_is_fed_several_lengths_at_once(padded):
    groups = padded_groups([3, 9, 4, 1], 20)
    assert groups == [[1, 2], [0, 3]]
    assert [p.tokens for p in padded.predict(["anna", "", "x x x"])] == [3, 2, 5]


def test_a_bundle_of_padded_graphs_alone_runs_on_the_cpu(several_graphs, tmp_path, edit_json):
    manifest = json.loads((several_graphs / "manifest.json").read_text())
    copy = shutil.copytree(several_graphs, tmp_path / "copy")
    edit_json(copy / "manifest.json", lambda data: data.update(graphs=manifest["graphs"][2:]))
    with load(copy, verify="golden") as engine:
        assert engine.info()["graph"]["layout"] == "padded"
        assert engine.predict(TEXTS)


def test_an_engine_with_some_heads_gives_the_same_bits(several_graphs):
    with load(several_graphs) as whole, load(several_graphs, heads=["topic"]) as part:
        assert part.info()["graph"]["file"] == "model.topic.onnx"
        assert list(part("anna")) == ["topic"]
        a, b = whole.logits(TEXTS)["topic"], part.logits(TEXTS)["topic"]
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b]


def test_an_engine_with_some_heads_of_a_larger_graph_has_these_only(several_graphs):
    with load(several_graphs, heads=["entities"], verify="golden") as engine:
        assert list(engine.heads) == ["entities"]
        with pytest.raises(UnknownHead, match="this engine has entities"):
            engine("anna", heads=["topic"])


@pytest.mark.parametrize("heads", [["topics"], "topics"], ids=["list", "str"])
def test_an_unknown_head_at_loading_names_the_nearest(several_graphs, heads):
    with pytest.raises(UnknownHead, match="Did you mean 'topic'"):
        load(several_graphs, heads=heads)


def test_no_heads_at_loading_are_refused(bundle):
    with pytest.raises(UnknownHead, match="found none"):
        load(bundle, heads=[])


def test_session_options_are_used_as_they_are(bundle):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    with load(bundle, threads=2, session_options=options) as engine:
        info = engine.info()
        assert (info["intra_op_threads"], info["workers"]) == (2, 1)
        assert engine("anna")
        with pytest.raises(EngineWithoutBundle, match="SessionOptions"):
            pickle.dumps(engine)


@pytest.mark.parametrize("spin", [False, True])
def test_threads_wait_as_they_were_set(bundle, spin):
    with load(bundle, spin=spin) as engine:
        assert engine.info()["spin"] is spin


def test_info_says_what_runs(bundle):
    with load(bundle, threads=1) as engine:
        info = json.loads(json.dumps(engine.info()))
    graph = read(bundle).manifest.graphs[0]
    assert info["graph"] == {
        "file": "model.onnx",
        "sha256": graph.sha256,
        "precision": "fp32",
        "layout": "exact",
        "target": "onnx",
    }
    assert info["versions"]["onnxruntime"] == ort.__version__
    assert set(info["cpu"]) == {"model", "flags"}
    assert (info["threads"], info["workers"], info["intra_op_threads"]) == (1, 1, 1)
