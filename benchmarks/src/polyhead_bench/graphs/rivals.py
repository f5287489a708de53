"""What the bundle's graph is raced against, the limits, and the rows that tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polyhead.system import cpu
from polyhead_bench import statistics
from polyhead_bench.checks import Check, unlimited
from polyhead_bench.graphs.race import Race, Shape

OWN = "polyhead-int8"
SMALL: tuple[Shape, ...] = ((1, 16), (1, 64), (1, 128), (1, 256), (8, 128))
LARGE: tuple[Shape, ...] = ((1, 16), (1, 32), (1, 128))
_TOO_LONG = "the bundle reads fewer tokens"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A graph of the same weights.

    Attributes:
        name: its key in the figures.
        about: what it is, in the rows.
        limit: most that our graph's time may be, as a share of its own; None without a limit.
        limited: the shapes that the limit is for; others are shown.
    """

    name: str
    about: str
    limit: float | None = None
    limited: tuple[Shape, ...] = ()


def of_minilm(flags: Sequence[str]) -> tuple[Rival, ...]:
    """The rivals of a MiniLM bundle on a CPU with these flags."""
    return (
        Rival(name="ort-textbook", about="ort-textbook", limit=0.70, limited=SMALL),
        Rival(
            name="optimum-int8",
            about=f"Optimum's {optimum_configuration(flags)} int8 of an unfused export",
            limit=0.78,
            limited=SMALL,
        ),
        Rival(name="openvino-int8", about="openvino-int8", limit=1.0, limited=SMALL[:3]),
        Rival(name="openvino-int8-bf16", about="openvino-int8-bf16"),
        Rival(name="polyhead-fp32", about="polyhead-fp32", limit=0.38, limited=((1, 128),)),
    )


OF_BERT_BASE = (Rival(name="ort-textbook", about="ort-textbook", limit=0.83, limited=LARGE),)


def optimum_configuration(flags: Sequence[str]) -> str:
    """Which of Optimum's configurations its documentation would have one take for this CPU."""
    return "avx512_vnni" if "avx512_vnni" in flags else "avx2"


def has_bf16(flags: Sequence[str] | None = None) -> bool:
    """Whether the CPU (None: this one) multiplies matrices in bf16."""
    known = cpu.describe().flags if flags is None else flags
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(known)


def against(
    race: Race, rivals: Sequence[Rival], shapes: Sequence[Shape], model: str
) -> list[Check]:
    """A row for every rival that took part, or has a fault, at every shape.

    A rival without times is not measured; where our own graph has none, limits are missed.

    Args:
        race: what came of it.
        rivals: in the order of the rows.
        shapes: those without times are rows that say so.
        model: what raced, in the rows.
    """
    checks = []
    for rival in rivals:
        if rival.name not in race.times and rival.name not in race.faults:
            continue
        for shape, name, limit in _rows(rival, shapes, model):
            most = rival.limit if limit else None
            own = race.times.get(OWN, {}).get(shape)
            other = race.times.get(rival.name, {}).get(shape)
            if own and other:
                checks.append(_ratio(name, statistics.ratio(own, other), most))
                continue
            ours = race.faults.get(OWN)
            note = f"our graph: {ours}" if ours else race.faults.get(rival.name, _TOO_LONG)
            passed = False if ours and limit else None
            checks.append(Check(name=name, found=None, limit=limit, passed=passed, note=note))
    return checks


def limited(rivals: Sequence[Rival], shapes: Sequence[Shape], model: str) -> list[tuple[str, str]]:
    """Names and limits of the rows that have a limit."""
    rows = [row for rival in rivals for row in _rows(rival, shapes, model)]
    return [(name, limit) for _, name, limit in rows if limit]


def _rows(rival: Rival, shapes: Sequence[Shape], model: str) -> Iterator[tuple[Shape, str, str]]:
    """Shape, name and limit; the limit is empty where there is none."""
    for shape in shapes:
        limit = f"<= {rival.limit:g}" if shape in rival.limited else ""
        yield shape, f"{model} {shape[0]}x{shape[1]}, time against {rival.about}", limit


def _ratio(name: str, found: statistics.Interval, most: float | None) -> Check:
    interval = f"95% interval {found.low:.2f} to {found.high:.2f}"
    if most is None:
        return unlimited(name, f"{found.value:.2f}", interval)
    return Check(
        name=name,
        found=f"{found.value:.2f}",
        limit=f"<= {most:g}",
        passed=found.value <= most,
        note=interval,
    )
