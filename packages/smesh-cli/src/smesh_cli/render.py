"""The only module that prints: results on stdout, progress and errors on stderr.

Text from a repository is shown as text: never as markup, and with control and direction-changing characters escaped.
A result is written whole, so that it is complete or its failure is known. On a terminal its lines are wrapped under
their own indentation; in a pipe they stay whole.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from itertools import groupby
from json import dumps
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from smesh_cli.errors import OutputError
from smesh_cli.summaries import of_bench, of_resilience, of_simulation
from smesh_cli.summary_agents import of_agents
from smesh_cli.summary_compare import of_compare
from smesh_cli.summary_status import COLUMN, of_backends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType
    from smesh_agent.status import Status as Facts
    from smesh_agent.workflows.agents import Report as AgentsReport
    from smesh_agent.workflows.bench import Report as BenchReport
    from smesh_agent.workflows.compare import Report as ComparisonReport
    from smesh_agent.workflows.resilience import Report as ResilienceReport
    from smesh_agent.workflows.review import Report, ReportedFinding, Status
    from smesh_core.simulation import Report as SimulationReport

    from smesh_cli.summaries import Line

__all__ = [
    "Gate",
    "Progress",
    "agents",
    "bench",
    "comparison",
    "error",
    "is_rich",
    "json",
    "new_console",
    "question",
    "resilience",
    "review",
    "safe",
    "simulation",
    "status",
]

_COLOURS: Final = {"high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}
_STATE_COLOURS: Final = {"done": "green", "failed": "red", "stopped": "yellow"}
_LINES_SHOWN: Final = 5
_CONTESTED_PART: Final = 10
"""Of the findings that are shown, one contested one for so many that stand."""
_TEXT_COLUMN: Final = 11
"""Where the text of a finding begins, after ``against`` and its like."""
_TEXT_WIDTH_MIN: Final = 16
_PROGRESS_WIDTH: Final = 56
"""Below it, progress is shown without numbers."""
_BEYOND_ASCII: Final = re.compile("[\x7f-\U0010ffff]")


class Gate(NamedTuple):
    """What `--fail-on` asks for: the level, and how many findings at or above it stand uncontested."""

    level: str
    standing: int


def json(value: Any) -> None:
    r"""Print a value as indented JSON, in UTF-8 whatever the locale, on stdout.

    Characters that a terminal might obey are written as escapes, which read back as the same. Bytes of a path that
    are no text become ``\xff`` and the like, for JSON has no way to say them.
    """
    text = dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)
    _write(_BEYOND_ASCII.sub(_json_escape, text) + "\n", "utf-8")


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0].isprintable():
        return match[0]
    if 0xD800 <= code <= 0xDFFF:
        return f"\\\\x{code & 0xFF:02x}"
    return "".join(f"\\u{unit:04x}" for unit in memoryview(match[0].encode("utf-16")[2:]).cast("H"))


def error(message: str) -> None:
    """Print one line on stderr."""
    with contextlib.suppress(OSError):  # there is nowhere else to say it
        sys.stderr.write(f"smesh: {safe(message)}\n")


def safe(text: str) -> str:
    """Text of unknown origin on one line, with everything that a terminal might obey made visible."""
    return "".join(c if c.isprintable() else " " if c == "\t" else _visible(c) for c in text)


def _visible(character: str) -> str:
    code = ord(character)
    # Python's stand-ins for the bytes of a path that are no text.
    return f"\\x{code & 0xFF:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


def _write(text: str, encoding: str = "") -> None:
    """Write a result to stdout and make sure that it got there.

    A reader who has gone (a pager, ``head``) has what it wanted, and the exit code says the rest.

    Raises:
        OutputError: it cannot be written.
    """
    stream = sys.stdout
    data = text.encode(encoding or stream.encoding, errors="backslashreplace")
    try:
        stream.flush()
        stream.buffer.write(data)
        stream.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"cannot write the result: {error.strerror}") from None


class _Page:
    """A result in the making."""

    def __init__(self) -> None:
        self._console = new_console()
        self._console.begin_capture()
        self._wraps = sys.stdout.isatty()

    def line(self, text: Text | str = "", *, lead: Text | str = "", indent: int = 0) -> None:
        """Add a line; what does not fit goes on below itself, ``indent`` columns from the edge."""
        text = Text(text) if isinstance(text, str) else text
        head = Text(lead) if isinstance(lead, str) else lead
        parts: Iterable[Text] = [text]
        if self._wraps and text:
            parts = text.wrap(self._console, max(_TEXT_WIDTH_MIN, self._console.width - indent))
        for part in parts:
            part.rstrip()
            gap = " " * (indent - head.cell_len) if part else ""
            self._console.print(Text.assemble(head, gap, part), soft_wrap=True)
            head = Text()

    def write(self) -> None:
        """Print what was added."""
        self._console.file = io.StringIO()  # rich writes "" when a capture ends, and a full disk refuses even that
        _write(self._console.end_capture())


def new_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, without colours where `NO_COLOR` is set."""
    plain = bool(os.environ.get("NO_COLOR"))
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, color_system=None if plain else "auto")


