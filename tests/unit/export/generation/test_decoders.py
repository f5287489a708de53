"""Graphs of decoders: what is in them, what they give, and bundles with them."""

import collections
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import tokenizers
import torch
import transformers

import polyhead
from polyhead.bundle import Generation, Golden
from polyhead.heads import HeadSpec
from polyhead.system.schema import parse
from polyhead.text.tokenizer import Tokenizer
from polyhead_export import decoder_graphs, graphs
from polyhead_export.combining import combine
from polyhead_export.decoders import DecoderFiles, sessions
from polyhead_export.errors import ParityError
from polyhead_export.gate import Limits
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_export.texts import read_file
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config, DecoderConfig, EncoderConfig, HeadConfig
from polyhead_models.generation import starting
from polyhead_models.generation.shape import DecoderShape
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.model import MultiHeadModel

WIDTH, HEADS, SIZE, WORDS = 16, 4, 4, 50
SHAPES: dict[str, dict[str, Any]] = {
    "copies": {"copies": True},
    "shortlist": {"copies": True, "shortlist": 12},
    "relative": {
        "positions": "relative",
        "norm": "rms",
        "bias": False,
        "gated": True,
        "places": 8,
        "farthest": 16,
        "tied": False,
    },
    "after": {"norm_first": False, "embedding_norm": True, "score_bias": True, "last_norm": False},
}
TEXTS = ("anna lives in oslo", "the parcel was late", "thanks", "is the parcel not late in oslo")


@pytest.fixture(scope="module", params=list(SHAPES))
def network(request: pytest.FixtureRequest) -> GenerationNetwork:
    changes = SHAPES[request.param]
    torch.manual_seed(0)
    shape = DecoderShape(
        **{
            "vocabulary": WORDS,
            "width": WIDTH,
            "layers": 2,
            "heads": HEADS,
            "head_size": SIZE,
            "inner": 32,
            "places": 40,
            "attention_scale": SIZE**-0.5,
            **changes,
        }
    )
    generation = Generation(
        vocabulary=WORDS,
        layers=2,
        heads=HEADS,
        head_size=SIZE,
        start=0,
        end=(1,),
        max_tokens=40,
        default_tokens=8,
        copies=shape.copies,
    )
    spec = HeadSpec(kind="generation.v1", output="logits/w", max_tokens=30, generation=generation)
    made = GenerationNetwork(spec, width=WIDTH, depth=3, decoder=shape).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        if shape.shortlist is not None:
            made.decoder.gate.bias.fill_(12.0)  # as of one that has learnt to copy
    return made


def test_both_graphs_give_the_numbers_of_pytorch_and_have_neither_if_nor_loop(
    network: GenerationNetwork, tmp_path: Path
) -> None:
    model = MultiHeadModel(torch.nn.Identity(), {"w": network})  # type: ignore[arg-type]
    files = DecoderFiles(model, tmp_path)
    files.write()  # refuses other numbers, for past 0 and more, for one row and many
    assert {
        entry.precision for two in files.entries.values() for entry in (two.cross, two.step)
    } == {"fp32"}
    for part in ("cross", "step"):
        graph = ir.load(tmp_path / f"decoder.w.{part}.fp32.onnx").graph
        assert {node.domain for node in graph} == {""}
        assert not {"If", "Loop", "Scan"} & {node.op_type for node in graph}
    names = decoder_graphs.DecoderNames.of(network.decoder.shape)
    step = ir.load(tmp_path / "decoder.w.step.fp32.onnx").graph
    assert tuple(value.name for value in step.inputs) == names.inputs
    assert tuple(value.name for value in step.outputs) == names.outputs
    # The runtime holds them against the head, too.
    found = sessions(tmp_path, {"w": network.spec}, WIDTH)
    assert list(found) == ["w"]
    files.quantise("ort-cpu", scores=True)
    counts = collections.Counter(
        node.op_type for node in ir.load(tmp_path / "decoder.w.step.int8.onnx").graph
    )
    linears = 8 + (3 if network.decoder.shape.gated else 2)  # of a layer, keys of the source aside
    others = 1 + (1 if network.decoder.shape.copies else 0)
    gate = 1 if network.decoder.shape.copies else 0
    assert counts["MatMulIntegerToFloat"] == 2 * (linears - 2) + others + gate
    assert files.entries["w"].step.precision == "int8"
    error = decoder_graphs.check(
        network,
        tmp_path / "decoder.w.cross.int8.onnx",
        tmp_path / "decoder.w.step.int8.onnx",
        tolerance=0.2,
    )
    assert error > 0
    _rows_do_not_depend_on_their_company(network, tmp_path)
    with torch.no_grad():
        weight = network.decoder.embedding.weight
        weight += 0.1 * torch.randn_like(weight)
    with pytest.raises(ParityError, match=r"step\.fp32\.onnx differs from the PyTorch decoder"):
        decoder_graphs.check(
            network,
            tmp_path / "decoder.w.cross.fp32.onnx",
            tmp_path / "decoder.w.step.fp32.onnx",
            tolerance=1e-4,
        )


