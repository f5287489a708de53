"""A small encoder, random weights, whose tokens are Chinese characters: for the recipe csl-titles.

    export POLYHEAD_DATA=…
    python models/recipes/csl-encoder/make.py csl-encoder
    polyhead train models/recipes/csl-titles.toml -o checkpoints/csl-titles

Its vocabulary is what stands twice in the training files of two tasks. The same files give the same
encoder. One that was trained on Chinese text does better; name its folder or id in the recipe.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

COLUMNS = {
    "summarization/csl-ts-zh/dev.tsv": slice(1, 3),  # abstract and title
    "topic/csl-discipline-zh/ctg_train.tsv": slice(1, 2),  # title
}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer(counts: Counter[str]) -> Tokenizer:
    """A token for each character that was counted twice, in lower case."""
    often = [each for each, count in counts.most_common() if count > 1 and not each.isspace()]
    vocabulary = {token: number for number, token in enumerate(_SPECIAL + often)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
    )
    made.decoder = decoders.Fuse()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    return made


def make(folder: Path, data: Path) -> None:
    """Write the encoder."""
    counts: Counter[str] = Counter()
    for file, columns in COLUMNS.items():
        for line in (data / file).read_text(encoding="utf-8").splitlines():
            counts.update("".join(line.split("\t")[columns]).lower())
    made = tokenizer(counts)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=192,
        num_hidden_layers=3,
        num_attention_heads=6,
        intermediate_size=768,
        max_position_embeddings=320,
    )
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder, Path(os.environ["POLYHEAD_DATA"]))
