"""How models compare, as lines of text within 80 columns; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smesh_cli.summaries import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smesh_agent.workflows.agents import Bill
    from smesh_agent.workflows.compare import Answer, Figures, ModelRow, Plan, PromptRow, Report, Spread, WarmUp

__all__ = ["of_compare"]

_HEAD: Final = f"{'':10}{'first token':>15}{'total':>16}{'tokens/s':>15}{'in':>6}{'out':>7}{'cost':>10}"
_UNKNOWN: Final = "unknown"
_LINES_SHOWN: Final = 4
_CHARACTERS_SHOWN: Final = 320
_PROMPT_SHOWN: Final = 160
_REASONS_SHOWN: Final = 3


class _Item(Line):
    """A line of a list; what does not fit goes on below its text."""

    @property
    def indent(self) -> int:
        return len(self.name)


def of_compare(report: Report, *, full: bool = False) -> list[Line]:
    """A comparison: the figures of each model, the answers to each prompt, and who is absent.

    Args:
        report: what came of it.
        full: whether whole answers are shown, or how they begin.
    """
    lines = [
        Line("", _title(report), "bold"),
        Line("", _how(report), "dim"),
    ]
    if report.models:
        lines += [Line(), Line("", _HEAD, "bold")]
    for row in report.models:
        lines += _model(row, report.plan)
    for number, prompt in enumerate(report.prompts, 1):
        lines += _prompt(number, prompt, report, full=full)
    lines += _absent(report)
    return [*lines, Line(), Line("", _verdict(report), "bold")]


def _title(report: Report) -> str:
    plan = report.plan
    each = "once" if plan.repeat == 1 else f"{plan.repeat:,} times each"
    models = _many(len(report.models), "model")
    return f"{models}, {_many(len(report.prompts), 'prompt')}, {each}, up to {plan.max_tokens:,} tokens an answer"


def _how(report: Report) -> str:
    plan = report.plan
    at_once = "One call at a time" if plan.concurrency == 1 else f"{plan.concurrency:,} calls at a time"
    kinds = {figure.kind for row in report.models if (figure := row.figures.total_s) is not None}
    names = {"range": "range: least to greatest", "quartiles": "half: the middle half"}
    return "; ".join([f"{at_once} of each backend; medians", *(names[kind] for kind in sorted(kinds, reverse=True))])


# ---- a model


def _model(row: ModelRow, plan: Plan) -> list[Line]:
    whole = row.answered == row.planned
    style = "bold" if whole else "bold yellow" if row.answered else "bold red"
    lines = [Line(), Line("", f"{row.name}: {row.answered:,} of {row.planned:,} calls answered", style)]
    if row.answered:
        lines += _figures(row.figures)
    if row.is_scripted:
        lines.append(Line("  note", "text from a script: no model was asked", "yellow"))
    elif not row.is_local:
        lines.append(
            Line("  price", row.price or "unknown; --price MODEL=IN/OUT says it", "" if row.price else "yellow")
        )
    if row.warm_up is not None:
        lines.append(_warm_up(row.warm_up))
    for failure in row.failures[:_REASONS_SHOWN]:
        lines.append(Line("  failed", f"{_times(failure.count)}: {failure.why}", "yellow"))
    if (more := len(row.failures) - _REASONS_SHOWN) > 0:
        lines.append(Line("  failed", f"for {_many(more, 'other reason')}; --json has them", "yellow"))
    left = row.planned - row.answered - row.failed
    if left and row.why:
        lines.append(Line("  not made", f"{_many(left, 'call')}: {row.why}", "yellow"))
    if row.cut_off:
        lines.append(Line("  cut off", f"{_many(row.cut_off, 'answer')} at {plan.max_tokens:,} tokens", "dim"))
    if row.retried:
        lines.append(Line("  retried", f"{_many(row.retried, 'answer')} took more than one attempt", "dim"))
    return lines


def _figures(figures: Figures) -> list[Line]:
    """Medians, and below them how far the calls lie apart."""
    times = (figures.first_token_s, figures.total_s)
    medians = [*(_seconds(one) for one in times), _number(figures.tokens_per_s)]
    counts = [_count(figures.tokens_in), _count(figures.tokens_out), _cost(figures.cost_usd)]
    lines = [Line("", _row("median", [*medians, *counts]))]
    if figures.total_s is not None and figures.total_s.count > 1:
        kind = "range" if figures.total_s.kind == "range" else "half"
        spreads = [*(_seconds_apart(one) for one in times), _numbers_apart(figures.tokens_per_s)]
        lines.append(Line("", _row(kind, spreads).rstrip(), "dim"))
    return lines


def _row(name: str, cells: Sequence[str]) -> str:
    widths = (15, 16, 15, 6, 7, 10)
    return f"  {name:<8}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))


def _warm_up(call: WarmUp) -> Line:
    if call.why:
        return Line("  warm-up", f"not answered: {call.why}", "yellow")
    first = "" if call.first_token_s is None else f", first token after {_time(call.first_token_s)}"
    return Line("  warm-up", f"{_time(call.total_s or 0.0)}{first}; not among the figures", "dim")


# ---- a prompt


def _prompt(number: int, prompt: str, report: Report, *, full: bool) -> list[Line]:
    """What each model answered."""
    rows = [(row, row.prompts[number - 1]) for row in report.models]
    rows = [(row, came) for row, came in rows if came.answered or came.failed]
    if not rows:
        return []
    text = prompt if full else _begun(" ".join(prompt.split()), _PROMPT_SHOWN)
    lines = [Line(), *(Line("", line, "bold") for line in f"Prompt {number}: {text}".splitlines())]
    for row, came in rows:
        lines += _came(row, came, is_one_of_several=len(report.prompts) > 1, full=full)
    return lines


def _came(row: ModelRow, came: PromptRow, *, is_one_of_several: bool, full: bool) -> list[Line]:
    head = f"{row.name}, scripted" if row.is_scripted and "scripted" not in row.name else row.name
    if is_one_of_several and came.answered:
        figures = came.figures
        head += f": first token {_seconds(figures.first_token_s)}, total {_seconds(figures.total_s)}"
        head += f", {_number(figures.tokens_per_s)} tokens/s"
    lines = [Line("", f"  {head}", "cyan")]
    for answer in came.answers:
        lines += _answer(answer, full=full)
    for failure in came.failures[:_REASONS_SHOWN]:
        lines.append(Line("    failed", f"{_times(failure.count)}: {failure.why}", "yellow"))
    return lines


def _answer(answer: Answer, *, full: bool) -> list[Line]:
    """An answer, with how often it was given."""
    text = answer.text.strip() if full else _begun(answer.text.strip(), _CHARACTERS_SHOWN)
    said = text.splitlines()
    shown = said if full else said[:_LINES_SHOWN]
    lines = [Line("" if place else f"    {_times(len(answer.repetitions))}", line) for place, line in enumerate(shown)]
    lines = [line if line.name else Line("     ", line.text) for line in lines]
    if len(shown) < len(said) or (not full and len(text) < len(answer.text.strip())):
        lines.append(Line("     ", "--full shows all of it", "dim"))
    return lines


# ---- who is absent, and the end


def _absent(report: Report) -> list[Line]:
    if not report.absent:
        return []
    lines: list[Line] = [Line(), Line("", "Not compared", "bold")]
    for absent in report.absent:
        how = f"; {absent.how}" if absent.how else ""
        lines.append(_Item("  - ", f"{absent.name}: {absent.why}{how}", "red" if absent.is_named else ""))
    return lines


def _verdict(report: Report) -> str:
    planned = sum(row.planned for row in report.models)
    answered = sum(row.answered for row in report.models)
    stopped = "stopped: " if report.interrupted else ""
    warm_ups = ", warm-ups included" if any(row.warm_up is not None for row in report.models) else ""
    took = f"{report.duration_s:.1f} s; {_bill(report.bill)}{warm_ups}"
    return f"{stopped}{answered:,} of {planned:,} calls answered in {took}"


def _bill(bill: Bill) -> str:
    about = "about " if bill.estimated else ""
    cost = _usd(bill.cost_usd)
    if bill.unpriced:
        cost = f"at least {cost}, price unknown of {_many(bill.unpriced, 'call')}" if bill.cost_usd else "cost unknown"
    return f"{about}{bill.tokens_in:,} tokens in, {bill.tokens_out:,} out, {cost}"


# ---- figures in words


def _seconds(spread: Spread | None) -> str:
    return _UNKNOWN if spread is None else _time(spread.median)


def _seconds_apart(spread: Spread | None) -> str:
    if spread is None:
        return ""
    scale, unit = (1000.0, "ms") if spread.high < 0.9995 else (1.0, "s")
    return f"{_figure(spread.low * scale)}-{_figure(spread.high * scale)} {unit}"


def _time(seconds: float) -> str:
    return f"{_figure(seconds * 1000.0)} ms" if seconds < 0.9995 else f"{_figure(seconds)} s"


def _number(spread: Spread | None) -> str:
    return _UNKNOWN if spread is None else _figure(spread.median)


def _numbers_apart(spread: Spread | None) -> str:
    return "" if spread is None else f"{_figure(spread.low)}-{_figure(spread.high)}"


def _count(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:,.0f}"


def _cost(spread: Spread | None) -> str:
    return _UNKNOWN if spread is None else _usd(spread.median)


def _usd(usd: float) -> str:
    if usd == 0.0:
        return "$0"
    if usd < 0.000001:
        return "<$0.000001"
    return f"${usd:,.2f}" if usd >= 10.0 else f"${usd:.4f}" if usd >= 0.01 else f"${usd:.6f}"


def _figure(value: float) -> str:
    """With three figures."""
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f}"


def _begun(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters].rstrip()}…"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
