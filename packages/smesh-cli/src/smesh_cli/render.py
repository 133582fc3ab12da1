"""The only module that prints: results on stdout, progress and errors on stderr.

Text from a repository is shown as text: never as markup, and with control and direction-changing characters escaped.
"""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smesh_agent.status import Status as Facts
    from smesh_agent.workflows.review import Report, ReportedFinding, Status

__all__ = ["Progress", "error", "json", "review", "status"]

_COLOURS: Final = {"high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}
_STATE_COLOURS: Final = {"done": "green", "failed": "red", "stopped": "yellow"}


def json(value: Any) -> None:
    """Print a value as indented JSON on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def error(message: str) -> None:
    """Print one line on stderr."""
    sys.stderr.write(f"smesh: {safe(message)}\n")


def safe(text: str) -> str:
    """Text of unknown origin on one line, with everything that a terminal might obey made visible."""
    return "".join(c if c.isprintable() else " " if c == "\t" else c.encode("unicode_escape").decode() for c in text)


def status(facts: Facts) -> None:
    """Print what an installation is."""
    console = _console()
    table = Table.grid(padding=(0, 2))
    for name, version in facts.distributions.items():
        table.add_row(name, version or "not installed")
    table.add_row("python", f"{facts.python} on {facts.platform}")
    table.add_row("processor", f"{facts.cpu}, {facts.cores} cores usable")
    table.add_row("engine", _engine(facts))
    for name, version in facts.analyzers.items():
        table.add_row(name, version or Text("not installed", "red"))
    for backend in facts.backends:
        key = "" if backend.key is None else "key set, " if backend.key else "no key, "
        reached = {True: "reachable", False: "not reachable", None: "not asked"}[backend.reachable]
        table.add_row(backend.name, Text(safe(f"{key}{reached} at {backend.url}: {backend.detail}")))
    console.print(table)
    console.print("No command of this version uses a model; backends are shown as found.", style="dim")


def _engine(facts: Facts) -> str:
    numba = f"numba {facts.numba} is installed, unused" if facts.numba else "numba is not installed"
    return f"NumPy {facts.numpy} (no compiled kernels in this version; {numba})"


def review(report: Report, *, limit: int) -> None:
    """Print a report as text; `limit` findings at most, 0 for all."""
    console = _console()
    source = report.source
    how = "on one field" if report.mode == "field" else "side by side, without a field"
    console.print(Text(safe(source.path), "bold"))
    console.print(
        f"{_many(source.files, 'file')}, {source.python_files:,} of them Python with {_many(source.lines, 'line')}; "
        f"{_many(len(report.witnesses), 'witness', 'witnesses')} {how}, no model; {report.duration_s:.1f} s",
        soft_wrap=True,
    )
    console.print(_summary(report), soft_wrap=True)
    shown = report.findings[: limit or None]
    for path, findings in _by_file(shown):
        console.print()
        console.print(Text(safe(path), "bold underline"))
        for finding in findings:
            _finding(console, finding)
    if len(shown) < len(report.findings):
        console.print()
        console.print(f"The first {len(shown)} of {len(report.findings):,} findings; --limit 0 shows all.", style="dim")
    _unread(console, report)
    for witness in report.witnesses:
        if witness.state != "done":
            console.print(
                Text(f"{witness.name} {witness.state}: {safe(witness.reason)}", _STATE_COLOURS[witness.state])
            )


def _summary(report: Report) -> Text:
    summary = report.summary
    line = Text()
    for level, colour in _COLOURS.items():
        line.append(f"{summary[level]:,} {level}  ", colour)
    if report.mode == "field":
        line.append(f"{summary['corroborated']:,} corroborated by two lineages, {summary['contested']:,} contested")
    return line


def _finding(console: Console, finding: ReportedFinding) -> None:
    where = ", ".join(map(str, finding.lines[:5])) + (f" and {finding.count - 5} more" if finding.count > 5 else "")
    head = Text("  ")
    head.append(f"{finding.severity:<6} ", _COLOURS[finding.severity])
    head.append(f"{finding.value:.2f}  ")
    head.append(safe(f"{finding.kind}  line {where}"), "bold")
    if finding.consensus in {"reached", "rejected"}:
        head.append(f"  {finding.consensus}", "green" if finding.consensus == "reached" else "yellow")
    console.print(head, soft_wrap=True)
    console.print(Text(f"      {safe(finding.message)}"), soft_wrap=True)
    if finding.code:
        console.print(Text(f"      | {safe(finding.code)}", "dim"), soft_wrap=True)
    console.print(Text(safe(f"      says: {_says(finding)}"), "dim"), soft_wrap=True)
    for objection in finding.objects:
        console.print(Text(safe(f"      against: {objection.witness}: {objection.reason}"), "yellow"), soft_wrap=True)
    if finding.advice:
        console.print(Text(safe(f"      do: {finding.advice}")), soft_wrap=True)


def _says(finding: ReportedFinding) -> str:
    """The witnesses that make a finding, those of one lineage together."""
    lineages: dict[str, list[str]] = {}
    for t in finding.says:
        lineages.setdefault(t.lineage, []).append(f"{t.witness} ({', '.join(t.rules)}, {t.confidence:.0%} sure)")
    return "; ".join(
        " and ".join(witnesses) + (", one lineage" if len(witnesses) > 1 else "") for witnesses in lineages.values()
    )


def _unread(console: Console, report: Report) -> None:
    if not report.unread:
        return
    console.print()
    console.print(Text("Not read, or not by all", "bold underline"))
    for entry in report.unread:
        by = f" ({', '.join(entry.witnesses)})" if entry.witnesses else ""
        console.print(Text(f"  {safe(entry.path)}: {safe(entry.reason)}{by}"), soft_wrap=True)


def _by_file(findings: Iterable[ReportedFinding]) -> list[tuple[str, list[ReportedFinding]]]:
    """Findings grouped by file, the file with the highest rank first."""
    first: dict[str, int] = {}
    ordered = list(findings)
    for place, finding in enumerate(ordered):
        first.setdefault(finding.path, place)
    ordered.sort(key=lambda finding: first[finding.path])
    return [(path, list(group)) for path, group in groupby(ordered, key=lambda finding: finding.path)]


def _many(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


class Progress:
    """What each witness is doing, on stderr while it is a terminal; otherwise nothing.

    Args:
        names: the witnesses.
    """

    def __init__(self, names: list[str]) -> None:
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._progress = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._whole = self._progress.add_task("review", total=len(names), state="")
        self._rows: dict[str, TaskID] = {
            name: self._progress.add_task(f"  {name}", total=None, start=False, state="waiting") for name in names
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Show what the review as a whole is at."""
        self._progress.update(self._whole, state=safe(text))

    def update(self, name: str, status: Status) -> None:
        """Show what one witness says of itself."""
        row = self._rows[name]
        found = f", {_many(status.findings, 'finding')}" if status.findings else ""
        self._progress.start_task(row)
        self._progress.update(row, state=f"{status.state}{found}")
        if status.state in {"done", "failed", "checking"}:
            self._progress.update(row, total=1, completed=1)
            self._progress.stop_task(row)
            self._progress.advance(self._whole)
