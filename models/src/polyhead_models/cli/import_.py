"""`polyhead import` for models of PyTorch; the runtime's own command is for ONNX, too."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyhead.cli import import_ as runtime
from polyhead.cli import output
from polyhead.cli.delegated import United
from polyhead.cli.import_ import PROBLEMS, configure

if TYPE_CHECKING:
    from polyhead import Engine, HeadSpec
    from polyhead.importing import Wishes

__all__ = ["bring", "configure", "engine", "execute", "unite"]
__doc__ = runtime.__doc__


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead import`."""
    if arguments.max_tokens is not None and arguments.max_tokens < 3:
        arguments.usage_error("--max-tokens: expected at least 3")
    from polyhead.system.schema import plain
    from polyhead_models.importing import Wishes, import_model

    problem: Any = PROBLEMS.get(arguments.answer)
    made = import_model(
        arguments.source,
        arguments.output,
        Wishes(
            head=arguments.head,
            pair=arguments.pair,
            problem=problem,
            pooling=arguments.pooling,
            max_tokens=arguments.max_tokens,
        ),
        note=output.progress,
    )
    if arguments.json:
        output.write_json({**plain(made), "path": str(made.path)})
        return 0
    spec = made.spec
    header = ["head", "kind", "reads", "pooling", "max tokens", "labels", "largest difference"]
    shown = "-" if made.difference is None else f"{made.difference:.1e}"
    row = [made.name, spec.kind, spec.input, spec.pooling, spec.max_tokens, len(spec.labels), shown]
    output.write(output.table(header, [row]))
    output.progress(f"checkpoint: {made.path}")
    return 0


def bring(
    source: str, target: Path, wishes: Wishes, note: Callable[[str], None]
) -> Mapping[str, HeadSpec]:
    """Make a checkpoint of a model, as `import_model` does; gives its heads."""
    from polyhead_models.importing import Wishes as Own
    from polyhead_models.importing import import_model

    made = import_model(source, target, Own(**asdict(wishes)), note=note)
    return {made.name: made.spec}


def unite(
    parts: Sequence[tuple[Path, str]], folder: Path, note: Callable[[str], None]
) -> list[United]:
    """Checkpoints that share an encoder as one, a folder `united-N` each.

    Args:
        parts: checkpoints, and what is put before the names of their heads.
        folder: where the new ones shall be.
        note: told why an encoder is not shared.
    """
    from polyhead_models import checkpoint as checkpoints
    from polyhead_models.combining import Part, combine, groups

    found = []
    for members in groups([path for path, _ in parts], note):
        target = folder / f"united-{members[0]}"
        combine([Part(*parts[i]) for i in members], target)
        made = checkpoints.load(target)
        weights = [p for network in made.model.networks.values() for p in network.parameters()]
        found.append(
            United(
                path=target,
                members=members,
                encoder=made.description.config.encoder.name,
                saved=sum(_size(parts[i][0]) for i in members) - _size(target),
                head_bytes=sum(p.numel() * p.element_size() for p in weights),
            )
        )
    return found


def engine(checkpoint: Path) -> Engine:
    """An engine over a checkpoint, in PyTorch."""
    from polyhead_models import checkpoint as checkpoints

    return checkpoints.load(checkpoint).engine()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
