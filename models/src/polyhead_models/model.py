"""One encoder, many heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from polyhead.heads import HeadSpec
from polyhead_models import encoder as encoders
from polyhead_models.heads import HeadNetwork

_PREFIX = "head_"


class MultiHeadModel(nn.Module):
    """A transformer encoder whose hidden states feed every head."""

    def __init__(self, encoder: PreTrainedModel, heads: Mapping[str, HeadNetwork]) -> None:
        """Join an encoder of the transformers library with heads made for its width."""
        super().__init__()
        self.encoder = encoder
        # torch keeps some names, such as "type" and "train", to itself.
        self.heads = nn.ModuleDict({f"{_PREFIX}{name}": head for name, head in heads.items()})

    @property
    def specs(self) -> dict[str, HeadSpec]:
        """What each head is, by name."""
        return {name: head.spec for name, head in self.networks.items()}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs: token types only where a head reads pairs, in a family with them."""
        pairs = any(spec.input == "pair" for spec in self.specs.values())
        types = pairs and encoders.reads_types(self.encoder)
        return ("input_ids", "token_type_ids") if types else ("input_ids",)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One encoder pass, the logits of all heads.

        Args:
            input_ids: int64 `(batch, tokens)`.
            attention_mask: `(batch, tokens)`, 1 for tokens and 0 for padding; None when all rows
                have the same length.
            token_type_ids: int64 `(batch, tokens)`; None for all 0, and in families without types.

        Returns:
            By head, `(batch, outputs)` or `(batch, tokens, outputs)`.
        """
        networks = self.networks
        every = any(head.reader.needs_all for head in networks.values())
        given = {} if attention_mask is None else {"attention_mask": attention_mask}
        if token_type_ids is not None:
            given["token_type_ids"] = token_type_ids
        output = self.encoder(input_ids=input_ids, output_hidden_states=every, **given)
        # Some families normalise once more after their last layer; that is what a head reads.
        before = output.hidden_states[:-1] if every else ()
        states = (*before, output.last_hidden_state)
        return {name: head(states, attention_mask) for name, head in networks.items()}

    @property
    def networks(self) -> dict[str, HeadNetwork]:
        """The heads by name."""
        return {
            name.removeprefix(_PREFIX): head
            for name, head in self.heads.items()
            if isinstance(head, HeadNetwork)
        }


class TorchBackend:
    """A model as the back end of a `polyhead.Engine`: the same tokens in, the same decoders out."""

    def __init__(self, model: MultiHeadModel) -> None:
        """Use `model` as it is now; in training mode it is put in evaluation mode for each call."""
        self._model = model
        self.inputs = model.inputs

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits for a batch of equal lengths; see `polyhead.inference.backend.Backend.run`."""
        device = next(self._model.parameters()).device
        training = self._model.training
        # Walking all modules costs about 0.5 ms: only when there is something to switch.
        if training:
            self._model.eval()
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(feed).to(device) for name, feed in feeds.items()}
            logits = self._model(**tensors)
        if training:
            self._model.train()
        by_output = {spec.output: logits[name] for name, spec in self._model.specs.items()}
        return [by_output[name].float().cpu().numpy() for name in outputs]

    def info(self) -> dict[str, Any]:
        """Version and device that are in use."""
        device = next(self._model.parameters()).device
        return {"backend": "torch", "torch": torch.__version__, "provider": device.type}
