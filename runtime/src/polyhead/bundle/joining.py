"""Which graphs of several bundles are made one: those that compute mostly the same."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polyhead.bundle.manifest import Graph
from polyhead.bundle.merging import Joined, Union
from polyhead.bundle.structure import Structure, Unmergeable


@dataclass(frozen=True)
class Reading:
    """What a text's tokens and windows depend on.

    Attributes:
        tokenizer: whatever is equal for tokenizers that do the same.
        max_tokens: longest input.
        strides: tokens that windows share, by the kind of inputs for which there are heads.
    """

    tokenizer: object
    max_tokens: int
    strides: Mapping[str, int]

    def difference(self, other: Reading) -> str | None:
        """In what they differ for inputs that both read; None where in nothing."""
        if self.tokenizer != other.tokenizer:
            return "their tokenizers differ"
        if self.max_tokens != other.max_tokens:
            return f"they read {self.max_tokens} and {other.max_tokens} tokens"
        for kind in self.strides.keys() & other.strides.keys():
            if self.strides[kind] != other.strides[kind]:
                return f"their windows share {self.strides[kind]} and {other.strides[kind]} tokens"
        return None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A graph that may be made one with others; `structure` says why not, if it cannot be read."""

    graph: Graph
    reading: Reading
    structure: Structure | Unmergeable


@dataclass(eq=False)
class Group:
    """Graphs that are one, and how each stands in it."""

    union: Union
    members: list[Candidate]
    joined: list[Joined]


@dataclass
class Groups:
    """Graphs, each in a group with those before it that it fits.

    Attributes:
        made: the groups; most graphs are alone in theirs.
    """

    made: list[Group] = field(default_factory=list)
    _apart: dict[frozenset[str], str] = field(default_factory=dict)

    def put(self, candidate: Candidate, among: Sequence[Group] | None = None) -> Group | None:
        """Find or make the group of a graph.

        Args:
            candidate: the graph.
            among: groups that it may join; None for all.

        Returns:
            Its group; None where it cannot be read as one.
        """
        for group in self.made if among is None else among:
            try:
                joined = _join(group, candidate)
            except Unmergeable as why:
                for member in group.members:
                    digests = member.graph.sha256, candidate.graph.sha256
                    self._apart[frozenset(digests)] = str(why)
            else:
                group.members.append(candidate)
                group.joined.append(joined)
                return group
        try:
            union = Union(_readable(candidate))
        except Unmergeable as why:
            self._apart[frozenset([candidate.graph.sha256])] = str(why)
            return None
        self.made.append(Group(union, [candidate], [union.own]))
        return self.made[-1]

    def part(self, group: Group, why: str) -> None:
        """Take a group apart; its graphs are alone then."""
        self.made.remove(group)
        for first, other in itertools.combinations(group.members, 2):
            self._apart[frozenset((first.graph.sha256, other.graph.sha256))] = why

    def why_apart(self, first: Graph, other: Graph) -> str | None:
        """Why two graphs are not in one group; None where nothing was found."""
        digests = first.sha256, other.sha256
        keys = (digests, digests[:1], digests[1:])
        return next((self._apart[k] for k in map(frozenset, keys) if k in self._apart), None)


def _join(group: Group, candidate: Candidate) -> Joined:
    for member in group.members:
        own, theirs = member.graph, candidate.graph
        for what in ("precision", "layout", "target"):
            if getattr(own, what) != getattr(theirs, what):
                raise Unmergeable(
                    f"their {what} is {getattr(own, what)} and {getattr(theirs, what)}"
                )
        if (why := member.reading.difference(candidate.reading)) is not None:
            raise Unmergeable(why)
    return group.union.add(_readable(candidate))


def _readable(candidate: Candidate) -> Structure:
    if isinstance(candidate.structure, Unmergeable):
        raise candidate.structure
    return candidate.structure
