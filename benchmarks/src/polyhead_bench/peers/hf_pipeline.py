"""transformers pipelines over the same weights: one a head, as its documentation shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput

from polyhead.heads import HeadSpec
from polyhead.heads.tokens import tags
from polyhead.text.encoding import Input
from polyhead_bench.errors import PeerFault
from polyhead_bench.peers.base import Answers, Peer
from polyhead_models import checkpoint
from polyhead_models.model import MultiHeadModel

_TASKS = {
    "classification.v1": "text-classification",
    "multilabel.v1": "text-classification",
    "tokens.v1": "token-classification",
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "text-classification": {"top_k": None, "truncation": True},
    "token-classification": {"aggregation_strategy": "simple"},
}
_BATCH = 32


class _OneHead(transformers.PreTrainedModel):  # type: ignore[no-untyped-call]
    """A model with one head in the shape that pipelines ask for."""

    config_class = transformers.PretrainedConfig

    def __init__(self, model: MultiHeadModel, name: str) -> None:
        spec = model.specs[name]
        labels = tags(spec.labels) if spec.kind == "tokens.v1" else spec.labels
        config = transformers.PretrainedConfig(
            id2label=dict(enumerate(labels)), label2id={x: i for i, x in enumerate(labels)}
        )
        if spec.kind == "multilabel.v1":
            config.problem_type = "multi_label_classification"
        super().__init__(config)
        self.all = nn.ModuleList([model])
        self._name, self._tokens = name, spec.kind == "tokens.v1"
        self.train(False)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **rest: Any,
    ) -> Any:
        logits = self.all[0](input_ids, attention_mask, token_type_ids)[self._name]
        return (TokenClassifierOutput if self._tokens else SequenceClassifierOutput)(logits=logits)


class PipelinePeer(Peer):
    """One pipeline a head, one after the other; batches of 32 in the order of arrival."""

    schedules = ("batch 32, arrival order",)

    def __init__(self, folder: Path, threads: int, heads: Sequence[str] | None) -> None:
        torch.set_num_threads(threads)
        loaded = checkpoint.load(folder)
        self._specs = {n: s for n, s in loaded.model.specs.items() if heads is None or n in heads}
        fast: Any = transformers.PreTrainedTokenizerFast
        tokenizer = fast(
            tokenizer_file=str(folder / checkpoint.TOKENIZER),
            pad_token="[PAD]",
            split_special_tokens=loaded.tokenizer.special_tokens == "text",
            model_max_length=loaded.description.config.encoder.max_tokens,
            model_input_names=["input_ids", "attention_mask"],
        )
        self._pipelines: dict[str, Any] = {}
        self._without: dict[str, str] = {}
        make: Any = transformers.pipeline
        for name, spec in self._specs.items():
            if spec.kind not in _TASKS or spec.input != "text":
                self._without[name] = f"transformers has no pipeline for {spec.kind}, {spec.input}"
                continue
            self._pipelines[name] = make(
                _TASKS[spec.kind],
                model=_OneHead(loaded.model, name),
                tokenizer=tokenizer,
                device="cpu",
                **_SETTINGS[_TASKS[spec.kind]],
            )
        if not self._pipelines:
            raise PeerFault(f"no head has a pipeline; there are some for {', '.join(_TASKS)}.")

    def answer(self, text: Input) -> Answers:
        """Answer one text, given to each pipeline as it is: no list, no loader of batches."""
        return {
            name: _answer(self._specs[name], _single(one(text)))
            for name, one in self._pipelines.items()
        }

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many with one pipeline after the other."""
        columns = {
            name: [
                _answer(self._specs[name], found) for found in one(list(texts), batch_size=_BATCH)
            ]
            for name, one in self._pipelines.items()
        }
        return [{name: column[i] for name, column in columns.items()} for i in range(len(texts))]

    def info(self) -> Mapping[str, Any]:
        """Versions, threads, and heads that there is no pipeline for."""
        return {
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "without": self._without,
        }


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> PipelinePeer:
    """Load the checkpoint in `folder`."""
    return PipelinePeer(folder, threads, options.get("heads"))


def _single(found: Any) -> Any:
    """One text's answer: with all labels, some versions put it into a list."""
    return found[0] if found and isinstance(found[0], list) else found


def _answer(spec: HeadSpec, found: Any) -> dict[str, Any]:
    """A pipeline's answer in the form of a head's `to_dict`, as far as decisions go."""
    if spec.kind == "tokens.v1":
        return {
            "spans": [
                {"label": s["entity_group"], "start": s["start"], "end": s["end"]} for s in found
            ]
        }
    scores = {item["label"]: item["score"] for item in found}
    if spec.kind == "multilabel.v1":
        limits = spec.thresholds or [0.5] * len(spec.labels)
        return {
            "labels": [
                x for x, limit in zip(spec.labels, limits, strict=True) if scores[x] >= limit
            ]
        }
    return {"label": max(scores, key=scores.__getitem__), "scores": scores}
