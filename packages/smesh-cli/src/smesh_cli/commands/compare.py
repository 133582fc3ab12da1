"""`smesh compare`: models side by side on the same prompts."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from smesh_cli import exits
from smesh_cli.model_options import amounts

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Sequence

    from smesh_agent.workflows.compare import Plan, Report, Spec, Step, Terms

    Amounts = tuple[tuple[int | None, float | None], ...]

__all__ = ["compare"]

_TITLE: Final = "smesh compare"
_REDRAW_S: Final = 0.1


def _number(_context: click.Context, _option: click.Parameter, given: float) -> float:
    """A number that is one: ``nan`` is within every range."""
    if math.isnan(given):
        raise click.BadParameter(f"{given} is no number.")
    return given


@click.command(epilog="Example:  smesh compare --with ollama:qwen2.5:7b --with claude --repeat 5")
@click.option(
    "--with",
    "named",
    multiple=True,
    metavar="BACKEND[:MODEL][@URL]",
    help="A model that takes part, by its backend and its name there; several times.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="The same, by the model's name alone: claude-... is Claude's, any other Ollama's.",
)
@click.option("--prompt", "texts", multiple=True, metavar="TEXT", help="What is asked; several times.")
@click.option(
    "--prompts",
    "prompts_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Prompts from a file: one a line, or a list in YAML or JSON.  [default: two that come with SMESH]",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    metavar="N",
    help="How often each model is asked each prompt.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1, 1_000_000),
    default=256,
    show_default=True,
    metavar="N",
    help="How much an answer may take.",
)
@click.option(
    "--budget",
    callback=amounts,
    multiple=True,
    metavar="AMOUNT",
    help="Never spend more: USD, such as 0.50, or tokens, such as '20k tokens'.",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="MODEL=IN/OUT",
    help="USD per million tokens of a model, where none is known.",
)
@click.option("--option", "options", multiple=True, metavar="BACKEND.NAME=VALUE", help="An option of a backend's own.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Calls of a backend at once; with more than one, times are those of a busy server.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.001, 86_400.0),
    callback=_number,
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a call may take, all its attempts included.",
)
@click.option(
    "--warm-up/--no-warm-up",
    "warms_up",
    default=None,
    help="First make a call that does not count, which loads the model.  [default: for local models]",
)
@click.option("--full", is_flag=True, help="Show whole answers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, documented in docs/reference/compare.md.")
@click.option("--no-live", is_flag=True, help="Show no progress.")
def compare(
    *,
    named: tuple[str, ...],
    models: tuple[str, ...],
    texts: tuple[str, ...],
    prompts_path: Path | None,
    repeat: int,
    max_tokens: int,
    budget: Amounts,
    prices: tuple[str, ...],
    options: tuple[str, ...],
    concurrency: int,
    timeout_s: float,
    warms_up: bool | None,
    full: bool,
    as_json: bool,
    no_live: bool,
) -> int:
    """Compare models on the same prompts: time to first token, total, tokens a second, cost, answers.

    Without --with or --model those take part that are there: the first models that Ollama has pulled, and the first of
    an OpenAI-compatible server. What bills its tokens takes part only when it is named, or with a --budget. What is
    absent is listed, with what to do to have it. Where nothing is there, scripted text takes part, labelled as such.

    Models of one backend are asked one after the other, and so are all local ones. Each figure is a median over the
    calls that were answered, with its spread.

    Ctrl-C ends the calls and reports what was measured by then; a second one ends it at once.

    Exit codes: 0 every call was answered, 1 some were not, or a named model could not be had, 2 error, or none of the
    named models could be had, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    from smesh_agent.errors import AgentError  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.workflows.compare import PROMPTS_DEFAULT, Plan, Terms, checked_prompts, read_prompts  # noqa: PLC0415

    from smesh_cli import render, stopping  # noqa: PLC0415

    plan = Plan(
        repeat=repeat,
        max_tokens=max_tokens,
        concurrency=concurrency,
        timeout_s=timeout_s,
        warms_up=warms_up,
        budget_tokens=next((tokens for tokens, _ in budget if tokens is not None), None),
        budget_usd=next((usd for _, usd in budget if usd is not None), None),
    )
    terms = Terms(
        environment=os.environ,
        call_s=timeout_s,
        prices=dict(_pair(one, "--price", "MODEL=IN/OUT") for one in prices),
        options=_by_backend(options),
        budget_tokens=plan.budget_tokens,
        budget_usd=plan.budget_usd,
    )
    try:
        specs = _specs(named, models)
        prompts = checked_prompts(texts, "--prompt")
        prompts += read_prompts(prompts_path) if prompts_path is not None else []
        prompts = checked_prompts(prompts or PROMPTS_DEFAULT, "--prompts")
        report, stopped_by = stopping.run(
            lambda stop: _compared(specs, prompts, plan, terms, stop, is_live=not no_live),
        )
    except AgentError as error:
        render.error(str(error))
        return exits.ERROR
    if not report.models and not report.interrupted:
        for absent in report.absent:
            if absent.is_named:
                render.error(f"{absent.name}: {absent.why}")
        return exits.ERROR
    if as_json:
        render.json(report)
    else:
        render.comparison(report, full=full)
    if report.interrupted:
        render.error("stopped; the report holds what had been measured by then")
        return exits.TERMINATED if stopped_by == signal.SIGTERM else exits.INTERRUPTED
    troubles = _troubles(report)
    for trouble in troubles:
        render.error(trouble)
    return exits.FINDINGS if troubles else exits.OK


