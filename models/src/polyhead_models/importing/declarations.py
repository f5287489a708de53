"""What files of a folder declare: known keys are obeyed or without effect, others are refused.

A key is obeyed where `source`, `sentences` and `labels` read it. Keys of config.json and
tokenizer_config.json that are not listed are transformers' own: it reads them itself, and its ids
and logits are compared with ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyhead.errors import SourceError, nearest
from polyhead.system.schema import read_json
from polyhead_models.generation import families

JSON_LIMIT = 256 * 2**20

Keys = Mapping[str, tuple[Any, ...]]
"""Allowed values by key; none are listed where all are, since it is obeyed or changes no answer."""

_ALL: tuple[Any, ...] = ()
_UNSET: tuple[Any, ...] = (None, False, [], {})
_VECTOR = (None, "sentence_embedding")
_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_LOGITS = {"text": {"method": "forward", "method_output_name": "logits"}}

WEIGHTS: Keys = {
    **dict.fromkeys(
        ("auto_map", "quantization_config", "is_decoder", "is_encoder_decoder"), _UNSET
    ),
    **dict.fromkeys(("add_cross_attention", "pruned_heads"), _UNSET),
    # BERT's relative ones are gone from transformers 5, which takes absolute ones in silence.
    "position_embedding_type": (None, "absolute", "rotary"),
}
"""Of config.json, where the weights are imported; a graph has all this in it."""

WRITING: Keys = {key: allowed for key, allowed in WEIGHTS.items() if key != "is_encoder_decoder"}
"""The same, of a model with a decoder of its own that is imported, too."""

TOKENIZER: Keys = {"auto_map": _UNSET}

SENTENCE: Keys = {
    **dict.fromkeys(("__version__", "requirements", "keep_in_fp32_modules"), _ALL),
    **dict.fromkeys(("prompts", "default_prompt_name", "similarity_fn_name"), _ALL),
    "activation_fn": _ALL,
    "model_type": (None, "SentenceTransformer", "CrossEncoder"),
    "truncate_dim": _UNSET,
}
"""Of config_sentence_transformers.json; as the next, all keys of sentence-transformers 2 to 6."""

MODULES: Mapping[str, Keys] = {
    "Transformer": {  # sentence_bert_config.json
        **dict.fromkeys(("max_seq_length", "do_lower_case", "unpad_inputs"), _ALL),
        "transformer_task": (None, "feature-extraction", "sequence-classification"),
        "module_output_name": (None, "token_embeddings", "scores"),
        "modality_config": (None, _TEXT, _LOGITS),
        **dict.fromkeys(("query_length", "document_length", "query_expansion"), _UNSET),
        **dict.fromkeys(("processing_kwargs", "model_args", "model_kwargs"), _UNSET),
        **dict.fromkeys(("tokenizer_args", "processor_kwargs"), _UNSET),
        **dict.fromkeys(("config_args", "config_kwargs"), _UNSET),
    },
    "Pooling": {
        **dict.fromkeys(("word_embedding_dimension", "embedding_dimension", "pooling_mode"), _ALL),
        **dict.fromkeys(("pooling_mode_cls_token", "pooling_mode_max_tokens"), _ALL),
        **dict.fromkeys(("pooling_mode_mean_tokens", "pooling_mode_mean_sqrt_len_tokens"), _ALL),
        **dict.fromkeys(("pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"), _ALL),
        "include_prompt": (None, True),
    },
    "Dense": {
        **dict.fromkeys(("in_features", "out_features", "bias", "activation_function"), _ALL),
        **dict.fromkeys(("module_input_name", "module_output_name"), _VECTOR),
        "use_residual": _UNSET,
    },
    "LayerNorm": {"dimension": _ALL},
    "Normalize": dict.fromkeys(("module_input_name", "module_output_name"), _VECTOR),
    "Dropout": {"dropout": _ALL},
}
"""The modules of sentence-transformers that polyhead knows, and the keys of their files."""

ORDER = (
    "polyhead can import Transformer, Pooling, then any of Dense, Dense with LayerNorm, and"
    " Normalize at the end, all of sentence_transformers."
)
_WAYS = {
    "auto_map": "It calls for Python code of the repository, and polyhead runs none. Take a model"
    " whose class is part of transformers.",
    "quantization_config": "Load it with transformers, dequantize() it, save_pretrained() it into"
    " another folder, and import that.",
    "modality_config": "polyhead reads texts, without a chat template.",
    "truncate_dim": "Set it to null, and cut the vectors yourself.",
    "is_encoder_decoder": "Of models with a decoder polyhead knows *ForConditionalGeneration of"
    f" {', '.join(families.FAMILIES)}, and MarianMTModel; import one of these, or an encoder.",
}
_SETFIT = (
    "SetFit's classifier is a pickle, which polyhead does not read. Take this file away to import"
    " the encoder's vectors alone."
)
_ADAPTER = "an adapter, such as the PEFT library writes, which changes the answers of {base}. {way}"
_MERGE = (
    "Merge it: PeftModel.from_pretrained(model, FOLDER).merge_and_unload().save_pretrained(TARGET),"
    " put the tokenizer's files there, and import TARGET. Where it is merged already, take this"
    " file away."
)
_NO_WEIGHTS = {
    *("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT"),
    *("ADAPTION_PROMPT", "XLORA", "POLY"),
}
_FOREIGN = {
    "adapter_config.json": _ADAPTER,
    "adapter_model.safetensors": _ADAPTER,
    "adapter_model.bin": _ADAPTER,
    "config_setfit.json": _SETFIT,
    "model_head.pkl": _SETFIT,
}


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder with a file that changes the answers and that polyhead cannot obey.

    Raises:
        SourceError: names the file, and the way.
    """
    for name, way in _FOREIGN.items():
        if (file := folder / name).is_file():
            stated = table(file) if file.suffix == ".json" else {}
            base, kind = stated.get("base_model_name_or_path"), stated.get("peft_type")
            merge = f"A {kind} cannot be merged into weights." if kind in _NO_WEIGHTS else _MERGE
            raise SourceError(f"{file}: {way.format(base=base or 'a base model', way=merge)}")


