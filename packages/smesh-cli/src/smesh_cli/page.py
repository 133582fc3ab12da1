"""`smesh resilience --html`: the report as one page, with no script and no font of its own, that fetches nothing.

Curves are drawn as SVG in the page. What comes from a name is escaped; the same report gives the same bytes.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

from smesh_agent.workflows.resilience import SYSTEMS

from smesh_cli.summaries import tried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from smesh_agent.workflows.resilience import Behind, Break, Estimate, Report, Row

__all__ = ["MEASURES", "STYLES", "Measure", "Style", "page"]


class Style(NamedTuple):
    """How the curve of a system is drawn: a colour (after Okabe and Ito), and dashes for baselines."""

    colour: str
    dashes: tuple[int, ...] = ()


STYLES: Final = {
    "undefended": Style("#8c8c8c"),
    "inhibition": Style("#56b4e9"),
    "lineages": Style("#009e73"),
    "roster": Style("#e69f00"),
    "trust": Style("#cc79a7"),
    "all": Style("#0072b2"),
    "majority": Style("#d55e00", (6, 3)),
    "central": Style("#a05000", (2, 3)),
    "flooding": Style("#9a8a00", (8, 3, 2, 3)),
    "best-witness": Style("#707070", (1, 3)),
}


class Measure(NamedTuple):
    """What a curve shows: its name, how to read it from a row, and whether it is a share of 1."""

    name: str
    read: Callable[[Row], Estimate | None]
    is_share: bool = True


MEASURES: Final = (
    Measure("verdicts that are right", lambda row: row.accuracy),
    Measure("false statements that were reached", lambda row: row.fooled),
    Measure("coverage: who sensed what is true", lambda row: row.coverage),
    Measure("ticks until a right verdict", lambda row: row.ticks_to_right, is_share=False),
)

_WIDTH, _HEIGHT = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 10, 34
_APART: Final = 1.1
"""Between the curves of two systems at one extent, so that their intervals can be told apart."""
_MARKS: Final = 4
_WHAT: Final = {
    "spam": "Insiders fill the field with signals that say nothing true. The extent is their part of the nodes.",
    "false-reinforcement": "Insiders support whatever reaches them, and make false statements of their own.",
    "sybil": "One insider makes up nodes that support its lies and oppose the rest; the extent is their part of all.",
    "eclipse": "Outsiders take hyphae of a tenth of the nodes; the extent is the part of those hyphae that they take. "
    "Coverage is that of the victims.",
    "silence": "Insiders neither relay nor take stances.",
    "collusion": "Insiders support each other's lies and oppose the rest.",
    "poisoning": "Insiders behave well until the last round, when they are trusted, and collude in it.",
}
_SYSTEMS: Final = {
    "undefended": "a quorum that hears support alone",
    "inhibition": "opposition is heard too; so do all below",
    "lineages": "what is known to belong together counts once: the default of a field",
    "roster": "insiders alone have a vote",
    "trust": "judgements move trust, which weighs words and relaying",
    "all": "lineages, roster and trust together",
    "majority": "baseline: heads are counted, on the same network",
    "central": "baseline: a queue at one node, which counts heads and answers everybody",
    "flooding": "baseline: everything is sent everywhere",
    "best-witness": "baseline: the one honest node that was right most often, known only afterwards",
}
_ORDER: Final = {system: place for place, system in enumerate(SYSTEMS)}
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5c5c5c; --line: #d9d9d9; --paper: #fff; --bad: #fbe3da;
  --good: #def2e9; }
@media (prefers-color-scheme: dark) { :root { --ink: #eaeaea; --soft: #a8a8a8; --line: #444; --paper: #161616;
  --bad: #4a2418; --good: #123a2b; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.3rem; margin: 2.5rem 0 .3rem; }
h3 { font-size: 1.05rem; margin: 2rem 0 .2rem; }
p { max-width: 46rem; } .soft, figcaption { color: var(--soft); margin-top: .2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td.name { text-align: left; font-weight: normal; }
td.bad { background: var(--bad); } td.good { background: var(--good); }
summary { cursor: pointer; color: var(--soft); }
.legend { columns: 2 24rem; margin: 1rem 0 .4rem; padding: 0; list-style: none; }
.legend li { break-inside: avoid; padding-left: 2.8rem; position: relative; }
.legend svg { width: 2.2rem; height: .8rem; position: absolute; left: 0; top: .35rem; }
"""