def is_rich(console: Console) -> bool:
    """Whether a terminal knows more characters than ASCII."""
    return console.encoding.lower().startswith("utf")


def status(facts: Facts) -> None:
    """Print what an installation is."""
    page = _Page()
    compiled = f"compiled by numba {facts.numba}" if facts.engine == "numba" else "not compiled, as numba is missing"
    engine = f"networks {compiled}; fields on NumPy {facts.numpy}"
    python = f"{facts.python} on {facts.platform}"
    _rows(page, "this installation", {**_versions(facts.distributions), "python": python})
    cores = _many(facts.cores, "core")
    _rows(page, "this machine", {"processor": f"{facts.cpu}, {cores} usable", "engine": engine})
    _rows(page, "analyzers", _versions(facts.analyzers))
    page.line(Text("model backends", "bold"))
    for line in of_backends(facts.backends):
        text = Text.assemble(*((safe(said), style) for said, style in line.said))
        page.line(text, lead=safe(line.name), indent=COLUMN if text else 0)
    page.write()


def _rows(page: _Page, title: str, rows: dict[str, Text | str]) -> None:
    page.line(Text(title, "bold"))
    for name, value in rows.items():
        page.line(value if isinstance(value, Text) else safe(value), lead=f"  {name}", indent=18)


def _versions(versions: dict[str, str | None]) -> dict[str, Text | str]:
    return {name: version or Text("not installed", "red") for name, version in versions.items()}


def agents(report: AgentsReport) -> None:
    """Print what came of a job."""
    _summary(of_agents(report))


def comparison(report: ComparisonReport, *, full: bool) -> None:
    """Print how models compare; `full` shows whole answers."""
    _summary(of_compare(report, full=full))


def question(head: str, what: str, material: Iterable[str]) -> None:
    """Ask on stderr for a yes or a no: what it is about, and what that rests on."""
    console = new_console(stderr=True)
    console.print(Text(head, "bold magenta"))
    for text in material:
        for line in text.splitlines():
            console.print(Text(f"  | {safe(line)}", "dim"))
    console.print(Text(f"  {safe(what)}"))
    console.print(Text("Shall it proceed? [y/N] "), end="")


def simulation(report: SimulationReport) -> None:
    """Print what came of a simulation."""
    _summary(of_simulation(report, plain=not sys.stdout.encoding.lower().startswith("utf")))


def bench(report: BenchReport) -> None:
    """Print what was measured."""
    _summary(of_bench(report))


def resilience(report: ResilienceReport) -> None:
    """Print what attacks did."""
    _summary(of_resilience(report))


def _summary(lines: Iterable[Line]) -> None:
    page = _Page()
    for line in lines:
        text = Text(safe(line.text), line.style)
        page.line(text, lead=Text(line.name, "bold" if line.name[:1].strip() else ""), indent=line.indent)
    page.write()


