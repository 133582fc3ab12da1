"""What a simulation and a measurement have come to, as lines of text; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from smesh_cli.sketch import sparkline

if TYPE_CHECKING:
    from smesh_agent.workflows.bench import NetworkRow, Row
    from smesh_agent.workflows.bench import Report as BenchReport
    from smesh_agent.workflows.bench import Spread as Times
    from smesh_agent.workflows.resilience import Estimate
    from smesh_agent.workflows.resilience import Report as ResilienceReport
    from smesh_agent.workflows.resilience import Row as ResilienceRow
    from smesh_core.simulation import Report, Scenario, Spread

__all__ = ["Line", "of_bench", "of_resilience", "of_simulation", "title_of", "tried"]

_COLUMN: Final = 15
_SPARKS: Final = 50
_WHAT: Final = 46
"""Where the figures of a measurement begin."""


class Line(NamedTuple):
    """A line of a summary: a name at its edge, and what is said; `style` is that of the text, or of the name alone."""

    name: str = ""
    text: str = ""
    style: str = ""

    @property
    def indent(self) -> int:
        """Where the text begins, and goes on where it is wrapped."""
        return _COLUMN if self.name else 0


def of_simulation(report: Report, *, plain: bool = False) -> list[Line]:
    """A report; `plain` draws with ASCII alone."""
    scenario = report.scenario
    head, *said = title_of(report)
    lines = [Line("", head, "bold"), *(Line("", line) for line in said)]
    lines += [
        Line(),
        Line(
            "coverage",
            f"{_percent(report.coverage)} of the nodes on average; {_percent(report.coverage_min)} at least, "
            f"{_percent(report.coverage_max)} at most",
            "bold",
        ),
    ]
    if report.coverage_by_tick:
        spark = sparkline(report.coverage_by_tick, _SPARKS, plain=plain)
        top = _percent(max(report.coverage_by_tick))
        lines.append(Line("  over time", f"{spark} 0 to {top}"))
    sensed = f"{report.sensed:,} of the arrivals"
    lines += [
        Line("arrivals", f"{_many(report.arrivals, 'arrival')} of {_many(report.emitted, 'emitted signal')}"),
        Line("  after", _spread(report.arrival_ticks, scenario.tick_s, "nothing arrived")),
        Line("  hops", f"{report.hops_mean:.2f} on average, {report.hops_max} at most"),
        Line("  copies", f"{report.copies:,}, {report.copies_per_arrival:.2f} an arrival; {report.lost:,} lost"),
        Line("sensed", sensed),
        Line("  reinforced", f"{report.reinforced:,}"),
        Line("  inhibited", f"{report.inhibited:,}"),
        Line(
            "statements",
            ", ".join(f"{report.statements[state]:,} {state}" for state in ("reached", "rejected", "open")),
        ),
        Line("  reached", _spread(report.reached_ticks, scenario.tick_s, "none")),
        Line("digest", report.digest),
    ]
    return lines


def title_of(report: Report) -> list[str]:
    """What was simulated, in a few lines."""
    scenario = report.scenario
    ran = f"{report.tick:,}" if report.tick == scenario.ticks else f"{report.tick:,} of {scenario.ticks:,}"
    ticks = f"{ran} tick{'s' * (scenario.ticks != 1)} of {_number(scenario.tick_s)} s, seed {scenario.seed}"
    return [_network(report), _signals(scenario), "; ".join([ticks, *_troubles(scenario)])]


def _network(report: Report) -> str:
    kind = report.scenario.topology.replace("-", " ").capitalize()
    return (
        f"{kind} of {_many(report.scenario.nodes, 'node')}, {_many(report.hyphae, 'hypha', 'hyphae')}, "
        f"{_many(report.components, 'component')}"
    )


def _signals(scenario: Scenario) -> str:
    false = f", {_percent(scenario.false_share)} of them false" if scenario.false_share else ""
    return (
        f"{_many(scenario.signals, 'signal')}{false}; {scenario.decay} decay {_number(scenario.rate_per_s)}/s, "
        f"life {_number(scenario.ttl_s)} s, radius {_many(scenario.radius, 'hop')}"
    )


def _troubles(scenario: Scenario) -> list[str]:
    begin, end = scenario.ticks // 4, 3 * scenario.ticks // 4
    said = []
    if scenario.failing:
        said.append(f"{_percent(scenario.failing)} of the nodes down from tick {begin:,} to {end:,}")
    if scenario.partitioned:
        said.append(f"{_percent(scenario.partitioned)} of the nodes cut off from tick {begin:,} to {end:,}")
    return said


def _spread(spread: Spread | None, tick_s: float, nothing: str) -> str:
    """Ages in seconds, and in ticks."""
    if spread is None:
        return nothing
    ages = [spread.p50, spread.p90, spread.p99, float(spread.last)]
    parts = zip(("half", "90%", "99%", "all"), ages, strict=True)
    seconds = ", ".join(f"{part} within {_number(age * tick_s)} s" for part, age in parts)
    return f"{seconds} ({', '.join(map(_number, ages[:-1]))} and {_number(ages[-1])} ticks)"


# ---- a measurement


def of_bench(report: BenchReport) -> list[Line]:
    """A measurement, as tables with a unit in every row."""
    machine = report.machine
    loaded = f"loaded in {report.load_s:.1f} s" + (
        ", compiling included" if report.is_compiled else ", already compiled"
    )
    engine = f"{report.engine} engine, {loaded}" if report.load_s else f"{report.engine} engine"
    lines = [
        Line("", f"{machine.cpu}, {_many(machine.cores, 'usable core')}", "bold"),
        Line("", f"{machine.python} on {machine.platform}"),
        Line("", f"NumPy {machine.numpy}, " + (f"numba {machine.numba}; " if machine.numba else "no numba; ") + engine),
        Line(
            "", "Median and middle half of the repeats, after one that does not count; loading is in no figure.", "dim"
        ),
    ]
    if report.signals:
        lines += [Line(), Line("", _SIGNAL_HEAD, "bold"), *(Line("", _signal_row(row)) for row in report.signals)]
    if report.networks:
        lines += [Line(), Line("", _NETWORK_HEAD, "bold"), *(Line("", _network_row(row)) for row in report.networks)]
        threads = max(row.threads for row in report.networks)
        where = f"; {threads} threads from 10,000 nodes on, else 1" if threads > 1 else ""
        said = f"Small worlds, degree 4; fresh signals before each repeat, not timed{where}."
        lines.append(Line("", said, "dim"))
    return [*lines, Line(), Line("", _note(report))]


_FIGURES_HEAD: Final = f"{'time':>10}  {'middle half':<20}{'plain Python':>12}  {'ratio':>6}"
_SIGNAL_HEAD: Final = f"{'per signal':<{_WHAT}}{_FIGURES_HEAD}"
_NETWORK_HEAD: Final = f"{'per tick of a network':<{_WHAT}}{_FIGURES_HEAD}{'per arrival':>13}"
_ORIGINAL: Final = {"create": "creating a signal", "reinforce": "reinforcing one", "tick": "a tick of 100 nodes"}


def _signal_row(row: Row) -> str:
    return f"{row.what:<{_WHAT}}{_figures(row.ours, row.baseline, row.ratio)}"


def _network_row(row: NetworkRow) -> str:
    how = "a call each" if row.how == "calls" else "one call"
    what = f"{row.nodes:,} nodes, {row.signals:,} signals, {how}"
    return f"{what:<{_WHAT}}{_figures(row.tick, row.baseline, row.ratio)}{_time(row.arrival_ns):>13}"


def _figures(ours: Times, baseline: Times | None, ratio: float | None) -> str:
    half = f"{_time(ours.low_ns)} to {_time(ours.high_ns)}"
    plain = _time(baseline.median_ns) if baseline else "-"
    return f"{_time(ours.median_ns):>10}  {half:<20}{plain:>12}  {_ratio(ratio) if ratio else '-':>6}"


def _note(report: BenchReport) -> str:
    """Where this stands beside what the original in Rust says of itself."""
    ours = {row.name: row.ours.median_ns for row in report.signals}
    for network in report.networks:
        if network.nodes == 100 and network.how == "calls":
            ours["tick"] = network.tick.median_ns
    behind: list[str] = []
    ahead: list[str] = []
    for name, what in _ORIGINAL.items():
        if name in ours:
            theirs = report.original_ns[name]
            times = max(ours[name], theirs) / min(ours[name], theirs)
            (behind if ours[name] > theirs else ahead).append(f"{what} {_ratio(times)} ({_time(theirs)} there)")
    parts = [f"{side}: {', '.join(named)}" for side, named in (("behind it", behind), ("ahead of it", ahead)) if named]
    return f"The original in Rust, by its own figures from another machine: {'; '.join(parts) or 'nothing to compare'}."


# ---- a sweep of attacks


def of_resilience(report: ResilienceReport) -> list[Line]:
    """What attacks did: where systems break, what they came to at the largest extent, and where defences are behind."""
    lines = [Line("", tried(report), "bold")]
    if not report.rows:
        return [*lines, Line(), Line("", "No seed is complete; there is nothing to report.")]
    for topology in report.plan.topologies:
        lines += _breaking(report, topology)
        for attack in report.plan.attacks:
            lines += _worst(report, topology, attack)
    return lines + _behind(report)


def tried(report: ResilienceReport) -> str:
    """What was tried, in a line."""
    plan = report.plan
    seeds = f"{report.seeds:,}" if report.seeds == plan.seeds else f"{report.seeds:,} of {plan.seeds:,}"
    return (
        f"{_many(len(plan.attacks), 'attack')} on networks of {plan.nodes:,} nodes, {seeds} seeds from "
        f"{plan.first_seed}; {_many(plan.rounds, 'round')} of {plan.ticks:,} ticks"
    )


_SYSTEM_COLUMN: Final = 14


def _breaking(report: ResilienceReport, topology: str) -> list[Line]:
    at = {(one.attack, one.system): one.fraction for one in report.breaks if one.topology == topology}
    systems = list(dict.fromkeys(system for _, system in at))
    widths = {attack: max(8, len(attack)) + 2 for attack in report.plan.attacks}
    head = f"{topology.replace('-', ' '):<{_SYSTEM_COLUMN}}" + "".join(
        f"{name:>{width}}" for name, width in widths.items()
    )
    lines = [
        Line(),
        Line(
            "",
            f"Breaks where fewer than {report.bar:.0%} of the verdicts are right; - holds at all extents tried",
            "dim",
        ),
        Line("", head, "bold"),
    ]
    for system in systems:
        cells = (f"{_extent(at[attack, system]):>{width}}" for attack, width in widths.items())
        lines.append(Line("", f"{system:<{_SYSTEM_COLUMN}}{''.join(cells)}"))
    return lines


def _extent(fraction: float | None) -> str:
    return "-" if fraction is None else "always" if fraction == 0 else f"at {fraction:.0%}"


def _worst(report: ResilienceReport, topology: str, attack: str) -> list[Line]:
    """All systems under the largest extent of one attack."""
    fraction = max(report.plan.fractions)
    rows = [row for row in report.rows if (row.topology, row.attack, row.fraction) == (topology, attack, fraction)]
    title = f"{attack}, {fraction:.0%}"
    head = f"{title:<26}{'right':>12}{'fooled':>12}{'coverage':>12}{'ticks to it':>14}{'copies':>10}"
    return [Line(), Line("", head, "bold"), *(Line("", _system(row)) for row in rows)]


def _system(row: ResilienceRow) -> str:
    time = "-" if row.ticks_to_right is None else f"{row.ticks_to_right.mean:.1f} ±{row.ticks_to_right.half:.1f}"
    shares = "".join(f"{_share(one):>12}" for one in (row.accuracy, row.fooled, row.coverage))
    return f"{row.system:<26}{shares}{time:>14}{row.copies.mean:>10,.0f}"


def _share(one: Estimate) -> str:
    return f"{one.mean:.0%} ±{one.half * 100:.0f}"


def _behind(report: ResilienceReport) -> list[Line]:
    """Where a defended system is surely behind some baseline, and at which extent it is furthest."""
    lines = [
        Line(),
        Line("", "Behind a baseline, in points of right verdicts, with the 95% interval all below 0", "bold"),
    ]
    if not report.behind:
        return [*lines, Line("", "Nowhere.")]
    groups: dict[tuple[str, str, str], list[str]] = {}
    for (topology, system, attack, _), one in report.furthest_behind().items():
        points = f"{-100 * one.accuracy.mean:.1f}"
        said = f"{points} behind {one.baseline}" + (f" at {one.fraction:.0%}" if one.fraction else "")
        groups.setdefault((system, attack, topology), []).append(said)
    for (system, attack, topology), cells in groups.items():
        where = f" on {topology}" if len(report.plan.topologies) > 1 else ""
        lines.append(Line(system, f"{'no attack' if attack == 'none' else attack}{where}: {', '.join(cells)}"))
    return lines


def _ratio(times: float) -> str:
    return f"{times:,.0f}x" if times >= 99.5 else f"{times:.1f}x" if times >= 0.95 else f"{times:.2f}x"


def _time(nanoseconds: float) -> str:
    """With three figures, and a unit."""
    for unit, size in (("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        scaled = nanoseconds / size
        if scaled < 999.5 or unit == "s":
            break
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:,.{digits}f} {unit}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.01 or share == 0 else f"{share * 100:.2g}%"


def _number(number: float) -> str:
    """As short as it can be read."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def _many(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
