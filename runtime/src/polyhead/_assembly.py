"""A bundle and settings in, a sub-model out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from polyhead._model import SubModel
from polyhead.bundle.manifest import FileEntry, Graph
from polyhead.bundle.reader import Bundle
from polyhead.bundle.selection import CPU, graph_for
from polyhead.errors import GraphError, InvalidSetting, ProviderUnavailable
from polyhead.heads import HeadSpec, decoder
from polyhead.inference import providers
from polyhead.inference import threads as thread_budget
from polyhead.inference.generation import DecoderSessions
from polyhead.inference.providers import Provider
from polyhead.inference.session import MultiThreadedSession, OnnxSession
from polyhead.system.onnx_runtime import ort
from polyhead.system.schema import number, whole_number
from polyhead.text.inputs import OnOverflow
from polyhead.text.tokenizer import Tokenizer

Verify = Literal["digest", "golden", "none"]
_VERIFY = ("digest", "golden", "none")
Precision = Literal["int8", "fp32"]
_PRECISIONS = ("int8", "fp32")
_MOST_THREADS = 1024  # onnxruntime makes so many without asking


@dataclass(frozen=True, kw_only=True)
class LoadSettings:
    """What `polyhead.load` was asked for; see there."""

    heads: tuple[str, ...] | None = None
    threads: int | None = None
    batch_tokens: int = 256
    on_overflow: OnOverflow = "window"
    max_characters: int | None = 2_000_000
    verify: Verify = "digest"
    precision: Precision | None = None
    provider: Provider = "cpu"
    provider_options: Mapping[str, Any] | None = None
    intra_op_threads: int | None = None
    intra_op_min_tokens: int | None = None
    spin: bool = False
    session_options: ort.SessionOptions | None = None
    cascade: bool | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.verify, str) or self.verify not in _VERIFY:
            raise InvalidSetting(f"verify={self.verify!r}: allowed: {', '.join(_VERIFY)}.")
        precision = self.precision
        if precision is not None and not (isinstance(precision, str) and precision in _PRECISIONS):
            raise InvalidSetting(f"precision={precision!r}: allowed: None, int8, fp32.")
        if self.intra_op_threads is not None:
            whole_number("intra_op_threads", self.intra_op_threads, most=_MOST_THREADS)
        if self.intra_op_min_tokens is not None:
            whole_number("intra_op_min_tokens", self.intra_op_min_tokens)
        if type(self.spin) is not bool:
            raise InvalidSetting(f"spin={self.spin!r}: expected True or False.")
        for name, kind, expected in (
            ("session_options", ort.SessionOptions, "onnxruntime.SessionOptions"),
            ("provider_options", Mapping, "a mapping of names to values"),
        ):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise InvalidSetting(
                    f"{name}: found {type(value).__name__}, expected None or {expected}."
                )
        if self.cascade is not None and not isinstance(self.cascade, bool | Mapping):
            raise InvalidSetting(
                f"cascade={self.cascade!r}: expected None, True, False, or the confidence from"
                " which the student's answer stands by head, as in {'topic': 0.9}."
            )
        for name, least in self.cascade.items() if isinstance(self.cascade, Mapping) else ():
            number(f"cascade: {name}", least, most=1)
        for name in self.provider_options or {}:
            if not isinstance(name, str):
                raise InvalidSetting(f"provider_options: found the name {name!r}, expected a text.")

    @property
    def intra_op(self) -> int:
        """Threads of onnxruntime for one call."""
        if self.session_options is not None:
            return max(1, int(self.session_options.intra_op_num_threads))
        return self.intra_op_threads or thread_budget.INTRA_OP

    @property
    def for_one_text(self) -> int:
        """Threads for a single-text request that is long enough; 1 where that was not asked for."""
        given = (self.session_options, self.intra_op_threads)
        if self.intra_op_min_tokens is None or given != (None, None):
            return 1
        return thread_budget.for_one_text(thread_budget.budget(self.threads))


class Assembly:
    """Makes the sub-models of one engine: equal files of tokenizers and graphs are opened once."""

    def __init__(self, settings: LoadSettings) -> None:
        """Take how to open bundles; nothing is opened yet."""
        self._settings = settings
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}
        self._sessions: dict[tuple[str, str], tuple[OnnxSession, MultiThreadedSession | None]] = {}
        self._decoders: dict[str, OnnxSession] = {}

    def sub_model(self, bundle: Bundle, heads: Sequence[str] | None = None) -> SubModel:
        """The sub-model of a bundle that was read without a look at digests; they are checked now.

        Args:
            bundle: of one model, or one part of a combined one.
            heads: the wanted ones; None for all of its graph.

        Raises:
            PolyheadError: what `polyhead.load` raises.
        """
        tokenizer = self._tokenizer(bundle)
        names = providers.order(self._settings.provider)
        for provider in names:
            try:
                return self._on(provider, bundle, heads, tokenizer)
            except ProviderUnavailable:
                if provider == names[-1]:
                    raise
        raise AssertionError("providers.order named none")

    def _on(
        self, provider: str, bundle: Bundle, heads: Sequence[str] | None, tokenizer: Tokenizer
    ) -> SubModel:
        manifest = bundle.manifest
        graph = graph_for(manifest, provider, heads, self._settings.precision)
        providers.require(provider)
        session, multi_threaded = self._session(bundle, graph, provider)
        _check_names(graph.file, graph.inputs, session.inputs, "inputs")
        _check_names(graph.file, bundle.outputs(graph), session.outputs, "outputs")
        specs = {name: spec for name, spec in manifest.heads.items() if name in graph.heads}
        _check_outputs(graph.file, specs, session)
        wanted = {name: spec for name, spec in specs.items() if heads is None or name in heads}
        steps = {
            name: self._decoder(bundle, name, spec, session)
            for name, spec in wanted.items()
            if spec.generation is not None
        }
        if self._settings.verify != "none":
            opened = [manifest.decoders[name] for name in steps]
            known = [
                graph,
                manifest.tokenizer,
                *(g for two in opened for g in (two.cross, two.step)),
            ]
            for entry in manifest.checked:  # all others; these are read only once
                if entry not in known:
                    bundle.check_digest(entry)
        return replace(
            SubModel.of(session, tokenizer, wanted, manifest.encoder.max_tokens, steps),
            multi_threaded=multi_threaded,
            bundle=bundle,
            graph=graph,
        )

    def _tokenizer(self, bundle: Bundle) -> Tokenizer:
        manifest = bundle.manifest
        entry, key = manifest.tokenizer, (manifest.tokenizer.sha256, manifest.special_tokens)
        content = bundle.content(entry)
        if self._settings.verify != "none":
            bundle.check_digest(entry, content)
        if key not in self._tokenizers:
            self._tokenizers[key] = Tokenizer.of_bundle(bundle, content)
        return self._tokenizers[key]

    def _session(
        self, bundle: Bundle, graph: Graph, provider: str
    ) -> tuple[OnnxSession, MultiThreadedSession | None]:
        """The session of a graph, and that with several threads for one call."""
        settings, key = self._settings, (provider, graph.sha256)
        if key in self._sessions:
            if settings.verify != "none":
                bundle.check_digest(graph)
            return self._sessions[key]
        session = self._opened(bundle, graph, provider, settings.provider_options)
        count, tokens, multi_threaded = settings.for_one_text, settings.intra_op_min_tokens, None
        if provider == CPU and count > 1 and tokens is not None:
            multi_threaded = MultiThreadedSession(session, count, tokens)
        self._sessions[key] = session, multi_threaded
        return self._sessions[key]

    def _decoder(
        self, bundle: Bundle, head: str, spec: HeadSpec, encoder: OnnxSession
    ) -> DecoderSessions:
        """What computes the decoder of a head that writes: on the CPU, beside whatever encoder."""
        assert spec.generation is not None
        found, graphs = [], bundle.manifest.decoders[head]
        for graph in (graphs.cross, graphs.step):
            if graph.sha256 not in self._decoders:
                self._decoders[graph.sha256] = self._opened(bundle, graph, CPU)
            elif self._settings.verify != "none":
                bundle.check_digest(graph)
            found.append(self._decoders[graph.sha256])
        width = encoder.widths[spec.output]
        hidden = width if isinstance(width, int) else bundle.manifest.encoder.hidden_size
        return DecoderSessions(spec.generation, *found, hidden=hidden, head=head)

    def _opened(
        self,
        bundle: Bundle,
        graph: FileEntry,
        provider: str,
        provider_options: Mapping[str, Any] | None = None,
    ) -> OnnxSession:
        settings = self._settings
        trusted = settings.verify == "none"
        return OnnxSession(
            bundle.file(graph),
            provider=provider,
            check=None if trusted else partial(bundle.check_digest, graph),
            intra_op_threads=settings.intra_op,
            provider_options=provider_options,
            spin=settings.spin,
            session_options=settings.session_options,
        )


def _check_outputs(file: str, specs: Mapping[str, HeadSpec], session: OnnxSession) -> None:
    for name, spec in specs.items():
        found, expected = session.widths[spec.output], decoder(name, spec).width
        if expected is not None and isinstance(found, int) and found != expected:
            raise GraphError(
                f"{file}: head {name!r} has {found} logits, but its {len(spec.labels)} labels need"
                f" {expected}. Export the bundle again."
            )
        if session.types[spec.output] != "tensor(float)":
            raise GraphError(
                f"{file}: head {name!r} has logits of the type {session.types[spec.output]},"
                " expected tensor(float). Export the bundle again."
            )


def _check_names(file: str, declared: Iterable[str], found: Iterable[str], what: str) -> None:
    if sorted(declared) != sorted(found):
        raise GraphError(
            f"{file}: its {what} are {sorted(found)}, but the manifest declares"
            f" {sorted(declared)}. Export the bundle again."
        )