def review(report: Report, *, limit: int, left_out: int = 0, gate: Gate | None = None) -> None:
    """Print a report as text.

    Args:
        report: what to print.
        limit: findings shown at most; 0 for all.
        left_out: how many findings the report lacks because they are not severe enough.
        gate: what `--fail-on` comes to, where it was given.
    """
    page = _Page()
    _head(page, report)
    standing = [finding for finding in report.findings if not finding.is_contested]
    contested = [finding for finding in report.findings if finding.is_contested]
    _findings(page, standing[: limit or None])
    if contested:
        page.line()
        page.line(Text("Contested: at least as much weight against as for", "bold"))
    # What stands comes first; of the rest a few, to show what it is like.
    _findings(page, contested[: -(-limit // _CONTESTED_PART) or None])
    _unread(page, report)
    page.line()
    shown = min(len(standing), limit) + min(len(contested), -(-limit // _CONTESTED_PART))
    if limit and shown < len(report.findings):
        page.line(Text(f"Shown are {shown:,} of {len(report.findings):,}; --limit 0 shows all.", "dim"))
    _foot(page, report, left_out, gate)
    page.write()


def _head(page: _Page, report: Report) -> None:
    source = report.source
    how = "on one field" if report.mode == "field" else "side by side, without a field"
    page.line(Text(safe(source.path), "bold"))
    page.line(
        f"{_many(source.files, 'file')}, {source.python_files:,} of them Python with {_many(source.lines, 'line')}; "
        f"{_many(len(report.witnesses), 'witness', 'witnesses')} {how}, no model; {report.duration_s:.1f} s"
    )
    if report.findings:
        page.line(Text("Each finding: severity, value from 0 to 1, line, class.", "dim"))


def _findings(page: _Page, findings: list[ReportedFinding]) -> None:
    for path, group in _by_file(findings):
        page.line()
        page.line(Text(safe(path), "bold underline"))
        column = max(len(f"{finding.lines[0]}") for finding in group)
        for finding in group:
            _finding(page, finding, column)


def _finding(page: _Page, finding: ReportedFinding, column: int) -> None:
    lead = Text.assemble("  ", (f"{finding.severity:<6}", _COLOURS[finding.severity]), f"  {finding.value:.2f}  ")
    head = Text.assemble((f"line {finding.lines[0]:>{column}}", "bold"), f"  {safe(finding.kind)}", _standing(finding))
    page.line(head, lead=lead, indent=lead.cell_len)
    page.line(safe(finding.message), indent=_TEXT_COLUMN)
    if finding.code:
        page.line(Text(safe(finding.code), "dim"), lead=" " * (_TEXT_COLUMN - 2) + "|", indent=_TEXT_COLUMN)
    if finding.count > 1:
        _labelled(page, "also", _also(finding))
    _labelled(page, "says", _says(finding), "dim")
    for objection in finding.objects:
        _labelled(page, "against", f"{objection.witness}: {objection.reason}", "yellow")
    if finding.advice:
        _labelled(page, "do", finding.advice)


def _labelled(page: _Page, label: str, text: str, style: str = "") -> None:
    lead = Text(f"{label:>{_TEXT_COLUMN - 2}}", "dim" if style == "dim" or not style else style)
    page.line(Text(safe(text), style), lead=lead, indent=_TEXT_COLUMN)


def _standing(finding: ReportedFinding) -> Text:
    """How a finding stands in the field; nothing where one lineage says it and none is against."""
    votes = f"{finding.support:g} for, {finding.oppose:g} against" if finding.oppose else f"{finding.support:g} for"
    if finding.consensus == "rejected":
        return Text(f"  rejected, {votes}", "yellow")
    if finding.is_contested:
        return Text(f"  contested, {votes}", "yellow")
    if finding.consensus == "reached":
        return Text(f"  corroborated, {votes}", "green")
    return Text(f"  opposed, {votes}", "yellow") if finding.oppose else Text()


def _also(finding: ReportedFinding) -> str:
    """The other lines on which the same stands."""
    others = finding.lines[1 : 1 + _LINES_SHOWN]
    more = finding.count - 1 - len(others)
    return f"line {', '.join(map(str, others))}" + (f" and {more:,} more" if more else "")


def _says(finding: ReportedFinding) -> str:
    """The witnesses that make a finding, those of one lineage together."""
    lineages: dict[str, list[str]] = {}
    for said in finding.says:
        words = f"{said.witness} ({', '.join(said.rules)}, {said.confidence:.0%} sure)"
        lineages.setdefault(said.lineage, []).append(words)
    return "; ".join(
        " and ".join(witnesses) + (", one lineage" if len(witnesses) > 1 else "") for witnesses in lineages.values()
    )


def _unread(page: _Page, report: Report) -> None:
    if not report.unread:
        return
    page.line()
    page.line(Text("Not read, or not by all", "bold underline"))
    for entry in report.unread:
        by = f" ({', '.join(entry.witnesses)})" if entry.witnesses else ""
        page.line(safe(f"{entry.path}: {entry.reason}{by}"), lead="  ", indent=4)


def _foot(page: _Page, report: Report, left_out: int, gate: Gate | None) -> None:
    summary = report.summary
    line = Text(f"{_many(len(report.findings), 'finding')}: ", "bold")
    counts = (Text(f"{summary[level]:,} {level}", _COLOURS[level] if summary[level] else "dim") for level in _COLOURS)
    line.append_text(Text(", ").join(counts))
    if report.mode == "field":
        line.append(f"; {summary['corroborated']:,} corroborated by two lineages, {summary['contested']:,} contested")
    if left_out:
        line.append(f"; {left_out:,} of lower severity left out")
    page.line(line)
    for witness in report.witnesses:
        if witness.state == "failed":
            page.line(Text(safe(f"{witness.name} failed: {witness.reason}"), _STATE_COLOURS["failed"]))
    page.line(_verdict(report, gate))


def _verdict(report: Report, gate: Gate | None) -> Text:
    """What it comes to, in one sentence."""
    standing = [finding for finding in report.findings if not finding.is_contested]
    if report.interrupted:
        ended = [witness.name for witness in report.witnesses if witness.state == "done"]
        verdict, style = f"Stopped before the end: {', '.join(ended) or 'no witness'} had ended.", "bold yellow"
    elif not report.source.files:
        verdict, style = "There was nothing to review.", "bold yellow"
    elif gate is not None and gate.standing:
        stand = "1 finding stands" if gate.standing == 1 else f"{gate.standing:,} findings stand"
        verdict, style = f"--fail-on {gate.level} fails: {stand} uncontested.", "bold red"
    elif any(witness.state == "failed" for witness in report.witnesses):
        verdict, style = "Incomplete: not every witness could say what it knows.", "bold yellow"
    elif gate is not None:
        verdict, style = f"--fail-on {gate.level} passes: nothing at that level stands uncontested.", "bold green"
    elif standing:
        stand = "1 stands" if len(standing) == 1 else f"{len(standing):,} stand"
        place = f"{standing[0].path}, line {standing[0].lines[0]}"
        verdict, style = f"{stand} uncontested; look first at {place}.", "bold"
    else:
        verdict, style = "Nothing stands uncontested." if report.findings else "Nothing found.", "bold green"
    return Text(safe(verdict), style)


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


class _Row:
    """What is shown of one witness."""

    def __init__(self) -> None:
        self.state = "waiting"
        self.findings = 0
        self.started_s: float | None = None
        self.ended_s: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in {"done", "failed"}

    @property
    def is_on_call(self) -> bool:
        """Whether it reads nothing by itself, and only checks others."""
        return self.state == "checking"


class Progress:
    """What each witness is doing, on stderr while it is a terminal that can show it; otherwise nothing.

    Args:
        names: the witnesses.
        phase: what the review as a whole begins with.
    """

    def __init__(self, names: list[str], phase: str) -> None:
        self._console = console = new_console(stderr=True)
        self._clock_s: Callable[[], float] = console.get_time
        self._started_s = self._clock_s()
        self._rows = {name: _Row() for name in names}
        self._phase = safe(phase)
        rich_text = is_rich(console)
        self._marks = {"done": "✓", "failed": "✗"} if rich_text else {"done": "+", "failed": "x"}
        self._spinner = Spinner("dots" if rich_text else "line", style="cyan")
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(
                console=console,
                transient=True,
                refresh_per_second=12.5,
                redirect_stdout=False,
                redirect_stderr=False,
                get_renderable=self._picture,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Show what the review as a whole is at."""
        self._phase = safe(text)

    def update(self, name: str, status: Status) -> None:
        """Show what one witness says of itself."""
        row = self._rows[name]
        row.started_s = self._clock_s() if row.started_s is None else row.started_s
        row.state, row.findings = status.state, status.findings
        row.ended_s = self._clock_s() if row.has_ended else None

    def _picture(self) -> RenderableType:
        now_s = self._clock_s()
        ended = sum(row.has_ended for row in self._rows.values())
        reading = sum(not row.is_on_call for row in self._rows.values())
        whole = Table.grid(padding=(0, 1))
        whole.add_column(no_wrap=True)
        whole.add_column(width=16)
        whole.add_column(no_wrap=True, overflow="ellipsis")
        whole.add_row(
            Text("smesh review", "bold"),
            ProgressBar(reading, ended, complete_style="cyan", finished_style="green"),
            Text(f"{ended}/{reading}  {now_s - self._started_s:.0f} s  {self._phase}", "dim"),
        )
        rows = Table.grid(padding=(0, 1))
        rows.add_column(min_width=1, no_wrap=True)
        for justify in ("left", "left", "right", "right"):
            rows.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
        shown = 5 if self._console.width >= _PROGRESS_WIDTH else 3
        for name, row in self._rows.items():
            rows.add_row(*self._cells(name, row, now_s)[:shown])
        return Group(whole, rows)

    def _cells(self, name: str, row: _Row, now_s: float) -> list[RenderableType]:
        if row.started_s is None or row.is_on_call:
            state = "checks others" if row.is_on_call else row.state
            return ["", Text(name, "dim"), Text(state, "dim"), "", ""]
        mark: RenderableType = self._spinner
        if row.state in self._marks:
            mark = Text(self._marks[row.state], _STATE_COLOURS[row.state])
        return [
            mark,
            Text(name),
            Text(row.state, _STATE_COLOURS.get(row.state, "")),
            Text(_many(row.findings, "finding") if row.findings else ""),
            Text(f"{(row.ended_s or now_s) - row.started_s:.1f} s", "dim"),
        ]
