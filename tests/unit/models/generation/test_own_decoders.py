"""Decoders of encoder-decoder families as ours: logits step by step, and whole answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from polyhead.inference.generation import SourceStates, write
from polyhead_models import encoder as encoders
from polyhead_models.generation import families
from polyhead_models.generation.backend import TorchStepBackend
from polyhead_models.generation.decoder import Cross, Step

TOKENS = 12
SETTINGS = {
    "greedy": {},
    "beams": {"beams": 4},
    "limits": {"beams": 3, "length_penalty": 2.0, "no_repeat": 2, "min_tokens": 6},
}
THEIRS = {
    "beams": "num_beams",
    "length_penalty": "length_penalty",
    "no_repeat": "no_repeat_ngram_size",
    "min_tokens": "min_new_tokens",
}


@torch.inference_mode()
def test_a_decoder_gives_the_logits_of_the_original_with_caches_and_without(writing: Any) -> None:
    decoder = families.decoder_of(writing)
    random = torch.Generator().manual_seed(1)
    ids, answer = (torch.randint(3, 290, (2, n), generator=random) for n in (7, 12))
    expected = writing(input_ids=ids, decoder_input_ids=answer).logits
    states = families.encoder_of(writing)(input_ids=ids).last_hidden_state
    cross, shape = Cross(decoder)(states), decoder.shape
    past = [torch.zeros(2, shape.heads, 0, shape.head_size)] * (2 * shape.layers)
    whole, *_ = Step(decoder)(answer, *past, *cross)
    scale = max(1.0, float(expected.abs().max()))
    assert float((whole - expected[:, -1]).abs().max()) / scale < 1e-5
    for i in range(answer.shape[1]):
        scores, *past = Step(decoder)(answer[:, i : i + 1], *past, *cross)
        assert float((scores - expected[:, i]).abs().max()) / scale < 1e-5
        assert {each.shape[2] for each in past} == {i + 1}


@torch.inference_mode()
def test_an_encoder_is_built_again_from_its_settings(writing: Any) -> None:
    own = families.encoder_of(writing)
    built = encoders.build(encoders.settings(own))
    built.load_state_dict(own.state_dict())
    built.eval()
    ids = torch.arange(5, 16)[None]
    expected, found = (each(input_ids=ids).last_hidden_state for each in (own, built))
    assert float((found - expected).abs().max()) < 1e-5
    assert encoders.capacity(built) == (None if writing.config.model_type.endswith("t5") else 80)


@torch.inference_mode()
@pytest.mark.parametrize("settings", SETTINGS)
def test_answers_are_those_of_generate(writing: Any, settings: str) -> None:
    asked: dict[str, Any] = SETTINGS[settings]
    decoder = families.decoder_of(writing)
    spec = families.generation_of(writing, decoder.shape, 300)
    random = np.random.default_rng(2)
    texts = [torch.from_numpy(random.integers(3, 290, (1, n))) for n in (1, 5, 5, 9)]
    encoder = families.encoder_of(writing)
    sources = [SourceStates(encoder(input_ids=ids).last_hidden_state[0].numpy()) for ids in texts]
    found = write(spec, TorchStepBackend(decoder), sources, max_tokens=TOKENS, **asked)
    for ids, written in zip(texts, found, strict=True):
        theirs = {THEIRS[name]: value for name, value in asked.items()}
        made = writing.generate(ids, max_new_tokens=TOKENS, do_sample=False, **theirs)
        expected = made[0, 1:].tolist()
        assert list(written.ids) == expected[: len(written.ids)]
        # What is behind the end is padding.
        assert set(expected[len(written.ids) :]) <= {0}


def test_what_an_answer_begins_and_ends_with_must_be_known(
    writing_model: Callable[[str], Any],
) -> None:
    model = writing_model("t5")
    shape = families.decoder_of(model).shape
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = None
    with pytest.raises(ValueError, match="decoder_start_token_id"):
        families.generation_of(model, shape, 300)
    model.generation_config.decoder_start_token_id = 0
    model.generation_config.eos_token_id = None
    with pytest.raises(ValueError, match="eos_token_id"):
        families.generation_of(model, shape, 300)


def test_settings_of_the_original_are_those_of_the_head(
    writing_model: Callable[[str], Any],
) -> None:
    model = writing_model("bart")
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=1,
        eos_token_id=1,
        forced_bos_token_id=2,
        forced_eos_token_id=1,
        bad_words_ids=[[0]],
        max_length=41,
        min_length=11,
        num_beams=4,
        length_penalty=2.0,
        no_repeat_ngram_size=3,
        early_stopping=True,
    )
    spec = families.generation_of(model, families.decoder_of(model).shape, 298)
    assert (spec.start, spec.end, spec.forced, spec.forced_end) == (1, (1,), (2,), 1)
    assert spec.suppressed == (0, 298, 299)
    assert (spec.max_tokens, spec.default_tokens, spec.min_tokens) == (80, 40, 10)
    assert (spec.beams, spec.length_penalty, spec.no_repeat) == (4, 2.0, 3)
    assert spec.early_stopping is True
