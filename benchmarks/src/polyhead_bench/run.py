"""One run: peers started, answers compared, scenarios measured, a report written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polyhead.bundle import Bundle, read
from polyhead.bundle.digest import sha256
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench import machine, peers
from polyhead_bench.agreement import agreement
from polyhead_bench.convert.cache import Models
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.harness.roster import Roster
from polyhead_bench.harness.starter import Starter
from polyhead_bench.report import markdown
from polyhead_bench.results import FORMAT, VERSION, Results
from polyhead_bench.scenarios import SCENARIOS, Context, RunSettings
from polyhead_bench.scenarios.context import LENGTHS
from polyhead_bench.texts import AskedTexts, TextSource

_REFERENCE = "torch"

Expected = Sequence[Mapping[str, Any]] | None

logger = logging.getLogger(__name__)


def run(models: Models, texts: AskedTexts, target: Path, settings: RunSettings) -> Results:
    """Measure and write the report into `target`, after every scenario anew.

    Ctrl-C ends the run, and what was measured stays: the report then says that it is not complete.

    Args:
        models: the model in all its forms.
        texts: what peers are asked.
        target: folder of the report; made when missing.
        settings: what to measure.

    Raises:
        BenchError: when a name is unknown, no peer could be loaded, or the folder cannot be
            written to, before anything is measured.
    """
    _check(settings, target)
    bundle = read(models.bundle)
    heads = settings.heads or tuple(
        name for name, spec in bundle.manifest.heads.items() if spec.input == "text"
    )
    settings = replace(settings, heads=heads)
    starter = Starter(models, settings)
    book = _Book(target, _blank(bundle, texts, settings))
    with Roster() as roster:
        with book.kept(roster):
            for name in settings.peers:
                logger.info("starting %s", name)
                roster.add(name, lambda name=name: starter.start(name, {}))  # type: ignore[misc]
            expected = _expected(roster, starter, texts)
            book.note(roster, _compared(roster, expected, texts, settings.heads))
        if not roster.workers:
            raise BenchError(f"no peer could be loaded: {'; '.join(roster.faults.values())}")
        tokenizer = Tokenizer.of_bundle(bundle)
        source, longest = TextSource.of(texts, tokenizer), bundle.manifest.encoder.max_tokens
        lengths = [tokens for tokens in LENGTHS if tokens <= longest]
        context = Context(
            settings=settings,
            roster=roster,
            models=models,
            texts=texts,
            source=source,
            fixed={n: source.fixed(n, settings.per_length).inputs for n in lengths},
            start=starter.start,
            expected=expected,
        )
        for name in settings.scenarios:
            logger.info("measuring: %s", name)
            own = replace(context, found={})
            with book.kept(roster, name, own.found):
                SCENARIOS[name](own)
    return book.results


class _Book:
    """Results as they come, in memory and on disk."""

    def __init__(self, target: Path, results: Results) -> None:
        self._target, self.results = target, results

    @contextmanager
    def kept(
        self, roster: Roster, scenario: str | None = None, found: Mapping[str, Any] | None = None
    ) -> Iterator[None]:
        """Whatever ends the block, write what was found until then."""
        try:
            yield
        except KeyboardInterrupt:
            self.results = replace(self.results, complete=False)
            raise
        finally:
            if scenario is not None and found:
                scenarios = {**self.results.scenarios, scenario: found}
                self.results = replace(self.results, scenarios=scenarios)
            self.note(roster)
            markdown.write(self._target, self.results)

    def note(self, roster: Roster, more: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Enter what is known of the peers by now, and `more` of each."""
        results = self.results
        rows = {name: dict(row) for name, row in results.peers.items()}
        for name in (*roster.workers, *roster.faults):
            row = rows.setdefault(name, {"about": peers.spec(name).about, "agreement": {}})
            row.update((more or {}).get(name, {}))
            if name in roster.workers:
                row["info"] = info = roster.workers[name].ready["info"]
                limit = info.get("max_tokens", results.model["max_tokens"])
                row["longer"] = sum(tokens > limit for tokens in results.texts["tokens"])
            if name in roster.faults:
                row["fault"] = roster.faults[name]
        order = [name for name in peers.PEERS if name in rows]
        self.results = replace(results, peers={name: rows[name] for name in order})


def _check(settings: RunSettings, target: Path) -> None:
    for name in settings.peers:
        peers.spec(name)
    for name in settings.scenarios:
        if name not in SCENARIOS:
            raise BenchError(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}.")
    markdown.require_writable(target)


def _blank(bundle: Bundle, texts: AskedTexts, settings: RunSettings) -> Results:
    manifest = bundle.manifest
    return Results(
        format=FORMAT,
        version=VERSION,
        command=settings.command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine.describe(),
        model={
            "name": manifest.encoder.name,
            "family": manifest.encoder.family,
            "layers": manifest.encoder.layers,
            "hidden_size": manifest.encoder.hidden_size,
            "max_tokens": manifest.encoder.max_tokens,
            "heads": list(settings.heads),
            "manifest_sha256": sha256(bundle.path / "manifest.json"),
            "files": {entry.file: entry.sha256 for entry in manifest.files},
        },
        texts={
            "about": texts.about,
            "count": len(texts.inputs),
            "tokens": list(texts.tokens),
            "sha256": texts.digest,
        },
        threads=settings.threads,
        rounds=settings.rounds,
        bound_ms=settings.bound_ms,
        baseline=settings.peers[0],
        peers={},
        scenarios={},
        asked=settings.scenarios,
    )


def _expected(
    roster: Roster, starter: Starter, texts: AskedTexts
) -> Sequence[Mapping[str, Any]] | None:
    """The PyTorch model's answers; None where there is no checkpoint, or it failed."""
    logger.info("comparing answers")
    with Roster() as reference:
        if _REFERENCE in roster.workers:
            found = roster.ask(_REFERENCE, "single", texts=texts.inputs, answers=True)
        elif starter.models.checkpoint is not None:
            reference.add(_REFERENCE, lambda: starter.start(_REFERENCE, {}))
            found = reference.ask(_REFERENCE, "single", texts=texts.inputs, answers=True)
        else:
            found = None
    return None if found is None else found["answers"]


def _compared(
    roster: Roster,
    expected: Expected,
    texts: AskedTexts,
    heads: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Every peer's agreement with the PyTorch model, before any time is taken."""
    found: dict[str, dict[str, Any]] = {}
    for name in list(roster.workers) if expected is not None else []:
        own = roster.ask(name, "single", texts=texts.inputs, answers=True)
        if own is None:
            continue
        try:
            same = agreement(own["answers"], expected or [])
            if not same:
                raise PeerFault(f"answers with none of the heads {', '.join(heads)}.")
        except PeerFault as fault:
            roster.drop(name, str(fault))
            continue
        found[name] = {"agreement": same}
    return found
