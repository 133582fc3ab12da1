"""What has come of a job, as lines of text; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smesh_cli.summaries import Line

if TYPE_CHECKING:
    from smesh_agent.workflows.agents import AgentSummary, Bill, Report, TaskSummary

__all__ = ["backend_in_words", "bill_in_words", "of_agents"]

_MARKS: Final = {"done": ("done", "green"), "failed": ("FAILED", "bold red")}
_OUTPUT_LINES: Final = 12


def of_agents(report: Report) -> list[Line]:
    """A report: what came of it, the tasks, the agents, and the results that nothing comes after."""
    lines = [
        Line("", _head(report), "bold"),
        Line("", backend_in_words(report), "yellow" if report.is_scripted else ""),
    ]
    lines += [Line(), Line("", "Tasks", "bold")]
    for task in report.tasks:
        lines += _task(task)
    lines += [Line(), Line("", "Agents", "bold")]
    for agent in report.agents:
        lines += _agent(agent)
    lines += _deaths(report)
    lines += _results(report)
    lines += [Line(), Line("", _verdict(report), "bold")]
    return lines


def backend_in_words(report: Report) -> str:
    """Where the answers came from."""
    if report.backend == "cassette":
        return f"answers replayed from a recording of {report.model}"
    if report.is_scripted:
        return "backend scripted: the text is from a script, no model was asked"
    return f"backend {report.backend}, model {report.model}"


def bill_in_words(bill: Bill) -> str:
    """What models took."""
    about = "about " if bill.estimated else ""
    tokens = f"{about}{bill.tokens_in:,} tokens in, {bill.tokens_out:,} out"
    cached = f" ({bill.cached_in:,} from a cache)" if bill.cached_in else ""
    cost = f"${bill.cost_usd:,.4f}".rstrip("0").rstrip(".")
    if bill.unpriced:
        cost = f"at least {cost}, price unknown for {bill.unpriced:,} requests" if bill.cost_usd else "price unknown"
    return f"{tokens}{cached}, {cost}"


def _head(report: Report) -> str:
    agents = sum(bool(agent.skills) for agent in report.agents)
    title = f"{report.title}: " if report.title else ""
    return f"{title}{_many(len(report.tasks), 'task')}, {_many(agents, 'agent')}, no controller"


def _task(task: TaskSummary) -> list[Line]:
    word, style = _MARKS.get(task.state, (task.state, "yellow"))
    by = f" by {task.by}" if task.by else ""
    lines = [Line(f"  {word}", f"{task.id}{by}{f': {task.why}' if task.why else ''}", style if word != "done" else "")]
    lines += [Line("    failed", failure, "yellow") for failure in task.failures]
    lines += [Line("    against", objection, "yellow") for objection in task.objections]
    if task.rejected:
        lines.append(Line("    rejected", _many(task.rejected, "result"), "yellow"))
    if task.results > 1:
        lines.append(Line("    twice", f"it has {task.results} results", "yellow"))
    return lines


def _agent(agent: AgentSummary) -> list[Line]:
    said = [f"{_many(agent.done, 'task')} done"] if agent.skills else ["opposes bad results on plain evidence"]
    said += [f"{agent.failed:,} failed"] if agent.failed else []
    said += [f"trust {agent.trust:.2f}"]
    said += [bill_in_words(agent.bill)] if agent.bill.tokens_in else []
    state = [] if agent.state == "live" else [agent.state.upper() if agent.state == "killed" else agent.state]
    lines = [Line(f"  {agent.name}", "; ".join([*state, *said]), "" if agent.state == "live" else "red")]
    return lines + [Line("    error", error, "yellow") for error in agent.errors]


def _deaths(report: Report) -> list[Line]:
    if not report.deaths:
        return []
    lines = [Line(), Line("", "Killed", "bold")]
    for death in report.deaths:
        heir = next((task for task in report.tasks if task.do == death.doing), None)
        taken = f"; {heir.by} took it over" if heir is not None and heir.by not in {"", death.agent} else ""
        lines.append(Line(f"  {death.at_s:.1f} s", f"{death.agent}, while it worked at: {death.doing}{taken}"))
    return lines


def _results(report: Report) -> list[Line]:
    """The results that no other task comes after."""
    needed = {other for task in report.tasks for other in task.after}
    last = [task for task in report.tasks if task.output and task.id not in needed]
    if len(last) > 3:
        return [Line(), Line("", f"{len(last):,} results that nothing comes after; --json has them all", "dim")]
    lines: list[Line] = []
    for task in last:
        lines += [Line(), Line("", f"Result of {task.id}", "bold")]
        output = task.output.splitlines()
        lines += [Line("", f"  {line}") for line in output[:_OUTPUT_LINES]]
        if len(output) > _OUTPUT_LINES:
            lines.append(Line("", f"  … {len(output) - _OUTPUT_LINES:,} more lines; --json has them", "dim"))
    return lines


def _verdict(report: Report) -> str:
    summary = report.summary
    said = [f"{summary['done']:,} of {len(report.tasks):,} done"]
    said += [f"{summary[word]:,} {word}" for word in ("failed", "unfinished") if summary[word]]
    said += [f"{summary['died']:,} of {len(report.agents):,} agents died"] if summary["died"] else []
    said += [f"{summary['duplicated']:,} done twice"] if summary["duplicated"] else []
    return f"{', '.join(said)} in {report.duration_s:.1f} s; {bill_in_words(report.bill)}; {report.signals:,} signals"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
