"""The part of a command that needs PyTorch, which polyhead-models brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from polyhead.cli.main import Command
from polyhead.errors import PolyheadError
from polyhead.system import plugins

if TYPE_CHECKING:
    from polyhead.engine import Engine
    from polyhead.heads import HeadSpec
    from polyhead.importing import Wishes

GROUP = "polyhead.checkpoints"


@dataclass(frozen=True)
class United:
    """A checkpoint of several that share an encoder.

    Attributes:
        path: of the new checkpoint.
        members: numbers of those that it was made of.
        encoder: its name.
        saved: bytes that the others had more, all together.
        head_bytes: of the weights of its heads.
    """

    path: Path
    members: tuple[int, ...]
    encoder: str
    saved: int
    head_bytes: int


class Checkpoints(Command, Protocol):
    """What the module behind `import` offers besides the command."""

    def bring(
        self, source: str, target: Path, wishes: Wishes, note: Callable[[str], None]
    ) -> Mapping[str, HeadSpec]:
        """Make a checkpoint of a model; gives its heads."""
        ...

    def unite(
        self, parts: Sequence[tuple[Path, str]], folder: Path, note: Callable[[str], None]
    ) -> Sequence[United]:
        """One checkpoint for each encoder, of checkpoints and prefixes for their heads."""
        ...

    def engine(self, checkpoint: Path) -> Engine:
        """An engine over a checkpoint."""
        ...


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
