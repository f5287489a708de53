"""The made task: its rows, and the encoder that its script writes."""

import json
import runpy
from pathlib import Path

import pytest

from polyhead_models import encoder
from polyhead_models.errors import EncoderError

SCRIPT = Path(__file__).parents[3] / "models" / "recipes" / "forms" / "make.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    script = runpy.run_path(str(SCRIPT))
    for split in ("train", "validation", "test"):
        script["COUNTS"][split] = 50
    folder = tmp_path_factory.mktemp("forms") / "data"
    script["make"](folder)
    return folder


def test_each_digit_of_a_form_is_a_token(made):
    """So that it can be copied."""
    _, tokenizer = encoder.load(str(made / "encoder"))
    for line in (made / "train.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for text in row.values():
            assert tokenizer.decode(tokenizer.encode([text])[0].ids.tolist()) == text
        tokens = tokenizer.encode([row["form"]])[0]
        digits = {tokens.text[a:b] for a, b in tokens.offsets if tokens.text[a:b].isdigit()}
        assert all(len(digit) == 1 for digit in digits)


def test_a_tokenizer_that_would_be_made_anew_of_its_vocabulary_is_refused(made, tmp_path):
    """A BPE under an encoder of the BERT family became WordPiece without a word."""
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes((made / "encoder" / name).read_bytes())
    with pytest.raises(EncoderError, match=r"has a BPE model, of which .* a WordPiece model"):
        encoder.load(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    )
    encoder.load(str(tmp_path))
