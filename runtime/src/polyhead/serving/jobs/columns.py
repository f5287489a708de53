"""Predictions in, Arrow columns out: one type for each part of an answer, whatever was answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from polyhead.engine import Engine, Options
from polyhead.errors import InvalidSetting, PolyheadError
from polyhead.heads.base import Result, plain
from polyhead.prediction import Prediction
from polyhead.text.encoding import Input

_SCORE = pa.float32()
_PLACE = [("text", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("score", _SCORE)]
_PARTS: dict[str, tuple[tuple[str, pa.DataType], ...]] = {
    "classification.v1": (("label", pa.string()), ("score", _SCORE)),
    "multilabel.v1": (("labels", pa.list_(pa.string())),),
    "regression.v1": (("value", pa.float64()),),
    "tokens.v1": (("spans", pa.list_(pa.struct([("label", pa.string()), *_PLACE]))),),
    "answer.v1": (
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("score", _SCORE),
        ("no_answer", _SCORE),
    ),
    "summary.v1": (("sentences", pa.list_(pa.struct(_PLACE))),),
    "compress.v1": (("text", pa.string()), ("spans", pa.list_(pa.struct(_PLACE)))),
    "generation.v1": (
        ("text", pa.string()),
        ("score", _SCORE),
        ("tokens", pa.int32()),
        ("finished", pa.bool_()),
        ("truncated", pa.bool_()),
    ),
}
"""By kind of heads the attributes of its result that become columns; the first is the answer."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A part of one head's answers.

    Attributes:
        name: of the column.
        head: whose answers.
        attribute: of its result; None for the whole result as JSON.
        type: of the column; a list of a fixed size is for vectors.
    """

    name: str
    head: str
    attribute: str | None
    type: pa.DataType

    def array(self, results: Sequence[Result | None]) -> pa.Array:
        """The column; None is null."""
        if pa.types.is_fixed_size_list(self.type):
            return self._vectors(results)
        return pa.array([None if r is None else self._value(r) for r in results], self.type)

    def _value(self, result: Result) -> Any:
        if self.attribute is None:
            return json.dumps(result.to_dict(), ensure_ascii=False)
        value = getattr(result, self.attribute)
        if isinstance(value, tuple):
            return [each if isinstance(each, str) else plain(each) for each in value]
        return value

    def _vectors(self, results: Sequence[Any]) -> pa.Array:
        size = self.type.list_size
        zeros = np.zeros(size, np.float32)
        rows = [zeros if r is None else getattr(r, str(self.attribute)) for r in results]
        values = np.concatenate(rows) if rows else np.empty(0, np.float32)
        absent = pa.array([r is None for r in results], pa.bool_())
        return pa.FixedSizeListArray.from_arrays(pa.array(values), size, mask=absent)


class ResultColumns:
    """The columns of all asked heads, in the engine's order.

    Named as in `Prediction.to_row`, which leaves out the pieces of shorter versions.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        pair: bool,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        prefix: str = "",
    ) -> None:
        """Ask one short input, whose answers say how long vectors are.

        Args:
            engine: whose answers will come.
            pair: whether inputs are pairs.
            heads: as for `Engine.predict`.
            options: as for `Engine.predict`.
            prefix: put before each name.

        Raises:
            InputError: for heads and options that the engine does not have, or heads of the other
                kind of input.
        """
        probe: Input = ("a", "a") if pair else "a"
        answer = engine(probe, heads=heads, options=options)
        self.columns = tuple(_columns(engine, answer, prefix))
        self._truncated = (
            f"{prefix}truncated" if engine.info()["on_overflow"] == "truncate" else None
        )

    @property
    def schema(self) -> pa.Schema:
        """Names and types. Where texts may be truncated, a last column says which were."""
        fields = [pa.field(column.name, column.type) for column in self.columns]
        if self._truncated is not None:
            fields.append(pa.field(self._truncated, pa.bool_()))
        return pa.schema(fields)

    def arrays(self, predictions: Sequence[Prediction | None]) -> list[pa.Array]:
        """An array for each field of `schema`, with a row for each prediction; None is null."""
        found = [
            column.array([None if p is None else p.results[column.head] for p in predictions])
            for column in self.columns
        ]
        if self._truncated is not None:
            cut = [None if p is None else p.truncated for p in predictions]
            found.append(pa.array(cut, pa.bool_()))
        return found


def refuse_clash(own: Iterable[str], others: Iterable[str]) -> None:
    """See that no column of answers covers another one.

    Args:
        own: names of the columns of answers.
        others: names of all others.

    Raises:
        InvalidSetting: names it.
    """
    both = set(own).intersection(others)
    if both:
        raise InvalidSetting(
            f"the column {min(both)!r} is there already, and answers would have one of that name."
            " Give the answers a prefix, or leave out that column of the input."
        )


def reason(problem: PolyheadError) -> str:
    """Why a row has no answer, without its number in the list that the engine was asked."""
    return re.sub(r"^input \d+: ", "", str(problem))


def _columns(engine: Engine, answer: Prediction, prefix: str) -> Iterable[ResultColumn]:
    for head, result in answer.results.items():
        kind = engine.heads[head].kind
        if kind == "embedding.v1":
            size = len(getattr(result, "vector"))  # noqa: B009
            yield ResultColumn(f"{prefix}{head}", head, "vector", pa.list_(pa.float32(), size))
        elif kind in _PARTS:
            for number, (attribute, each) in enumerate(_PARTS[kind]):
                name = f"{head}_{attribute}" if number else head
                if not number or name not in answer.results:
                    yield ResultColumn(f"{prefix}{name}", head, attribute, each)
        else:  # of a plugin
            yield ResultColumn(f"{prefix}{head}", head, None, pa.string())
