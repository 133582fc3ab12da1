"""What a sweep comes to: means over seeds with 95% intervals, what defences win, and where each system breaks.

Gains and leads are differences within a seed, so what seeds differ by does not widen their intervals. A system
**breaks** under an attack where its mean accuracy falls below a bar; the extent at which it does is read between the
two nearest that were tried, along a straight line. A defended system is **behind** a baseline where the whole interval
of the difference of their accuracies is below zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import smesh_core
from smesh_core.trials import BASELINES

from smesh_agent.workflows.resilience.estimate import Estimate, estimate
from smesh_agent.workflows.resilience.plan import SYSTEMS, Cell, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smesh_core.trials import Result

    from smesh_agent.workflows.resilience.journal import Done

__all__ = ["BAR", "SCHEMA", "Behind", "Break", "Report", "Row", "build"]

SCHEMA: Final = "smesh.resilience/1"
BAR: Final = 0.8
"""Accuracy under which a system counts as broken."""
COMPARED: Final = ("lineages", "trust", "all")
"""Systems that are compared with the baselines: what a field does by default, with trust, and with all there is."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one system came to in one cell.

    Attributes:
        attack: its name; `none` for the network left in peace.
        fraction: its extent.
        topology: its name.
        system: its name in `plan.SYSTEMS`.
        coverage: see `smesh_core.trials.Result`, as the next four.
        accuracy: of verdicts.
        fooled: false statements reached.
        suppressed: true statements rejected.
        copies: a statement.
        ticks_to_right: over the seeds in which any verdict was right; None where none was.
        accuracy_cost: accuracy less that of the same system without an attack, seed by seed.
        coverage_cost: likewise.
        accuracy_gain: accuracy less that of the undefended system in the same cell, seed by seed.
        coverage_gain: likewise.
    """

    attack: str
    fraction: float
    topology: str
    system: str
    coverage: Estimate
    accuracy: Estimate
    fooled: Estimate
    suppressed: Estimate
    copies: Estimate
    ticks_to_right: Estimate | None
    accuracy_cost: Estimate
    coverage_cost: Estimate
    accuracy_gain: Estimate
    coverage_gain: Estimate


class Break(msgspec.Struct, frozen=True):
    """Where a system breaks.

    Attributes:
        attack: under which attack.
        topology: on which topology.
        system: which system.
        fraction: at which extent, 0 where it does without an attack; None where it holds at all that were tried.
    """

    attack: str
    topology: str
    system: str
    fraction: float | None


class Behind(msgspec.Struct, frozen=True):
    """Where a defended system is less accurate than a baseline.

    Attributes:
        attack: under which attack.
        fraction: its extent.
        topology: on which topology.
        system: which system.
        baseline: than which.
        accuracy: its accuracy less the baseline's, seed by seed.
    """

    attack: str
    fraction: float
    topology: str
    system: str
    baseline: str
    accuracy: Estimate


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep came to.

    Attributes:
        schema: names this shape.
        core: version of smesh-core.
        plan: what was tried.
        interrupted: whether some of it was not.
        seeds: seeds of which every cell was tried; only these are counted.
        bar: accuracy under which a system counts as broken.
        breaks: by topology, attack and system.
        behind: where defended systems are less accurate than a baseline, those that are furthest behind first.
        rows: by topology, attack, extent and system, in the order of the plan.
    """

    schema: str
    core: str
    plan: Plan
    interrupted: bool
    seeds: int
    bar: float
    breaks: list[Break]
    behind: list[Behind]
    rows: list[Row]

    def furthest_behind(self) -> dict[tuple[str, str, str, str], Behind]:
        """By topology, system, attack and baseline, the extent at which the system is furthest behind."""
        found: dict[tuple[str, str, str, str], Behind] = {}
        for one in self.behind:  # those that are furthest behind come first
            found.setdefault((one.topology, one.system, one.attack, one.baseline), one)
        return found


