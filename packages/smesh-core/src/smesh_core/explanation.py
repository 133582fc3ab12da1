"""Explanations: every number behind the answer that a consensus policy gives, and what would change it.

The answer in an explanation is the policy's own, asked for anew; nothing is derived a second time. What surrounds it
(what each lineage added, which thresholds were met, how much is lacking) is read from the same votes.
"""

from __future__ import annotations

from operator import ge, gt, le
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from smesh_core.consensus import (
    ConsensusState,
    LogOdds,
    Majority,
    Quorum,
    evidence_of,
    leaning,
    logit,
    plain,
    reliability,
)
from smesh_core.weights import Vote

if TYPE_CHECKING:
    from smesh_core.consensus import ConsensusPolicy, Verdict
    from smesh_core.weights import Tally

__all__ = ["Condition", "Explanation", "Gap", "Share", "explain"]

_ROWS: Final = 20
_NAME_CHARS: Final = 24
_HOLDS: Final = {">=": ge, ">": gt, "<=": le}
_OPEN, _REACHED, _REJECTED = ConsensusState

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
        reliabilities = [reliability(lean, policy.reliability_max) for lean in added]
        added = [evidence_of(lean, policy.reliability_max) for lean in added]
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
        policy=plain(repr(policy), 200),
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
        lineages = leaning(votes, toward)
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
    needed = logit(policy.accept)
    reaching, rejecting = leaning(votes, _REACHED), leaning(votes, _REJECTED)
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
    return plain(lineage, _NAME_CHARS)


def _side(added: float) -> Side:
    return "for" if added > 0.0 else "against" if added < 0.0 else "neither"
