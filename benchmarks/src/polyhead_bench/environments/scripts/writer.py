"""An engine that writes a text for each that it reads, greedy and of equally many tokens.

Started as ``python writer.py ENGINE FOLDER TOKENS THREADS``, ENGINE being in `ENGINES`, in an
environment that has it. Says ``null`` once loaded and warm, then answers each line of standard
input, a text as JSON, with ``[text, tokens, ms, CPU ms]``. In the time: the tokenizer, encoder and
decoder, and the text of what was written.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Write = Callable[[str], tuple[str, int]]
"""A text into what was written, and how many tokens that has."""

_WARM_UP = 3


def polyhead(folder: Path, tokens: int, threads: int) -> Write:
    """A bundle, whose head is called ``written``."""
    import polyhead

    engine = polyhead.load(folder, threads=threads)
    options = {"written": {"min_tokens": tokens, "max_tokens": tokens, "beams": 1}}

    def write(text: str) -> tuple[str, int]:
        found: Any = engine(text, options=options)["written"]
        return found.text, found.tokens

    return write


def transformers(folder: Path, tokens: int, threads: int) -> Write:
    """`generate` of transformers, in fp32."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    options = {"min_new_tokens": tokens, "max_new_tokens": tokens}

    @torch.inference_mode()
    def write(text: str) -> tuple[str, int]:
        read = tokenizer(text, return_tensors="pt")
        ids = model.generate(**read, **options, do_sample=False, num_beams=1)[0, 1:]
        return tokenizer.decode(ids, skip_special_tokens=True), len(ids)

    return write


def ctranslate2(folder: Path, tokens: int, threads: int) -> Write:
    """A model of CTranslate2, with ``tokenizer.json`` beside it, in the precision that it has."""
    import ctranslate2
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    translator = ctranslate2.Translator(
        str(folder), device="cpu", inter_threads=1, intra_threads=threads
    )
    options = {"min_decoding_length": tokens, "max_decoding_length": tokens, "beam_size": 1}

    def write(text: str) -> tuple[str, int]:
        read = tokenizer.encode(text).tokens
        found = translator.translate_batch([read], **options)[0].hypotheses[0]
        return tokenizer.decode([tokenizer.token_to_id(token) for token in found]), len(found)

    return write


ENGINES = {"polyhead": polyhead, "transformers": transformers, "ctranslate2": ctranslate2}


def main(engine: str, folder: str, tokens: str, threads: str) -> None:
    """Answer until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    write = ENGINES[engine](Path(folder), int(tokens), int(threads))
    for _ in range(_WARM_UP):
        write("w1 w2 w3")
    print("null", file=out, flush=True)
    for line in sys.stdin:
        text = json.loads(line)
        clock, used = time.perf_counter(), time.process_time()
        written, count = write(text)
        ms = [1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - used)]
        print(json.dumps([written, count, *ms]), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