def build(plan: Plan, done: Mapping[tuple[Cell, int], Done], *, bar: float = BAR) -> Report:
    """The report of what has been done of a plan; only seeds of which every cell has been tried are counted."""
    cells = plan.cells()
    wanted = range(plan.first_seed, plan.first_seed + plan.seeds)
    seeds = [seed for seed in wanted if all((cell, seed) in done for cell in cells)]
    found = {
        (cell, system): [done[cell, seed].results[system] for seed in seeds]
        for cell in (cells if seeds else [])
        for system in SYSTEMS
    }
    rows = [_row(cell, system, found) for cell, system in found]
    return Report(
        schema=SCHEMA,
        core=smesh_core.__version__,
        plan=plan,
        interrupted=len(seeds) < plan.seeds,
        seeds=len(seeds),
        bar=bar,
        breaks=_breaks(plan, rows, bar),
        behind=_behind(found),
        rows=rows,
    )


def _row(cell: Cell, system: str, found: Mapping[tuple[Cell, str], Sequence[Result]]) -> Row:
    ours = found[cell, system]
    calm = found[Cell("none", 0.0, cell.topology), system]
    bare = found[cell, "undefended"]

    def mean(read: Callable[[Result], float]) -> Estimate:
        return estimate([read(one) for one in ours])

    times = [one.ticks_to_right for one in ours if one.ticks_to_right is not None]
    return Row(
        attack=cell.attack,
        fraction=cell.fraction,
        topology=cell.topology,
        system=system,
        coverage=mean(_coverage),
        accuracy=mean(_accuracy),
        fooled=mean(lambda one: one.fooled),
        suppressed=mean(lambda one: one.suppressed),
        copies=mean(lambda one: one.copies),
        ticks_to_right=estimate(times) if times else None,
        accuracy_cost=_difference(ours, calm, _accuracy),
        coverage_cost=_difference(ours, calm, _coverage),
        accuracy_gain=_difference(ours, bare, _accuracy),
        coverage_gain=_difference(ours, bare, _coverage),
    )


def _accuracy(one: Result) -> float:
    return one.accuracy


def _coverage(one: Result) -> float:
    return one.coverage


def _difference(ours: Sequence[Result], others: Sequence[Result], read: Callable[[Result], float]) -> Estimate:
    """Of two systems or cells, seed by seed."""
    return estimate([read(one) - read(other) for one, other in zip(ours, others, strict=True)])


def _breaks(plan: Plan, rows: Sequence[Row], bar: float) -> list[Break]:
    at = {(row.topology, row.attack, row.fraction, row.system): row.accuracy.mean for row in rows}
    found: list[Break] = []
    for topology in plan.topologies if rows else ():
        for attack in plan.attacks:
            for system in SYSTEMS:
                points = [(0.0, at[topology, "none", 0.0, system])]
                points += [(fraction, at[topology, attack, fraction, system]) for fraction in sorted(plan.fractions)]
                found.append(Break(attack, topology, system, _crossing(points, bar)))
    return found


def _crossing(points: Sequence[tuple[float, float]], bar: float) -> float | None:
    """Where a line through these points first falls below the bar; None if it never does."""
    (before, above), *others = points
    if above < bar:
        return before
    for fraction, accuracy in others:
        if accuracy < bar:
            return before + (fraction - before) * (above - bar) / (above - accuracy)
        before, above = fraction, accuracy
    return None


def _behind(found: Mapping[tuple[Cell, str], Sequence[Result]]) -> list[Behind]:
    entries = [
        Behind(cell.attack, cell.fraction, cell.topology, system, baseline, lead)
        for cell in dict.fromkeys(cell for cell, _ in found)
        for system in COMPARED
        for baseline in BASELINES
        if (lead := _difference(found[cell, system], found[cell, baseline], _accuracy)).high < 0.0
    ]
    return sorted(entries, key=lambda one: one.accuracy.mean)
