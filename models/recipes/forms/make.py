"""20,000 sentences with a date and an amount, and both in a normal form; with a small encoder.

    python models/recipes/forms/make.py forms-data
    export POLYHEAD_DATA=$PWD/forms-data
    polyhead train models/recipes/forms/forms.toml -o checkpoints/forms

The encoder has random weights and a tokenizer in which each digit is a token: it learns with the
decoder. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
import random
from datetime import date, timedelta
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

COUNTS = {"train": 20_000, "validation": 1_000, "test": 1_000}
SEED = 20
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_SENTENCES = (
    "On {date} we paid {amount} for the parcel.",
    "Please transfer {amount} until {date}.",
    "The invoice of {date} is about {amount}, as agreed.",
    "{amount} were booked on {date}.",
    "Anna owes us {amount} since {date}; remind her.",
    "Our rent rose to {amount} with effect from {date}.",
    "Refund of {amount}, requested {date}",
    "by {date}: {amount}",
)
_CURRENCIES = {
    "EUR": ("{} euros", "€{}", "EUR {}", "{} €"),
    "USD": ("{} dollars", "${}", "USD {}", "{} US dollars"),
    "GBP": ("{} pounds", "£{}", "GBP {}", "{} pounds sterling"),
}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def pair(draw: random.Random) -> dict[str, str]:
    """A sentence, and its date and amount."""
    day = date(1990, 1, 1) + timedelta(days=draw.randrange(14_600))
    cents = draw.choice((0, draw.randrange(100))) + 100 * int(10 ** draw.uniform(0.5, 5))
    currency = draw.choice(list(_CURRENCIES))
    amount = draw.choice(_CURRENCIES[currency]).format(_number(cents, draw))
    text = draw.choice(_SENTENCES).format(date=_written(day, draw), amount=amount)
    return {"text": text, "form": f"{day.isoformat()} {currency} {cents // 100}.{cents % 100:02}"}


def _written(day: date, draw: random.Random) -> str:
    month, number = _MONTHS[day.month - 1], day.day
    ordinal = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number // 10 != 1 else 0, "th")
    return draw.choice(
        (
            f"{number} {month} {day.year}",
            f"{month} {number}, {day.year}",
            f"the {number}{ordinal} of {month} {day.year}",
            f"{number}. {month[:3]} {day.year}",
            f"{month[:3]} {number}{ordinal}, {day.year}",
            f"{number:02}.{day.month:02}.{day.year}",
            day.isoformat(),
        )
    )


def _number(cents: int, draw: random.Random) -> str:
    whole = f"{cents // 100:,}" if draw.random() < 0.5 else str(cents // 100)
    return whole if cents % 100 == 0 else f"{whole}.{cents % 100:02}"


def tokenizer(texts: list[str]) -> Tokenizer:
    """Bytes, each digit by itself, and what `texts` have often."""
    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, _SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    return made


def make(folder: Path) -> None:
    """Write the three files and the encoder."""
    draw = random.Random(SEED)
    folder.mkdir(parents=True)
    texts: list[str] = []
    for split, count in COUNTS.items():
        rows = [pair(draw) for _ in range(count)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        if split == "train":
            texts = [value for row in rows for value in row.values()]
    made = tokenizer(texts)
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=96,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder / "encoder")
    PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(folder / "encoder")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)
