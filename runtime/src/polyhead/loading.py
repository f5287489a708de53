"""From a bundle to an engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyhead.bundle import hub
from polyhead.bundle.reader import Bundle, is_collection, read
from polyhead.bundle.selection import graph_for
from polyhead.engine import Engine
from polyhead.errors import (
    BundleNotFound,
    EngineWithoutBundle,
    GraphError,
    InvalidSetting,
    ProviderUnavailable,
    UnknownHead,
)
from polyhead.heads import HeadSpec, decoder
from polyhead.inference import providers
from polyhead.inference.providers import Provider
from polyhead.model import Model
from polyhead.request import OnOverflow
from polyhead.sessions import Sessions
from polyhead.settings import Settings, Verify
from polyhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Origin:
    """A bundle and the settings to open it with; what a pickled engine consists of."""

    path: Path
    settings: Settings

    def at(self, path: str | Path) -> Origin:
        """The same settings for another bundle."""
        return replace(self, path=_absolute(hub.located(path)))

    def engine(self) -> Engine:
        """An engine of the bundle; raises what `load` raises."""
        model, settings = self.model(), self.settings
        return Engine(
            model.backend,
            model.tokenizer,
            model.specs,
            max_tokens=model.max_tokens,
            threads=settings.threads,
            batch_tokens=settings.batch_tokens,
            on_overflow=settings.on_overflow,
            max_characters=settings.max_characters,
            intra_op_threads=settings.intra_op,
            source=model.source,
            origin=self,
        )

    def model(self) -> Model:
        """The bundle's model, read now; raises what `load` raises."""
        bundle = read(self.path, digests=False)
        return model_of(bundle, self.settings, origin=self)

    def __getstate__(self) -> dict[str, Any]:
        if self.settings.session_options is not None:
            raise EngineWithoutBundle(
                "cannot pickle this engine: onnxruntime's SessionOptions, which it was loaded"
                " with, cannot be pickled. Load the bundle in the other process."
            )
        return dict(self.__dict__)


def model_of(
    bundle: Bundle,
    settings: Settings,
    tokenizer: Tokenizer | None = None,
    origin: Origin | None = None,
    sessions: Sessions | None = None,
) -> Model:
    """The model of a bundle that was read without a look at digests; they are checked now.

    Args:
        bundle: of one model.
        settings: how to open it.
        tokenizer: its tokenizer where it has been read; None to read it now.
        origin: where it came from, to open it again; None where another object remembers that.
        sessions: those of all bundles of the engine; None for a bundle of its own.

    Raises:
        PolyheadError: what `load` raises.
    """
    tokenizer = tokenizer or tokenizer_of(bundle, settings)
    names = providers.order(settings.provider)
    for provider in names:
        try:
            return _model_on(provider, bundle, settings, tokenizer, origin, sessions)
        except ProviderUnavailable:
            if provider == names[-1]:
                raise
    raise AssertionError("providers.order named none")


def tokenizer_of(bundle: Bundle, settings: Settings) -> Tokenizer:
    """The tokenizer of a bundle, read once.

    Raises:
        BundleError: when it is not the exported one, or cannot be read.
    """
    entry = bundle.manifest.tokenizer
    content = bundle.content(entry)
    if settings.verify != "none":
        bundle.check_digest(entry, content)
    return Tokenizer.from_file(bundle.file(entry), content)