async def _compared(
    specs: Sequence[Spec], prompts: Sequence[str], plan: Plan, terms: Terms, stop: asyncio.Event, *, is_live: bool
) -> Report:
    """Get the models together and ask them, watched where there is a terminal."""
    from smesh_agent.workflows import compare as workflow  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_runtime import SystemClock  # noqa: PLC0415

    from smesh_cli import stopping  # noqa: PLC0415

    clock = SystemClock()
    async with workflow.Lineup(terms, clock=clock) as lineup:
        async with _progress(1, is_live=is_live) as show:
            show(0, "looks for models")
            await stopping.unless_stopped(lineup.name(specs) if specs else lineup.find(), stop)
        total = len(lineup.entrants) * (len(prompts) * plan.repeat)
        async with _progress(total, is_live=is_live) as show:

            def told(step: Step) -> None:
                what = f"prompt {step.prompt}, {step.repetition} of {plan.repeat}" if step.prompt else "warm-up"
                show(step.done, f"{step.done + 1} of {step.total}: {step.name}, {what}")

            return await workflow.compare(
                lineup.entrants,
                prompts,
                plan,
                clock=clock,
                budget=lineup.budget,
                absent=lineup.absent,
                stop=stop,
                told=told,
            )


@contextlib.asynccontextmanager
async def _progress(total: int, *, is_live: bool) -> AsyncIterator[Callable[[int, str], None]]:
    """A line on stderr with how many calls are done and which is under way, where stderr is a terminal."""
    import asyncio  # noqa: PLC0415 - keeps `smesh --help` light

    from smesh_cli import live, render  # noqa: PLC0415

    bar = live.bar(_TITLE, total) if is_live else None
    if bar is None:
        yield lambda *_: None
        return

    async def redraw() -> None:
        while True:
            bar.show()
            await asyncio.sleep(_REDRAW_S)

    with bar:
        redrawing = asyncio.create_task(redraw())
        try:
            yield lambda done, what: bar.step(done, render.safe(what))
        finally:
            redrawing.cancel()


def _troubles(report: Report) -> list[str]:
    """What keeps a comparison from being whole, each as one line."""
    troubles = [f"{absent.name} was not compared: {absent.why}" for absent in report.absent if absent.is_named]
    for row in report.models:
        if row.failed:
            first = row.failures[0].why
            troubles.append(f"{row.name}: {row.failed:,} of {row.planned:,} calls were not answered: {first}")
        if left := row.planned - row.answered - row.failed:
            troubles.append(f"{row.name}: {left:,} of {row.planned:,} calls were not made: {row.why}")
    return troubles


def _specs(named: tuple[str, ...], models: tuple[str, ...]) -> list[Spec]:
    """The models that are named.

    Raises:
        AgentError: there is no such backend.
    """
    from smesh_agent.backends.registry import backend_for_model  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.workflows.compare import Spec, parse_spec  # noqa: PLC0415

    return [*map(parse_spec, named), *(Spec(backend_for_model(model), model) for model in models)]


def _by_backend(options: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Options by the backend whose they are."""
    sorted_: dict[str, dict[str, str]] = {}
    for option in options:
        named, value = _pair(option, "--option", "BACKEND.NAME=VALUE")
        backend, is_given, name = named.rpartition(".")
        if not is_given or not backend:
            raise click.BadParameter(f"{option!r} is not BACKEND.NAME=VALUE.", param_hint="--option")
        sorted_.setdefault(backend, {})[name] = value
    return sorted_


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    """What stands before and after the last sign of equality of a price, the first of an option."""
    name, is_given, value = text.rpartition("=") if option == "--price" else text.partition("=")
    if not is_given or not name:
        raise click.BadParameter(f"{text!r} is not {form}.", param_hint=option)
    return name, value
