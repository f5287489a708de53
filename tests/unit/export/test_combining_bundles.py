"""`polyhead combine` of bundles: one folder, one graph where the encoder is one, the same bits."""

import json
import logging
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper

from polyhead import HeadClash, load
from polyhead.bundle import Certificate, read, read_parts, writer
from polyhead.bundle.digest import entry
from polyhead.cli.main import main
from polyhead.inference.session import OnnxSession
from polyhead.verify import stability
from polyhead.verify.golden import verify
from polyhead_export.combining import combine
from polyhead_export.combining import groups as grouping
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings

TEXTS = ["The parcel was late.", "", "Anna lives in Oslo"]


@pytest.fixture(scope="module")
def other(make_bundle, graph, tmp_path_factory):
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    for weight in changed.graph.initializer:
        values = numpy_helper.to_array(weight)[::-1].copy()
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return make_bundle(
        tmp_path_factory.mktemp("other") / "bundle", model=changed, answers_of=changed
    )


@pytest.fixture(scope="module")
def combined(bundle, other, tmp_path_factory):
    target = tmp_path_factory.mktemp("combined") / "bundle"
    combine([(bundle, ""), (other, "b-")], target)
    return target


def test_it_answers_as_its_parts_do(combined, bundle, other):
    with load(combined) as both, load(bundle) as first, load(other) as second:
        expected = first.logits(TEXTS) | {f"b-{k}": v for k, v in second.logits(TEXTS).items()}
        found = both.logits(TEXTS)
        assert list(found) == list(expected)
        for name, arrays in expected.items():
            for array, own in zip(arrays, found[name], strict=True):
                np.testing.assert_array_equal(array, own)


def test_one_tokenizer_is_stored_once(combined):
    parts = read_parts(combined)
    assert len({part.manifest.tokenizer.file for part in parts}) == 1
    assert len({part.manifest.graphs[0].file for part in parts}) == 2
    assert len(list(combined.glob("tokenizer*.json"))) == 1


def test_figures_labels_and_provenance_are_kept(combined, bundle):
    own, (first, second) = read(bundle).manifest, read_parts(combined)
    assert first.manifest.provenance == second.manifest.provenance == own.provenance
    assert second.manifest.quality == {"b-topic": own.quality["topic"]}
    assert second.manifest.heads["b-topic"].labels == own.heads["topic"].labels


def test_each_card_shows_its_own_picture(make_bundle, tmp_path):
    made = []
    for name in ("first", "second"):
        folder = make_bundle(tmp_path / name)
        manifest = read(folder).manifest
        (folder / "quality.png").write_bytes(name.encode())
        (folder / "README.md").write_text(f"![Figures of {name}](quality.png)\n")
        card, picture = (entry(folder / file) for file in ("README.md", "quality.png"))
        writer.write_manifest(folder, replace(manifest, card=card, picture=picture))
        made.append(folder)
    combine([(made[0], ""), (made[1], "b-")], tmp_path / "both")
    for name, part in zip(("first", "second"), read_parts(tmp_path / "both"), strict=True):
        card, picture = part.manifest.card, part.manifest.picture
        assert picture is not None
        assert part.file(picture).read_text() == name
        assert part.file(card).read_text() == f"![Figures of {name}]({picture.file})\n"


def test_a_card_or_picture_that_is_gone_leaves_a_title(make_bundle, tmp_path):
    folder = make_bundle(tmp_path / "a")
    (folder / "quality.png").write_bytes(b"picture")
    manifest = replace(read(folder).manifest, picture=entry(folder / "quality.png"))
    writer.write_manifest(folder, manifest)
    for name in ("README.md", "quality.png"):
        (folder / name).unlink()
    made = combine([(folder, ""), (folder, "b-")], tmp_path / "both")
    assert (tmp_path / "both" / made.parts[0].card.file).read_text().startswith("# topic, ")
    assert made.parts[0].picture is None
    assert verify(tmp_path / "both").passed


def test_the_golden_answers_still_hold(combined):
    found = verify(combined, stability=True)
    assert found.passed
    assert [check.head for check in found.heads][3:] == ["b-topic", "b-entities", "b-embedding"]


def test_a_combined_bundle_may_be_a_part(combined, bundle, tmp_path):
    made = combine([(combined, ""), (bundle, "c-")], tmp_path / "three")
    assert len(made.parts) == 3
    with load(tmp_path / "three") as engine:
        assert len(engine("a")) == 9


def test_two_heads_of_one_name_are_refused(bundle, other, tmp_path):
    with pytest.raises(HeadClash, match="both have a head 'topic'"):
        combine([(bundle, ""), (other, "")], tmp_path / "both")
    assert not (tmp_path / "both").exists()


@pytest.fixture(scope="module")
def theirs(make_bundle, graph, tmp_path_factory):
    """The encoder of `bundle` under other heads of the same names."""
    return make_with(make_bundle, graph, tmp_path_factory.mktemp("theirs") / "b")


