"""A PyTorch decoder as what the runtime's search asks step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from polyhead_models.generation.decoder import DecoderStack, Memory

Floats = NDArray[np.float32]


class TorchStepBackend:
    """See `polyhead.inference.generation`: the same search in training as over a bundle."""

    def __init__(self, decoder: nn.Module) -> None:
        """Use a `DecoderStack` as it is now; it is put in evaluation mode for each call."""
        assert isinstance(decoder, DecoderStack)
        self._decoder = decoder

    def cross(self, states: Floats) -> list[Floats]:
        """States `(rows, source, width)` into keys and values, layer by layer."""
        with torch.inference_mode():
            found = self._decoder.cross(self._tensor(states))
            return [each.float().cpu().numpy() for memory in found for each in memory]

    def step(
        self,
        tokens: NDArray[np.int64],
        past: Sequence[Floats],
        cross: Sequence[Floats],
        source: NDArray[np.int64] | None,
        present: Sequence[Floats],
    ) -> tuple[Floats, Floats | None]:
        """The scores of what comes next, and with copies where the last token came from.

        Args:
            tokens: `(rows, new)`.
            past: keys and values of the tokens before them, layer by layer.
            cross: keys and values of the source.
            source: its token ids `(rows, source)`; None where the decoder does not copy.
            present: filled with the keys and values of all tokens so far.
        """
        training = self._decoder.training
        if training:
            self._decoder.eval()
        with torch.inference_mode():
            memory = _paired([self._tensor(each) for each in cross])
            before = _paired([self._tensor(each) for each in past])
            vectors, made = self._decoder(self._tensor(tokens), before, memory)
            ids = None if source is None else self._tensor(source)
            scores, copied = self._decoder.scores(vectors[:, -1:], memory[-1], ids)
            for target, tensor in zip(present, (t for two in made for t in two), strict=True):
                target[...] = tensor.float().cpu().numpy()
        if training:
            self._decoder.train()
        share = None if copied is None else copied[:, 0].float().cpu().numpy()
        return scores[:, 0].float().cpu().numpy(), share

    def info(self) -> dict[str, Any]:
        """Version and device that are in use."""
        device = self._decoder.embedding.weight.device
        return {"backend": "torch", "torch": torch.__version__, "provider": device.type}

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        device = self._decoder.embedding.weight.device
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _paired(tensors: Sequence[torch.Tensor]) -> list[Memory]:
    return list(zip(tensors[::2], tensors[1::2], strict=True))
