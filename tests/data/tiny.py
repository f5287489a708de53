"""A model of a few kilobytes with every form that peers need: `make smoke` asks them all.

    .venv/bin/python tests/data/tiny.py FOLDER


A one-layer random BERT of width 8 is trained on the sentences below and exported to int8.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors

PRODUCTS = ("kettle", "phone", "lamp", "radio")
TOPICS = {
    "defect": ("my {} broke", "the {} died in May", "the new {} leaks"),
    "delivery": ("where is my {} ?", "the {} came late", "no {} came in May"),
    "service": ("thanks for the {}", "great {} , many thanks", "call me"),
}
SENTIMENTS = {"defect": "negative", "delivery": "neutral", "service": "positive"}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CONFIG = """
encoder = { name = "encoder", max_tokens = 32 }
data.rows = { train = "rows.jsonl", validation = "rows.jsonl" }
[heads]
topic = { kind = "classification", data = "rows", target = "topic" }
sentiment = { kind = "classification", data = "rows", target = "sentiment" }
entities = { kind = "tokens", data = "rows", target = "entities" }
embedding = { kind = "embedding" }
[training]
epochs = 60
batch_tokens = 128
learning_rate = 1e-2
precision = "fp32"
"""


def rows() -> list[dict[str, object]]:
    """Every sentence with every product."""
    found: list[dict[str, object]] = []
    for topic, sentences in TOPICS.items():
        for sentence in sentences:
            for product in PRODUCTS if "{}" in sentence else ("",):
                text, start = sentence.format(product), sentence.find("{}")
                spans = [{"label": "DATE", "start": i, "end": i + 3} for i in [text.find("May")]]
                if product:
                    spans.append({"label": "PRODUCT", "start": start, "end": start + len(product)})
                found.append(
                    {
                        "text": text,
                        "topic": topic,
                        "sentiment": SENTIMENTS[topic],
                        "entities": [span for span in spans if int(str(span["start"])) >= 0],
                    }
                )
    return found


def encoder(folder: Path) -> None:
    """A random BERT of width 8 whose vocabulary is the words above."""
    words = sorted({word.lower() for row in rows() for word in str(row["text"]).split()})
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *words, ".", "!"))}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
        )
    ).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def make(folder: Path) -> None:
    """Train and export into `folder`: encoder, rows, configuration, checkpoint and bundle.

    Args:
        folder: has to stay: the checkpoint names the rows and the encoder that it was made of.
    """
    encoder(folder / "encoder")
    lines = [json.dumps(row) for row in rows()]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "config.toml").write_text(_CONFIG, encoding="utf-8")
    checkpoint, bundle = folder / "checkpoint", folder / "bundle"
    for words in (
        ["train", folder / "config.toml", "-o", checkpoint, "--overwrite"],
        ["export", checkpoint, "-o", bundle],
    ):
        subprocess.run([sys.executable, "-m", "polyhead", *map(str, words)], check=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
