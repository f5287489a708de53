"""Paths and settings in, an engine out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyhead._assembly import Assembly, LoadSettings, Precision, Verify
from polyhead._model import LoadedModel
from polyhead.bundle import hub
from polyhead.bundle.collection import ROLES, check_cascade
from polyhead.bundle.head_spec import check_name
from polyhead.bundle.reader import Bundle, read_parts
from polyhead.engine import Engine
from polyhead.errors import (
    BundleNotFound,
    EngineWithoutBundle,
    HeadClash,
    InvalidSetting,
    UnknownHead,
)
from polyhead.heads import decoder
from polyhead.inference.providers import Provider
from polyhead.system import atomic, onnx_runtime
from polyhead.text.inputs import OnOverflow, OverflowPolicy
from polyhead.verify.golden import require_golden

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BundleOrigin:
    """Bundles, prefixes of their heads, and settings: what a pickled engine consists of."""

    paths: tuple[Path, ...]
    prefixes: tuple[str, ...]
    settings: LoadSettings

    def at(self, path: str | Path) -> BundleOrigin:
        """The same settings for another bundle.

        Raises:
            InvalidSetting: where there are several bundles, or for what is no path.
        """
        if len(self.paths) > 1:
            raise InvalidSetting("reload: expected no path; this engine has several bundles.")
        return replace(self, paths=(_absolute(hub.located(path)),))

    def engine(self) -> Engine:
        """An engine of them; raises what `load` raises."""
        settings = self.settings
        return Engine.of(
            self.model(),
            threads=settings.threads,
            batch_tokens=settings.batch_tokens,
            policy=OverflowPolicy(settings.on_overflow, settings.max_characters),
            intra_op_threads=settings.intra_op,
        )

    def model(self) -> LoadedModel:
        """What the bundles hold, read now; sub-models without a wanted head are left out.

        Raises:
            PolyheadError: what `load` raises.
        """
        checked = self.settings.verify != "none"
        return atomic.steadily(self.paths, self._read, checked=checked)

    def _read(self) -> LoadedModel:
        found = [
            (bundle, prefix)
            for path, prefix in zip(self.paths, self.prefixes, strict=True)
            for bundle in read_parts(path, digests=False)
        ]
        cascade = _thresholds(found, self.settings.cascade)
        if cascade is None:
            _check_clash(found)
        wanted = self.settings.heads
        last = {
            f"{prefix}{name}": bundle for bundle, prefix in found for name in bundle.manifest.heads
        }
        for head in wanted or ():
            check_name(head, last)
        assembly, parts = Assembly(self.settings), []
        for bundle, prefix in found:
            own = [n for n in bundle.manifest.heads if wanted is None or f"{prefix}{n}" in wanted]
            # A student that answers nothing of what is wanted is left out, too.
            if not any(
                last[f"{prefix}{n}"] is bundle or f"{prefix}{n}" in (cascade or ()) for n in own
            ):
                continue
            part = assembly.sub_model(bundle, None if wanted is None else own)
            if self.settings.verify == "golden" or not onnx_runtime.trusted():
                require_golden(part)
            parts.append(part.with_prefix(prefix) if prefix else part)
        both = {
            name: least
            for name, least in (cascade or {}).items()
            if all(name in part.specs for part in parts)
        }
        source = ", ".join(map(str, self.paths))
        model = LoadedModel.of(parts, source, origin=self, cascade=both)
        if model.note is not None:
            _log.warning("%s", model.note)
        return model

    def __getstate__(self) -> dict[str, Any]:
        if self.settings.session_options is not None:
            raise EngineWithoutBundle(
                "cannot pickle this engine: onnxruntime's SessionOptions, which it was loaded"
                " with, cannot be pickled. Load the bundle in the other process."
            )
        return dict(self.__dict__)


def load(
    path: str | Path,
    *more: str | Path,
    prefix: Sequence[str] | Mapping[str, str] | None = None,
    heads: Iterable[str] | None = None,
    threads: int | None = None,
    batch_tokens: int = 256,
    on_overflow: OnOverflow = "window",
    max_characters: int | None = 2_000_000,
    verify: Verify = "digest",
    precision: Precision | None = None,
    provider: Provider = "cpu",
    provider_options: Mapping[str, Any] | None = None,
    intra_op_threads: int | None = None,
    intra_op_min_tokens: int | None = None,
    spin: bool = False,
    session_options: Any = None,  # onnxruntime's classes have no types, which pyright minds
    cascade: bool | Mapping[str, float] | None = None,
) -> Engine:
    """Load one bundle or several, check them, and make one engine.

    The heads of several bundles are side by side, and each gives the logits of its bundle alone.
    Bundles with the same tokenizer file share it, and those with the same graph file share one
    session and one pass. Different graphs run at the same time; ``polyhead combine`` makes one pass
    of those over one encoder.

    Args:
        path: the bundle's folder; or ``"hf:org/name@revision"``, a repository on the Hugging Face
            hub, through the cache of `huggingface_hub`.
        more: further bundles.
        prefix: put before the names of the heads: one text for each bundle, or texts by path.
        heads: names of the heads that will be asked; the smallest graph of the bundle that has them
            and gives the same bits is taken. None for all.
        threads: most threads that compute at once, however many call the engine; None for all that
            the process may use, by affinity and cgroup quota.
        batch_tokens: most tokens in one call of onnxruntime.
        on_overflow: what happens to a text longer than the encoder reads: ``"window"`` reads it in
            parts that overlap; ``"truncate"`` leaves the end out, and the prediction says so;
            ``"error"`` raises `TextTooLong`. The first text of a pair is never cut.
        max_characters: a longer text, or pair, raises `TextTooLong` before it is tokenised; None
            for no limit. A million characters take MiniLM half a minute of CPU time and 300 MB.
        verify: ``"digest"`` checks size and SHA-256 of every file; ``"golden"`` also computes the
            golden texts and compares with the trained model's answers; ``"none"`` checks neither,
            for a folder that was checked before. Links, foreign operators, graphs that do not fit
            the manifest and a manifest that does not fit its own digest are refused in any case.
        precision: of the graph: ``"fp32"`` for CPUs on which int8 is slower, which `polyhead bench
            run` tells, with a bundle that has a graph for it (``--also fp32``); None for the first.
        provider: ``"cpu"``; ``"cuda"``, with the onnxruntime-gpu package and a bundle with a graph
            for it; ``"auto"``, CUDA where all of that is there and starts, and the CPU otherwise.
            CUDA was checked for its answers on one GPU; its speed was not measured.
        provider_options: options of onnxruntime's execution provider.
        intra_op_threads: threads that share the work of one text; `threads` limits all together.
            None for one.
        intra_op_min_tokens: shortest single-text request, in tokens, that up to four threads
            compute, in a second session that the first such text has opened; for a process that has
            the cores for itself and reads long texts. None for none; see
            `polyhead.inference.threads`.
        spin: let these threads wait in a busy loop, which is faster by microseconds and takes the
            cores from everything else on the machine.
        session_options: an `onnxruntime.SessionOptions`, used as it is in place of `spin`,
            `intra_op_threads` and all that polyhead sets. Such an engine cannot be pickled.
        cascade: of a bundle made by ``polyhead combine --cascade``, a small student and a large
            teacher, None and True have the student answer, and the teacher what the student is not
            sure of. False has the teacher answer all that it can, without the student. Of two
            bundles, student first: by head the confidence, 0 to 1, from which the student's answer
            stands, as in ``{"topic": 0.93}``; for the kinds classification and multilabel.

    Raises:
        BundleError: when the bundle cannot be read or trusted.
        ProviderUnavailable: when the provider is not there or cannot start, or the bundle has no
            graph for it.
        HeadClash: when two bundles have a head of one name.
        UnknownHead: for a head that the bundle does not have.
        InvalidSetting: when a setting is out of its range, or an argument is of another type.
    """
    settings = LoadSettings(
        heads=None if heads is None else _names(heads),
        threads=threads,
        batch_tokens=batch_tokens,
        on_overflow=on_overflow,
        max_characters=max_characters,
        verify=verify,
        precision=precision,
        provider=provider,
        provider_options=provider_options,
        intra_op_threads=intra_op_threads,
        intra_op_min_tokens=intra_op_min_tokens,
        spin=spin,
        session_options=session_options,
        cascade=cascade,
    )
    places = tuple(_absolute(hub.located(each)) for each in (path, *more))
    return BundleOrigin(places, _prefixes((path, *more), prefix), settings).engine()


def _names(heads: object) -> tuple[str, ...]:
    if not isinstance(heads, Iterable):
        raise InvalidSetting(f"heads={heads!r}: expected names of heads; None is for all.")
    names = (heads,) if isinstance(heads, str) else tuple(heads)
    if not names:
        raise UnknownHead("heads: found none, expected at least one name; None is for all.")
    for name in names:
        if not isinstance(name, str):
            raise InvalidSetting(f"heads: found {type(name).__name__}, expected names of heads.")
    return names


def _absolute(path: Path) -> Path:
    """Processes may change their folder, or be started in another."""
    try:
        return path.absolute()
    except OSError as problem:
        raise BundleNotFound(
            f"{path}: the folder in which this process works is gone. Name the bundle by a whole"
            " path."
        ) from problem


def _prefixes(
    paths: Sequence[str | Path], prefix: Sequence[str] | Mapping[str, str] | None
) -> tuple[str, ...]:
    """A prefix for each path; `prefix` as in `load`.

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


