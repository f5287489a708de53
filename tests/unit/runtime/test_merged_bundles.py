"""Bundles over one encoder, with graphs of their own: one session, one run, the same answers."""

import itertools
import os
import pickle
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import polyhead
from polyhead import load
from polyhead.bundle import read, read_parts
from polyhead.bundle.combining import combine
from polyhead.inference.session import OnnxSession
from polyhead.verify.golden import verify

TEXTS = ["The parcel was late.", "", "Anna lives in Oslo", "thanks, thanks! " * 20]


def copy_of(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def with_other_heads(graph):
    """The same encoder under other heads; one of them is named as a head of the first graph."""
    model = copy_of(graph)
    for tensor in model.graph.initializer:
        if tensor.name != "embeddings":
            values = numpy_helper.to_array(tensor)[::-1].copy()
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@pytest.fixture(scope="module")
def theirs(make_bundle, graph, tmp_path_factory):
    model = with_other_heads(graph)
    return make_bundle(tmp_path_factory.mktemp("theirs") / "b", model=model, answers_of=model)


@pytest.fixture
def runs(monkeypatch):
    """Counts runs of sessions, and sessions that are made."""
    counts = Counter()
    for name in ("run", "_make"):
        real = getattr(OnnxSession, name)

        def count(self, *given, real=real, name=name):
            counts[name] += 1
            return real(self, *given)

        monkeypatch.setattr(OnnxSession, name, count)
    return counts


def bits(engine):
    return {
        name: [array.tobytes() for array in arrays] for name, arrays in engine.logits(TEXTS).items()
    }


def apart(*paths):
    """What bundles give that are loaded one by one, with the prefixes that `together` gives."""
    found = {}
    for prefix, path in zip(PREFIXES, paths, strict=False):
        with load(path, threads=1) as engine:
            found |= {f"{prefix}{name}": arrays for name, arrays in bits(engine).items()}
    return found


PREFIXES = ("", "b-", "c-")


def together(*paths, **settings):
    return load(*paths, prefix=PREFIXES[: len(paths)], **{"threads": 1, **settings})


def test_two_graphs_of_one_encoder_run_once(bundle, theirs, runs):
    expected = apart(bundle, theirs)
    runs.clear()
    with together(bundle, theirs) as engine:
        assert runs["_make"] == 1
        engine("Anna lives in Oslo")
        assert runs["run"] == 1
        assert bits(engine) == expected
        assert expected["topic"] != expected["b-topic"]
        shared = engine.info()["shared"]
        assert shared["encoder_passes"] == 1
        assert shared["merged"] == [{"parts": [0, 1], "operators": 8, "operators_apart": 12}]
        assert shared["notes"] == []
        assert [p["graph"]["sha256"] for p in shared["parts"]] == [
            read(path).manifest.graphs[0].sha256 for path in (bundle, theirs)
        ]


def test_it_needs_no_file_in_memory(bundle, theirs, runs, monkeypatch):
    expected = apart(bundle, theirs)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    runs.clear()
    with together(bundle, theirs) as engine:
        assert runs["_make"] == 1
        assert bits(engine) == expected


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_run_once_in_any_order(bundle, theirs, make_bundle, graph, tmp_path, order, runs):
    model = with_other_heads(graph)
    weight = model.graph.initializer[1]
    weight.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weight), weight.name))
    three = bundle, theirs, make_bundle(tmp_path / "c", model=model, answers_of=model)
    paths = [three[i] for i in order]
    expected = apart(*paths)
    runs.clear()
    with together(*paths, verify="golden") as engine:
        assert runs["_make"] == 1
        assert bits(engine) == expected


def test_a_call_for_some_heads_gives_their_bits(bundle, theirs):
    expected = apart(bundle, theirs)
    with together(bundle, theirs) as engine:
        for names in (["b-topic"], ["topic"], ["b-entities", "topic", "b-embedding"]):
            found = engine.logits(TEXTS, heads=names)
            assert {n: [a.tobytes() for a in found[n]] for n in found} == {
                n: expected[n] for n in names
            }
    with together(bundle, theirs, heads=["b-topic"]) as engine:
        assert engine.info()["shared"]["merged"] == []
        assert bits(engine) == {"b-topic": expected["b-topic"]}


