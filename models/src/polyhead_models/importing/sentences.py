"""Folders of sentence-transformers: what stands behind the encoder, as pooling and dense layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor

from polyhead_models.errors import SourceError
from polyhead_models.heads.dense import ActivationName, Dense
from polyhead_models.importing.source import MODULES, Source, table, weights

_POOLING: dict[str, Literal["cls", "mean", "max"]] = {
    "cls": "cls",
    "cls_token": "cls",
    "mean": "mean",
    "mean_tokens": "mean",
    "max": "max",
    "max_tokens": "max",
}
_ACTIVATIONS: dict[str, ActivationName] = {
    "GELU": "gelu",
    "Identity": "identity",
    "ReLU": "relu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}
_EPSILON = 1e-5  # of torch.nn.LayerNorm, which the module takes


@dataclass(frozen=True)
class SentenceHead:
    """What sentence-transformers does with token vectors.

    Attributes:
        pooling: of the tokens' vectors.
        hidden: dense layers behind it.
        tensors: weight and bias of each, and of its norm: `linear` and `norm` by layer.
        normalised: whether vectors are scaled to length 1 at the end.
    """

    pooling: Literal["cls", "mean", "max"]
    hidden: tuple[Dense, ...] = ()
    tensors: tuple[Mapping[str, Mapping[str, Tensor]], ...] = ()
    normalised: bool = False


def read(source: Source) -> SentenceHead:
    """Read the modules behind the first.

    Raises:
        SourceError: when one is of a kind, or has settings, that polyhead has not; names it.
    """
    found: SentenceHead | None = None
    for module in source.modules[1:]:
        kind, folder = module.kind, module.folder
        if kind == "Pooling" and found is None:
            found = SentenceHead(_pooling(folder))
        elif kind == "Dropout":
            continue
        elif kind == "Dense" and found is not None and not found.normalised:
            found = _dense(found, folder)
        elif kind == "LayerNorm" and found is not None and found.hidden and not found.normalised:
            found = _norm(found, folder)
        elif kind == "Normalize" and found is not None:
            found = replace(found, normalised=True)
        else:
            raise SourceError(
                f"{source.name}: {MODULES}: a module {kind!r} here; polyhead can import"
                " Transformer, Pooling, then any of Dense, Dense with LayerNorm, and Normalize at"
                " the end."
            )
    if found is None:
        raise SourceError(f"{source.name}: {MODULES}: no module pools the tokens' vectors.")
    return found


def usual_prompt(source: Source) -> str | None:
    """What sentence-transformers puts before every text unless it is told not to; None: nothing."""
    file = source.top / "config_sentence_transformers.json"
    settings = table(file) if file.is_file() else {}
    found = (settings.get("prompts") or {}).get(settings.get("default_prompt_name"))
    return str(found) if found else None


def _pooling(folder: Path) -> Literal["cls", "mean", "max"]:
    settings = table(folder / "config.json")
    stated = settings.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else list(stated or [])
    modes += [
        key.removeprefix("pooling_mode_")
        for key, on in settings.items()
        if key.startswith("pooling_mode_") and on is True
    ]
    if len(modes) != 1 or modes[0] not in _POOLING:
        raise SourceError(
            f"{folder}: pools by {' and '.join(map(str, modes)) or 'nothing'}; polyhead pools by"
            " one of cls, mean and max."
        )
    return _POOLING[modes[0]]


def _dense(head: SentenceHead, folder: Path) -> SentenceHead:
    settings = table(folder / "config.json")
    name = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = _ACTIVATIONS.get(name.rpartition(".")[2])
    extra = sorted({"module_input_name", "module_output_name", "use_residual"} & settings.keys())
    usual = {"sentence_embedding", False, None}
    if activation is None or not name.startswith("torch.nn."):
        raise SourceError(
            f"{folder}: the activation {name}; polyhead knows {', '.join(_ACTIVATIONS)} of"
            " torch.nn."
        )
    if differing := [key for key in extra if settings[key] not in usual]:
        raise SourceError(f"{folder}: the setting {differing[0]!r}, which polyhead has not.")
    linear = _part(folder, "linear")
    layer = Dense(width=int(linear["weight"].shape[0]), activation=cast(Any, activation))
    return replace(head, hidden=(*head.hidden, layer), tensors=(*head.tensors, {"linear": linear}))


def _norm(head: SentenceHead, folder: Path) -> SentenceHead:
    if head.hidden[-1].norm is not None:
        raise SourceError(f"{folder}: two LayerNorm in a row; polyhead has one behind each Dense.")
    layer = replace(head.hidden[-1], norm=_EPSILON)
    tensors = {**head.tensors[-1], "norm": _part(folder, "norm")}
    return replace(head, hidden=(*head.hidden[:-1], layer), tensors=(*head.tensors[:-1], tensors))


def _part(folder: Path, name: str) -> dict[str, Tensor]:
    found = weights(folder)
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): tensor for key, tensor in found.items() if key.startswith(prefix)
    }
