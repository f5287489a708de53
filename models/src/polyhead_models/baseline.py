"""What a bag of words reaches: TF-IDF and a linear model (scikit-learn), for comparison."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline

from polyhead.heads import (
    Classification,
    Compressed,
    Entities,
    HeadSpec,
    Kept,
    MultiLabel,
    Regression,
    Sentence,
    Span,
    Summary,
)
from polyhead.heads.compress import WORDS
from polyhead.text import sentences
from polyhead.text.encoding import flat
from polyhead_models.data import tagging
from polyhead_models.data.examples import Example
from polyhead_models.heads.compress import CompressNetwork, Shortened
from polyhead_models.heads.multilabel import Reference as LabelSet
from polyhead_models.heads.summary import Salient
from polyhead_models.heads.tokens import Reference as Spans
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.compress import BOUNDS

_WORD = re.compile(r"\w+|[^\w\s]")
_CONTEXT = 2
_NO_WORD = re.compile("empty vocabulary|no terms remain")  # in scikit-learn's errors

Strings = Sequence[str]


def baseline(
    kind: str, head: str, train: Sequence[Example], test: Sequence[Example], *, seed: int = 0
) -> dict[str, float] | None:
    """Metrics of the baseline for one head, by the head's own metric.

    For heads that answer per text, TF-IDF of words and word pairs: logistic regression for a label,
    one for each label of a set, ridge regression for a number; both texts of a pair count as one.
    Tokens: for each word, TF-IDF of the character n-grams of itself and of its neighbours, one BIO
    tag a word. Summaries: the sentences whose TF-IDF vectors are nearest to the text's (Radev et
    al. 2004), as many as training texts have on average; the metrics of the first sentences are
    next to it, as ``first_…``. Shorter versions: one such sentence; next to it what is in
    `polyhead_models.metrics.compress.BOUNDS`, as ``lead_…``, ``sentence_…`` and ``oracle_…``.

    Returns:
        None for kinds that have no baseline, and where the training texts have no word to count.
    """
    if kind not in _ANSWERS:
        return None
    learn = [e for e in train if head in e.references]
    ask = [e for e in test if head in e.references]
    texts, targets = [flat(e.text) for e in learn], [e.references[head] for e in learn]
    asked, expected = [flat(e.text) for e in ask], [e.references[head] for e in ask]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare labels, or no convergence: no news here
        try:
            found = METRICS[kind].score(_ANSWERS[kind](texts, targets, asked, seed), expected)
        except ValueError as problem:
            if not _NO_WORD.search(str(problem)):
                raise
            return None
    if kind == "compress.v1":
        return {**found, **_bounds(asked, expected, targets)}
    if kind != "summary.v1":
        return found
    first = [_summary(text, range(_count(targets))) for text in asked]
    return {**found, **{f"first_{k}": v for k, v in METRICS[kind].score(first, expected).items()}}


def _classification(
    texts: Strings, targets: Sequence[str], asked: Strings, seed: int
) -> list[Classification]:
    model = make_pipeline(_words_and_pairs(), _classifier(targets, seed)).fit(texts, targets)
    return [Classification(str(label), 1.0, {}) for label in model.predict(asked)]


def _multilabel(
    texts: Strings, targets: Sequence[LabelSet], asked: Strings, seed: int
) -> list[MultiLabel]:
    words = _words_and_pairs()
    known, unknown = words.fit_transform(texts), words.transform(asked)
    found: list[tuple[str, ...]] = [()] * len(asked)
    for label in sorted({label for target in targets for label in target}):
        present = [label in target for target in targets]
        answers = _classifier(present, seed).fit(known, present).predict(unknown)
        found = [(*own, label) if yes else own for own, yes in zip(found, answers, strict=True)]
    return [MultiLabel(labels, {}) for labels in found]


def _regression(
    texts: Strings, targets: Sequence[float], asked: Strings, seed: int
) -> list[Regression]:
    model = make_pipeline(_words_and_pairs(), Ridge(random_state=seed)).fit(texts, targets)
    return [Regression(float(value)) for value in model.predict(asked)]


def _tokens(texts: Strings, targets: Sequence[Spans], asked: Strings, seed: int) -> list[Entities]:
    words, tags = [], []
    for text, spans in zip(texts, targets, strict=True):
        places = list(_WORD.finditer(text))
        words += _contexts(places)
        tags += _word_tags(places, spans)
    tagger = make_pipeline(_word_features(), _classifier(tags, seed)).fit(words, tags)
    return [_tagged(tagger, text) for text in asked]


def _summaries(
    texts: Strings, targets: Sequence[Salient], asked: Strings, seed: int
) -> list[Summary]:
    """The sentences that are nearest to the text's own vector."""
    return _nearest(texts, asked, _count(targets))


