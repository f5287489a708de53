"""answer.v1: the first and the last token of an answer, or that there is none."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyhead.heads import Answer, HeadSpec
from polyhead.heads.answer import LONGEST
from polyhead.heads.base import trimmed
from polyhead.text.encoding import Encoding
from polyhead_models.heads.base import IGNORED, HeadNetwork

CHARACTER = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""A kana, an ideograph or a syllable: text in these has no blanks between its words."""

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation + "，。！？、；：“”‘’（）《》「」…")  # noqa: RUF001
_START, _END = 1, 2


@dataclass(frozen=True, slots=True)
class AnswerSpans:
    """What annotators took for the answer.

    Attributes:
        spans: start and end in code points of the text, the most frequent first; empty when the
            text does not answer the question.
        texts: the same as texts.
    """

    spans: tuple[tuple[int, int], ...]
    texts: tuple[str, ...]


class AnswerNetwork(HeadNetwork):
    """Each token vector into a start and an end logit, after Devlin et al. 2018, section 4.2.

    The loss is the cross-entropy of the first and of the last token of the most frequent answer,
    among the tokens of the text and the first token of the window, which means "no answer in
    this window". The question's tokens are no candidates, as in the decoder.
    """

    kind: ClassVar[str] = "answer.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "span"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = None
    texts: ClassVar[tuple[int, ...]] = (2,)
    listed: ClassVar[bool] = True
    tunable: ClassVar[bool] = True

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """A start and an end."""
        return 2

    @classmethod
    def reference(cls, raw: Any, text: str) -> AnswerSpans:
        """Answers of SQuAD: a list of tables with `text` and `start`; empty for no answer.

        Blanks at their edges are left out, as in answers; an answer of blanks alone, which some
        files have for none, is none.
        """
        if not isinstance(raw, list):
            raise ValueError(f"found {raw!r}, expected a list of answers with text and start")
        found: dict[tuple[int, int], int] = {}
        for item in raw:
            if (span := _span(item, text)) is not None:
                found[span] = found.get(span, 0) + 1
        spans = tuple(sorted(found, key=lambda span: -found[span]))
        return AnswerSpans(spans, tuple(text[start:end] for start, end in spans))

    @classmethod
    def blank_edges(cls, raw: Any, text: str) -> int:
        """Answers with a blank at an edge."""
        return sum(item["text"].strip() != item["text"] for item in raw)

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[AnswerSpans]) -> HeadSpec:
        """With the longest answer of the kind where the configuration sets none."""
        return replace(spec, longest=spec.longest or LONGEST)

    @classmethod
    def tuned(
        cls, spec: HeadSpec, results: Sequence[Answer], references: Sequence[AnswerSpans]
    ) -> HeadSpec:
        """With the threshold for "no answer" that makes F1 highest on the validation questions.

        None, so that a span is always given, where all of them have an answer.
        """
        if all(reference.spans for reference in references):
            return replace(spec, no_answer=None)
        gains = np.zeros(len(results))
        for i, (result, reference) in enumerate(zip(results, references, strict=True)):
            best = result.candidates[0].text if result.candidates else ""
            gains[i] = max((f1(best, text) for text in reference.texts), default=-1.0)
        # Questions sorted by margin: those up to the threshold get a span, the others none. A span
        # where there should be none loses what "no answer" would have won.
        margins = np.minimum([r.margin for r in results], np.finfo(np.float32).max)
        order = np.argsort(margins, kind="stable")
        ranked = margins[order]
        total = np.concatenate([[0.0], np.cumsum(gains[order])])
        limits = np.concatenate([[ranked[0] - 1], (ranked[1:] + ranked[:-1]) / 2, [ranked[-1] + 1]])
        possible = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
        best_cut = int(np.where(possible, total, -np.inf).argmax())
        return replace(spec, no_answer=float(limits[best_cut]))

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """What each token of a window is, int64 `(tokens,)`.

        0: a candidate; 1, 2 and 3: the answer's first token, its last, both; `IGNORED`: no
        candidate. Where the answer is not whole in the window, the first token is both.
        """
        kinds = np.where(encoding.special, IGNORED, 0)
        kinds[0] = 0
        first, last = _tokens(reference.spans[0], encoding) if reference.spans else (0, 0)
        kinds[first] |= _START
        kinds[last] |= _END
        return torch.from_numpy(kinds)

    def targets(self, reference: Any, encoding: Encoding) -> list[Tensor | None]:
        """The target of each window.

        The answer goes from its first token to its last: characters at its ends that are no part of
        a token, such as blanks and dropped accents, would look as if a window had cut it.
        """
        spans = tuple(_covered(span, encoding) for span in reference.spans[:1])
        return super().targets(replace(reference, spans=spans), encoding)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of starts and ends over windows; 0 when no window has a target."""
        rows = self.known(targets).any(dim=1)
        if not bool(rows.any()):
            return logits.sum() * 0.0
        targets, logits = targets[rows], logits[rows].float()
        logits = logits.masked_fill((targets == IGNORED).unsqueeze(-1), float("-inf"))
        logits = torch.log_softmax(logits, dim=1)
        found = torch.stack([(targets > 0) & (targets & bit > 0) for bit in (_START, _END)], dim=-1)
        return -logits[found].mean()


def words(text: str) -> list[str]:
    """The words that count; each Chinese, Japanese or Korean character is one by itself."""
    plain = _ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION))
    return CHARACTER.sub(r" \g<0> ", plain).split()


def f1(found: str, expected: str) -> float:
    """F1 of the words of two answers; where one has none, 1 when neither has.

    As SQuAD defines it (Rajpurkar et al. 2016, section 6.1).
    """
    a, b = words(found), words(expected)
    if not a or not b:
        return float(a == b)
    common = sum((Counter(a) & Counter(b)).values())
    return 2 * common / (len(a) + len(b))


def _span(item: Any, text: str) -> tuple[int, int] | None:
    if not isinstance(item, dict) or not {"text", "start"} <= item.keys():
        raise ValueError(f"found the answer {item!r}, expected a table with text and start")
    answer, start = item["text"], item["start"]
    if not isinstance(answer, str):
        raise ValueError(f"found the answer {answer!r}, expected a text")
    if not answer.strip():
        return None
    if type(start) is not int or not 0 <= start <= len(text) - len(answer):
        raise ValueError(
            f"the answer {answer!r} at {start!r} is outside the text, which has {len(text)}"
            " characters"
        )
    if text[start : start + len(answer)] != answer:
        raise ValueError(
            f"the answer {answer!r} is not at {start}, where"
            f" {text[start : start + len(answer)]!r} is"
        )
    return trimmed(text, start, start + len(answer))


def _covered(span: tuple[int, int], encoding: Encoding) -> tuple[int, int]:
    """From the start of a span's first token to the end of its last; itself without any."""
    offsets = encoding.offsets[encoding.body]
    found = offsets[(offsets[:, 0] < span[1]) & (offsets[:, 1] > span[0])]
    return (int(found[0, 0]), int(found[-1, 1])) if len(found) else span


def _tokens(span: tuple[int, int], encoding: Encoding) -> tuple[int, int]:
    """First and last token of a span, or the window's first token twice when it is not whole."""
    starts, ends = encoding.offsets[:, 0], encoding.offsets[:, 1]
    inside = ~encoding.special & (starts < span[1]) & (ends > span[0])
    rows: NDArray[np.int64] = np.flatnonzero(inside)
    if not len(rows):
        return 0, 0
    body = encoding.body
    cut_before = encoding.firsts[0] > 0 and rows[0] == body[0] and starts[rows[0]] > span[0]
    cut_after = rows[-1] == body[-1] and ends[rows[-1]] < span[1]
    return (0, 0) if cut_before or cut_after else (int(rows[0]), int(rows[-1]))
