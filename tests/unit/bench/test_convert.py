"""Forms of a model: made once, and again when what they are made of changes."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from polyhead.bundle import read
from polyhead.inference.session import OnnxSession
from polyhead_bench import commands
from polyhead_bench.convert import cache, conventional
from polyhead_bench.convert.cache import Models
from polyhead_bench.convert.forms import FORMS, optimum_configuration
from polyhead_bench.convert.masked import add_mask
from polyhead_bench.errors import PeerFault
from polyhead_models import checkpoint as checkpoints


@pytest.fixture
def forms(models, tmp_path):
    return Models(bundle=models.bundle, checkpoint=models.checkpoint, cache=tmp_path)


@pytest.fixture
def ran(monkeypatch):
    """What would be run; nothing is."""
    found = []
    monkeypatch.setattr(commands, "module", lambda name, words, about: found.append(list(words)))
    return found


def operators(path):
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    return {name: nodes.count(name) for name in set(nodes)}


def test_a_form_is_made_once(forms, monkeypatch):
    first = forms.folder("fp32", ["topic"])
    assert read(first).manifest.graphs[0].precision == "fp32"
    monkeypatch.setattr(commands, "module", lambda *_: pytest.fail("made again"))
    assert forms.folder("fp32", ["topic"]) == first


def test_a_form_is_made_again_when_a_source_of_the_exporter_changes(forms, ran, tmp_path):
    source = tmp_path / "exporter.py"
    folders = []
    for text in ("one", "two", "two"):
        source.write_text(text)
        cache._made_by.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache, "_sources", lambda: [source])
            folders.append(forms.folder("fp32", ["topic"]))
    cache._made_by.cache_clear()
    assert folders[0] != folders[1] == folders[2]


def test_the_sources_are_those_of_the_exporter_and_of_the_converters():
    names = {f"{file.parent.name}/{file.name}" for file in cache._sources()}
    assert {"convert/forms.py", "scripts/optimum_quantise.py", "inference/session.py"} <= names
    assert any(name.startswith("polyhead_export/") for name in names)


def test_a_form_is_made_again_when_the_checkpoint_changes(forms, ran, models, tmp_path):
    before = forms.folder("fp32", ["topic"])
    other = shutil.copytree(models.checkpoint, tmp_path / "other")
    with (other / "polyhead.json").open("a") as file:
        file.write(" ")
    assert replace(forms, checkpoint=other).folder("fp32", ["topic"]) != before


def test_the_bundle_and_the_checkpoint_are_taken_as_they_are(forms, models):
    assert forms.folder("bundle", ["topic"]) == models.bundle
    assert forms.folder("checkpoint", ["topic"]) == models.checkpoint


def test_the_student_is_taken_as_it_is(forms, models):
    with pytest.raises(PeerFault, match="pass --student"):
        forms.folder("student", ["topic"])
    given = replace(forms, student=models.bundle)
    assert given.folder("student", ["topic"], pruned=True) == models.bundle


def test_a_failed_command_is_named_with_its_reason(forms):
    with pytest.raises(PeerFault, match=r"'polyhead export .* failed: polyhead export: .*nothing"):
        forms.folder("fp32", ["nothing"])


def test_other_forms_need_the_checkpoint(forms):
    with pytest.raises(PeerFault, match="pass --checkpoint"):
        replace(forms, checkpoint=None).folder("fp32", ["topic"])


def test_a_bundle_of_one_head_is_the_separate_one(forms, ran):
    alone = forms.folder("bundle", ["topic"], pruned=True)
    assert alone == forms.folder("separate", ["topic"]) / "topic"


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_all_heads_of_an_int8_bundle_are_the_bundle_itself(
    forms, ran, models, precision, monkeypatch
):
    found = read(models.bundle)
    graph = replace(found.manifest.graphs[0], precision=precision)
    known = replace(found, manifest=replace(found.manifest, graphs=(graph,)))
    monkeypatch.setattr(cache, "read", lambda _: known)
    taken = forms.folder("bundle", ["topic"], pruned=True) == models.bundle
    assert taken is (precision == "int8")


def test_all_converted_forms_can_be_made():
    assert FORMS.keys() == cache.CONVERTED


def test_optimum_is_configured_for_the_cpu():
    found = [optimum_configuration(flags) for flags in (("avx2",), ("avx2", "avx512_vnni"))]
    assert found == ["avx2", "avx512_vnni"]


def test_a_graph_with_a_mask_gives_the_answers_of_each_row_alone(models, tmp_path):
    bundle = read(models.bundle)
    own = bundle.file(bundle.manifest.graphs[0])
    add_mask(own, tmp_path / "masked.onnx")
    masked, exact = OnnxSession(tmp_path / "masked.onnx"), OnnxSession(own)
    ids = np.random.default_rng(0).integers(5, 100, (2, 9))
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    feeds = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": mask}
    (found,) = masked.run(["logits/topic"], {name: feeds[name] for name in masked.inputs})
    for row, tokens in enumerate((9, 5)):
        alone = {name: feeds[name][row : row + 1, :tokens] for name in exact.inputs}
        (expected,) = exact.run(["logits/topic"], alone)
        np.testing.assert_allclose(found[row], expected[0], atol=1e-5)


def test_a_graph_without_attention_gets_no_mask(models, tmp_path):
    node = onnx.helper.make_node("Identity", ["input_ids"], ["y"])
    value = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, [1])
    graph = onnx.helper.make_graph([node], "g", [value], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "x.onnx")
    with pytest.raises(PeerFault, match="no Attention node"):
        add_mask(tmp_path / "x.onnx", tmp_path / "y.onnx")


@pytest.fixture(scope="module")
def textbook(models, tmp_path_factory):
    """An unfused graph and the textbook's int8 of it."""
    folder = tmp_path_factory.mktemp("graphs")
    model = checkpoints.load(models.checkpoint).model
    source = conventional.unfused(model, folder / "unfused.onnx")
    sizes = {"layers": 2, "heads": 4, "hidden": 32}
    return source, conventional.textbook(source, folder / "textbook.onnx", **sizes)


def test_the_textbook_graph_has_the_fused_int8_operators(textbook):
    found = operators(textbook[1])
    assert found["QAttention"] == 2
    assert found["MatMulInteger"] >= 6  # two layers: attention's output, both of the feed-forward


def test_the_textbook_graph_gives_about_the_answers_of_the_model(textbook):
    ids = np.arange(5, 17)[None]
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    exact, rounded = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for path in textbook
    )
    assert 0 < np.abs(exact - rounded).max() < 0.5 * np.abs(exact).max() + 0.1


def test_a_graph_that_was_not_fused_is_no_peer(textbook, tmp_path):
    with pytest.raises(PeerFault, match="not 3 layers"):
        conventional.textbook(textbook[0], tmp_path / "x.onnx", layers=3, heads=4, hidden=32)
