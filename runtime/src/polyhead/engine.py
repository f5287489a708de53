"""The engine: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from polyhead.answering import Logits, OfInput, Work, compute, decoded, logits_of
from polyhead.errors import InputError
from polyhead.heads import HeadSpec
from polyhead.inference import threads as thread_budget
from polyhead.inference.scheduler import Scheduler
from polyhead.inference.session import Backend
from polyhead.lifecycle import Lifecycle
from polyhead.model import Model
from polyhead.prediction import Prediction
from polyhead.request import (
    OnError,
    OnOverflow,
    Options,
    Reading,
    checked_options,
    read,
    wanted_heads,
)
from polyhead.text.encoding import Encoding, Input
from polyhead.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from polyhead.loading import Origin

__all__ = ["Engine", "OnError", "OnOverflow", "Options"]


class Engine(Lifecycle):
    """Answers texts with every head in one encoder pass. Safe to call from many threads.

    Made by `polyhead.load`; training makes one over a PyTorch model, so that both go the same way.
    A forked process may use the engine of its parent: it makes its own session and threads when it
    first needs them. A pickled engine opens its bundle again by its path, with the same settings.
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
        source: str | None = None,
        origin: Origin | None = None,
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
            source: where the engine came from, for `info`.
            origin: how to open it again; None where it cannot be.

        Raises:
            InvalidSetting: when a number or option is out of its range.
        """
        self._threads = thread_budget.budget(threads)
        scheduler = Scheduler(
            thread_budget.workers(self._threads, intra_op_threads),
            thread_budget.whole("batch_tokens", batch_tokens),
        )
        self._reading = Reading(on_overflow, max_characters)
        model = Model.of(backend, tokenizer, heads, max_tokens, source, origin)
        super().__init__(model, scheduler)

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """The heads by name, in the order of results."""
        return dict(self._model.specs)

    @property
    def tokenizer(self) -> Tokenizer:
        """Makes the token ids."""
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
        texts: Sequence[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: Literal["raise"] = "raise",
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        texts: Sequence[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: Literal["return"],
    ) -> list[Prediction | InputError]: ...
    def predict(
        self,
        texts: Sequence[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        errors: OnError = "raise",
    ) -> list[Prediction] | list[Prediction | InputError]:
        """Answer many texts; results stand in the order of `texts`, an empty list gives one.

        Texts are answered by the heads for texts, pairs by the heads for pairs; one list may hold
        both. An answer does not depend on the other texts of the call: texts are never padded,
        unless the engine runs a graph in the padded layout.

        Args:
            texts: as in a call for one.
            heads: names of the wanted heads; None for all that read this kind of input.
            options: settings of single heads for this call.
            errors: ``"raise"``: one input that cannot be used stops the call before anything is
                computed; ``"return"``: its error stands in its place, the others are answered.

        Raises:
            InputError: when any text, head name or name of an option cannot be used, naming the
                index; or the value of an option, when it is used.
            EngineClosed: after `close`.
        """
        model = self._open()
        chosen = checked_options(options, model)
        wanted = wanted_heads(heads, model)
        read_ = read(
            texts,
            model,
            self._reading,
            self._scheduler.spread,
            wanted=wanted,
            by_name=heads is not None,
            errors=errors,
        )
        places = [i for i, found in enumerate(read_) if isinstance(found, Encoding)]
        encodings = [found for found in read_ if isinstance(found, Encoding)]
        answers: list[Any] = list(read_)

        def take(_: int, row: int, logits: OfInput) -> None:
            encoding = encodings[row]
            answers[places[row]] = Prediction(
                text=encoding.text,
                results=decoded(model, encoding, logits, chosen),
                tokens=len(encoding),
                windows=len(encoding.starts),
                truncated=encoding.truncated,
                query=encoding.query,
            )

        compute([Work(model, encodings, wanted)], self._scheduler, take)
        return answers

    def logits(self, texts: Sequence[Input], *, heads: Iterable[str] | None = None) -> Logits:
        """The raw logits by head, one array a text, in the order of `texts`.

        Shapes are `(labels,)`, `(1,)`, `(hidden,)` or `(tokens, outputs)` by the head's kind. Heads
        that answer per text have one row a window, `(windows, …)`, for a text of several. Where a
        head does not read an input of this kind, the array is empty, `(0,)`. Raises what `predict`
        raises.
        """
        model = self._open()
        wanted = wanted_heads(heads, model)
        spread, by_name = self._scheduler.spread, heads is not None
        read_ = read(texts, model, self._reading, spread, wanted=wanted, by_name=by_name)
        encodings = [encoding for encoding in read_ if isinstance(encoding, Encoding)]
        return logits_of([Work(model, encodings, wanted)], self._scheduler)[0]

    def encode(self, texts: Sequence[Input]) -> list[Encoding]:
        """Token ids and offsets of `texts` as the encoder reads them, over-long texts handled.

        Raises:
            InputError: when a text cannot be used; names its index.
            EngineClosed: after `close`.
        """
        found = read(texts, self._open(), self._reading, self._scheduler.spread)
        return [encoding for encoding in found if isinstance(encoding, Encoding)]

    def warmup(self) -> None:
        """Answer an input of every kind that the heads read, a short one and a long one.

        What is made at the first call is made now, such as the session of a forked process, the
        one for lone texts, and onnxruntime's buffers. Costs some tens of milliseconds; a call
        without it only takes longer.

        Raises:
            EngineClosed: after `close`.
        """
        model = self._open()
        long = "a " * (model.max_tokens // 2)
        for kind in {spec.input for spec in model.specs.values()}:
            both: list[Input] = [("a", "a"), ("a", long)] if kind == "pair" else ["a", long]
            self.predict(both)
            self(both[1])
        self._scheduler.settle()

    def info(self) -> dict[str, Any]:
        """What really runs: provider, graph, threads, limits, heads and versions, as plain data.

        A closed engine still tells what ran.
        """
        from polyhead.system import info as facts

        model = self._model
        return {
            **model.backend.info(),
            "source": model.source,
            "threads": self._threads,
            "workers": self._scheduler.workers,
            "batch_tokens": self._scheduler.batch_tokens,
            "max_tokens": model.max_tokens,
            "max_characters": self._reading.max_characters,
            "on_overflow": self._reading.on_overflow,
            "heads": list(model.specs),
            **facts.of_this_machine(),
        }
