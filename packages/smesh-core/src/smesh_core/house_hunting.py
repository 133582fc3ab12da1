"""House hunting: a simulated swarm that chooses among sites of different quality, with a field and no controller.

A swarm of honeybees sends scouts to find a home. A scout that found a site advertises it, others are recruited and
look for themselves, advertising ends sooner for a poor site, and scouts of one site stop those of another (Seeley et
al. 2012). The mean-field model of Pais, Hogan, Schlegel, Franks, Leonard, Marshall (A mechanism for value-sensitive
decision-making, PLoS ONE 8, 2013) has, for the parts `a_i` of the swarm that are committed to site i of quality `q_i`
and the part `u` that is not committed,

    da_i/dt = γ q_i u + ρ q_i a_i u - α a_i / q_i - σ a_i Σ_{j≠i} a_j

with rates of discovery γ, recruitment ρ, abandonment α and cross-inhibition σ. Between equal sites there is a deadlock
while σ is under a critical strength; above it the swarm falls to one side, at random. Here each scout is an agent, and
all that it knows of the others it reads from a real `Field`:

* a site is a correlatable statement, first said by the scout that discovers it;
* to commit is to support it, with a stance; and, where there is cross-inhibition, to oppose every rival that is known;
* to abandon or to be stopped is to withdraw;
* `a_i` above is the support that the field reads for i, divided by the scouts, and `Σ a_j` the opposition to i.

In each tick a scout meets with several hazards at once; some event comes with probability `1 - exp(-Σ hazards)`, and it
is one of them in proportion. All scouts sense the field as it was when the tick began. Randomness is a function of
(seed, tick, scout). The **decision** is what `BestOfN` reads from the field: as soon as a quorum of scouts supports one
site, more than oppose it and more than support another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from smesh_core import limits
from smesh_core.decision import BestOfN, Decision
from smesh_core.errors import InvalidSignalError
from smesh_core.field import Field
from smesh_core.rng import Stream, draw_unit, key
from smesh_core.signal import DecayCurve, Signal, node_id, subject
from smesh_core.weights import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from smesh_core.refs import Ref

__all__ = ["Hunt", "Hunts", "Interval", "Swarm", "hunt", "hunt_many", "mean_interval", "wilson_interval"]

SITES_MAX: Final = 64
SCOUTS_MAX: Final = 10_000
TICKS_MAX: Final = 100_000
RATE_MAX: Final = 1e6
NOBODY: Final = -1
Z_95: Final = 1.959963984540054
_TICK_NS: Final = 10**9
_WHETHER, _WHICH = 2**20, 2**20 + 1
"""What a draw is for, in the place of a signal's number; `simulation` uses the low ones."""


class Swarm(msgspec.Struct, frozen=True, kw_only=True):
    """The sites, the scouts, and how they behave; rates are per scout and tick.

    Attributes:
        qualities: of each site, in (0, 1]; 1 to 64 sites.
        scouts: 2 to 10,000.
        quorum: part of the scouts that must support the chosen site, in (0, 1].
        cross_inhibition: σ, hazard of being stopped where all the others oppose one's site; 0 for no stop signals.
        discovery: γ, hazard of finding a site of quality 1 by oneself.
        recruitment: ρ, hazard of being recruited to a site of quality 1 that all the others support.
        abandonment: α, hazard of giving up a site of quality 1; that of a site of quality q is α / q.
        ticks: after so many without a decision the hunt ends; 1 to 100,000.

    Raises:
        InvalidSignalError: a value is out of bounds.
    """

    qualities: tuple[float, ...]
    scouts: int = 100
    quorum: float = 0.7
    cross_inhibition: float = 1.0
    discovery: float = 0.03
    recruitment: float = 0.3
    abandonment: float = 0.03
    ticks: int = 200

    def __post_init__(self) -> None:
        sites = self.qualities
        if not (type(sites) is tuple and 1 <= len(sites) <= SITES_MAX and all(_is_in(q, 0.0, 1.0) for q in sites)):
            raise InvalidSignalError(f"a swarm takes the qualities of 1 to {SITES_MAX} sites, each in (0, 1]")
        if not (type(self.scouts) is int and 2 <= self.scouts <= SCOUTS_MAX):
            raise InvalidSignalError(f"a swarm takes 2 to {SCOUTS_MAX:,} scouts")
        if not (type(self.ticks) is int and 1 <= self.ticks <= TICKS_MAX):
            raise InvalidSignalError(f"a swarm takes 1 to {TICKS_MAX:,} ticks")
        if not _is_in(self.quorum, 0.0, 1.0):
            raise InvalidSignalError("a swarm takes a quorum in (0, 1], as a part of its scouts")
        for name in ("cross_inhibition", "discovery", "recruitment", "abandonment"):
            rate = getattr(self, name)
            if not (rate == 0 or _is_in(rate, 0.0, RATE_MAX)):
                raise InvalidSignalError(f"{name} takes a rate in [0, {RATE_MAX:g}] a tick")


