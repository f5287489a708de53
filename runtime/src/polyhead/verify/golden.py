"""Does a bundle still give the answers that the trained model gave?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead._assembly import Assembly, LoadSettings
from polyhead._model import LoadedModel, SubModel
from polyhead.bundle import Bundle, Certificate, Golden, GoldenExample, read_parts
from polyhead.bundle.collection import ROLES
from polyhead.bundle.manifest import MANIFEST, Graph
from polyhead.bundle.reader import file_names
from polyhead.engine import Engine
from polyhead.errors import GoldenMismatch, InputError, ManifestError
from polyhead.heads import decoder
from polyhead.system import atomic
from polyhead.text.encoding import Encoding, flat
from polyhead.verify import stability as stabilities


@dataclass(frozen=True)
class HeadCheck:
    """One head against the golden answers.

    Attributes:
        head: its name; of a cascade also whose it is.
        max_error: largest absolute difference of a logit from the trained model's.
        tolerance: the most that the bundle declares.
        same_decisions: golden texts with the trained model's decision.
        texts: golden texts.
        reproduced: whether this version decodes the trained model's logits into the recorded
            results.
    """

    head: str
    max_error: float
    tolerance: float
    same_decisions: int
    texts: int
    reproduced: bool

    @property
    def passed(self) -> bool:
        """Whether logits (NaN is not) and recorded results are as declared."""
        return self.max_error <= self.tolerance and self.reproduced


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        files: number of files whose digests were checked.
        token_ids_equal: whether the tokenizer gave the recorded ids for every golden text.
        heads: one check a head.
        stability: how far logits depend on batch and threads here; None when it was not asked.
    """

    files: int
    token_ids_equal: bool
    heads: tuple[HeadCheck, ...]
    stability: Certificate | None = None

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        stable = self.stability is None or self.stability.passed
        return self.token_ids_equal and stable and all(check.passed for check in self.heads)


def verify(path: str | Path, *, stability: bool = False) -> Verification:
    """Check manifest, digests and golden answers of a bundle.

    Args:
        path: the bundle's folder.
        stability: repeat the measurement of the certificate on this machine, on the golden texts.

    Raises:
        BundleError: when the bundle cannot be read or trusted; or has no graph in the exact layout
            and `stability` is asked.
    """
    folder = Path(path)
    return atomic.steadily(
        [folder], lambda: _verification(folder, stability=stability), checked=not stability
    )


def _verification(path: Path, *, stability: bool) -> Verification:
    bundles = read_parts(path)
    found = [_verified(bundle, stability=stability) for bundle in bundles]
    if len(found) == 1:
        return found[0]
    whose = [f" of the {role}" for role in ROLES] if bundles[0].cascade else [""] * len(found)
    measured = [each.stability for each in found if each.stability is not None]
    return Verification(
        files=len(file_names(path / MANIFEST)),
        token_ids_equal=all(each.token_ids_equal for each in found),
        heads=tuple(
            replace(check, head=f"{check.head}{of}")
            for each, of in zip(found, whose, strict=True)
            for check in each.heads
        ),
        stability=max(measured, key=lambda each: each.max_difference, default=None),
    )


def _verified(bundle: Bundle, *, stability: bool) -> Verification:
    golden = bundle.golden()
    tolerance = _tolerance(bundle, golden, bundle.manifest.graphs[0])
    part = Assembly(LoadSettings()).sub_model(bundle)
    with Engine.of(LoadedModel.of((part,))) as engine:
        found = _compare(bundle, golden, tolerance, engine)
        if not stability:
            return found
        encodings = engine.encode([example.input for example in golden.examples])
    return replace(found, stability=_stability(bundle, encodings))


def require_golden(part: SubModel) -> None:
    """Refuse a loaded sub-model that does not give the trained model's answers.

    Args:
        part: of a bundle, with its heads under their own names; it may have some of them only.

    Raises:
        GoldenMismatch: names the heads.
    """
    bundle, graph = part.bundle, part.graph
    assert bundle is not None
    assert graph is not None
    golden = bundle.golden()
    tolerance = _tolerance(bundle, golden, graph)
    asked = {head: limit for head, limit in tolerance.items() if head in part.specs}
    with Engine.of(LoadedModel.of((part,))) as engine:
        found = _compare(bundle, golden, asked, engine)
    if not found.passed:
        wrong = [f"{c.head} ({c.max_error:.2g})" for c in found.heads if not c.passed]
        raise GoldenMismatch(
            f"{bundle.path}: {graph.file} differs from the trained model on the golden texts in"
            f" {', '.join(wrong) or 'its token ids'}. See 'polyhead verify'; export it again, or"
            " load it with verify='digest' if you know why."
        )


