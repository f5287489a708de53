"""Does an imported head give the original's logits?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from polyhead_models import encoder as encoders
from polyhead_models.errors import SourceError
from polyhead_models.model import MultiHeadModel

TOLERANCE = 1e-4
_ROWS, _TOKENS = 3, 17


@torch.inference_mode()
def check(
    original: PreTrainedModel,
    model: MultiHeadModel,
    head: str,
    rows: Sequence[int | None] | None,
    *,
    where: str,
) -> float:
    """Compare logits on random token ids, and on rows of different lengths.

    Args:
        original: the model of transformers, in evaluation mode.
        model: the same with our head.
        head: its name.
        rows: for each of our logits the original's; None where it has none, and for the same order.
        where: the place to name in messages.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        SourceError: when it is above `TOLERANCE` times the largest logit, or 1.
    """
    generator = torch.Generator().manual_seed(0)
    tokens = min(_TOKENS, encoders.capacity(model.encoder) or _TOKENS)
    vocabulary = int(model.encoder.config.vocab_size)
    ids = torch.randint(5, vocabulary, (_ROWS, tokens), generator=generator)
    mask = (torch.arange(tokens) < torch.tensor([[tokens], [tokens - 1], [1 + tokens // 2]])).long()
    largest = 0.0
    for given in (None, mask):
        inputs = {} if given is None else {"attention_mask": given}
        if "token_type_ids" in model.inputs:
            inputs["token_type_ids"] = ids % 2
        expected = _logits(original(input_ids=ids, **inputs))
        found = model(ids, **inputs)[head]
        if rows is not None:
            places = [place for place, row in enumerate(rows) if row is not None]
            found = found[..., places]
            expected = expected[..., [row for row in rows if row is not None]]
        present = mask.bool() if given is not None and found.ndim == 3 else slice(None)
        difference = float((found[present] - expected[present]).abs().max())
        largest = max(largest, difference)
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise SourceError(
                f"{where}: the imported head differs from the {type(original).__name__} by"
                f" {difference:.2g}. Please report it."
            )
    return largest


def _logits(output: object) -> Tensor:
    """Of a class for questions, starts and ends side by side."""
    if hasattr(output, "start_logits") and hasattr(output, "end_logits"):
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    logits: Tensor = output.logits  # type: ignore[attr-defined]
    return logits