class Hunt(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        seed: of its randomness.
        site: index of the chosen site, or None.
        ticks: ticks until the decision, or until the hunt ended.
        decision: what was read from the field at the end.
        counts: scouts that the field reads as supporting each site, at the start of each tick and at the end;
            ticks + 1 rows of one number a site.
    """

    seed: int
    site: int | None
    ticks: int
    decision: Decision
    counts: tuple[tuple[int, ...], ...]


class Interval(msgspec.Struct, frozen=True):
    """An estimate and its 95% confidence interval."""

    estimate: float
    low: float
    high: float


class Hunts(msgspec.Struct, frozen=True, kw_only=True):
    """What many runs of one swarm came to.

    Attributes:
        swarm: what was run.
        runs: how many.
        chosen: how often each site was chosen.
        undecided: runs that ended with no decision.
        decided: part of the runs with a decision; Wilson interval.
        accuracy: part of the decisions that are for a best site; Wilson interval; None where there were none.
        ticks_median: median of ticks to decision, where a run without one took longer than any; None where that is it.
        ticks_mean: mean over the runs with a decision, with Student's interval; None where there were fewer than two.
    """

    swarm: Swarm
    runs: int
    chosen: tuple[int, ...]
    undecided: int
    decided: Interval
    accuracy: Interval | None
    ticks_median: float | None
    ticks_mean: Interval | None


def hunt(swarm: Swarm, seed: int) -> Hunt:
    """Let a swarm choose once."""
    scouting = _Scouting(swarm)
    policy = BestOfN(weight=swarm.quorum * swarm.scouts, lineages=1)
    ticks = np.arange(swarm.ticks)
    keys = key(seed, Stream.SCENARIO, ticks, _WHETHER), key(seed, Stream.SCENARIO, ticks, _WHICH)
    scouts = np.arange(swarm.scouts)
    history = []
    for tick in range(swarm.ticks + 1):
        tallies = scouting.read(tick)
        counts = tuple(int(tallies[site].support) if site in tallies else 0 for site in scouting.statements)
        history.append(counts)
        is_last = tick == swarm.ticks
        # No smaller support is ever chosen, so the policy need not be asked.
        if is_last or max(counts) >= policy.weight - 1.0:
            decision = policy.read(tallies)
            if is_last or decision.chosen is not None:
                break
        whether, which = draw_unit(keys[0][tick], scouts), draw_unit(keys[1][tick], scouts)
        scouting.act(tick, tallies, whether, which)
    site = None if decision.chosen is None else scouting.statements.index(decision.chosen)
    return Hunt(seed, site, tick, decision, tuple(history))


def hunt_many(swarm: Swarm, seeds: Iterable[int]) -> Hunts:
    """Let a swarm choose once for each seed.

    Raises:
        InvalidSignalError: there are no seeds.
    """
    hunts = [hunt(swarm, seed) for seed in seeds]
    if not hunts:
        raise InvalidSignalError("many hunts take at least one seed")
    best = max(swarm.qualities)
    ended = [run for run in hunts if run.site is not None]
    chosen = tuple(sum(run.site == site for run in ended) for site in range(len(swarm.qualities)))
    right = sum(count for count, quality in zip(chosen, swarm.qualities, strict=True) if quality == best)
    times = [float(run.ticks) for run in ended]
    return Hunts(
        swarm=swarm,
        runs=len(hunts),
        chosen=chosen,
        undecided=len(hunts) - len(ended),
        decided=wilson_interval(len(ended), len(hunts)),
        accuracy=wilson_interval(right, len(ended)) if ended else None,
        ticks_median=_median([*times, *[math.inf] * (len(hunts) - len(ended))]),
        ticks_mean=mean_interval(times) if len(times) > 1 else None,
    )


class _Scouting:
    """One hunt under way: the field, and of each scout the site that it is committed to, which only it knows."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.field = Field()
        self.qualities = np.array(swarm.qualities)
        self.scouts = [node_id(f"scout {number}") for number in range(swarm.scouts)]
        self.sites = np.full(swarm.scouts, NOBODY)
        self.signals = [
            Signal(
                author=self.scouts[0],
                seq=1,
                created_at_ns=0,
                subject=subject("site", str(site)),
                ttl_ns=min((swarm.ticks + 1) * _TICK_NS, limits.TTL_MAX_NS),
                confidence=quality,
                decay=DecayCurve.STEP,
            )
            for site, quality in enumerate(swarm.qualities)
        ]
        self.statements = [signal.statement for signal in self.signals]
        self.refs: dict[int, Ref] = {}

    def read(self, tick: int) -> dict[bytes, Tally]:
        """The votes that the field reads about each site that somebody has found."""
        tallies = {}
        for site, ref in self.refs.items():
            verdict = self.field.verdict(ref, tick * _TICK_NS)
            tallies[self.statements[site]] = Tally(verdict.votes, verdict.support, verdict.oppose)
        return tallies

    def act(
        self, tick: int, tallies: dict[bytes, Tally], whether: NDArray[np.float64], which: NDArray[np.float64]
    ) -> None:
        """Let every scout act on what it senses; `whether` and `which` are its two draws."""
        swarm, others = self.swarm, self.swarm.scouts - 1
        sensed = [tallies.get(statement) for statement in self.statements]
        support = np.array([0.0 if votes is None else votes.support for votes in sensed])
        oppose = np.array([0.0 if votes is None else votes.oppose for votes in sensed])
        drawing = self.qualities * (swarm.discovery + swarm.recruitment * support / others)
        leaving = swarm.abandonment / self.qualities + swarm.cross_inhibition * oppose / others
        hazards = np.where(self.sites == NOBODY, drawing.sum(), leaving[self.sites])
        moving = np.flatnonzero(whether < -np.expm1(-hazards))
        into = np.searchsorted(np.cumsum(drawing)[:-1], which * drawing.sum(), side="right")
        for scout in moving.tolist():
            if self.sites[scout] == NOBODY:
                self._commit(scout, int(into[scout]), tick * _TICK_NS)
            else:
                self._abandon(scout, tick * _TICK_NS)

    def _commit(self, scout: int, site: int, now_ns: int) -> None:
        """Say what site it has found, or support what others have said of it, and oppose the rivals."""
        by = self.scouts[scout]
        self.sites[scout] = site
        is_found_now = site not in self.refs
        if is_found_now:
            said = msgspec.structs.replace(
                self.signals[site], author=by, seq=self.field.next_seq(by), created_at_ns=now_ns
            )
            self.refs[site] = self.field.emit(said)
        else:
            self.field.reinforce(self.refs[site], by=by, now_ns=now_ns)
        if self.swarm.cross_inhibition:
            for rival, ref in self.refs.items():
                if rival != site:
                    self.field.inhibit(ref, by=by, now_ns=now_ns)
            if is_found_now:
                for other in np.flatnonzero((self.sites != NOBODY) & (self.sites != site)).tolist():
                    self.field.inhibit(self.refs[site], by=self.scouts[other], now_ns=now_ns)

    def _abandon(self, scout: int, now_ns: int) -> None:
        """Take back what it said of its site and of the rivals."""
        site = self.sites[scout]
        self.sites[scout] = NOBODY
        for other, ref in self.refs.items():
            if other == site or self.swarm.cross_inhibition:
                self.field.withdraw(ref, by=self.scouts[scout], now_ns=now_ns)


# ---- statistics


def wilson_interval(successes: int, trials: int) -> Interval:
    """A proportion with its 95% interval (Wilson: Probable inference, JASA 22, 1927).

    Raises:
        InvalidSignalError: there were no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or not trials:
        raise InvalidSignalError("a proportion takes 1 trial or more, and no more successes than trials")
    part, square = successes / trials, Z_95 * Z_95 / trials
    middle = (part + square / 2.0) / (1.0 + square)
    reach = Z_95 / (1.0 + square) * math.sqrt(part * (1.0 - part) / trials + square / (4.0 * trials))
    # At either end the bound is the end itself, which rounding would miss.
    low = 0.0 if successes == 0 else max(0.0, middle - reach)
    return Interval(part, low, 1.0 if successes == trials else min(1.0, middle + reach))


def mean_interval(sample: list[float]) -> Interval:
    """A mean with its 95% interval by Student's t.

    The quantile is the expansion in 1/ν of Abramowitz and Stegun 26.7.5, within 1% from 5 values on, and too short
    below that.

    Raises:
        InvalidSignalError: there are fewer than two values.
    """
    if len(sample) < 2:
        raise InvalidSignalError("an interval for a mean takes 2 values or more")
    mean, freedom = math.fsum(sample) / len(sample), len(sample) - 1
    variance = math.fsum([(value - mean) ** 2 for value in sample]) / freedom
    z = Z_95
    quantile = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    quantile += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    reach = quantile * math.sqrt(variance / len(sample))
    return Interval(mean, mean - reach, mean + reach)


def _median(times: list[float]) -> float | None:
    """The middle of the times; None where it lies with a run that took for ever."""
    ordered = sorted(times)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0
    return middle if math.isfinite(middle) else None


def _is_in(value: object, above: float, to: float) -> bool:
    return isinstance(value, (int, float)) and above < value <= to
