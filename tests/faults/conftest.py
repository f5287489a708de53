"""What the attacks need; they take minutes, so `make faults` runs them and `make test` does not."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def real_bundle() -> Path:
    """The bundle under attack: `BUNDLE`, or the small one of the repository."""
    return Path(os.environ.get("BUNDLE") or ROOT / "tests" / "data" / "bundle").resolve()


@pytest.fixture(scope="session")
def encoder(wordpiece_json, wordpiece, tmp_path_factory) -> Path:
    """A tiny BERT with random weights and its tokenizer, a folder that nobody writes to."""
    import torch
    import transformers

    torch.manual_seed(0)
    made = transformers.BertConfig(
        vocab_size=wordpiece.vocabulary_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    folder = tmp_path_factory.mktemp("encoder")
    transformers.BertModel(made).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
    return folder