def test_another_encoder_of_the_same_name_is_never_merged(
    bundle, theirs, make_bundle, graph, tmp_path, runs
):
    model = copy_of(graph)
    table = model.graph.initializer[0]
    values = numpy_helper.to_array(table).copy()
    values[-1, -1] = np.nextafter(values[-1, -1], np.float32(9))
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    encoder = replace(read(bundle).manifest.encoder, fingerprint="1" * 64)
    other = make_bundle(tmp_path / "c", model=model, answers_of=model, encoder=encoder)
    expected = apart(bundle, other, theirs)
    runs.clear()
    with together(bundle, other, theirs) as engine:
        assert runs["_make"] == 2
        assert bits(engine) == expected
        shared = engine.info()["shared"]
        assert shared["encoder_passes"] == 2
        assert [each["parts"] for each in shared["merged"]] == [[0, 2]]
        assert all("never shared" in note for note in shared["notes"])


def another_opset(model):
    model.opset_import[0].version = 22


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (another_opset, "their versions of the format or of the operators differ"),
        (lambda model: model.functions.add(name="F", domain="ai.onnx"), "it has functions"),
    ],
    ids=["opset", "function"],
)
def test_what_cannot_be_merged_runs_side_by_side_and_says_why(
    bundle, make_bundle, graph, tmp_path, change, why
):
    model = with_other_heads(graph)
    change(model)
    other = make_bundle(tmp_path / "b", model=model, answers_of=model)
    for paths in ((bundle, other), (other, bundle)):
        with together(*paths) as engine:
            assert bits(engine) == apart(*paths)
            shared = engine.info()["shared"]
            assert shared["encoder_passes"] == 2
            assert f"one encoder, run twice: {why}" in shared["notes"][0]


def test_texts_that_are_read_in_two_ways_are_read_apart(bundle, theirs, make_bundle, tmp_path):
    manifest = read(theirs).manifest
    heads = {name: replace(spec, stride=3) for name, spec in manifest.heads.items()}
    model = onnx.load(theirs / "model.onnx")
    other = make_bundle(tmp_path / "b", model=model, answers_of=model, heads=heads)
    with together(bundle, other) as engine:
        assert bits(engine) == apart(bundle, other)
        shared = engine.info()["shared"]
        assert shared["encoder_passes"] == 2
        assert "their windows share 0 and 3 tokens" in shared["notes"][0]


