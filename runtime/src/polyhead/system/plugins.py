"""What other installed distributions add: found by entry point, loaded when it is asked for.

An entry point is code that the user installed. A bundle names a kind; it never brings code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from polyhead.errors import PluginError, UnknownKind, nearest

if TYPE_CHECKING:  # imported late: it is not small, and built-in kinds do without
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Kinds by name: the built-in ones, then those of entry points in a group.

    A built-in kind is found without a look at what is installed, so no plugin can replace it.
    Any other name lists the group's entry points, and loads the one that was asked for only.
    Iteration gives the names, built-in ones first, and loads nothing.
    """

    def __init__(
        self, built_in: Mapping[str, T], *, group: str, what: str, needs: tuple[str, ...]
    ) -> None:
        """Know the built-in kinds.

        Args:
            built_in: what this distribution brings.
            group: of the entry points; an entry point's name is the kind's, such as
                ``"ordinal.v1"``.
            what: a value is, for messages: ``"decoder"``.
            needs: attributes that a loaded value must have.
        """
        self.group = group
        self._built_in = dict(built_in)
        self._what, self._needs = what, needs
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """The value of a kind.

        Raises:
            UnknownKind: when neither polyhead nor a plugin knows the name; also a `KeyError`.
            PluginError: when the plugin that brings it cannot be loaded, or two bring it.
        """
        if name in self._built_in:
            return self._built_in[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._loaded or name in self._plugins()

    def __iter__(self) -> Iterator[str]:
        yield from self._built_in
        yield from sorted(set(self._plugins()) - set(self._built_in))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def check_conflict(self, name: str) -> None:
        """Refuse a plugin that has the name of a built-in kind, where its author would look.

        Raises:
            PluginError: names the distribution.
        """
        if name in self._built_in and (brought := self._plugins().get(name)):
            raise PluginError(
                f"{name!r} is a built-in kind, and {_distributions(brought)} brings a {self._what}"
                f" of that name (group {self.group!r}). Give the plugin's kind another name, or"
                " uninstall the plugin."
            )

    def _plugins(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in points(self.group):
            found.setdefault(point.name, []).append(point)
        return found

    def _load(self, name: str) -> T:
        brought = self._plugins().get(name, [])
        if not brought:
            known = list(self)
            raise UnknownKind(
                f"no {self._what} of the kind {name!r}; known: {', '.join(known)}."
                f"{nearest(name, known)} A plugin brings one as an entry point in the group"
                f" {self.group!r}."
            )
        if len(brought) > 1:
            raise PluginError(
                f"the {self._what} {name!r} is brought by {_distributions(brought)}, expected one"
                f" (group {self.group!r}). Uninstall the others."
            )
        value = load(brought[0])
        if missing := [need for need in self._needs if not hasattr(value, need)]:
            raise PluginError(
                f"{brought[0].value!r} of {distribution(brought[0])} is no {self._what}: it has no"
                f" {', '.join(missing)} (group {self.group!r})."
            )
        return cast(T, value)


def points(group: str) -> list[EntryPoint]:
    """The entry points of a group, none of them loaded."""
    from importlib.metadata import entry_points

    return list(entry_points(group=group))


def load(point: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        PluginError: when that fails, in whatever way; names the distribution.
    """
    try:
        return point.load()
    except Exception as problem:  # a plugin may fail in any way; the others must go on working
        raise PluginError(
            f"{point.name!r} of {distribution(point)} cannot be loaded:"
            f" {type(problem).__name__}: {problem}. Install that distribution again, or uninstall"
            " it."
        ) from problem


def distribution(point: EntryPoint) -> str:
    """Name of the distribution that brings an entry point."""
    return point.dist.name if point.dist is not None else "an unknown distribution"


def _distributions(brought: list[EntryPoint]) -> str:
    return " and ".join(sorted(distribution(point) for point in brought))
