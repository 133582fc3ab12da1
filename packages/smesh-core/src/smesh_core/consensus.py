"""Consensus: read from the field at a moment, never voted and never latched.

The default policy is a weighted quorum: a statement is **reached** when the lineages behind it weigh at least a
threshold, are at least two, and outweigh those against it; it is **rejected** when the same holds for the lineages
against it; otherwise it is **open**. Opposition acts as the stop signal of honeybee swarms does (Seeley, Visscher,
Schlegel, Hogan, Franks, Marshall: Stop signals provide cross inhibition in collective decision-making by honeybee
swarms, Science 335, 2012).

This is an attested threshold. It is neither Paxos nor Byzantine fault tolerance: observers with different rosters may
read different answers from the same field.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

import msgspec

from smesh_core.errors import InvalidSignalError
from smesh_core.weights import Vote

if TYPE_CHECKING:
    from smesh_core.weights import Tally

__all__ = ["ConsensusPolicy", "ConsensusState", "Quorum", "Verdict"]


class ConsensusState(Enum):
    """What an observer reads about a statement."""

    OPEN = "open"
    REACHED = "reached"
    REJECTED = "rejected"


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """An answer and the numbers behind it.

    Attributes:
        state: open, reached or rejected.
        support: weight behind the statement, in votes.
        oppose: weight against it, in votes.
        votes: each lineage's vote, by lineage name.
    """

    state: ConsensusState
    support: float
    oppose: float
    votes: tuple[Vote, ...]

    @property
    def supporters(self) -> tuple[bytes, ...]:
        """Ids of all nodes that support the statement, ascending."""
        return tuple(sorted(node for vote in self.votes for node in vote.supporters))

    @property
    def opposers(self) -> tuple[bytes, ...]:
        """Ids of all nodes that oppose the statement, ascending."""
        return tuple(sorted(node for vote in self.votes for node in vote.opposers))

    @property
    def lineages(self) -> tuple[str, ...]:
        """Names of the lineages that weigh more for the statement than against it."""
        return tuple(vote.lineage for vote in self.votes if vote.support > vote.oppose)


class ConsensusPolicy(Protocol):
    """How votes become an answer; a pure function of them."""

    def read(self, votes: Tally) -> Verdict:
        """The answer that these votes give."""
        ...


class Quorum(msgspec.Struct, frozen=True, kw_only=True):
    """The default policy: enough weight, from enough lineages, against less.

    Attributes:
        weight: votes that one side needs; above 0.
        lineages: separate lineages that one side needs; at least 1.

    Raises:
        InvalidSignalError: a bound is not a number in range.
    """

    weight: float = 2.0
    lineages: int = 2

    def __post_init__(self) -> None:
        if not (0.0 < self.weight < float("inf") and self.lineages >= 1):
            raise InvalidSignalError(
                f"a quorum takes a positive weight and 1 lineage or more, not {self.weight!r} and {self.lineages!r}"
            )

    def read(self, votes: Tally) -> Verdict:
        """See the class; a tie is open."""
        support, oppose = votes.support, votes.oppose
        if support > oppose:
            state, weight = ConsensusState.REACHED, support
            leaning = [vote for vote in votes.votes if vote.support > vote.oppose]
        else:
            state, weight = ConsensusState.REJECTED, oppose
            leaning = [vote for vote in votes.votes if vote.oppose > vote.support]
        if support == oppose or weight < self.weight or len(leaning) < self.lineages:
            state = ConsensusState.OPEN
        return Verdict(state, support, oppose, votes.votes)
