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
read different answers from the same field. `explain` gives every number behind an answer.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import lru_cache
from operator import ge, gt, le
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import msgspec

from smesh_core.errors import InvalidSignalError
from smesh_core.weights import Vote

if TYPE_CHECKING:
    from smesh_core.weights import Tally

__all__ = [
    "Condition",
    "ConsensusPolicy",
    "ConsensusState",
    "Explanation",
    "Gap",
    "LogOdds",
    "Majority",
    "Quorum",
    "Share",
    "Verdict",
    "explain",
]

_ROWS: Final = 20
_NAME_CHARS: Final = 24
_HOLDS: Final = {">=": ge, ">": gt, "<=": le}


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
        said = [_evidence(vote.support - vote.oppose, most) for vote in votes.votes]
        return math.fsum([_logit(self.prior), *said])

    def posterior(self, votes: Tally) -> float:
        """Probability of the statement, in [0, 1], after all votes."""
        return _probability(self.log_odds(votes))

    def read(self, votes: Tally) -> Verdict:
        """See the class."""
        state, odds, needed = _OPEN, self.log_odds(votes), _logit(self.accept)
        if odds >= needed and _leaning(votes, _REACHED) >= self.lineages:
            state = _REACHED
        elif odds <= -needed and _leaning(votes, _REJECTED) >= self.lineages:
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


# ---- why a verdict is what it is

Side: TypeAlias = Literal["for", "against", "neither"]


class Share(msgspec.Struct, frozen=True):
    """What one lineage brought to a verdict.

    Attributes:
        vote: its weight on both sides, and the ids of its members there.
        side: where it counts as a lineage.
        added: what it moved the score by, in the explanation's unit; negative against.
        reliability: the probability that it is right, where the policy reads one.
    """

    vote: Vote
    side: Side
    added: float
    reliability: float | None = None


class Condition(msgspec.Struct, frozen=True):
    """A threshold, and what was compared with it.

    Attributes:
        toward: the answer it is a condition of.
        what: what was compared.
        value: how much there is of it.
        relation: ``>=``, ``>`` or ``<=``.
        bound: how much there must be.
        holds: whether `value` `relation` `bound`.
    """

    toward: ConsensusState
    what: str
    value: float
    relation: Literal[">=", ">", "<="]
    bound: float
    holds: bool


class Gap(msgspec.Struct, frozen=True):
    """What would change an answer, all else being equal.

    Attributes:
        toward: the answer that would be given then.
        amount: what is lacking on the side named by `side`, in the explanation's unit.
        side: the side that it must come to.
        is_exceeded: whether more than `amount` is needed, and not only as much.
        lineages: how many more lineages that side needs.
    """

    toward: ConsensusState
    amount: float
    side: Literal["for", "against"]
    is_exceeded: bool = False
    lineages: int = 0


class Explanation(msgspec.Struct, frozen=True):
    """A verdict and every number behind it; `str` of it is a table for a person.

    Attributes:
        policy: the policy with its settings.
        state: what the policy answered.
        support: what is for the statement, as the verdict has it.
        oppose: what is against it.
        score: the sum of what all lineages added, and of the prior where there is one; in `unit`.
        unit: ``votes``, ``log-odds`` or ``heads``.
        posterior: probability of the statement, where the policy reads one.
        shares: what each lineage brought, by its name.
        conditions: each threshold and whether it was met; empty for a policy that is not of this module. An answer is
            given where all conditions toward it hold.
        gaps: what would change the answer; empty for a policy that is not of this module.
    """

    policy: str
    state: ConsensusState
    support: float
    oppose: float
    score: float
    unit: str
    posterior: float | None
    shares: tuple[Share, ...]
    conditions: tuple[Condition, ...]
    gaps: tuple[Gap, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, rows: int = _ROWS) -> list[str]:
        """The explanation as plain text: at most `rows` lineages, those that added most first."""
        lines = [f"{self.state.value}, by {self.policy}"]
        table: list[tuple[str, ...]] = [("lineage", "for", "against", "nodes", "counts", self.unit, "right")]
        shown = sorted(self.shares, key=lambda share: (-abs(share.added), share.vote.lineage))
        for share in shown[: max(0, rows)]:
            vote = share.vote
            nodes = f"{len(vote.supporters)}+{len(vote.opposers)}"
            right = "" if share.reliability is None else f"{share.reliability:.3f}"
            weights = (f"{vote.support:.3f}", f"{vote.oppose:.3f}")
            table.append((_named(vote.lineage), *weights, nodes, share.side, f"{share.added:+.3f}", right))
        right = "" if self.posterior is None else f"{self.posterior:.3f}"
        table.append(("all", f"{self.support:.3f}", f"{self.oppose:.3f}", "", "", f"{self.score:+.3f}", right))
        if self.posterior is None:
            table = [row[:-1] for row in table]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        rendered = [
            "  " + "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table
        ]
        if len(self.shares) > len(table) - 2:
            rendered.insert(-1, f"  and {len(self.shares) - len(table) + 2:,} more lineages")
        lines += rendered
        for met in self.conditions:
            answer = "yes" if met.holds else "no"
            lines.append(
                f"  {met.toward.value} needs {met.what} {met.relation} {met.bound:.6g}: {met.value:.6g}, {answer}"
            )
        lines += [f"  {_gap_in_words(gap, self.unit)}" for gap in self.gaps]
        return lines