def test_a_damaged_file_is_named(bundle, theirs, make_bundle, graph, tmp_path, reseal):
    other = make_bundle(tmp_path / "b", model=with_other_heads(graph))
    file = other / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\0")
    with pytest.raises(polyhead.DigestMismatch, match=str(file)):
        together(bundle, other)
    file.write_bytes(content[: len(content) // 2])
    reseal(other)
    with pytest.raises(polyhead.GraphError, match=str(file)):
        together(bundle, other)


def test_graphs_that_onnxruntime_refuses_as_one_run_side_by_side(bundle, theirs, monkeypatch):
    def refuse(self):
        raise polyhead.GraphError("no")

    expected = apart(bundle, theirs)
    monkeypatch.setattr("polyhead.merged_sessions.MergedSession._model", refuse)
    with together(bundle, theirs) as engine:
        assert bits(engine) == expected
        assert "cannot load what they make together" in engine.info()["shared"]["notes"][0]


def test_graphs_that_give_other_bits_as_one_are_combined_apart(
    bundle, theirs, tmp_path, monkeypatch
):
    monkeypatch.setattr("polyhead.verify.golden.same_logits", lambda *_: False)
    made = combine([(bundle, ""), (theirs, "b-")], tmp_path / "both")
    assert len(list((tmp_path / "both").glob("*.onnx"))) == 2
    assert any("run twice: onnxruntime gives other bits" in note for note in made.notes)
    assert verify(tmp_path / "both").passed


def test_a_graph_that_onnxruntime_refuses_is_named(bundle, make_bundle, graph, tmp_path):
    model = with_other_heads(graph)
    model.graph.node[-1].op_type = "NoSuchOperator"
    other = make_bundle(tmp_path / "b", model=model)
    with pytest.raises(polyhead.GraphError, match=str(other / "model.onnx")):
        together(bundle, other)


def test_an_output_that_no_head_declares_is_refused(bundle, make_bundle, graph, tmp_path):
    model = with_other_heads(graph)
    model.graph.output[0].name = "logits/else"
    model.graph.node[4].output[0] = "logits/else"
    other = make_bundle(tmp_path / "b", model=model)
    with pytest.raises(polyhead.GraphError, match="logits/else"):
        together(bundle, other)


def test_it_is_reloaded_and_pickled(bundle, theirs, runs):
    with together(bundle, theirs) as engine:
        expected = bits(engine)
        runs.clear()
        engine.reload()
        assert runs["_make"] == 1
        assert bits(engine) == expected
        with pickle.loads(pickle.dumps(engine)) as again:
            assert bits(again) == expected
            assert again.info()["shared"]["encoder_passes"] == 1


def in_child(work):
    """Exit status of `work` in a forked process: 0 for True."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("verify", ["digest", "none"])
def test_a_forked_process_merges_again_and_refuses_another_file(
    bundle, make_bundle, graph, tmp_path, verify
):
    model = with_other_heads(graph)
    other = make_bundle(tmp_path / "b", model=model, answers_of=model)
    with together(bundle, other, verify=verify) as engine:
        expected = bits(engine)
        assert in_child(lambda: bits(engine) == expected) == 0
        file = other / "model.onnx"
        file.write_bytes(file.read_bytes()[:-1] + b"\0")

        def refused():
            with pytest.raises(polyhead.DigestMismatch, match=f"{file}: changed since"):
                bits(engine)
            return True

        assert in_child(refused) == 0
        assert bits(engine) == expected


@pytest.fixture(scope="module")
def combined(bundle, theirs, tmp_path_factory):
    target = tmp_path_factory.mktemp("combined") / "bundle"
    return target, combine([(bundle, ""), (theirs, "b-")], target)


def test_a_combined_bundle_has_one_graph(combined, bundle, theirs, runs):
    target, made = combined
    assert [file.name for file in target.glob("*.onnx")] == ["model.onnx"]
    sizes = [(path / "model.onnx").stat().st_size for path in (bundle, theirs)]
    merged = (target / "model.onnx").stat().st_size
    assert merged < 0.75 * sum(sizes)
    assert made.saved >= sum(sizes) - merged
    assert any("one graph, stored and run once" in note for note in made.notes)
    expected = apart(bundle, theirs)
    runs.clear()
    with load(target, threads=1, verify="golden") as engine:
        assert runs["_make"] == 1
        assert bits(engine) == expected
        assert engine.info()["shared"]["encoder_passes"] == 1


def test_what_was_measured_stays_with_each_part(combined, bundle, theirs):
    target, _ = combined
    for part, path in zip(read_parts(target), (bundle, theirs), strict=True):
        own = read(path).manifest
        assert part.manifest.provenance == own.provenance
        assert len(part.manifest.quality) == len(own.quality)
        assert set(part.manifest.graphs[0].heads) == set(part.manifest.heads)
    assert verify(target, stability=True).passed


def test_a_combined_bundle_is_merged_with_others(
    combined, bundle, theirs, make_bundle, graph, tmp_path, runs
):
    target, _ = combined
    model = with_other_heads(graph)
    weight = model.graph.initializer[2]
    weight.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weight), weight.name))
    more = make_bundle(tmp_path / "c", model=model, answers_of=model)
    expected = apart(bundle, theirs, more)
    with load(target, more, prefix=["", "c-"], threads=1) as engine:
        assert runs["_make"] >= 1
        assert bits(engine) == expected
        assert engine.info()["shared"]["encoder_passes"] == 1
    combine([(target, ""), (more, "c-")], tmp_path / "all")
    assert len(list((tmp_path / "all").glob("*.onnx"))) == 1
    with load(tmp_path / "all", threads=1, verify="golden") as engine:
        assert bits(engine) == expected
    with load(tmp_path / "all", threads=1, heads=["c-topic"]) as engine:
        assert bits(engine) == {"c-topic": expected["c-topic"]}


def test_a_shared_file_with_an_output_of_no_part_is_refused(combined, edit_json, tmp_path):
    target = shutil.copytree(combined[0], tmp_path / "copy")

    def change(data):
        part = data["parts"][1]
        del part["heads"]["b-topic"]
        part["graphs"][0]["heads"].remove("b-topic")
        part["quality"] = {}

    edit_json(target / "manifest.json", change)
    with pytest.raises(polyhead.GraphError, match="its outputs are"):
        load(target)
