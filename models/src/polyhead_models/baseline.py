"""What a bag of words reaches: TF-IDF and logistic regression (scikit-learn), for comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline

from polyhead.heads import Classification, Entities, Span
from polyhead_models.data.examples import Example
from polyhead_models.heads.tokens import Reference
from polyhead_models.metrics import METRICS

_WORD = re.compile(r"\w+|[^\w\s]")
_CONTEXT = 2


def baseline(
    kind: str, head: str, train: Sequence[Example], test: Sequence[Example], *, seed: int = 0
) -> dict[str, float] | None:
    """Figures of the baseline for one head, by the head's own metric.

    Classification: TF-IDF of words and word pairs. Tokens: for each word, TF-IDF of the character
    n-grams of itself and of its neighbours, one BIO tag a word.

    Returns:
        None for kinds that have no baseline.
    """
    learn = [e for e in train if head in e.references]
    ask = [e for e in test if head in e.references]
    references = [e.references[head] for e in ask]
    if kind == "classification.v1":
        targets = [e.references[head] for e in learn]
        words_and_pairs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        model = make_pipeline(words_and_pairs, _classifier(targets, seed))
        model.fit([e.text for e in learn], targets)
        found: list[Any] = [
            Classification(str(label), 1.0, {}) for label in model.predict([e.text for e in ask])
        ]
    elif kind == "tokens.v1":
        words, tags = [], []
        for example in learn:
            places = list(_WORD.finditer(example.text))
            words += _contexts(places)
            tags += _word_tags(places, example.references[head])
        tagger = make_pipeline(_word_features(), _classifier(tags, seed))
        tagger.fit(words, tags)
        found = [_tagged(tagger, e.text) for e in ask]
    else:
        return None
    return METRICS[kind].score(found, references)


def _classifier(targets: Sequence[str], seed: int) -> Any:
    """Logistic regression; a constant where all targets are alike, which it cannot fit."""
    if len(set(targets)) == 1:
        return DummyClassifier(strategy="most_frequent")
    return LogisticRegression(C=10.0, max_iter=1000, random_state=seed)


def _word_features() -> FeatureUnion:
    def field(index: int) -> tuple[str, TfidfVectorizer]:
        return str(index), TfidfVectorizer(
            analyzer="char_wb", ngram_range=(1, 4), min_df=2, preprocessor=lambda c: c[index]
        )

    return FeatureUnion([field(i) for i in range(2 * _CONTEXT + 1)])


def _contexts(places: Sequence[re.Match[str]]) -> list[tuple[str, ...]]:
    padded = [""] * _CONTEXT + [place.group() for place in places] + [""] * _CONTEXT
    return [tuple(padded[i : i + 2 * _CONTEXT + 1]) for i in range(len(places))]


def _word_tags(places: Sequence[re.Match[str]], spans: Reference) -> list[str]:
    tags = ["O"] * len(places)
    for label, start, end in spans:
        inside = [i for i, p in enumerate(places) if p.start() < end and p.end() > start]
        for position, index in enumerate(inside):
            tags[index] = f"{'I' if position else 'B'}-{label}"
    return tags


def _tagged(tagger: Pipeline, text: str) -> Entities:
    places = list(_WORD.finditer(text))
    spans: list[Span] = []
    inside = None
    for place, tag in zip(places, tagger.predict(_contexts(places)) if places else (), strict=True):
        prefix, _, label = str(tag).partition("-")
        start = spans.pop().start if prefix == "I" and inside == label else place.start()
        if label:
            spans.append(Span(label, text[start : place.end()], start, place.end(), 1.0))
        inside = label or None
    return Entities(tuple(spans))