def explain(votes: Tally, policy: ConsensusPolicy) -> Explanation:
    """Every number behind the answer that a policy gives to these votes.

    The state is the policy's own answer. For a policy that is not of this module there are its answer, the votes and
    their sums, and no conditions.
    """
    verdict = policy.read(votes)
    unit, posterior, added, reliabilities = "votes", None, [vote.support - vote.oppose for vote in votes.votes], None
    score = verdict.support - verdict.oppose
    conditions: tuple[Condition, ...] = ()
    gaps: tuple[Gap, ...] = ()
    if isinstance(policy, Quorum):
        conditions, gaps = _of_quorum(policy, votes, verdict.state)
    elif isinstance(policy, LogOdds):
        unit, score, posterior = "log-odds", policy.log_odds(votes), policy.posterior(votes)
        reliabilities = [_reliability(lean, policy.reliability_max) for lean in added]
        added = [_evidence(lean, policy.reliability_max) for lean in added]
        conditions, gaps = _of_log_odds(policy, votes, score, verdict.state)
    elif isinstance(policy, Majority):
        unit = "heads"
        added = [float(len(vote.supporters) - len(vote.opposers)) for vote in votes.votes]
        conditions, gaps = _of_majority(policy, verdict)
    shares = tuple(
        Share(vote, _side(more), more, None if reliabilities is None else reliabilities[at])
        for at, (vote, more) in enumerate(zip(votes.votes, added, strict=True))
    )
    return Explanation(
        policy=_plain(repr(policy), 200),
        state=verdict.state,
        support=verdict.support,
        oppose=verdict.oppose,
        score=score,
        unit=unit,
        posterior=posterior,
        shares=shares,
        conditions=conditions,
        gaps=gaps,
    )


def _of_quorum(policy: Quorum, votes: Tally, state: ConsensusState) -> tuple[tuple[Condition, ...], tuple[Gap, ...]]:
    conditions: list[Condition] = []
    gaps: list[Gap] = []
    sides: list[tuple[ConsensusState, Literal["for", "against"], float, float]] = [
        (_REACHED, "for", votes.support, votes.oppose),
        (_REJECTED, "against", votes.oppose, votes.support),
    ]
    for toward, side, weight, other in sides:
        lineages = _leaning(votes, toward)
        conditions += [
            _condition(toward, f"votes {side}", weight, ">=", policy.weight),
            _condition(toward, f"lineages {side}", lineages, ">=", policy.lineages),
            _condition(toward, f"votes {side} over the other side's", weight, ">", other),
        ]
        if state is not toward:
            lacking = max(policy.weight - weight, other - weight, 0.0)
            must_outweigh = other >= policy.weight and other >= weight
            gaps.append(Gap(toward, lacking, side, must_outweigh, max(0, policy.lineages - lineages)))
        else:
            gaps.append(Gap(_OPEN, weight - other, "against" if side == "for" else "for"))
    return tuple(conditions), tuple(gaps)


