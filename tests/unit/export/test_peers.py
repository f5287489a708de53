"""Other engines, in environments of their own: run where POLYHEAD_PEERS names their folder.

It is the folder that `polyhead bench setup` makes: ``POLYHEAD_PEERS=build/peers``.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import polyhead
from polyhead_bench import commands, environments
from polyhead_bench.errors import PeerFault
from polyhead_export import optimum_folder
from polyhead_export.importing import import_folder
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.importing import ImportOptions

MODELS = {
    "classification": ("ForSequenceClassification", transformers.BertForSequenceClassification),
    "tokens": ("ForTokenClassification", transformers.BertForTokenClassification),
    "answer": ("ForQuestionAnswering", transformers.BertForQuestionAnswering),
    "embedding": ("ForFeatureExtraction", transformers.BertModel),
}
TEXTS = ["The parcel to Oslo was 3 days late.", "", "Thanks, 5 stars from Lima!", "late " * 20]


@pytest.fixture
def python(request):
    cache = os.environ.get("POLYHEAD_PEERS")
    if cache is None:
        pytest.skip("POLYHEAD_PEERS names no folder of environments")
    try:
        return environments.python(Path(cache), request.param)
    except PeerFault as fault:
        pytest.skip(str(fault))


def run_script(python, script, *words):
    """A script of this folder in another environment."""
    file = Path(__file__).parent / "scripts" / f"{script}.py"
    commands.run([str(python), str(file), *map(str, words)], script)


@pytest.mark.parametrize("python", ["optimum"], indirect=True)
@pytest.mark.parametrize("head", ["topic", "entities"])
def test_optimum_loads_the_folder_and_gives_our_logits(checkpoint, tmp_path, python, head):
    loader = optimum_folder.write(checkpoint, tmp_path / "f", [head])
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    files = [tmp_path / name for name in ("f", "texts.json", "logits.npz")]
    run_script(python, "optimum_logits", loader, *files)
    expected = checkpoints.load(checkpoint).engine().logits(TEXTS)[head]
    with np.load(tmp_path / "logits.npz") as found:
        for i, row in enumerate(expected):
            np.testing.assert_allclose(found[str(i)], row, rtol=0, atol=1e-4)


@pytest.fixture
def foreign(wordpiece, wordpiece_json, tmp_path):
    """`foreign(model class)`: a tiny folder of transformers."""

    def make(kind):
        torch.manual_seed(3)
        config = transformers.BertConfig(
            vocab_size=wordpiece.vocabulary_size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
        if kind is not transformers.BertForQuestionAnswering:
            config.id2label = {0: "O", 1: "B-A", 2: "I-A"}
            config.label2id = {label: i for i, label in config.id2label.items()}
        with encoders.quiet():
            kind(config).eval().save_pretrained(tmp_path / "source")
        (tmp_path / "source" / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
        (tmp_path / "source" / "tokenizer_config.json").write_text(json.dumps(settings))
        return tmp_path / "source"

    return make


@pytest.mark.parametrize("python", ["optimum"], indirect=True)
@pytest.mark.parametrize("kind", list(MODELS))
def test_an_imported_folder_of_optimum_gives_its_logits(foreign, tmp_path, python, kind):
    ending, model = MODELS[kind]
    source, loader = foreign(model), f"ORTModel{ending}"
    run_script(python, "optimum_export", loader, source, tmp_path / "folder")
    asked = [("Who was late?", text) for text in TEXTS] if kind == "answer" else TEXTS
    (tmp_path / "texts.json").write_text(json.dumps(asked))
    files = [tmp_path / name for name in ("folder", "texts.json", "logits.npz")]
    run_script(python, "optimum_logits", loader, *files)
    import_folder(tmp_path / "folder", tmp_path / "bundle", ImportOptions())
    with polyhead.load(tmp_path / "bundle") as engine, np.load(tmp_path / "logits.npz") as found:
        assert list(engine.heads) == [kind]
        for i, row in enumerate(engine.logits(asked)[kind]):
            expected = found[str(i)]
            expected = expected.mean(axis=0) if kind == "embedding" else expected
            np.testing.assert_allclose(row, expected, rtol=0, atol=1e-4)
