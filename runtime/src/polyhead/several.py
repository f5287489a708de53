"""Several sub-models behind one engine: their heads side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from polyhead import sharing
from polyhead.answering import NOTHING, Logits, OfInput, Work, compute, decoded, logits_of
from polyhead.bundle.reader import Bundle, read_parts
from polyhead.engine import Engine
from polyhead.errors import EngineWithoutBundle, HeadClash, InputError, InvalidSetting
from polyhead.loading import model_of
from polyhead.merged_sessions import MergingSessions
from polyhead.model import Model
from polyhead.prediction import Prediction
from polyhead.request import (
    OnError,
    Options,
    Wanted,
    check_kind,
    check_name,
    checked_options,
    each,
    wanted_heads,
)
from polyhead.settings import Settings
from polyhead.sharing import Part
from polyhead.text.encoding import Encoding, Input

Reads = dict[int, Encoding]
"""How sub-models read an input, by their number; those that are not asked are left out."""


@dataclass(frozen=True)
class Origins:
    """Bundles, prefixes of their heads, and the settings to open them with."""

    paths: tuple[Path, ...]
    prefixes: tuple[str, ...]
    settings: Settings

    def engine(self) -> SeveralEngine:
        """An engine of all of them; raises what `polyhead.load` raises."""
        return SeveralEngine(self)

    def parts(self) -> tuple[Part, ...]:
        """The sub-models, read now; those without a wanted head are left out."""
        found: list[tuple[Bundle, dict[str, str]]] = []
        for path, prefix in zip(self.paths, self.prefixes, strict=True):
            for bundle in read_parts(path, digests=False):
                names = {f"{prefix}{name}": name for name in bundle.manifest.heads}
                found.append((bundle, names))
        _check_clash(found)
        wanted = self.settings.heads
        if wanted is not None:
            known = [name for _, names in found for name in names]
            for head in wanted:
                check_name(head, known)
            found = [(b, {n: o for n, o in names.items() if n in wanted}) for b, names in found]
            found = [(bundle, names) for bundle, names in found if names]
        tokenizers = sharing.tokenizers_of([bundle for bundle, _ in found], self.settings)
        own = [None if wanted is None else tuple(names.values()) for _, names in found]
        wishes = [
            sharing.wish(bundle, heads, tokenizer)
            for (bundle, _), heads, tokenizer in zip(found, own, tokenizers, strict=True)
        ]
        parts, sessions = [], MergingSessions(self.settings, wishes)
        for (bundle, names), heads, tokenizer in zip(found, own, tokenizers, strict=True):
            settings = replace(self.settings, heads=heads)
            model = model_of(bundle, settings, tokenizer, sessions=sessions)
            loaded = {name: before for name, before in names.items() if before in model.specs}
            parts.append(Part(bundle, model, loaded, sessions))
        return tuple(parts)

    def __getstate__(self) -> dict[str, Any]:
        if self.settings.session_options is not None:
            raise EngineWithoutBundle(
                "cannot pickle this engine: onnxruntime's SessionOptions, which it was loaded"
                " with, cannot be pickled. Load the bundles in the other process."
            )
        return dict(self.__dict__)


class SeveralEngine(Engine):
    """An engine of several sub-models, each with a graph of its own.

    A text is tokenised once for all sub-models with the same tokenizer. Graphs over one encoder are
    merged and run once. Others run at the same time, within one budget of threads; one none of
    whose heads is asked does not run.
    Made by `polyhead.load` for several bundles, and for one that `polyhead combine` made of
    several encoders. It may be forked and pickled as any engine.
    """

    def __init__(self, origins: Origins) -> None:
        """Open all of them; raises what `polyhead.load` raises."""
        settings = origins.settings
        self._state = _opened(origins)
        _, joint = self._state
        super().__init__(
            joint.backend,
            joint.tokenizer,
            joint.specs,
            max_tokens=joint.max_tokens,
            threads=settings.threads,
            batch_tokens=settings.batch_tokens,
            on_overflow=settings.on_overflow,
            max_characters=settings.max_characters,
            intra_op_threads=settings.intra_op,
            source=joint.source,
        )
        self._origins = origins

    def predict(
        self,
        texts: Sequence[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: OnError = "raise",
    ) -> list[Any]:
        """Answer many texts, as `Engine.predict` does.

        Of `Prediction`, `tokens` and `windows` are those of the sub-model that read the most, and
        `truncated` says whether any left something out.
        """
        parts, joint = self._opened()
        chosen = checked_options(options, joint)
        wanted = wanted_heads(heads, joint)
        read = self._read(parts, joint, texts, wanted, heads is not None, errors)
        good = [reads for reads in read if not isinstance(reads, InputError)]
        rows, works = _works(parts, good, wanted)
        results: list[dict[str, Any]] = [{} for _ in good]
        settings = [part.own(chosen) for part in parts]

        def take(number: int, row: int, logits: OfInput) -> None:
            part, work = parts[number], works[number]
            found = decoded(part.model, work.encodings[row], logits, settings[number])
            results[rows[number][row]].update(part.renamed(found))

        compute(works, self._scheduler, take)
        answers = map(partial(_prediction, wanted), good, results)
        return [found if isinstance(found, InputError) else next(answers) for found in read]

    def logits(self, texts: Sequence[Input], *, heads: Iterable[str] | None = None) -> Logits:
        """The raw logits by head, as `Engine.logits` gives them."""
        parts, joint = self._opened()
        wanted = wanted_heads(heads, joint)
        read = self._read(parts, joint, texts, wanted, heads is not None, "raise")
        good = [reads for reads in read if not isinstance(reads, InputError)]
        rows, works = _works(parts, good, wanted)
        found: Logits = {name: [NOTHING] * len(good) for names in wanted.values() for name in names}
        computed = logits_of(works, self._scheduler)
        for part, own, logits in zip(parts, rows, computed, strict=True):
            for name, arrays in part.renamed(logits).items():
                for row, array in zip(own, arrays, strict=True):
                    found[name][row] = array
        return found

    def encode(self, texts: Sequence[Input], *, part: int = 0) -> list[Encoding]:
        """Token ids and offsets of `texts` as one sub-model reads them.

        Args:
            texts: the inputs.
            part: number of the sub-model in the order of `info()["shared"]["parts"]`.

        Raises:
            InputError: when a text cannot be used, or there is no such sub-model.
            EngineClosed: after `close`.
        """
        parts, _ = self._opened()
        if type(part) is not int or not 0 <= part < len(parts):
            raise InvalidSetting(f"part={part!r}: expected 0 to {len(parts) - 1}.")
        model = parts[part].model

        def encode(item: Input, index: int) -> Encoding:
            return self._reading.encode(model, item, index)

        found = each(texts, self._reading.check, encode, "raise", self._scheduler.spread)
        return [encoding for encoding in found if isinstance(encoding, Encoding)]

    def reload(self, path: str | Path | None = None) -> None:
        """Answer with the same bundles read again, as `Engine.reload` does.

        Raises:
            InvalidSetting: when a path is given; one engine of several has several.
        """
        self._opened()
        if path is not None:
            raise InvalidSetting("reload: expected no path; this engine has several bundles.")
        self._state = _opened(self._origins)  # one thing, so that a call sees one state
        self._model = self._state[1]

    def info(self) -> dict[str, Any]:
        """What `Engine.info` says, and under ``shared`` what the sub-models share."""
        parts, _ = self._state
        told = {name: value for name, value in super().info().items() if name != "graph"}
        return {**told, "shared": sharing.describe(parts)}

    def __reduce__(self) -> tuple[Any, ...]:
        self._opened()
        return self._origins.engine, ()

    def _opened(self) -> tuple[tuple[Part, ...], Model]:
        self._open()
        return self._state

    def _read(
        self,
        parts: Sequence[Part],
        joint: Model,
        texts: Sequence[Input],
        wanted: Wanted,
        by_name: bool,
        errors: OnError,
    ) -> list[Reads | InputError]:
        """Each input as the sub-models read it that have a head for it."""
        asked = {
            kind: [i for i, part in enumerate(parts) if part.names.keys() & set(names)]
            for kind, names in wanted.items()
        }

        def check(item: Input, index: int) -> None:
            self._reading.check(item, index)
            check_kind(item, index, joint, wanted, by_name=by_name)

        def encode(item: Input, index: int) -> Reads:
            raw: dict[int, Encoding] = {}
            fitted: dict[tuple[object, ...], Encoding] = {}
            reads: Reads = {}
            kind = "text" if isinstance(item, str) else "pair"
            for number in asked[kind]:
                model = parts[number].model
                key = id(model.tokenizer)
                if key not in raw:
                    raw[key] = model.tokenizer.encode_one(item, index)
                way = sharing.reading(model, kind)  # one object, so that one run serves both
                if way not in fitted:
                    fitted[way] = self._reading.fitted(model, raw[key], index)
                reads[number] = fitted[way]
            if not reads:  # nothing was asked; the input is looked at all the same
                reads[0] = self._reading.encode(parts[0].model, item, index)
            return reads

        return each(texts, check, encode, errors, self._scheduler.spread)


def prefixes_of(
    paths: Sequence[str | Path], prefix: Sequence[str] | Mapping[str, str] | None
) -> tuple[str, ...]:
    """A prefix for each path.

    Args:
        paths: as the caller gave them.
        prefix: one for each path in their order; or by path as it was given, the others get none;
            None for none.

    Raises:
        InvalidSetting: for another number of prefixes, or an unknown path.
    """
    names = [str(path) for path in paths]
    if prefix is None:
        return ("",) * len(names)
    values: list[object]
    if isinstance(prefix, Mapping):
        if unknown := [path for path in map(str, prefix) if path not in names]:
            raise InvalidSetting(
                f"prefix: {unknown[0]!r} is none of the bundles {', '.join(names)}."
            )
        given = {str(path): value for path, value in prefix.items()}
        values = [given.get(name, "") for name in names]
    else:
        several = isinstance(prefix, Iterable) and not isinstance(prefix, str)
        values = list(prefix) if several else [prefix]
    if len(values) != len(names) or not all(isinstance(value, str) for value in values):
        raise InvalidSetting(
            f"prefix={prefix!r}: expected {len(names)} texts, one for each bundle."
        )
    return tuple(map(str, values))


def _opened(origins: Origins) -> tuple[tuple[Part, ...], Model]:
    """The sub-models, and a model that has the heads of all of them."""
    parts = origins.parts()
    specs = {
        name: part.model.specs[before] for part in parts for name, before in part.names.items()
    }
    first = parts[0].model
    limit = max(part.model.max_tokens for part in parts)
    sources = ", ".join(map(str, origins.paths))
    return parts, Model.of(first.backend, first.tokenizer, specs, limit, sources)


def _check_clash(found: Sequence[tuple[Bundle, Mapping[str, str]]]) -> None:
    owner: dict[str, Bundle] = {}
    for bundle, names in found:
        for name in names:
            if name in owner:
                raise HeadClash(
                    f"{owner[name].path} and {bundle.path} both have a head {name!r}. Give the"
                    " heads of one of them another name with prefix, one text for each bundle."
                )
            owner[name] = bundle


def _works(
    parts: Sequence[Part], reads: Sequence[Reads], wanted: Wanted
) -> tuple[list[list[int]], list[Work]]:
    """What each sub-model has to compute, and which inputs these are."""
    rows = [[row for row, each in enumerate(reads) if i in each] for i in range(len(parts))]
    works = [
        Work(
            part.model,
            [reads[row][number] for row in rows[number]],
            {
                kind: [part.names[name] for name in names if name in part.names]
                for kind, names in wanted.items()
            },
        )
        for number, part in enumerate(parts)
    ]
    return rows, works


def _prediction(wanted: Wanted, reads: Reads, results: Mapping[str, Any]) -> Prediction:
    first = next(iter(reads.values()))
    return Prediction(
        text=first.text,
        results={name: results[name] for name in wanted[first.kind]},
        tokens=max(len(encoding) for encoding in reads.values()),
        windows=max(len(encoding.starts) for encoding in reads.values()),
        truncated=any(encoding.truncated for encoding in reads.values()),
        query=first.query,
    )