def _tolerance(bundle: Bundle, golden: Golden, graph: Graph) -> Mapping[str, float]:
    """By head, how far the logits of a graph may be from the trained model's."""
    tolerance = golden.tolerance.get(graph.file, {})
    if set(tolerance) != set(graph.heads):
        raise ManifestError(
            f"{bundle.path / bundle.manifest.golden.file}: its tolerances are for"
            f" {sorted(tolerance)}, the graph's heads are {sorted(graph.heads)}. Export the bundle"
            " again."
        )
    return tolerance


def _stability(bundle: Bundle, encodings: Sequence[Encoding]) -> Certificate:
    graph = next((graph for graph in bundle.manifest.graphs if graph.layout == "exact"), None)
    if graph is None:
        raise ManifestError(
            f"{bundle.path}: no graph in the exact layout; in a padded one a text's answer may"
            " depend on its batch. Verify it without stability."
        )
    return stabilities.measure(bundle.file(graph), encodings)


def _compare(
    bundle: Bundle, golden: Golden, tolerance: Mapping[str, float], engine: Engine
) -> Verification:
    texts = [example.input for example in golden.examples]
    try:
        encodings = engine.encode(texts)
        found = engine.logits(texts)
    except InputError as problem:
        raise ManifestError(
            f"{bundle.path / bundle.manifest.golden.file}: {problem} Export the bundle again."
        ) from problem
    checks = []
    for head, limit in tolerance.items():
        rows = [
            row
            for row in zip(golden.examples, encodings, found[head], strict=True)
            if bundle.manifest.heads[head].input == row[1].kind
        ]
        errors, same, reproduced = [0.0], 0, True
        if bundle.manifest.heads[head].generation is not None:
            same, reproduced = _written(bundle, golden, head, engine)
        own = decoder(head, bundle.manifest.heads[head])
        for example, encoding, logits in rows:
            expected = _expected(bundle, example, head)
            if expected.shape != logits.shape:
                errors.append(float("inf"))
                continue
            errors.append(float(np.abs(logits - expected).max(initial=0.0)))
            if bundle.manifest.heads[head].generation is None:
                trained = own.decode(expected, encoding)
                same += own.decode(logits, encoding).decision == trained.decision
                reproduced &= _close(trained.to_dict(), example.results[head])
        checks.append(HeadCheck(head, float(np.max(errors)), limit, same, len(rows), reproduced))
    return Verification(
        files=len(bundle.manifest.checked),
        token_ids_equal=all(
            tuple(encoding.ids.tolist()) == example.ids
            for encoding, example in zip(encodings, golden.examples, strict=True)
        ),
        heads=tuple(checks),
    )


def _written(bundle: Bundle, golden: Golden, head: str, engine: Engine) -> tuple[int, bool]:
    """How many golden texts a head writes the recorded text for, and whether these are enough.

    The share that may differ is the tolerance of the decoder's graph: what the exporter measured.
    """
    kind = bundle.manifest.heads[head].input
    examples = [
        example for example in golden.examples if isinstance(example.text, str) == (kind == "text")
    ]
    answers = engine.predict([example.input for example in examples], heads=head)
    try:
        same = sum(
            answer[head].text == example.results[head]["text"]
            for answer, example in zip(answers, examples, strict=True)
        )
    except (KeyError, TypeError) as problem:
        raise ManifestError(
            f"{bundle.path / bundle.manifest.golden.file}: an example has no text that the head"
            f" {head!r} wrote. Export the bundle again."
        ) from problem
    step = bundle.manifest.decoders[head].step.file
    allowed = golden.tolerance.get(step, {}).get(head, 0.0)
    return same, len(examples) - same <= allowed * len(examples) + 1e-9


def _expected(bundle: Bundle, example: GoldenExample, head: str) -> NDArray[np.float32]:
    try:
        _ = example.results[head]
        return np.asarray(example.logits[head], dtype=np.float32)
    except (KeyError, ValueError, TypeError) as problem:
        raise ManifestError(
            f"{bundle.path / bundle.manifest.golden.file}: {flat(example.input)[:40]!r} has no"
            f" result or no array of logits for the head {head!r}. Export the bundle again."
        ) from problem


def _close(a: Any, b: Any) -> bool:
    """Whether two results as plain data are equal, numbers within 1e-4."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float) and isinstance(b, float | int):
        return abs(a - b) <= 1e-4
    return bool(a == b)