def _of_log_odds(
    policy: LogOdds, votes: Tally, odds: float, state: ConsensusState
) -> tuple[tuple[Condition, ...], tuple[Gap, ...]]:
    needed = _logit(policy.accept)
    reaching, rejecting = _leaning(votes, _REACHED), _leaning(votes, _REJECTED)
    conditions = (
        _condition(_REACHED, "log-odds", odds, ">=", needed),
        _condition(_REACHED, "lineages for", reaching, ">=", policy.lineages),
        _condition(_REJECTED, "log-odds", odds, "<=", -needed),
        _condition(_REJECTED, "lineages against", rejecting, ">=", policy.lineages),
    )
    gaps = []
    if state is _REACHED:
        gaps.append(Gap(_OPEN, odds - needed, "against", is_exceeded=True))
    else:
        gaps.append(Gap(_REACHED, max(0.0, needed - odds), "for", lineages=max(0, policy.lineages - reaching)))
    if state is _REJECTED:
        gaps.append(Gap(_OPEN, -needed - odds, "for", is_exceeded=True))
    else:
        gaps.append(Gap(_REJECTED, max(0.0, odds + needed), "against", lineages=max(0, policy.lineages - rejecting)))
    return conditions, tuple(gaps)


def _of_majority(policy: Majority, verdict: Verdict) -> tuple[tuple[Condition, ...], tuple[Gap, ...]]:
    conditions: list[Condition] = []
    gaps: list[Gap] = []
    sides: list[tuple[ConsensusState, Literal["for", "against"], float, float]] = [
        (_REACHED, "for", verdict.support, verdict.oppose),
        (_REJECTED, "against", verdict.oppose, verdict.support),
    ]
    for toward, side, heads, other in sides:
        conditions += [
            _condition(toward, f"heads {side}", heads, ">=", policy.heads),
            _condition(toward, f"heads {side} over the other side's", heads, ">", other),
        ]
        if verdict.state is toward:
            gaps.append(Gap(_OPEN, heads - other, "against" if side == "for" else "for"))
        else:
            gaps.append(Gap(toward, max(policy.heads - heads, other - heads + 1.0), side))
    return tuple(conditions), tuple(gaps)


def _condition(
    toward: ConsensusState, what: str, value: float, relation: Literal[">=", ">", "<="], bound: float
) -> Condition:
    return Condition(toward, what, float(value), relation, float(bound), bool(_HOLDS[relation](value, bound)))


def _gap_in_words(gap: Gap, unit: str) -> str:
    more = f"{'more than ' if gap.is_exceeded else ''}{gap.amount:.6g} more {unit} {gap.side}"
    lineages = f"{gap.lineages} more lineage{'s' if gap.lineages > 1 else ''} {gap.side}"
    parts = [more] if gap.amount or gap.is_exceeded else []
    parts += [lineages] if gap.lineages else []
    return f"to be {gap.toward.value}: {' and '.join(parts) or 'nothing more'}"


def _named(lineage: str) -> str:
    """A lineage's name as a table shows it; whoever declares one may have put anything in it."""
    return _plain(lineage, _NAME_CHARS)


def _plain(text: str, chars_max: int) -> str:
    text = "".join(char if char.isprintable() else "?" for char in text[: chars_max + 1])
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


# ---- what the policies count


def _side(added: float) -> Side:
    return "for" if added > 0.0 else "against" if added < 0.0 else "neither"


def _leaning(votes: Tally, toward: ConsensusState) -> int:
    """How many lineages lean to one side."""
    if toward is _REACHED:
        return len([vote for vote in votes.votes if vote.support > vote.oppose])
    return len([vote for vote in votes.votes if vote.oppose > vote.support])


def _heads(votes: Tally) -> tuple[int, int]:
    """How many nodes stand for and against."""
    support = sum([len(vote.supporters) for vote in votes.votes])
    return support, sum([len(vote.opposers) for vote in votes.votes])


def _logit(part: float) -> float:
    return math.log(part) - math.log1p(-part)


def _probability(log_odds: float) -> float:
    """The inverse of `_logit`, for any finite number."""
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def _reliability(lean: float, reliability_max: float) -> float:
    return min(reliability_max, (1.0 + abs(lean)) / 2.0)


@lru_cache(maxsize=4096)
def _evidence(lean: float, reliability_max: float) -> float:
    """Log-odds that a witness adds; exactly the opposite for the opposite lean."""
    return math.copysign(_logit(_reliability(lean, reliability_max)), lean)


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
        return _plain(repr(value), 40)
    except ValueError:  # an integer of too many digits
        return f"a very large {type(value).__name__}"