def page(report: Report) -> str:
    """The whole page."""
    said = f"{tried(report)}; smesh-core {report.core}. Bars are 95% intervals of the mean over seeds."
    parts = [
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>SMESH under attack</title>",
        f'<meta name=viewport content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<h1>SMESH under attack</h1><p class=soft>{escape(said)}</p>",
    ]
    if report.interrupted:
        parts.append(f"<p><strong>Stopped early: {report.seeds:,} of {report.plan.seeds:,} seeds.</strong></p>")
    if report.rows:
        parts += [_legend(), *(_breaking(report, topology) for topology in report.plan.topologies)]
        parts += [_behind(report), *(_topology(report, topology) for topology in report.plan.topologies)]
    else:
        parts.append("<p>No seed is complete; there is nothing to report.</p>")
    return "\n".join([*parts, "</body></html>\n"])


def _legend() -> str:
    entries = []
    for system, said in _SYSTEMS.items():
        line = f"<line x1=0 x2=36 y1=6 y2=6 {_stroke(system)} />"
        entries.append(f'<li><svg viewBox="0 0 36 12">{line}</svg><b>{escape(system)}</b> {escape(said)}</li>')
    return (
        f"<ul class=legend>{''.join(entries)}</ul>"
        "<p class=soft>Curves that coincide hide one another: the one further down in this list is on top.</p>"
    )


def _stroke(system: str) -> str:
    style = STYLES[system]
    dashes = f' stroke-dasharray="{" ".join(map(str, style.dashes))}"' if style.dashes else ""
    return f'stroke="{style.colour}" stroke-width="{3 if system == "all" else 1.8}"{dashes}'


def _breaking(report: Report, topology: str) -> str:
    breaks = [one for one in report.breaks if one.topology == topology]
    return (
        f"<h2>Breaking points, {_named(topology)}</h2>"
        f"<p class=soft>The extent at which fewer than {report.bar:.0%} of the verdicts are right: reached where a "
        "statement is true, rejected where it is false; open is not right. A dash: it holds at all extents that were "
        f"tried, up to {max(report.plan.fractions):.0%}.</p>{_break_table(breaks)}"
    )


def _break_table(breaks: Sequence[Break]) -> str:
    attacks = list(dict.fromkeys(one.attack for one in breaks))
    at = {(one.attack, one.system): one.fraction for one in breaks}
    return _table(attacks, ((system, [_break_cell(at[attack, system]) for attack in attacks]) for system in SYSTEMS))


def _break_cell(fraction: float | None) -> str:
    if fraction is None:
        return "<td class=good>-</td>"
    return f"<td class=bad>{f'{fraction:.0%}' if fraction else 'always'}</td>"


