"""Tiny models of every encoder-decoder family, with weights that make their logits differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

WORDS = "the parcel of anna was late in oslo and rome again"
SPECIAL = ["<pad>", "</s>", "<s>"]
T5 = {
    "vocab_size": 300,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
BART = {
    "vocab_size": 300,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("t5", T5),
    "t5-gated": ("t5", T5 | GATED),
    "mt5": ("mt5", T5 | GATED),
    "bart": ("bart", BART),
    "mbart": ("mbart", BART | {"scale_embedding": True}),
    "pegasus": ("pegasus", BART | {"scale_embedding": True, "decoder_start_token_id": 0}),
    "marian": (
        "marian",
        BART | {"scale_embedding": True, "decoder_vocab_size": 300, "decoder_start_token_id": 0},
    ),
}


@pytest.fixture(scope="session", params=list(CONFIGURATIONS))
def writing(request: pytest.FixtureRequest) -> Any:
    """A model of transformers with its language-model head; nobody changes it."""
    return _made(request.param)


@pytest.fixture(scope="session")
def writing_model() -> Callable[[str], Any]:
    """The model of one family by its name here."""
    return _made


def _made(name: str) -> Any:
    family, settings = CONFIGURATIONS[name]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **settings)
    model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    with torch.no_grad():  # biases and norms are zeros and ones in fresh models
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_()
    return model


@pytest.fixture(scope="session")
def writing_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder as `save_pretrained` writes it: a model's, with a tokenizer unless told."""

    def save(model: Any, *, before: bool = False, tokenizer: bool = True) -> Path:
        folder = tmp_path_factory.mktemp("writing")
        model.save_pretrained(folder)
        if tokenizer:
            _tokenizer(before=before).save_pretrained(folder)
        return folder

    return save


def _tokenizer(*, before: bool) -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([WORDS] * 3, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if before else "$A </s>",
        pair="$A </s> $B </s>",
        special_tokens=[("<s>", 2), ("</s>", 1)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        model_max_length=64,
    )