def _model_on(
    provider: str,
    bundle: Bundle,
    settings: Settings,
    tokenizer: Tokenizer,
    origin: Origin | None,
    sessions: Sessions | None,
) -> Model:
    manifest = bundle.manifest
    graph = graph_for(manifest, provider, settings.heads)
    providers.require(provider)
    opened = (sessions or Sessions(settings)).of(bundle, graph, provider)
    session = opened.session
    _check_names(graph.file, graph.inputs, session.inputs, "inputs")
    _check_names(graph.file, bundle.outputs(graph), opened.outputs, "outputs")
    of_graph = {
        name: replace(spec, output=opened.outputs[spec.output])
        for name, spec in manifest.heads.items()
        if name in graph.heads
    }
    _check_widths(graph.file, of_graph, session.widths)
    specs = {
        name: spec
        for name, spec in of_graph.items()
        if settings.heads is None or name in settings.heads
    }
    if settings.verify != "none":
        for entry in manifest.files:  # all others; graph and tokenizer are read only once
            if entry not in (graph, manifest.tokenizer):
                bundle.check_digest(entry)
    limit, source = manifest.encoder.max_tokens, str(bundle.path)
    model = Model.of(session, tokenizer, specs, limit, source, origin)
    if settings.verify == "golden":
        from polyhead.verify.golden import require_golden

        require_golden(bundle, graph, model)
    return model


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
    provider: Provider = "cpu",
    provider_options: Mapping[str, Any] | None = None,
    intra_op_threads: int | None = None,
    spin: bool = False,
    session_options: Any = None,  # onnxruntime's classes have no types, which pyright minds
) -> Engine:
    """Load one bundle or several, check them, and make one engine.

    The heads of several bundles stand side by side; see `polyhead.several.SeveralEngine`. Bundles
    with the same graph file, or with graphs that compute mostly the same, share one session and
    one pass; each head gives the logits of its bundle alone.

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
        max_characters: a longer text, or pair, raises `TextTooLong` before it is tokenised, which
            takes a second or two and 200 MB for a million characters; None for no limit.
        verify: ``"digest"`` checks size and SHA-256 of every file; ``"golden"`` also computes the
            golden texts and compares with the trained model's answers; ``"none"`` checks neither,
            for a folder that was checked before. Links, foreign operators, graphs that do not fit
            the manifest and a manifest that does not fit its own digest are refused in any case.
        provider: ``"cpu"``; ``"cuda"``, with the onnxruntime-gpu package and a bundle with a graph
            for it; ``"auto"``, CUDA where all of that is there and starts, and the CPU otherwise.
            CUDA was checked for its answers on one GPU; its speed was not measured.
        provider_options: options of onnxruntime's execution provider.
        intra_op_threads: threads that share the work of one text; `threads` limits all together.
            None for one, and for up to four in a text that is computed alone, which takes a second
            session at the first such text; see `polyhead.inference.threads`.
        spin: let these threads wait in a busy loop, which is faster by microseconds and takes the
            cores from everything else on the machine.
        session_options: an `onnxruntime.SessionOptions`, used as it is in place of `spin`,
            `intra_op_threads` and all that polyhead sets. Such an engine cannot be pickled.

    Raises:
        BundleError: when the bundle cannot be read or trusted.
        ProviderUnavailable: when the provider is not there or cannot start, or the bundle has no
            graph for it.
        HeadClash: when two bundles have a head of one name.
        UnknownHead: for a head that the bundle does not have.
        InvalidSetting: when a setting is out of its range, or an argument is of another type.
    """
    settings = Settings(
        heads=None if heads is None else _names(heads),
        threads=threads,
        batch_tokens=batch_tokens,
        on_overflow=on_overflow,
        max_characters=max_characters,
        verify=verify,
        provider=provider,
        provider_options=provider_options,
        intra_op_threads=intra_op_threads,
        spin=spin,
        session_options=session_options,
    )
    places = [_absolute(hub.located(each)) for each in (path, *more)]
    if more or prefix is not None or is_collection(places[0]):
        from polyhead.several import Origins, prefixes_of  # which needs this module

        return Origins(tuple(places), prefixes_of((path, *more), prefix), settings).engine()
    return Origin(places[0], settings).engine()


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


def _check_widths(file: str, specs: Mapping[str, HeadSpec], widths: Mapping[str, object]) -> None:
    for name, spec in specs.items():
        found, expected = widths[spec.output], decoder(name, spec).width
        if expected is not None and isinstance(found, int) and found != expected:
            raise GraphError(
                f"{file}: head {name!r} has {found} logits, but its {len(spec.labels)} labels need"
                f" {expected}. Export the bundle again."
            )


def _check_names(file: str, declared: Iterable[str], found: Iterable[str], what: str) -> None:
    if sorted(declared) != sorted(found):
        raise GraphError(
            f"{file}: its {what} are {sorted(found)}, but the manifest declares"
            f" {sorted(declared)}. Export the bundle again."
        )
