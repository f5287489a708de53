"""Answers in the shapes of T5-small and BART-base, as `generate` gives them; takes half an hour.

Random weights give flat scores, in which a tie would be decided by rounding: they are made larger.
"""

import os
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from polyhead.inference.generation import SourceStates, write
from polyhead_models.generation import families
from polyhead_models.generation.backend import TorchStepBackend

INPUTS = int(os.environ.get("POLYHEAD_WRITTEN_INPUTS", "0"))
TOKENS = 16

pytestmark = pytest.mark.skipif(
    not INPUTS, reason="no POLYHEAD_WRITTEN_INPUTS, such as 200: how many inputs are compared"
)


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("family", ["t5", "bart"])
@torch.inference_mode()
def test_tokens_are_equal(family: str, beams: int) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"decoder_start_token_id": 0}
    if family == "bart":  # as BART-base
        settings = {"encoder_layers": 6, "decoder_layers": 6, "d_model": 768}
        settings |= {"encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072}
        settings |= {"encoder_attention_heads": 12, "decoder_attention_heads": 12}
        settings |= {"forced_eos_token_id": None}
    config = transformers.AutoConfig.for_model(family, **settings)
    model: Any = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    for name, weight in model.named_parameters():
        if name.endswith(("lm_head.weight", "shared.weight")):
            weight.mul_(3.0)
    decoder = families.decoder_of(model)
    spec = families.generation_of(model, decoder.shape, decoder.shape.vocabulary)
    random, encoder = np.random.default_rng(0), families.encoder_of(model)
    for _ in range(INPUTS):
        ids = torch.from_numpy(random.integers(5, 30_000, (1, random.integers(4, 40))))
        source = SourceStates(encoder(input_ids=ids).last_hidden_state[0].numpy())
        backend = TorchStepBackend(decoder)
        (found,) = write(spec, backend, [source], max_tokens=TOKENS, beams=beams)
        expected = model.generate(ids, max_new_tokens=TOKENS, num_beams=beams, do_sample=False)
        assert list(found.ids) == expected[0, 1 : 1 + len(found.ids)].tolist()
