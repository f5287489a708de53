"""One run: peers started, answers compared, scenarios measured, a report written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polyhead.bundle import Bundle, read
from polyhead.bundle.digest import sha256
from polyhead.text.encoding import flat
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench import environments, machine, peers, report
from polyhead_bench import texts as asked
from polyhead_bench.agreement import accuracy, agreement
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.folders import require_writable
from polyhead_bench.preparation import Models
from polyhead_bench.process import Worker
from polyhead_bench.results import FORMAT, VERSION, Results
from polyhead_bench.roster import Roster
from polyhead_bench.scenarios import SCENARIOS, Context
from polyhead_bench.scenarios.context import LENGTHS
from polyhead_bench.texts import Texts

_REFERENCE = "torch"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, and how.

    Attributes:
        peers: names of peers, at least one; ratios are of the first.
        scenarios: names of scenarios.
        heads: that every peer answers with; empty for all of the bundle's.
        threads: that each peer may use.
        rounds: of each peer, at least 1.
        bound_ms: what p99 has to stay below in the open loop.
        per_length: texts of each length in the scenario of lengths.
        limit_s: seconds within which a peer has to answer a request.
        command: that asked for the run, for the report.
    """

    peers: tuple[str, ...]
    scenarios: tuple[str, ...]
    heads: tuple[str, ...] = ()
    threads: int
    rounds: int = 9
    bound_ms: float = 50.0
    per_length: int = 20
    limit_s: float = 300.0
    command: str = ""


def run(
    models: Models,
    texts: Texts,
    target: Path,
    settings: Settings,
    *,
    note: Callable[[str], None],
) -> Results:
    """Measure and write the report into `target`, after every scenario anew.

    Ctrl-C ends the run, and what was measured stays: the report then says that it is not complete.

    Args:
        models: the model in all its forms.
        texts: what peers are asked.
        target: folder of the report; made when missing.
        settings: what to measure.
        note: called with short remarks for whoever watches.

    Raises:
        BenchError: when a name is unknown, no peer could be loaded, or the folder cannot be
            written to, before anything is measured.
    """
    _check(settings, target)
    bundle = read(models.bundle)
    heads = settings.heads or tuple(
        name for name, spec in bundle.manifest.heads.items() if spec.input == "text"
    )
    starter = _Starter(models, settings, heads)
    results = _blank(bundle, texts, heads, settings)
    with Roster() as roster:
        try:
            for name in settings.peers:
                note(f"starting {name}")
                roster.add(name, lambda name=name: starter.start(name, {}))  # type: ignore[misc]
            expected = _expected(roster, starter, texts, note)
            compared = _compared(roster, expected, texts, heads)
        except KeyboardInterrupt:
            report.write(target, _with_peers(replace(results, complete=False), roster))
            raise
        results = _with_peers(results, roster, compared)
        if not roster.workers:
            raise BenchError(f"no peer could be loaded: {'; '.join(roster.faults.values())}")
        context = Context(
            roster=roster,
            texts=texts,
            fixed=_fixed(bundle, texts, settings),
            rounds=settings.rounds,
            threads=settings.threads,
            start=starter.start,
            heads=heads,
            bound_ms=settings.bound_ms,
            expected=expected,
            note=note,
        )
        for name in settings.scenarios:
            note(f"measuring: {name}")
            context = replace(context, found={})
            try:
                SCENARIOS[name](context)
                results = _with_peers(results, roster, _memory(roster))
            except KeyboardInterrupt:
                results = replace(results, complete=False)
                raise
            finally:
                if context.found:
                    found = {**results.scenarios, name: context.found}
                    results = replace(results, scenarios=found)
                results = _with_peers(results, roster)
                report.write(target, results)
    return results


@dataclass(frozen=True)
class _Starter:
    models: Models
    settings: Settings
    heads: tuple[str, ...]

    def start(self, name: str, options: Mapping[str, Any]) -> Worker:
        """A worker; options with other heads than the run's ask for a model of these alone."""
        spec = peers.spec(name)
        heads = tuple(options.get("heads", self.heads))
        home: dict[str, Any] = {}
        if spec.environment is None:
            peers.check_installed(name)
        else:
            cache = self.models.environments
            home["python"] = environments.python(cache, spec.environment)
            home["packages"] = environments.packages(cache, spec.environment)
        folder = self.models.folder(spec.model, heads, pruned="heads" in options)
        return Worker(
            name,
            folder,
            **home,
            threads=self.settings.threads,
            options={"heads": heads, "bundle": str(self.models.bundle), **options},
            limit_s=self.settings.limit_s,
        )


def _check(settings: Settings, target: Path) -> None:
    for name in settings.peers:
        peers.spec(name)
    for name in settings.scenarios:
        if name not in SCENARIOS:
            raise BenchError(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}.")
    require_writable(target)


def _blank(bundle: Bundle, texts: Texts, heads: Sequence[str], settings: Settings) -> Results:
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
            "heads": list(heads),
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
    )


def _expected(
    roster: Roster, starter: _Starter, texts: Texts, note: Callable[[str], None]
) -> Sequence[Mapping[str, Any]] | None:
    """The PyTorch model's answers; None where there is no checkpoint, or it failed."""
    note("comparing answers")
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
    expected: Sequence[Mapping[str, Any]] | None,
    texts: Texts,
    heads: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Every peer's agreement with the PyTorch model, and its accuracy where labels are known.

    No time is reported before.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in list(roster.workers) if expected is not None or texts.labels else []:
        own = roster.ask(name, "single", texts=texts.inputs, answers=True)
        if own is None:
            continue
        answers = own["answers"]
        try:
            same = agreement(answers, answers if expected is None else expected)
            if not same:
                raise PeerFault(f"answers with none of the heads {', '.join(heads)}.")
        except PeerFault as fault:
            roster.drop(name, str(fault))
            continue
        found[name] = {
            "agreement": {} if expected is None else same,
            "accuracy": accuracy(answers, texts.labels),
        }
    return found


def _memory(roster: Roster) -> dict[str, dict[str, Any]]:
    """Bytes that every peer has in memory now, and had at most."""
    asked = ((name, roster.ask(name, "memory")) for name in list(roster.workers))
    return {name: {"memory": found} for name, found in asked if found is not None}


def _with_peers(
    results: Results, roster: Roster, more: Mapping[str, Mapping[str, Any]] | None = None
) -> Results:
    """The results with what is known of the peers by now, and `more` of each."""
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
    return replace(results, peers={name: rows[name] for name in order})


def _fixed(bundle: Bundle, texts: Texts, settings: Settings) -> dict[int, tuple[Any, ...]]:
    tokenizer = Tokenizer.from_file(bundle.file(bundle.manifest.tokenizer))
    words = words_of(texts)
    return {
        tokens: asked.fixed(words, tokenizer, tokens=tokens, count=settings.per_length).inputs
        for tokens in LENGTHS
        if tokens <= bundle.manifest.encoder.max_tokens
    }


def words_of(texts: Texts) -> list[str]:
    """The words of texts, to make others of."""
    return sorted(
        {word for text in texts.inputs for word in flat(text).replace("\0", " ").split()}
    ) or ["a"]
