"""Folders of sentence-transformers: what follows the encoder, as pooling and dense layers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from polyhead.errors import SourceError
from polyhead_models.heads.layers import Dense
from polyhead_models.importing.source import MODULES, ImportOptions, Pooling, Source, table, weights

logger = logging.getLogger(__name__)

_ACTIVATIONS = {"GELU", "Identity", "ReLU", "SiLU", "Sigmoid", "Tanh"}
_EPSILON = 1e-5  # of torch.nn.LayerNorm, which the module takes


@dataclass(frozen=True)
class SentenceHead:
    """What sentence-transformers does with token vectors.

    Attributes:
        pooling: of the tokens' vectors.
        hidden: dense layers behind it.
        weights: weight and bias of each linear layer and norm, in their order.
        normalised: whether vectors are scaled to length 1 at the end.
    """

    pooling: Pooling
    hidden: tuple[Dense, ...] = ()
    weights: tuple[Mapping[str, Tensor], ...] = ()
    normalised: bool = False


def read(source: Source, options: ImportOptions) -> SentenceHead:
    """How an encoder's token vectors become one vector; what differs from polyhead's is logged.

    Raises:
        SourceError: when a module is of a kind, or has settings, that polyhead does not support,
            or it pools otherwise than the options say.
    """
    if not source.is_sentence_model:
        return SentenceHead(options.pooling or "mean")
    found = _head(source)
    if options.pooling not in (None, found.pooling):
        raise SourceError(f"{source.name}: pools by {found.pooling}, and was trained so.")
    if not found.normalised:
        logger.warning(
            "%s: gives vectors of any length; an embedding here has length 1, so cosines are the"
            " same and dot products are not.",
            source.name,
        )
    file = source.top / "config_sentence_transformers.json"
    settings = table(file) if file.is_file() else {}
    if prompt := (settings.get("prompts") or {}).get(settings.get("default_prompt_name")):
        logger.warning(
            "%s: sentence-transformers puts %r before every text; polyhead reads texts as they are,"
            " so put it there yourself.",
            source.name,
            prompt,
        )
    return found


def _head(source: Source) -> SentenceHead:
    """Read the modules behind the first."""
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


def _pooling(folder: Path) -> Pooling:
    settings = table(folder / "config.json")
    stated = settings.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else list(stated or [])
    modes += [
        key.removeprefix("pooling_mode_")
        for key, on in settings.items()
        if key.startswith("pooling_mode_") and on is True
    ]
    short = [str(mode).removesuffix("_tokens").removesuffix("_token") for mode in modes]
    if len(short) != 1 or short[0] not in ("cls", "mean", "max"):
        raise SourceError(
            f"{folder}: pools by {' and '.join(map(str, modes)) or 'nothing'}; polyhead pools by"
            " one of cls, mean and max."
        )
    return cast(Pooling, short[0])


def _dense(head: SentenceHead, folder: Path) -> SentenceHead:
    settings = table(folder / "config.json")
    name = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = name.rpartition(".")[2]
    extra = sorted({"module_input_name", "module_output_name", "use_residual"} & settings.keys())
    usual = {"sentence_embedding", False, None}
    if activation not in _ACTIVATIONS or not name.startswith("torch.nn."):
        known = ", ".join(sorted(_ACTIVATIONS))
        raise SourceError(f"{folder}: the activation {name}; polyhead knows {known} of torch.nn.")
    if differing := [key for key in extra if settings[key] not in usual]:
        raise SourceError(f"{folder}: the setting {differing[0]!r} is not supported.")
    linear = _part(folder, "linear")
    layer = Dense(width=len(linear["weight"]), activation=cast(Any, activation.lower()))
    return replace(head, hidden=(*head.hidden, layer), weights=(*head.weights, linear))


def _norm(head: SentenceHead, folder: Path) -> SentenceHead:
    if head.hidden[-1].norm is not None:
        raise SourceError(f"{folder}: two LayerNorm in a row; polyhead has one behind each Dense.")
    layer = replace(head.hidden[-1], norm=_EPSILON)
    weights = (*head.weights, _part(folder, "norm"))
    return replace(head, hidden=(*head.hidden[:-1], layer), weights=weights)


def _part(folder: Path, name: str) -> dict[str, Tensor]:
    named = {key.rpartition("."): tensor for key, tensor in weights(folder).items()}
    return {key: tensor for (layer, _, key), tensor in named.items() if layer == name}
