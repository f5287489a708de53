import re

import numpy as np
import pytest
import torch

from polyhead.errors import PolyheadError
from polyhead.heads import HeadSpec
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import assemble
from polyhead_models.config import HeadConfig
from polyhead_models.errors import EncoderError
from polyhead_models.model import TorchBackend

SPECS = {
    "topic": HeadSpec(
        kind="classification.v1",
        output="logits/topic",
        labels=("a", "b"),
        pooling="max",
        layers="mix",
        max_tokens=32,
    ),
    "entities": HeadSpec(
        kind="tokens.v1", output="logits/entities", labels=("PERSON",), layers=1, max_tokens=32
    ),
    "embedding": HeadSpec(
        kind="embedding.v1", output="logits/embedding", pooling="mean", max_tokens=32
    ),
}
CONFIGS = {
    "topic": HeadConfig(kind="classification", data="a", target="b", hidden=(16,), dropout=0.5),
    "entities": HeadConfig(kind="tokens", data="a", target="b"),
    "embedding": HeadConfig(kind="embedding"),
}
FAMILIES = {
    "bert": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 40,
    },
    "roberta": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 42,
        "pad_token_id": 1,
    },
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 64,
        "max_position_embeddings": 40,
    },
}


def build(family):
    torch.manual_seed(3)
    return encoders.build({"model_type": family, "vocab_size": 60, **FAMILIES[family]})


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def model(family):
    return assemble(build(family), SPECS, CONFIGS).eval()


@pytest.fixture(scope="module")
def padded(family):
    """Ids of three texts of 7, 4 and 1 tokens, and their mask."""
    random = torch.Generator().manual_seed(4)
    mask = torch.zeros(3, 7, dtype=torch.int64)
    for row, length in enumerate((7, 4, 1)):
        mask[row, :length] = 1
    ids = torch.randint(5, 60, (3, 7), generator=random)
    padding = FAMILIES[family].get("pad_token_id", 0)
    return torch.where(mask == 1, ids, padding), mask


@torch.inference_mode()
def test_logits_of_a_padded_text_equal_those_of_the_text_alone(model, padded):
    ids, mask = padded
    together = model(ids, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        alone = model(ids[row : row + 1, :length])
        for name, logits in alone.items():
            found = together[name][row, :length] if name == "entities" else together[name][row]
            assert torch.allclose(found, logits[0], atol=1e-5), name


@torch.inference_mode()
def test_a_forward_pass_gives_the_logits_of_every_head(model, padded):
    shapes = {name: tuple(logits.shape) for name, logits in model(*padded).items()}
    assert shapes == {"topic": (3, 2), "entities": (3, 7, 3), "embedding": (3, 32)}


def test_capacity_is_the_longest_input_that_the_encoder_reads(family):
    encoder = build(family).eval()
    assert encoders.capacity(encoder) == 40
    ids = torch.randint(5, 60, (1, 41))
    encoder(input_ids=ids[:, :40])
    with pytest.raises((IndexError, RuntimeError)):
        encoder(input_ids=ids)


def test_heads_pool_for_themselves(family):
    assert getattr(build(family), "pooler", None) is None


@torch.inference_mode()
def test_the_last_layer_is_the_same_whether_others_are_asked_for_or_not(model, padded):
    only = assemble(model.encoder, {"embedding": SPECS["embedding"]}, CONFIGS).eval()
    assert torch.equal(only(*padded)["embedding"], model(*padded)["embedding"])


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_a_backend_leaves_the_mode_as_it_was(training):
    model = assemble(build("bert"), SPECS, CONFIGS).train(training)
    TorchBackend(model).run(["logits/topic"], {"input_ids": np.full((1, 3), 7)})
    assert {module.training for module in model.modules()} == {training}


def test_a_backend_in_evaluation_mode_walks_no_modules(monkeypatch):
    model = assemble(build("bert"), SPECS, CONFIGS).eval()
    for name in ("train", "eval"):
        monkeypatch.setattr(model, name, lambda *_: pytest.fail("costs time in each call"))
    TorchBackend(model).run(["logits/topic"], {"input_ids": np.full((1, 3), 7)})


def test_a_backend_answers_without_dropout():
    model = assemble(build("bert"), SPECS, CONFIGS).train()
    feeds = {"input_ids": np.array([[7, 8, 9]])}
    one, two = (TorchBackend(model).run(["logits/topic"], feeds)[0] for _ in range(2))
    assert np.array_equal(one, two)


def test_a_backend_gives_the_outputs_in_the_order_asked_for():
    backend = TorchBackend(assemble(build("bert"), SPECS, CONFIGS))
    found = backend.run(["logits/embedding", "logits/topic"], {"input_ids": np.full((2, 3), 7)})
    assert [(array.shape, array.dtype) for array in found] == [
        ((2, 32), np.float32),
        ((2, 2), np.float32),
    ]


@pytest.mark.parametrize("name", ["type", "values", "train"])
def test_a_head_may_have_any_name_that_a_configuration_allows(name):
    spec = HeadSpec(kind="embedding.v1", output=f"logits/{name}", pooling="mean", max_tokens=32)
    model = assemble(build("bert"), {name: spec}, {name: CONFIGS["embedding"]})
    assert list(model(torch.full((1, 3), 7))) == [name]


def test_the_fingerprint_is_that_of_the_weights():
    assert encoders.fingerprint(build("bert")) == encoders.fingerprint(build("bert"))


def test_the_fingerprint_changes_with_a_weight():
    encoder = build("bert")
    before = encoders.fingerprint(encoder)
    with torch.no_grad():
        encoder.embeddings.LayerNorm.bias[5] += 1e-6
    assert encoders.fingerprint(encoder) != before


def test_an_unknown_family_is_refused():
    with pytest.raises(EncoderError, match=r"encoder family 'brt': transformers .* cannot build"):
        encoders.build({"model_type": "brt"})


def test_an_encoder_is_read_from_a_folder(encoder_folder):
    encoder, tokenizer = encoders.load(str(encoder_folder))
    assert encoder.config.hidden_size == 32
    assert encoder.config.vocab_size == tokenizer.vocabulary_size


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_folder_is_refused(encoder_folder, tmp_path, file, damage):
    for path in encoder_folder.iterdir():
        content = path.read_bytes()
        if path.name == file:
            content = content[: len(content) // 2]
        if path.name != file or damage == "cut":
            (tmp_path / path.name).write_bytes(content)
    with pytest.raises(PolyheadError, match=re.escape(str(tmp_path))):
        encoders.load(str(tmp_path))
