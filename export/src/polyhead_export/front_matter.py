"""The first lines of a model card, in YAML: what a hub lists, filters and plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from huggingface_hub import EvalResult, ModelCardData

from polyhead.bundle import HeadQuality
from polyhead.heads import HeadSpec
from polyhead_export.card_facts import CardFacts

# The hub's names of tasks.
_TASKS = {
    "classification.v1": "text-classification",
    "multilabel.v1": "text-classification",
    "regression.v1": "text-classification",
    "tokens.v1": "token-classification",
    "answer.v1": "question-answering",
    "summary.v1": "summarization",
    "compress.v1": "summarization",
    "embedding.v1": "feature-extraction",
    "generation.v1": "text2text-generation",
}


def front_matter(
    encoder: str,
    precisions: Iterable[str],
    heads: Mapping[str, HeadSpec],
    quality: Mapping[str, HeadQuality],
    facts: CardFacts,
) -> str:
    """Library, licence, language, base model, tags and metrics, between two lines of ``---``.

    Args:
        encoder: its name; the base model where it is an id of the hub.
        precisions: of the graphs.
        heads: by name.
        quality: their metrics, for those without test figures.
        facts: licence, language and test figures.
    """
    tasks = list(dict.fromkeys(_TASKS[s.kind] for s in heads.values() if s.kind in _TASKS))
    results = [_result(name, spec, quality, facts) for name, spec in heads.items()]
    lines = ModelCardData(
        library_name="polyhead",
        license=facts.settings.license,
        language=list(facts.settings.language) or None,
        base_model=encoder if re.fullmatch(r"[\w.-]+/[\w.-]+", encoder) else None,
        pipeline_tag=tasks[0] if tasks else None,
        tags=["polyhead", "onnx", *dict.fromkeys(precisions), *tasks],
        model_name=", ".join(heads),
        eval_results=[result for result in results if result is not None] or None,
    )
    return f"---\n{lines.to_yaml()}\n---\n"


def _result(
    name: str, spec: HeadSpec, quality: Mapping[str, HeadQuality], facts: CardFacts
) -> EvalResult | None:
    """The primary metric of the exported graph; None for a head without one."""
    tested, measured = facts.test.get(name), quality.get(name)
    if tested is not None:
        split, metric, value = "test", tested.metric, tested.value
    elif measured is not None and measured.metric is not None and measured.exported is not None:
        split, metric, value = measured.split, measured.metric, measured.exported
    else:
        return None
    source = facts.sources.get(name, name)
    return EvalResult(
        task_type=_TASKS.get(spec.kind, spec.kind),
        dataset_type=source,
        dataset_name=source,
        dataset_split=split,
        metric_type=metric,
        metric_name=f"{name}: {metric}",
        metric_value=round(value, 4),
    )
