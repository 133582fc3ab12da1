"""Consensus: read from the field at a moment, never voted and never latched.

A policy is a pure function of votes. Opposition acts as the stop signal of honeybee swarms does (Seeley, Visscher,
Schlegel, Hogan, Franks, Marshall: Stop signals provide cross inhibition in collective decision-making by honeybee
swarms, Science 335, 2012). There are three:

* `Quorum`, the default: a statement is **reached** when the lineages behind it weigh at least a threshold, are at
  least two, and outweigh those against it; it is **rejected** when the same holds for the lineages against it;
  otherwise it is **open**.
* `LogOdds`: each lineage is an independent witness, and what all of them say is put together by Bayes' rule.
* `Majority`: heads are counted. It is the baseline that shows what weights and lineages are for.

**Why log-odds.** Let a statement be true with prior odds `q / (1 - q)`, and let independent witnesses i be right with
probability `p_i`, whether it is true or not. After they have spoken the odds are

    q / (1 - q) · Π_for p_i / (1 - p_i) · Π_against (1 - p_i) / p_i

so the logarithms add up, and the rule that is right most often weighs each witness by `log(p_i / (1 - p_i))` (Nitzan,
Paroush: Optimal decision rules in uncertain dichotomous choice situations, International Economic Review 23, 1982;
Grofman, Owen, Feld: Thirteen theorems in search of the truth, Theory and Decision 15, 1983). A judged node
weighs `2·trust - 1`, so `p = (1 + weight) / 2` is the observer's trust in it, and nothing more has to be assumed.

This is an attested threshold. It is neither Paxos nor Byzantine fault tolerance: observers with different rosters may
read different answers from the same field. `smesh_core.explanation` gives every number behind an answer.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import msgspec

from smesh_core.errors import InvalidSignalError
from smesh_core.weights import Vote

if TYPE_CHECKING:
    from smesh_core.weights import Tally

__all__ = ["ConsensusPolicy", "ConsensusState", "LogOdds", "Majority", "Quorum", "Verdict"]


class ConsensusState(Enum):
    """What an observer reads about a statement."""

    OPEN = "open"
    REACHED = "reached"
    REJECTED = "rejected"


_OPEN, _REACHED, _REJECTED = ConsensusState


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


class LogOdds(msgspec.Struct, frozen=True, kw_only=True):
    """Bayes' rule over independent witnesses; one lineage is one witness.

    A lineage that leans by ``lean = support - oppose`` is a witness for the side it leans to, right with probability
    ``p = min(reliability_max, (1 + |lean|) / 2)``, and adds ``±log(p / (1 - p))``. The statement is **reached** when
    its posterior probability is at least `accept` and at least `lineages` lineages lean to it, **rejected** when that
    of its contrary is and as many lean against it, else **open**. Sums are exact (`math.fsum`), so order is nothing;
    a posterior within rounding of `accept` may fall on either side of it, the same one each time.

    Attributes:
        accept: posterior probability that is enough, in (0.5, 1).
        lineages: separate lineages that one side needs; at least 1.
        prior: probability of the statement before anybody has spoken, in (0, 1). It decides nothing by itself.
        reliability_max: the most that any witness is believed to be right, in (0.5, 1): a node on the roster weighs
            1 and would else be infallible.

    Raises:
        InvalidSignalError: a bound is not a number in range.
    """

    accept: float = 0.95
    lineages: int = 2
    prior: float = 0.5
    reliability_max: float = 0.9

    def __post_init__(self) -> None:
        _check_part("accept", self.accept, 0.5)
        _check_part("prior", self.prior, 0.0)
        _check_part("reliability_max", self.reliability_max, 0.5)
        _check_count("lineages", self.lineages)

    def log_odds(self, votes: Tally) -> float:
        """Logarithm of the posterior odds of the statement, prior included."""
        most = self.reliability_max
        said = [evidence_of(vote.support - vote.oppose, most) for vote in votes.votes]
        return math.fsum([logit(self.prior), *said])

    def posterior(self, votes: Tally) -> float:
        """Probability of the statement, in [0, 1], after all votes."""
        return _probability(self.log_odds(votes))

    def read(self, votes: Tally) -> Verdict:
        """See the class."""
        state, odds, needed = _OPEN, self.log_odds(votes), logit(self.accept)
        if odds >= needed and leaning(votes, _REACHED) >= self.lineages:
            state = _REACHED
        elif odds <= -needed and leaning(votes, _REJECTED) >= self.lineages:
            state = _REJECTED
        return Verdict(state, votes.support, votes.oppose, votes.votes)


class Majority(msgspec.Struct, frozen=True, kw_only=True):
    """The baseline: one node, one vote; no weights, no lineages. A crowd of fresh keys fools it.

    It counts the nodes that a `Tally` names, and so sees what the observer's tally lets through. Without a roster that
    is everybody. With one it counts rostered, judged, distrusted and unknown nodes alike, the unknown also where
    `unknown_vote` is 0; it misses only those nodes that declare a lineage for which a rostered node has spoken, since
    `tally` does not let them speak there. Where keys cost nothing, use another policy.

    Attributes:
        heads: nodes that the larger side needs; at least 1. Counted on that side and not over both, for else one more
            supporter could complete the number that lets the opposers win.

    Raises:
        InvalidSignalError: a bound is not a number in range.
    """

    heads: int = 2

    def __post_init__(self) -> None:
        _check_count("heads", self.heads)

    def read(self, votes: Tally) -> Verdict:
        """See the class; a tie is open. The verdict's support and opposition are heads."""
        support, oppose = _heads(votes)
        state = _OPEN
        if support != oppose and max(support, oppose) >= self.heads:
            state = _REACHED if support > oppose else _REJECTED
        return Verdict(state, float(support), float(oppose), votes.votes)


# ---- what the policies count


def leaning(votes: Tally, toward: ConsensusState) -> int:
    """How many lineages lean to one side."""
    if toward is _REACHED:
        return len([vote for vote in votes.votes if vote.support > vote.oppose])
    return len([vote for vote in votes.votes if vote.oppose > vote.support])


def _heads(votes: Tally) -> tuple[int, int]:
    """How many nodes stand for and against."""
    support = sum([len(vote.supporters) for vote in votes.votes])
    return support, sum([len(vote.opposers) for vote in votes.votes])


def logit(part: float) -> float:
    return math.log(part) - math.log1p(-part)


def _probability(log_odds: float) -> float:
    """The inverse of `logit`, for any finite number."""
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def reliability(lean: float, reliability_max: float) -> float:
    return min(reliability_max, (1.0 + abs(lean)) / 2.0)


@lru_cache(maxsize=4096)
def evidence_of(lean: float, reliability_max: float) -> float:
    """Log-odds that a witness adds; exactly the opposite for the opposite lean."""
    return math.copysign(logit(reliability(lean, reliability_max)), lean)


# ---- bounds


def _check_part(name: str, part: float, above: float) -> None:
    if not (isinstance(part, float) and above < part < 1.0):
        raise InvalidSignalError(f"{name} takes a number in ({above:g}, 1), not {_shown(part)}")


def _check_count(name: str, count: int) -> None:
    if not (type(count) is int and count >= 1):
        raise InvalidSignalError(f"{name} takes an int of 1 or more, not {_shown(count)}")


def _shown(value: object) -> str:
    """A value as an error shows it: one short line, whatever it is."""
    try:
        return plain(repr(value), 40)
    except ValueError:  # an integer of too many digits
        return f"a very large {type(value).__name__}"


def plain(text: str, chars_max: int) -> str:
    text = "".join(char if char.isprintable() else "?" for char in text[: chars_max + 1])
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"
