"""JSON Schemas of what a head answers, and of the options that a call may give it.

Made from the head's spec: its labels are an enum, its sizes are those that it was trained for.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from polyhead.bundle.generation import MOST_BEAMS, MOST_PENALTY
from polyhead.heads import HeadSpec
from polyhead.heads.compress import MOST

Schema = dict[str, Any]

_SCORE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_OFFSET: Schema = {"type": "integer", "minimum": 0}
COUNT: Schema = {"type": "integer", "minimum": 1}
_RATIO: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}


def record(properties: Mapping[str, Schema], optional: Iterable[str] = (), **more: Any) -> Schema:
    """An object with these properties and no others; all are required but the optional ones."""
    required = [name for name in properties if name not in set(optional)]
    found: Schema = {"type": "object", "properties": dict(properties)}
    return (
        found
        | ({"required": required} if required else {})
        | {
            "additionalProperties": False,
            **more,
        }
    )


def reference(name: str) -> Schema:
    """To a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def label(spec: HeadSpec) -> Schema:
    """One of the head's labels."""
    return {"type": "string", "enum": list(spec.labels)}


def _scores(spec: HeadSpec) -> Schema:
    """A score by label; fewer than all where the call gave `top`."""
    return record(
        dict.fromkeys(spec.labels, _SCORE),
        optional=spec.labels,
        description="Probability by label; of the most probable ones where `top` was given.",
    )


def _spans(more: Mapping[str, Schema], description: str) -> Schema:
    span = record(
        {**more, "text": {"type": "string"}, "start": _OFFSET, "end": _OFFSET} | {"score": _SCORE}
    )
    return {"type": "array", "items": span, "description": description}


def _classification(spec: HeadSpec) -> Schema:
    abstained = "The most probable label; null where `min_score` was given and none reaches it."
    one_of = {"type": ["string", "null"], "enum": [*spec.labels, None], "description": abstained}
    return record({"label": one_of, "score": _SCORE, "scores": _scores(spec)})


def _multilabel(spec: HeadSpec) -> Schema:
    several = {"type": "array", "items": label(spec), "uniqueItems": True}
    return record({"labels": several, "scores": _scores(spec)})


def _regression(spec: HeadSpec) -> Schema:
    return record({"value": {"type": "number", "description": "In the unit of the targets."}})


def _tokens(spec: HeadSpec) -> Schema:
    found = _spans({"label": label(spec)}, "In the order of the text; they never overlap.")
    return record({"spans": found})


def _answer(spec: HeadSpec) -> Schema:
    where = "In the second text of the pair; 0 where there is no answer."
    return record(
        {
            "text": {"type": "string", "description": "Empty where the text has no answer."},
            "start": _OFFSET | {"description": where},
            "end": _OFFSET | {"description": where},
            "score": _SCORE | {"description": "Of the answer, or of there being none."},
            "no_answer": _SCORE,
            "candidates": _spans({}, "The best `n`, the best first, whether or not it is given."),
        }
    )


def _summary(spec: HeadSpec) -> Schema:
    return record({"sentences": _spans({}, "The most salient ones, in the order of the text.")})


def _compress(spec: HeadSpec) -> Schema:
    text: Schema = {"type": "string", "description": "The kept pieces; empty when no word fits."}
    return record(
        {"text": text, "spans": _spans({}, "In the order of the text; they never touch.")}
    )


def _embedding(spec: HeadSpec) -> Schema:
    vector = {"type": "array", "items": {"type": "number"}, "minItems": 1}
    return record({"vector": vector | {"description": "Of length 1, unless all are 0."}})


def _generation(spec: HeadSpec) -> Schema:
    copied = record(
        {"text": {"type": "string"}}
        | dict.fromkeys(("start", "end", "written_start", "written_end"), _OFFSET)
    )
    return record(
        {
            "text": {"type": "string", "description": "What was written."},
            "score": {"type": "number", "description": "Mean log-probability of its tokens."},
            "tokens": {"type": "integer", "minimum": 0},
            "finished": {"type": "boolean", "description": "Whether no limit ended it."},
            "copied": {
                "type": "array",
                "items": copied,
                "description": "Parts of the text, and where they are in what was written.",
            },
            "truncated": {"type": "boolean", "description": "Whether the end was not read."},
        }
    )


