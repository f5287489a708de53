"""`polyhead import` for models of PyTorch; the runtime's own command is for ONNX, too."""

from __future__ import annotations

import argparse
from typing import Any

from polyhead.cli import import_ as runtime
from polyhead.cli import output
from polyhead.cli.import_ import PROBLEMS, configure

__all__ = ["configure", "execute"]
__doc__ = runtime.__doc__


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead import`."""
    if arguments.max_tokens is not None and arguments.max_tokens < 3:
        arguments.usage_error("--max-tokens: expected at least 3")
    from polyhead.strict import plain
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