def table(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds a table.

    Raises:
        SourceError: when it is missing or holds something else.
    """
    if not path.is_file():
        hint = ""
        if any(path.parent.rglob("*.onnx")):
            hint = " This folder has an ONNX graph and no weights for PyTorch."
        raise SourceError(
            f"{path}: no such file; expected a folder that save_pretrained of transformers or"
            f" sentence-transformers wrote, or the id of one on the hub.{hint}"
        )
    found = read_json(path, limit_bytes=JSON_LIMIT, error=SourceError)
    if not isinstance(found, Mapping):
        raise SourceError(f"{path}: found {type(found).__name__}, expected a table.")
    return found


def read(path: Path, known: Keys, *, optional: bool = False) -> Mapping[str, Any]:
    """A file all of whose keys must be known; empty where an optional one is missing.

    Raises:
        SourceError: names the file, the key and its value.
    """
    found = {} if optional and not path.is_file() else table(path)
    check(found, known, where=str(path))
    for key, value in found.items():
        if key not in known:
            raise SourceError(
                f"{path}: {key}: found {value!r}; polyhead does not know this key and cannot obey"
                f" it.{nearest(key, known)} Take it away where it changes no answer."
            )
    return found


def check(found: Mapping[str, Any], known: Keys, *, where: str) -> None:
    """Refuse known keys with values that are not allowed; other keys are let pass.

    Raises:
        SourceError: names `where`, the key and its value.
    """
    for key, allowed in known.items():
        if allowed and (value := found.get(key)) not in allowed:
            listed = "nothing" if allowed is _UNSET else ", ".join(map(repr, allowed))
            way = _WAYS.get(key, "polyhead cannot obey it; import a model without.")
            raise SourceError(f"{where}: {key}: found {value!r}, allowed: {listed}. {way}")