def _shorter(
    texts: Strings, targets: Sequence[Shortened], asked: Strings, seed: int
) -> list[Compressed]:
    """The sentence that is nearest to the text's own vector."""
    found = []
    for summary in _nearest(texts, asked, 1):
        pieces = tuple(Kept(s.text, s.start, s.end, s.score) for s in summary.sentences)
        found.append(Compressed(summary.text, pieces))
    return found


def _bounds(
    asked: Strings, expected: Sequence[Shortened], targets: Sequence[Shortened]
) -> dict[str, float]:
    """Metrics of what a shorter version is held against."""
    spec = HeadSpec(kind="compress.v1", output="", max_tokens=3)
    limit = CompressNetwork.fitted(spec, targets).words or WORDS
    found: dict[str, float] = {}
    for name, made in BOUNDS.items():
        results = [made(text, short, limit) for text, short in zip(asked, expected, strict=True)]
        metrics = METRICS["compress.v1"].score(results, expected)
        found |= {f"{name}_{metric}": value for metric, value in metrics.items()}
    return found


def _nearest(texts: Strings, asked: Strings, count: int) -> list[Summary]:
    words, found = TfidfVectorizer(sublinear_tf=True).fit(texts), []
    for text in asked:
        vectors = words.transform([text[start:end] for start, end in sentences.split(text)])
        cosines = np.asarray((vectors @ words.transform([text]).T).todense()).ravel()
        nearest = np.argsort(-cosines, kind="stable")[:count]
        found.append(_summary(text, np.sort(nearest).tolist()))
    return found


def _count(targets: Sequence[Salient]) -> int:
    """Sentences of a training text, on average."""
    return max(1, round(float(np.mean([len(salient.spans) for salient in targets]))))


def _summary(text: str, rows: Sequence[int]) -> Summary:
    spans = sentences.split(text)
    chosen = [spans[row] for row in rows if row < len(spans)]
    return Summary(tuple(Sentence(text[start:end], start, end, 1.0) for start, end in chosen))


_ANSWERS: dict[str, Callable[..., Sequence[Any]]] = {
    "classification.v1": _classification,
    "compress.v1": _shorter,
    "multilabel.v1": _multilabel,
    "regression.v1": _regression,
    "summary.v1": _summaries,
    "tokens.v1": _tokens,
}


def _classifier(targets: Sequence[str] | Sequence[bool], seed: int) -> Any:
    """Logistic regression; a constant where all targets are alike, which it cannot fit."""
    if len(set(targets)) == 1:
        return DummyClassifier(strategy="most_frequent")
    return LogisticRegression(C=10.0, max_iter=1000, random_state=seed)


def _words_and_pairs() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)


def _word_features() -> FeatureUnion:
    def field(index: int) -> tuple[str, TfidfVectorizer]:
        return str(index), TfidfVectorizer(
            analyzer="char_wb", ngram_range=(1, 4), min_df=2, preprocessor=lambda c: c[index]
        )

    return FeatureUnion([field(i) for i in range(2 * _CONTEXT + 1)])


def _contexts(places: Sequence[re.Match[str]]) -> list[tuple[str, ...]]:
    padded = [""] * _CONTEXT + [place.group() for place in places] + [""] * _CONTEXT
    return [tuple(padded[i : i + 2 * _CONTEXT + 1]) for i in range(len(places))]


def _word_tags(places: Sequence[re.Match[str]], spans: Spans) -> list[str]:
    tags = ["O"] * len(places)
    for label, start, end in spans:
        inside = [i for i, p in enumerate(places) if p.start() < end and p.end() > start]
        for position, index in enumerate(inside):
            tags[index] = f"{'I' if position else 'B'}-{label}"
    return tags


def _tagged(tagger: Pipeline, text: str) -> Entities:
    words = list(_WORD.finditer(text))
    tags = [str(tag) for tag in tagger.predict(_contexts(words))] if words else []
    found = tagging.spans([word.span() for word in words], tags)
    return Entities(tuple(Span(text=text[s["start"] : s["end"]], score=1.0, **s) for s in found))
