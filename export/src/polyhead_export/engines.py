"""Engines over the graphs of an export, before there is a bundle to load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead import Engine
from polyhead.inference.backend import Backend
from polyhead.inference.session import OnnxSession
from polyhead_export import decoders
from polyhead_export.passes.padding_mask import ATTENTION_MASK
from polyhead_models.checkpoint import Checkpoint

_MORE = 3


class PaddedBackend:
    """A padded graph as the back end of an engine: every row is padded by three tokens.

    So its answers, measured like those of any graph, are those that a padded batch gets.
    """

    def __init__(self, backend: Backend, *, max_tokens: int, pad: int = 0) -> None:
        """Wrap the session of a padded graph.

        Args:
            backend: with the input ``attention_mask``.
            max_tokens: longest row; rows of this length are not padded.
            pad: token id to pad with; answers do not depend on it.
        """
        self._backend, self._max_tokens, self._pad = backend, max_tokens, pad
        self.inputs = tuple(name for name in backend.inputs if name != ATTENTION_MASK)

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits of the tokens that count; see `polyhead.inference.backend.Backend.run`."""
        rows, tokens = next(iter(feeds.values())).shape
        more = ((0, 0), (0, max(0, min(_MORE, self._max_tokens - tokens))))
        padded = {n: np.pad(f, more, constant_values=self._pad) for n, f in feeds.items()}
        if "token_type_ids" in padded:
            padded["token_type_ids"] = np.pad(feeds["token_type_ids"], more)
        padded[ATTENTION_MASK] = np.pad(np.ones((rows, tokens), np.int64), more)
        arrays = self._backend.run(outputs, padded)
        return [array[:, :tokens] if array.ndim == 3 else array for array in arrays]

    def info(self) -> dict[str, Any]:
        """That of the session."""
        return self._backend.info()


def engine_over(
    checkpoint: Checkpoint, path: Path, *, heads: Iterable[str], padded: bool = False
) -> Engine:
    """An engine over a graph on the CPU.

    Args:
        checkpoint: that the graph was made of.
        path: of the graph; the decoders of heads that write are in the same folder.
        heads: those that it has.
        padded: whether it is in the padded layout; its rows are padded then.
    """
    max_tokens = checkpoint.description.config.encoder.max_tokens
    session: Backend = OnnxSession(path)
    if padded:
        pad = getattr(checkpoint.model.encoder.config, "pad_token_id", None)
        session = PaddedBackend(session, max_tokens=max_tokens, pad=int(pad or 0))
    specs = {name: checkpoint.model.specs[name] for name in heads}
    hidden = int(checkpoint.model.encoder.config.hidden_size)
    steps = decoders.sessions(path.parent, specs, hidden)
    return Engine(session, checkpoint.tokenizer, specs, max_tokens=max_tokens, steps=steps)
