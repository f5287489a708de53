"""A model in T5-small's shape with random weights, in the form of each engine that writes."""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.bundle import is_bundle, read
from polyhead.cli.main import main as polyhead
from polyhead_bench import commands
from polyhead_bench.errors import BenchError

_HEAD = "written"
_TOKENIZER = "tokenizer.json"
_SPECIAL = ("<pad>", "</s>", "<unk>")
_WORDS = 250  # of those that a tokenizer knows; texts are of these
_CALIBRATION = 16  # texts
_EMBEDDING = 0.1  # of its fresh size, with which a decoder repeats the token that it reads


def words(count: int, random: np.random.Generator) -> str:
    """A text of so many random words, each a token; the tokenizer adds one for the end."""
    return " ".join(f"w{number}" for number in random.integers(_WORDS, size=count))


def make(folder: Path, **settings: Any) -> None:
    """The folders ``model``, as `save_pretrained` writes it, and of bundles ``fp32`` and ``int8``.

    int8 is taken whatever it loses, since nothing was learnt. Bundles that are there are kept.

    Args:
        folder: of all.
        settings: of transformers' `T5Config`, where other than T5-small's.

    Raises:
        BenchError: when a command fails, or leaves the decoder in float.
    """
    if all(is_bundle(folder / name) for name in ("fp32", "int8")):
        return
    _make_model(folder / "model", settings)
    random, texts = np.random.default_rng(1), folder / "texts.txt"
    lines = [words(63, random) for _ in range(_CALIBRATION)]
    texts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _polyhead("import", folder / "model", "-o", folder / "checkpoint", "--head", _HEAD)
    for precision in ("fp32", "int8"):
        named = ["--precision", precision, "--texts", texts]
        allowed = ["--max-drop", 100, "--max-flips", 100]
        _polyhead("export", folder / "checkpoint", "-o", folder / precision, *named, *allowed)
        step = read(folder / precision).manifest.decoders[_HEAD].step
        if step.precision != precision:
            raise BenchError(f"{folder / precision}: {step.file} is not in {precision}.")


def make_ctranslate2(folder: Path, python: Path) -> None:
    """CTranslate2's int8 form of ``model``, by its own converter, in the folder ``ctranslate2``.

    One that is there is kept.

    Args:
        folder: of all.
        python: of its environment.

    Raises:
        PeerFault: when the converter fails.
    """
    made = folder / "ctranslate2"
    if (made / _TOKENIZER).is_file():
        return
    command = [str(python.parent / "ct2-transformers-converter"), "--model", str(folder / "model")]
    command += ["--output_dir", str(made), "--quantization", "int8", "--force"]
    commands.run(command, "ct2-transformers-converter")
    shutil.copy(folder / "model" / _TOKENIZER, made)


def _make_model(folder: Path, settings: dict[str, Any]) -> None:
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(0)
    family: Any = transformers.T5Config
    config = family(decoder_start_token_id=0, **settings)
    model: Any = transformers.T5ForConditionalGeneration(config)
    model.get_input_embeddings().weight.data.mul_(_EMBEDDING)
    model.save_pretrained(folder)
    known = [*_SPECIAL, *(f"w{number}" for number in range(config.vocab_size - len(_SPECIAL)))]
    pieces = {word: number for number, word in enumerate(known)}
    tokenizer = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    wrapped: Any = transformers.PreTrainedTokenizerFast
    wrapped(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
    ).save_pretrained(folder)


def _polyhead(*given: object) -> None:
    words = [str(word) for word in given]
    with redirect_stdout(sys.stderr):  # what it made is no result here
        failed = polyhead(words)
    if failed:
        raise BenchError(f"'polyhead {' '.join(words)}' failed.")