def make_with(make_bundle, graph, folder, *, times=1, **changes):
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for tensor in model.graph.initializer[1:]:
        values = times * numpy_helper.to_array(tensor)[::-1]
        tensor.CopyFrom(numpy_helper.from_array(values.copy(), tensor.name))
    return make_bundle(folder, model=model, answers_of=model, **changes)


def bits(path, prefix=""):
    with load(path, threads=1) as engine:
        return {
            f"{prefix}{name}": [array.tobytes() for array in arrays]
            for name, arrays in engine.logits(TEXTS).items()
        }


def graph_files(folder):
    return sorted(file.name for file in folder.glob("*.onnx"))


def test_graphs_over_one_encoder_are_one_graph(bundle, theirs, tmp_path):
    expected = bits(bundle) | bits(theirs, "b-")
    made = combine([(bundle, ""), (theirs, "b-")], tmp_path / "both")
    assert graph_files(tmp_path / "both") == ["model.onnx"]
    sizes = [(path / "model.onnx").stat().st_size for path in (bundle, theirs)]
    assert (tmp_path / "both" / "model.onnx").stat().st_size < 0.75 * sum(sizes)
    assert made.saved > 0
    assert bits(tmp_path / "both") == expected
    assert verify(tmp_path / "both", stability=True).passed


def test_a_combined_bundle_is_merged_with_more(bundle, theirs, make_bundle, graph, tmp_path):
    more = make_with(make_bundle, graph, tmp_path / "c", times=2)
    expected = bits(bundle) | bits(theirs, "b-") | bits(more, "c-")
    combine([(bundle, ""), (theirs, "b-")], tmp_path / "both")
    combine([(tmp_path / "both", ""), (more, "c-")], tmp_path / "all")
    assert graph_files(tmp_path / "all") == ["model.onnx"]
    assert bits(tmp_path / "all") == expected


