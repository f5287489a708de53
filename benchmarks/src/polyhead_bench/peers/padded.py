"""Batches with padding, and a single head's logits decoded: what peers of one head share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.heads import Decoder, HeadSpec, decoder
from polyhead.tokenizing import Encoding
from polyhead_bench.errors import PeerFault

ORDERS = {
    "one per call": (1, False),
    "batch 32, arrival order": (32, False),
    "batch 32, sorted": (32, True),
    "batch 8, sorted": (8, True),
}
SCHEDULES = tuple(ORDERS)
"""How padded peers go through a list; sorted is by length."""


def batches(lengths: Sequence[int], schedule: str) -> list[list[int]]:
    """Indices of each batch, every text in one of them; none for no text."""
    size, by_length = ORDERS[schedule]
    order = list(range(len(lengths)))
    if by_length:
        order.sort(key=lengths.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]


def feeds(ids: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Ids, mask and token types, each int64 `(batch, longest)`, padded with 0 at the end."""
    padded = np.zeros((len(ids), max(map(len, ids))), np.int64)
    mask = np.zeros_like(padded)
    for row, own in enumerate(ids):
        padded[row, : len(own)], mask[row, : len(own)] = own, 1
    return {
        "input_ids": padded,
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(padded),
    }


@dataclass(frozen=True)
class Head:
    """Decodes one head's logits with the runtime's own decoder.

    Attributes:
        face: the decoder.
        per_token: whether logits are `(tokens, …)`, so that those of padding have to go.
    """

    face: Decoder
    per_token: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Head:
        """From the `config.json` of a folder for Optimum.

        Raises:
            PeerFault: when the encoder pads with something other than 0.
        """
        if config.get("pad_token_id"):
            raise PeerFault(f"padding with {config['pad_token_id']}: only 0 is known here.")
        extra, names = config["polyhead"], config["id2label"]
        per_token = extra["kind"] == "tokens.v1"
        labels = [names[str(i)] for i in range(len(names))]
        if per_token:
            labels = [x.removeprefix("B-") for x in labels if x.startswith("B-")]
        spec = HeadSpec(
            kind=extra["kind"],
            output="logits",
            activation="sigmoid" if extra["kind"] == "multilabel.v1" else "softmax",
            max_tokens=config["max_position_embeddings"],
            labels=tuple(labels) if extra["kind"] != "regression.v1" else (),
            thresholds=tuple(extra["thresholds"].values()) if extra.get("thresholds") else None,
        )
        return cls(decoder(extra["head"], spec), per_token)

    def decode(self, logits: NDArray[np.float32], encoding: Encoding) -> dict[str, Any]:
        """One text's answer, from one row of a batch."""
        own = logits[: len(encoding)] if self.per_token else logits
        return self.face.decode(np.asarray(own), encoding).to_dict()