def _rows_do_not_depend_on_their_company(network: GenerationNetwork, folder: Path) -> None:
    """Of int8, whose scales are a row's own."""
    (backend,) = sessions(folder, {"w": network.spec}, WIDTH).values()
    random = np.random.default_rng(1)
    states = random.standard_normal((3, 5, WIDTH)).astype(np.float32)
    states[2] *= 100
    together = backend.cross(states)
    for row in range(3):
        for a, b in zip(together, backend.cross(states[row : row + 1]), strict=True):
            assert np.array_equal(a[row : row + 1], b)


@pytest.fixture(scope="module")
def source(wordpiece_json: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two heads over a tiny BERT, one of which writes; nobody changes it."""
    tokenizer_json = json.loads(wordpiece_json) | {
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}
    }
    tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json)))
    torch.manual_seed(0)
    encoder = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=tokenizer.vocabulary_size,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
        ),
        add_pooling_layer=False,
    )
    encoder = encoders.build(encoders.settings(encoder))
    heads = {
        "topic": HeadConfig(kind="classification", data="x", target="y"),
        "write": HeadConfig(
            kind="generation", data="x", target="y", decoder=DecoderConfig(layers=1), longest=6
        ),
    }
    begun = starting.new(encoder, tokenizer, heads["write"], ())
    specs = {
        "topic": HeadSpec(
            kind="classification.v1",
            output="logits/topic",
            labels=("a", "b"),
            activation="softmax",
            pooling="mean",
            max_tokens=40,
        ),
        "write": HeadSpec(
            kind="generation.v1",
            output="logits/write",
            max_tokens=40,
            stride=10,
            generation=begun.generation,
        ),
    }
    model = checkpoints.assemble(encoder, specs, heads, {"write": begun.shape}).eval()
    description = Description(
        encoder=encoders.settings(encoder),
        heads=specs,
        config=Config(
            encoder=EncoderConfig(name="tiny", max_tokens=40),
            heads={name: replace(head, data=None, target=None) for name, head in heads.items()},
        ),
        data={},
        provenance={},
        decoders={"write": begun.shape},
    )
    folder = tmp_path_factory.mktemp("source") / "checkpoint"
    folder.mkdir()
    checkpoints.save(folder, Checkpoint(model, tokenizer, description), {})
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    (folder.parent / "texts.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_a_bundle_writes_what_the_checkpoint_does_and_without_that_head_nothing_changes(
    source: Path, tmp_path: Path
) -> None:
    texts = read_file(source.parent / "texts.jsonl", "text")
    settings = ExportSettings(limits=Limits(max_drop=100, max_flips=100))
    manifest = export(source, tmp_path / "bundle", settings, examples=texts)
    decoders = manifest.decoders["write"]
    assert (decoders.cross.precision, decoders.step.precision) == ("int8", "int8")
    found = sorted(path.name for path in (tmp_path / "bundle").glob("decoder.*"))
    assert found == [decoders.cross.file, decoders.step.file]
    golden = json.loads((tmp_path / "bundle" / "golden.json").read_text(encoding="utf-8"))
    assert set(parse(Golden, golden, where="golden", error=polyhead.BundleError).tolerance) == {
        manifest.graphs[0].file,
        decoders.step.file,
    }
    float_settings = replace(settings, precision="fp32")
    export(source, tmp_path / "float", float_settings, examples=texts)
    with checkpoints.load(source).engine() as trained, polyhead.load(tmp_path / "float") as own:
        for text in (*TEXTS, ""):
            assert own(text)["write"].text == trained(text)["write"].text
        expected = own(TEXTS[0])["write"].text
    combine([(tmp_path / "float", "x_")], tmp_path / "combined")
    with polyhead.load(tmp_path / "combined", verify="golden") as combined:
        assert combined(TEXTS[0])["x_write"].text == expected
    alone = replace(float_settings, heads=("topic",))
    manifest = export(source, tmp_path / "alone", alone, examples=texts)
    assert manifest.decoders == {}
    assert "decoders" not in json.loads((tmp_path / "alone" / "manifest.json").read_text("utf-8"))
    topic = MultiHeadModel(
        (model := checkpoints.load(source).model).encoder, {"topic": model.networks["topic"]}
    )
    graphs.save(graphs.float_graph(topic.eval(), max_tokens=40), tmp_path / "topic.onnx")
    graph = tmp_path / "alone" / manifest.graphs[0].file
    assert graph.read_bytes() == (tmp_path / "topic.onnx").read_bytes()
