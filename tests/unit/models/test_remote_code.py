"""Encoders that bring Python code of their own run it only when they are trusted."""

import json

import pytest
import torch

from polyhead_models import encoder as encoders
from polyhead_models.config import EncoderConfig
from polyhead_models.errors import EncoderError

CODE = """
from pathlib import Path
from transformers import BertConfig, BertModel

(Path(__file__).parent / "ran").touch()

class OwnConfig(BertConfig):
    model_type = "of-its-own"

class OwnModel(BertModel):
    config_class = OwnConfig
"""
SMALL = {
    "vocab_size": 128,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


@pytest.fixture
def folder(tmp_path, wordpiece_json, monkeypatch):
    """An encoder outside transformers, whose code would leave a file when it runs."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    place = tmp_path / "own"
    torch.manual_seed(0)
    with encoders.quiet():
        encoders.build({"model_type": "bert", **SMALL}).save_pretrained(place)
    config = json.loads((place / "config.json").read_text())
    config["model_type"] = "of-its-own"
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (place / "config.json").write_text(json.dumps(config))
    (place / "own.py").write_text(CODE)
    (place / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
    return place


def test_code_is_refused_unasked_and_did_not_run(folder, tmp_path):
    with pytest.raises(EncoderError, match="trust_remote_code = true under"):
        encoders.load(str(folder))
    assert not list(tmp_path.rglob("ran"))


def test_code_that_is_trusted_runs(folder):
    encoder, _ = encoders.load(str(folder), trust_remote_code=True)
    assert type(encoder).__name__ == "OwnModel"


def test_an_encoder_of_trusted_code_is_built_again_from_its_configuration(folder):
    encoder, _ = encoders.load(str(folder), trust_remote_code=True)
    again = encoders.build(encoder.config.to_dict(), code_of=str(folder))
    assert again.state_dict().keys() == encoder.state_dict().keys()


def test_a_family_that_nobody_knows_is_an_error():
    with pytest.raises(EncoderError, match="'no-such-family'"):
        encoders.build({"model_type": "no-such-family"})


def test_nothing_is_trusted_by_default():
    assert not EncoderConfig(name="x").trust_remote_code