def _up_to(most: int, least: int, description: str) -> Schema:
    found: Schema = {"type": "integer", "minimum": least, "maximum": most}
    return found | {"description": description}


def _most(spec: HeadSpec) -> int:
    """Most tokens that a head writes."""
    return 1 if spec.generation is None else spec.generation.max_tokens


RESULTS: Mapping[str, Callable[[HeadSpec], Schema]] = {
    "classification.v1": _classification,
    "multilabel.v1": _multilabel,
    "regression.v1": _regression,
    "tokens.v1": _tokens,
    "answer.v1": _answer,
    "summary.v1": _summary,
    "compress.v1": _compress,
    "embedding.v1": _embedding,
    "generation.v1": _generation,
}
"""What a head of each built-in kind answers."""

OPTIONS: Mapping[str, Callable[[HeadSpec], Schema]] = {
    "min_score": lambda _: _SCORE | {"description": "Below it no label is given."},
    "top": lambda _: COUNT | {"description": "Most scores in the result."},
    "n": lambda _: COUNT | {"description": "Most candidates in the result."},
    "k": lambda spec: COUNT | {"description": "Most sentences."},
    "ratio": lambda _: _RATIO | {"description": "Share of the sentences or words, as a limit."},
    "words": lambda _: COUNT | {"maximum": MOST, "description": "Most words."},
    "characters": lambda _: COUNT | {"maximum": MOST, "description": "Most characters."},
    "sentences": lambda _: COUNT | {"description": "Words of so many sentences at most."},
    "dimensions": lambda spec: {
        "type": "integer",
        "enum": list(spec.dimensions),
        "description": "Keep the first so many numbers.",
    },
    "max_tokens": lambda spec: _up_to(_most(spec), 1, "Most tokens that are written."),
    "min_tokens": lambda spec: _up_to(_most(spec), 0, "Tokens before which no end is written."),
    "beams": lambda _: _up_to(MOST_BEAMS, 1, "Answers that grow side by side; 1 is greedy."),
    "length_penalty": lambda _: {
        "type": "number",
        "minimum": -MOST_PENALTY,
        "maximum": MOST_PENALTY,
        "description": "Above 0 favours long answers among the beams.",
    },
    "no_repeat": lambda spec: _up_to(
        _most(spec), 0, "No run of so many tokens comes twice; 0 for no limit."
    ),
    "early_stopping": lambda _: {
        "enum": [True, False, "never"],
        "description": "When beams end: at once with enough answers, when no better one is likely,"
        " or when there can be none.",
    },
}
"""The options of the built-in kinds."""

_LIMITS = ("k", "words", "characters", "ratio")  # a call gives one of them


def result(spec: HeadSpec) -> Schema:
    """What a head answers; any object for a kind that a plugin brings."""
    made = RESULTS.get(spec.kind)
    return {"type": "object"} if made is None else made(spec)


def options(spec: HeadSpec, names: Iterable[str]) -> Schema:
    """The options that a call may give a head, all of them optional.

    Args:
        spec: of the head.
        names: what its decoder takes.
    """
    if spec.kind not in RESULTS:
        return record({name: {} for name in names}, optional=names)
    # Sizes of a head that was trained for none but its full one: nothing can be given.
    taken = [name for name in names if name != "dimensions" or spec.dimensions]
    found = record({name: OPTIONS[name](spec) for name in taken}, optional=taken)
    both = itertools.combinations((name for name in taken if name in _LIMITS), 2)
    refused = [{"required": list(two)} for two in both]
    return found | ({"not": {"anyOf": refused}} if refused else {})


def component(name: str, taken: Iterable[str]) -> str:
    """A head's name as OpenAPI allows it for a component, and as no other one has it."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name) or "_"
    known, number, found = set(taken), 2, plain
    while found in known:
        found, number = f"{plain}_{number}", number + 1
    return found
