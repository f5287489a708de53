"""The part of a command that needs PyTorch, which polyhead-models brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from polyhead import plugins
from polyhead.errors import PolyheadError

if TYPE_CHECKING:
    from polyhead.cli.main import Command

GROUP = "polyhead.checkpoints"


class NeedsModels(PolyheadError):
    """What was asked for needs the distribution polyhead-models, which is not installed."""


def command(name: str, what: str) -> Command:
    """The command `name` for checkpoints.

    Args:
        name: of the entry point in the group ``polyhead.checkpoints``.
        what: what the user gave, for the message.

    Raises:
        NeedsModels: when no installed distribution has it.
        PluginError: when it cannot be loaded.
    """
    for point in plugins.points(GROUP):
        if point.name == name:
            return cast("Command", plugins.load(point))
    raise NeedsModels(
        f"{what}. For checkpoints install polyhead-models, which brings PyTorch:"
        " pip install polyhead-models."
    )
