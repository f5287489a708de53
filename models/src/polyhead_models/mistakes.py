"""The examples that a head answers worst, to look at and to write to a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from polyhead.cli.output import as_json
from polyhead.system import atomic
from polyhead.system.schema import plain
from polyhead_models.evaluation import Answered, sums
from polyhead_models.metrics.labels import LABELLED

_KINDS = (*LABELLED, "answer.v1", "summary.v1", "compress.v1", "generation.v1", "regression.v1")


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An example whose answer is not its reference.

    Attributes:
        where: ``file:line`` of the row.
        head: name of the head.
        text: what the head read; a pair as a list.
        gold: what the row says: a label, a list of labels, spans or texts, a number.
        answer: what the head said, in the same form; of answers, summaries and
            shorter versions the one text.
        score: how sure the head was, 0 to 1: of its label or answer, or of the worst of several;
            None for kinds without, and where spans are missing and none is wrong.
    """

    where: str
    head: str
    text: Any
    gold: Any
    answer: Any
    score: float | None


def mistakes(kind: str, head: str, rows: Iterable[Answered]) -> list[Mistake]:
    """A head's wrong answers, the worst first: by the text's own metric, then by how sure it was.

    The metric is F1 of labels, spans or words, ROUGE-1 or, for numbers, the distance. Vectors have
    no single right answer: there, and for plugins' kinds, the list is empty.
    """
    if kind not in _KINDS:
        return []
    ranked = [(_goodness(kind, row.result, row.reference), row) for row in rows]
    wrong = [(good, _mistake(kind, head, row)) for good, row in ranked if good < 1]
    wrong.sort(key=lambda item: (item[0], -(item[1].score or 0.0)))
    return [mistake for _, mistake in wrong]


def write(path: Path, found: Sequence[Mistake]) -> None:
    """Write mistakes as JSON lines, or as csv where the file's name ends so.

    A cell of csv that is no text and no number is JSON.

    Raises:
        OSError: when the file cannot be written.
    """
    file = io.StringIO(newline="")
    if path.suffix.lower() == ".csv":
        table = csv.writer(file)
        names = [field.name for field in fields(Mistake)]
        table.writerow(names)
        table.writerows([_cell(getattr(one, name)) for name in names] for one in found)
    else:
        file.writelines(as_json(plain(one)) + "\n" for one in found)
    atomic.write(path, file.getvalue())


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _goodness(kind: str, result: Any, reference: Any) -> float:
    """1 for a right answer; less, the worse it is."""
    if kind == "regression.v1":
        return 1 - abs(float(result.value) - float(reference))
    (above,), (below,) = sums(kind, [result], [reference])
    return float(above / below) if below else 1.0


def _mistake(kind: str, head: str, row: Answered) -> Mistake:
    text, result, reference = row.example.text, row.result, row.reference
    gold: Any = plain(reference)
    score: float | None = getattr(result, "score", None)
    if kind == "tokens.v1":
        gold, answer = (_spans(side, str(text)) for side in (reference, result.decision))
        spans = zip(result.spans, result.decision, strict=True)
        score = max((s.score for s, place in spans if place not in reference), default=None)
    elif kind == "multilabel.v1":
        answer, given, scores = plain(result.decision), set(result.labels), result.scores
        wrong = given ^ set(reference)
        score = max(scores[n] if n in given else 1 - scores[n] for n in wrong)
    elif kind == "classification.v1":
        answer = result.label
    elif kind == "regression.v1":
        answer = result.value
    else:
        gold = plain(getattr(reference, "texts", reference))
        answer = result.text
    return Mistake(
        where=row.example.where,
        head=head,
        text=plain(text),
        gold=gold,
        answer=answer,
        score=score,
    )


def _spans(places: Iterable[tuple[str, int, int]], text: str) -> list[dict[str, Any]]:
    return [
        {"label": label, "start": start, "end": end, "text": text[start:end]}
        for label, start, end in places
    ]