def _table(heads: Iterable[str], rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """A table of rows that have a name and cells."""
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in ("system", *heads))
    body = "".join(f"<tr><th scope=row>{escape(name)}</th>{''.join(cells)}</tr>" for name, cells in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _behind(report: Report) -> str:
    """Where defended systems are behind a baseline."""
    title = (
        "<h2>Where SMESH does worse than a baseline</h2><p class=soft>Lineages, trust, and all of it, against each "
        "baseline: by how many points fewer verdicts were right, at the extent at which that was most. Named is only "
        "what is sure: the 95% interval of the difference, seed by seed, is below zero as a whole.</p>"
    )
    if not report.behind:
        return f"{title}<p>Nowhere.</p>"
    heads = ["attack", "extent", "topology", "baseline", "points", "interval"]
    entries = _table(heads, ((one.system, _behind_cells(one)) for one in report.behind))
    tables = "".join(_behind_table(report, topology) for topology in report.plan.topologies)
    return f"{title}{tables}<details><summary>each of them</summary>{entries}</details>"


def _behind_table(report: Report, topology: str) -> str:
    """By system and baseline, the extent of each attack at which it is furthest behind."""
    worst = {key[1:]: one for key, one in report.furthest_behind().items() if key[0] == topology}
    attacks = [attack for attack in ("none", *report.plan.attacks) if any(key[1] == attack for key in worst)]
    pairs = sorted(
        {(system, baseline) for system, _, baseline in worst}, key=lambda pair: [_ORDER[system] for system in pair]
    )
    rows = (
        (f"{system} behind {baseline}", [_worst_cell(worst.get((system, attack, baseline))) for attack in attacks])
        for system, baseline in pairs
    )
    return f"<h3>{_named(topology)}</h3>{_table(attacks, rows) if pairs else '<p>Nowhere.</p>'}"


def _worst_cell(one: Behind | None) -> str:
    if one is None:
        return "<td></td>"
    at = f" at {one.fraction:.0%}" if one.fraction else ""
    return f"<td class=bad>{-100 * one.accuracy.mean:.1f}{at}</td>"


def _behind_cells(one: Behind) -> list[str]:
    named = [one.attack, f"{one.fraction:.0%}", one.topology, one.baseline]
    numbers = [
        f"{100 * one.accuracy.mean:+.1f}",
        f"{100 * one.accuracy.low:+.1f} to {100 * one.accuracy.high:+.1f}",
    ]
    return [f"<td class=name>{escape(name)}</td>" for name in named] + [f"<td>{number}</td>" for number in numbers]


def _topology(report: Report, topology: str) -> str:
    rows = [row for row in report.rows if row.topology == topology]
    parts = [f"<h2>Attacks, {_named(topology)}</h2>"]
    for attack in report.plan.attacks:
        ours = [row for row in rows if row.attack in {attack, "none"}]
        figures = "".join(
            f"<figure>{_chart(ours, measure)}<figcaption>{escape(measure.name)}, by extent</figcaption></figure>"
            for measure in MEASURES
        )
        parts.append(
            f"<h3>{_named(attack)}</h3><p class=soft>{escape(_WHAT[attack])}</p><div class=charts>{figures}</div>"
            f"<details><summary>the figures</summary>{_figures(ours)}</details>"
        )
    return "".join(parts)


def _named(name: str) -> str:
    return escape(name.replace("-", " "))


def _figures(rows: Sequence[Row]) -> str:
    """Every number of one attack."""
    heads = ["extent", "right", "fooled", "suppressed", "coverage", "ticks", "copies", "right, against undefended"]
    return _table(heads, ((row.system, _figure_cells(row)) for row in rows))


def _figure_cells(row: Row) -> list[str]:
    shares = [_share(one) for one in (row.accuracy, row.fooled, row.suppressed, row.coverage)]
    ticks = f"{row.ticks_to_right.mean:.1f} ±{row.ticks_to_right.half:.1f}" if row.ticks_to_right else "-"
    copies = f"{row.copies.mean:,.0f} ±{row.copies.half:,.0f}"
    gain = f"{100 * row.accuracy_gain.mean:+.1f} ±{100 * row.accuracy_gain.half:.1f}"
    return [f"<td>{text}</td>" for text in (f"{row.fraction:.0%}", *shares, ticks, copies, gain)]


def _share(one: Estimate) -> str:
    return f"{one.mean:.1%} ±{100 * one.half:.1f}"


def _chart(rows: Sequence[Row], measure: Measure) -> str:
    """Curves of all systems over the extent, each in its colour, with intervals."""
    extents = sorted({row.fraction for row in rows})
    levels = [level for row in rows if (level := measure.read(row)) is not None]
    top = 1.0 if measure.is_share else _nice(max((level.high for level in levels), default=1.0))

    def x(fraction: float) -> float:
        return _LEFT + 8 + (_WIDTH - _LEFT - _RIGHT - 16) * fraction / (extents[-1] or 1.0)

    def y(level: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(1.0, max(0.0, level / top))

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(measure.name)}">']
    for step in range(_MARKS + 1):
        mark = top * step / _MARKS
        said = f"{mark:.0%}" if measure.is_share else f"{mark:.3g}"
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{said}</text>'
        )
    parts += [
        f'<text x="{x(fraction):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{fraction:.0%}</text>'
        for fraction in extents
    ]
    for place, system in enumerate(SYSTEMS):
        off, colour = (place - len(SYSTEMS) / 2) * _APART, STYLES[system].colour
        ours = sorted((row.fraction, level) for row in rows if row.system == system and (level := measure.read(row)))
        way = " ".join(f"{x(fraction) + off:.1f},{y(level.mean):.1f}" for fraction, level in ours)
        bars = "".join(
            f'<path d="M{x(fraction) + off:.1f} {y(level.low):.1f}V{y(level.high):.1f}" stroke="{colour}"/>'
            for fraction, level in ours
        )
        parts.append(
            f'<g><title>{escape(system)}</title><polyline points="{way}" fill="none" {_stroke(system)}/>{bars}</g>'
        )
    return "".join([*parts, "</svg>"])


def _nice(level: float) -> float:
    """The least of 1, 2, 4 and 8 times a power of ten that is not below a level."""
    if level <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(level))
    return next(step * power for step in (1.0, 2.0, 4.0, 8.0, 10.0) if step * power >= level)
