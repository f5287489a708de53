"""Folders of sentence-transformers: what follows the encoder, as pooling and dense layers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polyhead.errors import SourceError
from polyhead_models.heads.layers import Dense
from polyhead_models.importing import declarations
from polyhead_models.importing.source import MODULES, ImportOptions, Pooling, Source, weights

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
    """How an encoder's token vectors become one vector; that nothing says it is logged.

    Raises:
        SourceError: when a module is of a kind, or has settings, that polyhead does not support,
            or it pools otherwise than the options say.
    """
    if not source.is_sentence_model:
        if options.pooling is None:
            logger.warning(
                "%s: its files do not say how the vectors of its tokens become one; it is their"
                " mean. If they were trained for another, say it with --pooling.",
                source.name,
            )
        return SentenceHead(options.pooling or "mean")
    found = _head(source)
    if options.pooling not in (None, found.pooling):
        raise SourceError(f"{source.name}: pools by {found.pooling}, and was trained so.")
    return found


def refuse_decoder(
    source: Source,
    options: ImportOptions,
    states: Callable[[list[int]], NDArray[np.float32]],
) -> None:
    """Refuse a decoder such as GPT, unless somebody says how the vectors of its tokens are pooled.

    Args:
        source: the model's files.
        options: what they leave open.
        states: gives the vectors `(tokens, hidden)` of token ids.

    Raises:
        SourceError: when tokens read those before them and none behind.
    """
    if options.pooling is not None or source.is_sentence_model:
        return
    found, other_last, other_first = map(states, ([1, 2, 3, 4], [1, 2, 3, 0], [0, 2, 3, 4]))
    before = not np.array_equal(found[-1], other_first[-1])
    if before and np.array_equal(found[0], other_last[0]):
        raise SourceError(
            f"{source.name}: is a decoder of the family {source.config.get('model_type')!r}: its"
            " tokens read those before them alone, and its files do not say how their vectors"
            " become one. polyhead imports encoders; where this one was trained to give vectors,"
            " say how with --pooling."
        )


def _head(source: Source) -> SentenceHead:
    """Read the modules behind the first."""
    found: SentenceHead | None = None
    for module in source.modules[1:]:
        kind, folder = module.kind, module.folder
        optional = kind in ("Dropout", "LayerNorm", "Normalize")
        known = declarations.MODULES[kind]
        settings = declarations.read(folder / "config.json", known, optional=optional)
        if kind == "Pooling" and found is None:
            found = SentenceHead(_pooling(settings, folder))
        elif kind == "Dropout":
            continue
        elif kind == "Dense" and found is not None and not found.normalised:
            found = _dense(found, settings, folder)
        elif kind == "LayerNorm" and found is not None and found.hidden and not found.normalised:
            found = _norm(found, folder)
        elif kind == "Normalize" and found is not None:
            found = replace(found, normalised=True)
        else:
            raise SourceError(
                f"{source.name}: {MODULES}: a module {kind!r} here; {declarations.ORDER}"
            )
    if found is None:
        raise SourceError(f"{source.name}: {MODULES}: no module pools the tokens' vectors.")
    return found


def _pooling(settings: Mapping[str, Any], folder: Path) -> Pooling:
    """The one mode; the keys of older versions count where there is no `pooling_mode`."""
    modes = settings.get("pooling_mode")
    if modes is None:
        keys = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on]
        modes = [key.removeprefix("pooling_mode_").removesuffix("_tokens") for key in keys]
        modes = [mode.removesuffix("_token") for mode in modes] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in ("cls", "mean", "max"):
        raise SourceError(
            f"{folder}: pools by {' and '.join(map(str, modes)) or 'nothing'}; polyhead pools by"
            " one of cls, mean and max."
        )
    return cast(Pooling, modes[0])


def _dense(head: SentenceHead, settings: Mapping[str, Any], folder: Path) -> SentenceHead:
    name = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = name.rpartition(".")[2]
    if activation not in _ACTIVATIONS or not name.startswith("torch.nn."):
        known = ", ".join(sorted(_ACTIVATIONS))
        raise SourceError(f"{folder}: the activation {name}; polyhead knows {known} of torch.nn.")
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