def _thresholds(
    found: Sequence[tuple[Bundle, str]], asked: bool | Mapping[str, float] | None
) -> Mapping[str, float] | None:
    """Of a cascade, by head; empty where the teacher answers alone. None for heads side by side.

    Raises:
        InvalidSetting: where they cannot be a cascade.
    """
    stored = next((bundle.cascade for bundle, _ in found if bundle.cascade), None)
    if stored is None and not isinstance(asked, Mapping):
        if asked:
            raise InvalidSetting(
                "cascade=True: these bundles have no thresholds. 'polyhead combine STUDENT TEACHER"
                " -o BUNDLE --cascade --texts TEXTS.jsonl' finds them and makes a bundle with them;"
                " or give your own, as in cascade={'topic': 0.9}."
            )
        return None
    if len(found) != len(ROLES):
        raise InvalidSetting(
            f"cascade: found {len(found)} sub-models, expected two: a student, and its teacher."
            " Load others as engines of their own."
        )
    if asked is False:
        return {}
    heads = [{f"{p}{name}": s for name, s in b.manifest.heads.items()} for b, p in found]
    thresholds = asked if isinstance(asked, Mapping) else stored or {}
    if thresholds is stored:
        thresholds = {f"{found[0][1]}{name}": least for name, least in stored.items()}
    try:
        check_cascade(thresholds, *heads)
    except ValueError as problem:
        raise InvalidSetting(str(problem)) from problem
    for name in thresholds:
        spec = heads[0][name]
        if not hasattr(decoder(name, spec), "confidence"):
            raise InvalidSetting(
                f"cascade: the head {name!r} is of the kind {spec.kind}, whose results have no"
                " confidence. Leave it out: the teacher answers it."
            )
    return thresholds


def _check_clash(found: Sequence[tuple[Bundle, str]]) -> None:
    owner: dict[str, Bundle] = {}
    for bundle, prefix in found:
        for name in (f"{prefix}{own}" for own in bundle.manifest.heads):
            if name in owner:
                raise HeadClash(
                    f"{owner[name].path} and {bundle.path} both have a head {name!r}. Give the"
                    " heads of one of them another name with prefix, one text for each bundle."
                )
            owner[name] = bundle
