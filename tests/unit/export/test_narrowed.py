"""Encoders with fewer neurons and attention heads than their family has go through the export."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import polyhead
from polyhead.inference.session import OnnxSession
from polyhead_export import graphs, parity
from polyhead_export.pipeline import export
from polyhead_export.quantisation import calibrate as quantisation
from polyhead_export.settings import ExportSettings
from polyhead_export.texts import CalibrationTexts
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.model import MultiHeadModel
from polyhead_models.shrinking import anatomy

TEXTS = tuple(f"anna lives in oslo, parcel {n} is late{', thanks' * (n % 6)}" for n in range(12))
# One of each layout.
FAMILIES = (
    "bert",
    "distilbert",
    "mpnet",
    "deberta-v2",
    "modernbert",
    "nomic_bert",
)
NEURONS, HEADS = torch.arange(0, 64, 2), torch.tensor([0, 1, 3])


def narrow(model):
    """The model over half the neurons and three of four attention heads, where that can be done."""
    encoder = model.encoder
    depth = anatomy.shape_of(encoder).layers
    heads = None if encoder.config.model_type == "mpnet" else [HEADS] * depth
    small = anatomy.narrowed(encoder, layers=range(depth), neurons=[NEURONS] * depth, heads=heads)
    return MultiHeadModel(small, model.networks).eval()


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, families, make_model):
    if request.param not in families:
        pytest.skip("this transformers has it not")
    return narrow(make_model(request.param))


def test_the_graph_gives_the_numbers_of_the_model(model, wordpiece, tmp_path):
    graph = graphs.float_graph(model, max_tokens=40)
    graphs.save(graph, tmp_path / "float.onnx")
    assert parity.check(model, tmp_path / "float.onnx", max_tokens=40) <= 1e-5
    counts = {n.attributes["q_num_heads"].as_int() for n in graph.graph if n.op_type == "Attention"}
    assert counts <= {len(HEADS)}

    sampled = CalibrationTexts(TEXTS, 0)
    calibrated = quantisation.calibrate(graph, wordpiece, sampled, max_tokens=40)
    lowered = graphs.lowered(quantisation.quantised(calibrated, quantisation.Plan()))
    graphs.save(lowered, tmp_path / "int8.onnx")
    ids = np.random.default_rng(8).integers(5, 120, (9, 17), dtype=np.int64)
    sessions = [OnnxSession(tmp_path / f"{kind}.onnx") for kind in ("float", "int8")]
    for name in sessions[0].outputs:
        exact, rounded = (session.run([name], {"input_ids": ids})[0] for session in sessions)
        assert np.linalg.norm(exact - rounded) < 0.3 * np.linalg.norm(exact)


def test_a_checkpoint_is_saved_read_and_exported(checkpoint, any_loss, tmp_path):
    given = checkpoints.load(checkpoint)
    small = narrow(given.model)
    settings = encoders.settings(small.encoder)
    description = replace(given.description, encoder=settings)
    (tmp_path / "checkpoint").mkdir()
    made = checkpoints.Checkpoint(small, given.tokenizer, description)
    checkpoints.save(tmp_path / "checkpoint", made, checkpoints.metrics(checkpoint))

    read = checkpoints.load(tmp_path / "checkpoint")
    assert encoders.fingerprint(read.model.encoder) == encoders.fingerprint(small.encoder)
    assert anatomy.shape_of(read.model.encoder).attention_heads == len(HEADS)

    settings = ExportSettings(precision="fp32", also=("padded",), limits=any_loss)
    export(tmp_path / "checkpoint", tmp_path / "bundle", settings)
    text = "The parcel to Oslo was 3 days late."
    with polyhead.load(tmp_path / "bundle") as engine:
        assert engine(text)["topic"].label == read.engine()(text)["topic"].label
