"""The engine: texts in, predictions out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, overload
from weakref import WeakSet

from polyhead._call.answering import Call, Logits
from polyhead._call.request import NO_OPTIONS, Options, checked_options, requested
from polyhead._model import CascadeCounts, LoadedModel, Origin, SubModel
from polyhead.bundle.head_spec import check_name
from polyhead.errors import (
    EngineClosed,
    EngineWithoutBundle,
    GraphError,
    InputError,
    InvalidSetting,
)
from polyhead.heads import HeadSpec
from polyhead.heads.generation import Generated
from polyhead.inference import threads as thread_budget
from polyhead.inference._per_process import PerProcess
from polyhead.inference.backend import Backend
from polyhead.inference.generation import StepBackend
from polyhead.inference.scheduler import Scheduler, Wanted
from polyhead.prediction import Prediction
from polyhead.system.info import system_info
from polyhead.system.schema import whole_number
from polyhead.system.shorten import first as short
from polyhead.text.encoding import Encoding, Input
from polyhead.text.inputs import OnError, OnOverflow, OverflowPolicy
from polyhead.text.tokenizer import Tokenizer

__all__ = ["Engine", "OnError", "OnOverflow", "Options"]

_PATIENCE = 10.0  # seconds that a reload waits while calls run on two older models
_MOST_HEADS = 12  # in `repr`


class Engine:
    """Answers texts with every head in one encoder pass. Safe to call from many threads.

    Made by `polyhead.load`; training makes one over a PyTorch model, so that both go the same way.
    A forked process may use the engine of its parent: it makes its own session and threads when it
    first needs them. A pickled engine opens its bundle again by its path, with the same settings.

    An engine of several bundles has a sub-model for each, and their heads are side by side. A text
    is tokenised once for all with one tokenizer; one graph runs once; different graphs run at the
    same time within one budget of threads, and one none of whose heads is asked does not run.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        heads: Mapping[str, HeadSpec],
        *,
        max_tokens: int,
        threads: int | None = None,
        batch_tokens: int = 256,
        on_overflow: OnOverflow = "window",
        max_characters: int | None = None,
        intra_op_threads: int = 1,
        steps: Mapping[str, StepBackend] = MappingProxyType({}),
    ) -> None:
        """Wire the parts.

        Args:
            backend: computes logits.
            tokenizer: makes token ids.
            heads: by name; their order is the order of results.
            max_tokens: longest input of the encoder, special tokens included.
            threads: most threads that compute at once; None for all that the process may use.
            batch_tokens: most tokens in one call of the back end.
            on_overflow: what happens to a text of more than `max_tokens`: it is read in windows
                that overlap, its end is left out and the prediction says so, or a `TextTooLong`
                error.
            max_characters: longest input, both texts of a pair together; None for no limit.
            intra_op_threads: threads of its own that the back end uses for one call.
            steps: by head that writes, what computes its decoder.

        Raises:
            InvalidSetting: when a number or option is out of its range.
            ManifestError: for a head that writes, without a back end.
        """
        self._set_up(
            LoadedModel.of((SubModel.of(backend, tokenizer, heads, max_tokens, steps),)),
            OverflowPolicy(on_overflow, max_characters),
            threads,
            batch_tokens,
            intra_op_threads,
        )

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        *,
        threads: int | None = None,
        batch_tokens: int = 256,
        policy: OverflowPolicy | None = None,
        intra_op_threads: int = 1,
    ) -> Self:
        """An engine over sub-models that are loaded."""
        engine = cls.__new__(cls)
        engine._set_up(model, policy or OverflowPolicy(), threads, batch_tokens, intra_op_threads)
        return engine

    def _set_up(
        self,
        model: LoadedModel,
        policy: OverflowPolicy,
        threads: int | None,
        batch_tokens: int,
        intra_op_threads: int,
    ) -> None:
        self._threads = thread_budget.budget(threads)
        self._scheduler = Scheduler(
            thread_budget.workers(self._threads, intra_op_threads),
            whole_number("batch_tokens", batch_tokens),
        )
        self._model, self._policy = model, policy
        self._last_info: dict[str, Any] | None = None  # of a closed engine
        # Those that calls still use, too. A child counts its own: what calls of its parent used
        # is never freed there.
        self._models = PerProcess[WeakSet[LoadedModel]]()
        self._models.get(WeakSet).add(model)
        self._counts = PerProcess[CascadeCounts]()

    def stream(
        self, text: Input, head: str, *, wanted: Callable[[], bool] | None = None, **options: Any
    ) -> Iterator[str | Generated]:
        """Write an answer piece by piece, as it comes.

        Pieces put together are the text of the answer. The search is greedy, whatever the head says
        of beams; apart from that, the answer is that of ``predict`` with ``beams=1``. Whoever goes
        away closes the iterator, which ends the work.

        Args:
            text: a text, or a pair for a head that reads pairs.
            head: one that writes.
            wanted: asked before each token whether the answer still is, as after a deadline it is
                not; must be quick.
            options: of the head, such as ``max_tokens=50``.

        Returns:
            Pieces of text, none of them empty, and at last the `Generated`; without that one where
            the answer was not wanted any more.

        Raises:
            InputError: when the text, the head or an option cannot be used: now. Of what `predict`
                raises, the rest comes while the pieces are taken.
        """
        model = self._open()
        check_name(head, model.specs)
        if head not in model.writers:
            raise InvalidSetting(
                f"head={head!r}: a head of the kind {model.specs[head].kind} writes no text piece"
                f" by piece; those that do: {', '.join(model.writers) or 'none'}."
            )
        checked_options({head: options}, model)
        if options.get("beams") not in (None, 1):
            raise InvalidSetting(
                f"beams={options['beams']!r}: a stream is written by greedy search, since beams"
                " change their minds. Ask predict for beams."
            )
        chosen = {head: {**options, "beams": 1}}
        call = Call(self._scheduler, self._policy, requested(head, model), chosen)
        return call.pieces(call.encode([text]), wanted)

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """The heads by name, in the order of results."""
        return dict(self._model.specs)

    @property
    def tokenizer(self) -> Tokenizer:
        """Makes the token ids; of the first sub-model, where there are several."""
        return self._model.tokenizer

    def __call__(
        self, text: Input, *, heads: Iterable[str] | None = None, options: Options | None = None
    ) -> Prediction:
        """Answer one text, or one pair of texts.

        Args:
            text: any string, the empty one too; or a pair of them for heads that read pairs.
            heads: names of the wanted heads; None for all that read this kind of input.
            options: settings of single heads for this call.

        Raises:
            InputError: when the text, a head name or an option cannot be used; see
                `polyhead.errors`.
            EngineClosed: after `close`.
        """
        return self.predict([text], heads=heads, options=options)[0]

    @overload
    def predict(
        self,
        texts: Iterable[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: Literal["raise"] = "raise",
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        texts: Iterable[Input | None],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: Literal["return"],
    ) -> list[Prediction | InputError | GraphError]: ...
    @overload
    def predict(
        self,
        texts: Iterable[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: OnError = "raise",
        wanted: Wanted,
        on_encoded: Callable[[], object] | None = None,
    ) -> list[Prediction | InputError | GraphError | None]: ...
    def predict(
        self,
        texts: Iterable[Input | None],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: OnError = "raise",
        wanted: Wanted | None = None,
        on_encoded: Callable[[], object] | None = None,
    ) -> list[Any]:
        """Answer many texts; results are in the order of `texts`, an empty list gives one.

        Texts are answered by the heads for texts, pairs by the heads for pairs; one list may hold
        both. An answer does not depend on the other texts of the call: texts are never padded,
        unless the engine runs a graph in the padded layout. Equal texts are computed once.

        Args:
            texts: each as in a call for one: a list of them, a generator, a column of a table such
                as a pandas Series, or an array.
            heads: names of the wanted heads; None for all that read this kind of input.
            options: settings of single heads for this call.
            errors: ``"raise"``: one input that cannot be used, such as None or NaN, stops the call
                before anything is computed; ``"return"``: its error is put in its place, the others
                are answered. So is the `GraphError` of an input for which the graph gives no
                finite logits or a decoder no finite scores, and the `InvalidSetting` of one that
                is too long for the options of a head that writes.
            wanted: says by the index of a text whether its answer is still wanted, as after a
                deadline it is not. It is asked before each part of the work, also from other
                threads, and must be quick. A text that is not wanted any more gets None, as soon
                as the part in work is done: some hundreds of tokens, or a text's tokenising.
            on_encoded: called when all texts are tokenised, before the first is computed; for
                those who measure.

        Raises:
            InputError: when any text, head name or name of an option cannot be used, naming the
                index; or the value of an option, when it is used.
            GraphError: when a graph fails, or its logits are none of its heads, or not finite.
            EngineClosed: after `close`.
        """
        model = self._open()
        chosen = NO_OPTIONS if options is None else checked_options(options, model)
        request = requested(heads, model)
        call = Call(self._scheduler, self._policy, request, chosen, errors, wanted)
        encoded = call.encode(texts)
        if on_encoded is not None:
            on_encoded()
        answered_by: dict[int, dict[str, str]] = defaultdict(dict)
        answers = call.answers(encoded, answered_by)
        if model.cascade:
            self._counts.get(CascadeCounts).add(model.cascade, answered_by.values())
        return answers

    def logits(self, texts: Iterable[Input], *, heads: Iterable[str] | None = None) -> Logits:
        """The raw logits by head, one array a text, in the order of `texts`.

        Shapes are `(labels,)`, `(1,)`, `(hidden,)` or `(tokens, outputs)` by the head's kind. Heads
        that answer per text have one row a window, `(windows, …)`, for a text of several. Where a
        head does not read an input of this kind, the array is empty, `(0,)`. Of a cascade they are
        those of the model that answers the text. Raises what `predict` raises.
        """
        call = Call(self._scheduler, self._policy, requested(heads, self._open()))
        return call.logits(call.encode(texts))

    def encode(self, texts: Iterable[Input]) -> list[Encoding]:
        """Token ids and offsets of `texts` as the encoder reads them, over-long texts handled.

        Where there are several sub-models, it is the first that reads them.

        Raises:
            InputError: when a text cannot be used; names its index.
            EngineClosed: after `close`.
        """
        call = Call(self._scheduler, self._policy, requested((), self._open()))
        return [found[0] for found in call.encode(texts) if isinstance(found, tuple)]

    def warmup(self) -> None:
        """Answer an input of every kind that the heads read, a short one and a long one.

        What is made at the first call is made now, such as the session of a forked process, the
        one with several threads, and onnxruntime's buffers. Costs some tens of milliseconds; a call
        without it only takes longer.

        Raises:
            EngineClosed: after `close`.
        """
        model = self._open()
        for part in model.parts:
            if part.multi_threaded is not None:
                part.multi_threaded.open()
        most = self._policy.max_characters
        long = ("a " * (model.max_tokens // 2))[: most and most - 1]
        one = {name: {"max_tokens": 1, "min_tokens": 0} for name in model.writers}
        for kind in {spec.input for spec in model.specs.values()}:
            both: list[Input] = [("a", "a"), ("a", long)] if kind == "pair" else ["a", long]
            self.predict(both, options=one, errors="return")  # no pair has one character at most
            self.predict(both[1:], options=one, errors="return")
        for part in model.parts if model.cascade else ():  # of which a sure student asks no teacher
            with Engine.of(LoadedModel.of((part,)), threads=1, policy=self._policy) as alone:
                alone.warmup()

    def info(self) -> dict[str, Any]:
        """What really runs: provider, graph, threads, limits, heads and versions, as plain data.

        An engine of several sub-models has ``sub_models`` in place of ``graph``, and a ``note``
        where two of them could be one pass. That of a cascade has ``cascade``: thresholds, and how
        many texts this process has asked its heads, and its teacher about one of them. A closed
        engine still says what ran.
        """
        model = self._model  # before the look at its end, after which it has no parts
        if self._last_info is not None:
            return dict(self._last_info)
        first, *others = model.parts
        return {
            **first.backend.info(),
            **(model.sub_models() if others else first.session_info()),
            **(self._counts.get(CascadeCounts).info(model) if model.cascade else {}),
            "source": model.source,
            "threads": self._threads,
            "workers": self._scheduler.workers,
            "batch_tokens": self._scheduler.batch_tokens,
            "max_tokens": model.max_tokens,
            "max_characters": self._policy.max_characters,
            "on_overflow": self._policy.on_overflow,
            "heads": list(model.specs),
            **system_info(),
        }

    def reload(self, path: str | Path | None = None) -> None:
        """Answer with another bundle from now on, or with the same ones read again.

        The bundle is loaded and checked first; until then, and when it fails, the old one answers.
        Each call is answered by one of the two from its start to its end, and calls in flight
        finish with the old one, which is freed with the last of them. While calls run on two older
        ones, it waits for up to ten seconds, so that few are in memory at a time. Settings stay as
        they were given to `polyhead.load`.

        Args:
            path: the new bundle; None for the path of the old one, and for several.

        Raises:
            BundleError: when the new bundle cannot be read or trusted.
            UnknownHead: when it lacks a head that `polyhead.load` was asked for by name.
            InvalidSetting: when a path is given to an engine of several bundles.
            EngineWithoutBundle: when this engine was not made by `polyhead.load`.
            EngineClosed: after `close`.
        """
        origin = self._bundled("reload")
        if path is not None:
            origin = origin.at(path)
        models, end = self._models.get(WeakSet), time.monotonic() + _PATIENCE
        while len(models) > 2 and time.monotonic() < end:
            time.sleep(0.01)
        model = origin.model()
        models.add(model)
        self._model = model
        if self._last_info is not None:  # closed meanwhile
            self.close()
            self._open()

    def close(self) -> None:
        """Free the sessions and give the worker threads back. May be called twice.

        Calls in flight are answered, by their own threads if need be; sessions are freed with the
        last of them. Later calls raise `EngineClosed`, except `info`, which still says what ran.
        """
        if self._last_info is None:
            self._last_info = self.info()
        self._model = self._model.without_sessions()
        self._scheduler.close()

    def __repr__(self) -> str:
        """What runs, and the heads with their first labels."""
        model = self._model
        facts = [] if model.source is None else [repr(model.source)]
        facts += dict.fromkeys(part.graph.precision for part in model.parts if part.graph)
        facts.append("closed" if self._last_info is not None else f"{self._threads} threads")
        some = dict(islice(model.specs.items(), _MOST_HEADS))
        names = max(map(len, some), default=0)
        kinds = max((len(spec.kind) for spec in some.values()), default=0)
        lines = [
            f"  {name:<{names}}  {spec.kind:<{kinds}}  {short(spec.labels)}".rstrip()
            for name, spec in some.items()
        ]
        if len(some) < len(model.specs):
            lines.append(f"  … ({len(model.specs)} heads)")
        return "\n".join([f"Engine({', '.join(facts)})", *lines])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as where it came from: the copy opens its bundle again."""
        return self._bundled("pickle").engine, ()

    def _bundled(self, what: str) -> Origin:
        origin = self._open().origin
        if origin is None:
            raise EngineWithoutBundle(
                f"cannot {what} this engine: it was not made by polyhead.load, so there is no"
                " bundle to open again."
            )
        return origin

    def _open(self) -> LoadedModel:
        model = self._model
        if self._last_info is not None:
            raise EngineClosed("This engine was closed. Load the bundle again with polyhead.load.")
        return model