def test_another_encoder_of_the_same_name_stays_apart(
    bundle, theirs, make_bundle, graph, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    table = model.graph.initializer[0]
    values = numpy_helper.to_array(table).copy()
    values[-1, -1] = np.nextafter(values[-1, -1], np.float32(9))
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    other = make_bundle(tmp_path / "c", model=model, answers_of=model)
    expected = bits(bundle) | bits(other, "b-") | bits(theirs, "c-")
    combine([(bundle, ""), (other, "b-"), (theirs, "c-")], tmp_path / "all")
    assert graph_files(tmp_path / "all") == ["model-2.onnx", "model.onnx"]
    assert (tmp_path / "all" / "model-2.onnx").read_bytes() == model.SerializeToString()
    assert bits(tmp_path / "all") == expected
    assert "stay apart: only" in caplog.text


@pytest.mark.parametrize(
    ("field", "why"),
    [("stride", "their windows share 0 and 3 tokens"), ("limit", "they read 24 and 20 tokens")],
)
def test_texts_that_are_read_in_two_ways_keep_two_graphs(
    bundle, make_bundle, graph, tmp_path, caplog, field, why
):
    caplog.set_level(logging.INFO)
    manifest = read(bundle).manifest
    heads = {name: replace(spec, stride=3) for name, spec in manifest.heads.items()}
    encoder = replace(manifest.encoder, max_tokens=20)
    changes = {"heads": heads} if field == "stride" else {"encoder": encoder}
    other = make_with(make_bundle, graph, tmp_path / "b", **changes)
    combine([(bundle, ""), (other, "b-")], tmp_path / "both")
    assert len(graph_files(tmp_path / "both")) == 2
    assert why in caplog.text
    caplog.clear()
    with load(tmp_path / "both"):  # which can be combined no further
        assert not caplog.records


def test_graphs_that_give_other_bits_as_one_stay_apart(
    bundle, theirs, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    real = grouping.union

    def wrong(models, names):
        whole = real(models, names)
        weight = next(v for n, v in whole.graph.initializers.items() if "topic.weight" in str(n))
        weight.const_value = ir.tensor(np.nextafter(weight.const_value.numpy(), np.float32(9)))
        return whole

    monkeypatch.setattr(grouping, "union", wrong)
    combine([(bundle, ""), (theirs, "b-")], tmp_path / "both")
    assert len(graph_files(tmp_path / "both")) == 2
    assert "onnxruntime gives other bits" in caplog.text
    assert verify(tmp_path / "both").passed


CERTIFICATE = Certificate(
    graph="model.onnx",
    texts=3,
    batch_sizes=(1,),
    threads=(1,),
    max_difference=0.0,
    cpu="another",
    onnxruntime="1.0",
)


@pytest.fixture
def certified(make_bundle, graph, tmp_path):
    """Two bundles over one encoder that say that they are stable, on another machine."""
    first = make_bundle(tmp_path / "a", certificate=CERTIFICATE)
    second = make_with(make_bundle, graph, tmp_path / "b", certificate=CERTIFICATE)
    return [(first, ""), (second, "b-")]


def test_the_stability_of_what_was_merged_is_measured_again(certified, tmp_path):
    made = combine(certified, tmp_path / "both")
    for part in made.parts:
        assert part.certificate is not None
        assert part.certificate.onnxruntime == onnxruntime.__version__
        assert (part.certificate.graph, part.certificate.max_difference) == ("model.onnx", 0)


def test_a_merged_graph_that_is_not_stable_is_kept_apart(certified, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    real = stability.measure
    monkeypatch.setattr(
        stability, "measure", lambda *given: replace(real(*given), max_difference=0.25)
    )
    made = combine(certified, tmp_path / "both")
    assert len(graph_files(tmp_path / "both")) == 2
    assert "batches or threads change a logit by up to 0.25" in caplog.text
    assert [part.certificate.graph for part in made.parts] == ["model.onnx", "model-2.onnx"]
    assert {part.certificate.cpu for part in made.parts} == {"another"}


KINDS = ("int8", "int8 of some heads", "qdq", "padded", "cuda")


@pytest.fixture(scope="module")
def every_kind(checkpoint, any_loss, tmp_path_factory):
    """Two real bundles over one encoder with every kind of graph, and what they became."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, heads in (("a", ("topic", "first")), ("b", ("entities", "embedding"))):
        settings = ExportSettings(
            heads=heads, also=("onnx", "padded", "cuda"), also_heads=(heads[:1],), limits=any_loss
        )
        export(checkpoint, folder / name, settings)
    made = combine([(folder / "a", ""), (folder / "b", "")], folder / "both")
    return [read(folder / "a"), read(folder / "b")], made


def golden_logits(bundle, manifest, file, graph):
    """Bits of every golden text in one row, with two tokens of padding where there is a mask."""
    session = OnnxSession(file)
    outputs = [manifest.heads[name].output for name in graph.heads]
    with load(bundle.path) as engine:
        encodings = engine.encode([example.input for example in bundle.golden().examples])
    found = []
    for encoding in encodings:
        feeds = encoding.feeds([name for name in graph.inputs if name != "attention_mask"])
        if graph.layout == "padded":
            feeds["attention_mask"] = np.ones_like(feeds["input_ids"])
            feeds = {name: np.pad(rows, ((0, 0), (0, 2))) for name, rows in feeds.items()}
        found += [array.tobytes() for array in session.run(outputs, feeds)]
    return found


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
def test_every_kind_of_graph_is_merged_and_keeps_its_bits(every_kind, number):
    bundles, made = every_kind
    files = {part.graphs[number].file for part in made.parts}
    assert len(files) == 1
    for bundle, part in zip(bundles, made.parts, strict=True):
        before, after = bundle.manifest.graphs[number], part.graphs[number]
        assert golden_logits(bundle, bundle.manifest, bundle.file(before), before) == golden_logits(
            bundle, part, made.path / after.file, after
        )
    sizes = [bundle.manifest.graphs[number].size for bundle in bundles]
    assert (made.path / files.pop()).stat().st_size < 1.1 * max(sizes)


def test_every_file_of_a_part_comes_along(every_kind):
    bundles, made = every_kind
    for bundle, part in zip(bundles, read_parts(made.path), strict=True):
        before, after = bundle.manifest.calibration, part.manifest.calibration
        assert before is not None
        assert after is not None
        assert part.content(after) == bundle.content(before)


def test_big_weights_and_their_scales_are_there_once(every_kind):
    bundles, made = every_kind
    models = [onnx.load(bundle.path / "model.int8.onnx") for bundle in bundles]
    whole = onnx.load(made.path / "model.int8.onnx")
    own = [tensor.raw_data for tensor in whole.graph.initializer if len(tensor.raw_data) > 16]
    assert len(own) == len(set(own))
    assert set(own) == {
        t.raw_data for m in models for t in m.graph.initializer if len(t.raw_data) > 16
    }


def test_the_command_shows_graphs_and_says_why_others_are_apart(bundle, other, tmp_path, capsys):
    target = tmp_path / "both"
    words = [bundle, other, "-o", target, "--prefix", "", "--prefix", "b-"]
    assert main(["combine", *map(str, words)]) == 0
    shown = capsys.readouterr()
    assert [line.split()[3] for line in shown.out.splitlines()[2:]] == 3 * ["model.onnx"] + 3 * [
        "model-2.onnx"
    ]
    assert "stay apart: only" in shown.err
    assert json.loads((target / "manifest.json").read_text())["version"] == 2


def test_bundles_and_checkpoints_do_not_mix(bundle, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["combine", str(bundle), str(tmp_path), "-o", str(tmp_path / "both")])
    assert "combine bundles, or checkpoints" in capsys.readouterr().err
