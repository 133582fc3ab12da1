"""Decisions: which of n competing statements a swarm has chosen, read from the votes about each of them.

`consensus` answers for one statement by itself. Here the statements are **alternatives**: at most one can be chosen, so
support for one is also a reason against the others. How strong a reason is the strength of **cross-inhibition**, after
the stop signals that scouts of a honeybee swarm give to the scouts of rival sites (Seeley, Visscher, Schlegel, Hogan,
Franks, Marshall: Stop signals provide cross inhibition in collective decision-making by honeybee swarms, Science 335,
2012). Alternative a has

    net(a) = support(a) - oppose(a) - cross_inhibition · Σ_{b≠a} support(b)

and is chosen when its support is enough, comes from enough lineages, its net is above 0, and above every other's. With
a cross-inhibition of 0 that is a plurality with a threshold; with 1 it is an absolute majority of all support, less
the opposition; above 1 more than a majority is needed. `house_hunting` shows the dynamics; this only reads.

**One vote, however many alternatives.** The tallies of the alternatives are made one by one, so a lineage that supports
k of them has a whole vote in each. Its votes are scaled so that they come to no more than its weight w, the most that
it weighs in any one tally:

    support(lineage, a) · min(1, w / Σ_b support(lineage, b))

A node that supports k alternatives so gives each an even k-th of its vote. The same holds, separately, for what it
opposes: to support one alternative and to oppose another do not compete, but objecting to everything is one objection.

**A tie is no decision.** Nets that are no further apart than rounding are equal, and of equals none is chosen. The
answer is a function of the tallies: it does not depend on the order of alternatives, votes or arrival.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from smesh_core.errors import InvalidSignalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smesh_core.weights import Tally

__all__ = ["BestOfN", "Decision", "Requirement", "Standing"]

TIE: Final = 1e-9
"""Votes; what rounding may make of equal sums is far less, and what a node may weigh that counts is far more."""
_ROWS: Final = 20


class Standing(msgspec.Struct, frozen=True):
    """How one alternative stands, in votes.

    Attributes:
        statement: its id.
        support: weight behind it, after lineages that support several were divided.
        oppose: weight against it, likewise.
        cross_inhibition: what the support of its rivals takes from it.
        net: support less opposition and cross-inhibition.
        lineages: how many lineages are more for it than against it.
    """

    statement: bytes
    support: float
    oppose: float
    cross_inhibition: float
    net: float
    lineages: int


class Requirement(msgspec.Struct, frozen=True):
    """One thing that a choice needs, asked of the alternative that stands first.

    Attributes:
        what: what is asked.
        value: how much there is of it.
        relation: ``>=`` or ``>``.
        bound: how much there must be.
        holds: whether there is.
    """

    what: str
    value: float
    relation: str
    bound: float
    holds: bool


class Decision(msgspec.Struct, frozen=True):
    """What was chosen, if anything, and every number behind it; `str` of it is a table for a person.

    Attributes:
        chosen: id of the chosen statement, or None.
        margin: how far the net of the first is above that of the second; above 0 where it is the only one.
        standings: all alternatives, highest net first, then by id.
        requirements: what was asked of the first; it is chosen where all hold. Empty where there is no alternative.
    """

    chosen: bytes | None
    margin: float
    standings: tuple[Standing, ...]
    requirements: tuple[Requirement, ...]

    @property
    def reason(self) -> str:
        """Why this was decided, or what is missing, in one line of numbers."""
        if not self.standings:
            return "no alternatives"
        asked = [r for r in self.requirements if self.chosen is not None or not r.holds]
        return ", ".join(f"{r.what} {r.value:.6g} {'' if r.holds else 'not '}{r.relation} {r.bound:.6g}" for r in asked)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, rows: int = _ROWS) -> list[str]:
        """The decision as plain text: at most `rows` alternatives, those that stand first."""
        chosen = "nothing chosen" if self.chosen is None else f"chosen: {self.chosen.hex()[:16]}"
        lines = [f"{chosen}; {self.reason}"]
        lines.append(f"  {'alternative':<16}{'for':>10}{'against':>10}{'rivals':>10}{'net':>10}{'lineages':>10}")
        for standing in self.standings[: max(0, rows)]:
            numbers = (standing.support, standing.oppose, standing.cross_inhibition, standing.net)
            columns = "".join(f"{number:>10.3f}" for number in numbers)
            lines.append(f"  {standing.statement.hex()[:16]:<16}{columns}{standing.lineages:>10}")
        if len(self.standings) > max(0, rows):
            lines.append(f"  and {len(self.standings) - max(0, rows):,} more alternatives")
        return lines


class BestOfN(msgspec.Struct, frozen=True, kw_only=True):
    """How votes about competing statements become a choice; a pure function of them.

    Attributes:
        weight: votes of support that the chosen alternative needs; above 0.
        lineages: separate lineages that it needs; at least 1.
        cross_inhibition: how much a vote for a rival counts against an alternative, in [0, 1000]; 1 asks for an
            absolute majority.
        margin: votes by which its net must be above every other's, at least 0; whatever it is, a tie is no decision.

    Raises:
        InvalidSignalError: a bound is not a number in range.
    """

    weight: float = 2.0
    lineages: int = 2
    cross_inhibition: float = 0.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.weight, self.cross_inhibition, self.margin)
        if not (
            all(isinstance(number, (int, float)) for number in numbers)
            and 0.0 < self.weight < math.inf
            and 0.0 <= self.cross_inhibition <= 1000.0
            and 0.0 <= self.margin < math.inf
        ):
            raise InvalidSignalError(
                "a best-of-n choice takes a finite weight above 0, a cross_inhibition in [0, 1000] and a finite margin "
                "of 0 or more"
            )
        if not (type(self.lineages) is int and self.lineages >= 1):
            raise InvalidSignalError("a best-of-n choice takes an int of 1 lineage or more")

    def read(self, tallies: Mapping[bytes, Tally]) -> Decision:
        """What these votes choose.

        Args:
            tallies: the votes about each alternative by its statement's id, all made for one observer at one moment.
        """
        standings = self._standings(tallies)
        if not standings:
            return Decision(None, 0.0, (), ())
        first = standings[0]
        margin = first.net - (standings[1].net if len(standings) > 1 else 0.0)
        requirements = [
            Requirement("support", first.support, ">=", self.weight, first.support >= self.weight - TIE),
            Requirement("lineages", first.lineages, ">=", self.lineages, first.lineages >= self.lineages),
            Requirement("net", first.net, ">", 0.0, first.net > TIE),
            Requirement("margin", margin, ">", 0.0, margin > TIE),
        ]
        if self.margin:
            requirements.append(Requirement("margin", margin, ">=", self.margin, margin >= self.margin - TIE))
        is_chosen = all(requirement.holds for requirement in requirements)
        return Decision(first.statement if is_chosen else None, margin, standings, tuple(requirements))

    def _standings(self, tallies: Mapping[bytes, Tally]) -> tuple[Standing, ...]:
        """All alternatives, highest net first, then by id."""
        scales = _scales(tallies)
        sums: list[tuple[bytes, float, float, int]] = []
        for statement, votes in tallies.items():
            supports, opposes, lineages = [], [], 0
            for vote in votes.votes:
                scale_for, scale_against = scales.get(vote.lineage, _WHOLE)
                support, oppose = vote.support * scale_for, vote.oppose * scale_against
                supports.append(support)
                opposes.append(oppose)
                lineages += support > oppose
            sums.append((statement, math.fsum(supports), math.fsum(opposes), lineages))
        everything = math.fsum([support for _, support, _, _ in sums])
        standings = []
        for statement, support, oppose, lineages in sums:
            inhibition = self.cross_inhibition * max(0.0, everything - support)
            net = math.fsum([support, -oppose, -inhibition])
            standings.append(Standing(statement, support, oppose, inhibition, net, lineages))
        return tuple(sorted(standings, key=lambda standing: (-standing.net, standing.statement)))


_WHOLE: Final = (1.0, 1.0)


def _scales(tallies: Mapping[bytes, Tally]) -> dict[str, tuple[float, float]]:
    """What a lineage's support, and its opposition, is multiplied by; only lineages with votes on several."""
    seen: dict[str, list[tuple[float, float]]] = {}
    for votes in tallies.values():
        for vote in votes.votes:
            seen.setdefault(vote.lineage, []).append((vote.support, vote.oppose))
    scales = {}
    for lineage, sides in seen.items():
        if len(sides) == 1:
            continue
        weight = max([support + oppose for support, oppose in sides])
        behind = math.fsum([support for support, _ in sides])
        against = math.fsum([oppose for _, oppose in sides])
        scales[lineage] = (min(1.0, weight / behind) if behind else 1.0, min(1.0, weight / against) if against else 1.0)
    return scales
