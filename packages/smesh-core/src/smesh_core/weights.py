"""Weights: how much each node's word counts for one observer, and which words are really one.

A node on the observer's **roster** weighs 1. A node that the observer has judged before weighs ``max(0, 2·trust -
1)``. All nodes it knows nothing of together weigh at most `unknown_vote`, so that a thousand fresh keys are not a
crowd.

Nodes that share rules or a model share a **lineage**, and a lineage has one vote. The roster says who shares one. What
a node says of itself is taken only where the roster is silent and the observer has judged it, and can only merge its
vote into another, never split one or leave the unknown. Where a lineage has members on the roster, only these speak
for it, so that a stranger cannot water down a vote by joining it.

A lineage whose members disagree is divided: each side has the vote of its heaviest member, less in the proportion that
the other side's weights have of all. So another supporter never adds to what speaks against a statement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from smesh_core.errors import InvalidSignalError
from smesh_core.limits import TRUST_DEFAULT
from smesh_core.signal import StanceKind

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EVERYONE", "Observer", "Tally", "Vote", "tally"]

UNKNOWN_LINEAGE = "(unknown)"
_SUPPORT, _OPPOSE = StanceKind.SUPPORT, StanceKind.OPPOSE


def _own_lineage(node: bytes) -> str:
    return f"node:{node.hex()}"


class Observer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose judgement a value or a consensus is read with.

    Attributes:
        roster: node id to lineage for the nodes that count fully; an empty lineage is the node's own. None puts
            everybody on it, each in a lineage of its own: the right reading for one process, and for no other.
        trust: node id to trust in [0, 1] for nodes the observer has judged.
        unknown_vote: what all other nodes together may weigh, in votes.
        declared: node id to the lineage that a node claims for itself.

    Raises:
        InvalidSignalError: a trust or the unknown vote is not a number in its bounds.
    """

    roster: Mapping[bytes, str] | None = None
    trust: Mapping[bytes, float] = {}
    unknown_vote: float = 0.0
    declared: Mapping[bytes, str] = {}

    def __post_init__(self) -> None:
        if not 0.0 <= self.unknown_vote <= 1.0:
            raise InvalidSignalError(f"unknown_vote takes a number in [0, 1], not {self.unknown_vote!r}")
        if self.roster is not None and UNKNOWN_LINEAGE in self.roster.values():
            raise InvalidSignalError(f"{UNKNOWN_LINEAGE} is not a name for a lineage on a roster")
        for node, trust in self.trust.items():
            if not 0.0 <= trust <= 1.0:
                raise InvalidSignalError(f"trust in {node.hex()[:8]} takes a number in [0, 1], not {trust!r}")

    def lineage(self, node: bytes) -> str:
        """The lineage that a node's word counts in."""
        if self.roster is None:
            return _own_lineage(node)
        if node in self.roster:
            return self.roster[node] or _own_lineage(node)
        if node not in self.trust:
            return UNKNOWN_LINEAGE
        declared = self.declared.get(node, "")
        return _own_lineage(node) if declared in {"", UNKNOWN_LINEAGE} else declared

    def weight(self, node: bytes) -> float:
        """What one node's word weighs by itself, in [0, 1]; 0 for a node that is not known."""
        if self.roster is None or node in self.roster:
            return 1.0
        return max(0.0, 2.0 * self.trust.get(node, TRUST_DEFAULT) - 1.0)

    def is_rostered(self, node: bytes) -> bool:
        """Whether the observer counts this node fully."""
        return self.roster is None or node in self.roster


EVERYONE = Observer()
"""Counts every node fully and separately."""


class Vote(msgspec.Struct, frozen=True, gc=False):
    """What one lineage says about one statement.

    Attributes:
        lineage: its name.
        support: weight on the side of the statement.
        oppose: weight against it; support and oppose together are at most 1.
        supporters: ids of the nodes behind `support`, ascending.
        opposers: ids of the nodes behind `oppose`, ascending.
    """

    lineage: str
    support: float
    oppose: float
    supporters: tuple[bytes, ...]
    opposers: tuple[bytes, ...]


class Tally(msgspec.Struct, frozen=True, gc=False):
    """All votes about one statement, by lineage name, and their sums."""

    votes: tuple[Vote, ...]
    support: float
    oppose: float


def tally(positions: Iterable[tuple[bytes, StanceKind]], observer: Observer) -> Tally:
    """Turn the positions of nodes (each node at most once) into the votes of lineages.

    The result does not depend on the order of `positions`.
    """
    if observer.roster is None:
        return _tally_of_equals(positions)
    members: dict[str, list[tuple[bytes, StanceKind]]] = {}
    for node, kind in sorted(positions):
        if kind is not StanceKind.WITHDRAW:
            members.setdefault(observer.lineage(node), []).append((node, kind))
    votes = tuple([_vote(lineage, members[lineage], observer) for lineage in sorted(members)])
    return Tally(votes, math.fsum([vote.support for vote in votes]), math.fsum([vote.oppose for vote in votes]))


def _tally_of_equals(positions: Iterable[tuple[bytes, StanceKind]]) -> Tally:
    """The tally where each node has one whole vote: names of lineages are in the order of their nodes' ids."""
    votes, support = [], 0
    for node, kind in sorted(positions):
        if kind is _SUPPORT:
            votes.append(_whole_vote(node, True))
            support += 1
        elif kind is _OPPOSE:
            votes.append(_whole_vote(node, False))
    return Tally(tuple(votes), float(support), float(len(votes) - support))


@lru_cache(maxsize=4096)
def _whole_vote(node: bytes, is_support: bool) -> Vote:
    """The vote of a lineage that is one node, which counts fully."""
    lineage = _own_lineage(node)
    return Vote(lineage, 1.0, 0.0, (node,), ()) if is_support else Vote(lineage, 0.0, 1.0, (), (node,))


def _vote(lineage: str, members: list[tuple[bytes, StanceKind]], observer: Observer) -> Vote:
    """The vote of a lineage of at least one member."""
    members = [m for m in members if observer.is_rostered(m[0])] or members
    supporters = tuple([node for node, kind in members if kind is _SUPPORT])
    opposers = tuple([node for node, kind in members if kind is _OPPOSE])
    if lineage == UNKNOWN_LINEAGE:
        for_it, against = float(len(supporters)), float(len(opposers))
        most_for = most_against = observer.unknown_vote
    else:
        weights = {node: observer.weight(node) for node, _ in members}
        for_it = math.fsum([weights[node] for node in supporters])
        against = math.fsum([weights[node] for node in opposers])
        most_for = max([weights[node] for node in supporters], default=0.0)
        most_against = max([weights[node] for node in opposers], default=0.0)
    # A unanimous lineage has its whole vote exactly: two such must make a quorum of two.
    if for_it and against:
        most_for *= for_it / (for_it + against)
        most_against *= against / (for_it + against)
    return Vote(lineage, most_for if for_it else 0.0, most_against if against else 0.0, supporters, opposers)
