"""The report of a comparison: for each model and each prompt what was measured, and what was answered.

A figure is the median over the calls that were answered, and how far they lie apart: from the least to the greatest
while there are fewer than `QUARTILES_FROM` of them, else the middle half, between the quartiles (inclusive, that is by
linear interpolation, method 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996). A call that
failed has no part in any figure: it is counted, with its reason. What is not known is null and never zero.
"""

from __future__ import annotations

from collections import Counter
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from smesh_agent.workflows.bills import Bill, bill_of
from smesh_agent.workflows.compare.entrants import Absent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smesh_agent.backends.budget import Ledger
    from smesh_agent.workflows.compare.entrants import Entrant

__all__ = [
    "QUARTILES_FROM",
    "SCHEMA",
    "Answer",
    "Failure",
    "Figures",
    "Measured",
    "ModelRow",
    "Outcome",
    "Plan",
    "PromptRow",
    "Report",
    "Sample",
    "Spread",
    "WarmUp",
    "build",
    "spread_of",
]

SCHEMA: Final = "smesh.compare/1"
QUARTILES_FROM: Final = 5
"""From so many values on a spread is the middle half, for the ends of many say little of what is usual."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How models are compared.

    Attributes:
        repeat: how often each is asked each prompt.
        max_tokens: how much an answer may take.
        concurrency: calls at the same time, of each backend; local ones share theirs.
        timeout_s: how long a call may take, its waits and all its attempts included.
        warms_up: whether a call that does not count comes first; None for where a model is local and no script.
        budget_tokens: how many tokens all calls together may take; None for any number.
        budget_usd: how many USD they may cost; None for any number.
    """

    repeat: int = 3
    max_tokens: int = 256
    concurrency: int = 1
    timeout_s: float = 300.0
    warms_up: bool | None = None
    budget_tokens: int | None = None
    budget_usd: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        prompt: which prompt, from 1.
        repetition: which time, from 1.
        why: why it was not answered; empty where it was.
        stop: why the answer ended; empty where there is none.
        first_token_s: from when the request that was answered was sent to the first text.
        total_s: from when it was sent to the answer's end.
        tokens_per_s: tokens written by the time from the first text to the end.
        tokens_in: tokens read, as the provider counts them.
        tokens_out: tokens written, as the provider counts them.
        cost_usd: what the answer cost.
        attempts: how often the request was sent; None where it was not answered.
        waited_s: what went by before the attempt that was answered: turns, limits, attempts that failed.
    """

    prompt: int
    repetition: int
    why: str = ""
    stop: str = ""
    first_token_s: float | None = None
    total_s: float | None = None
    tokens_per_s: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    attempts: int | None = None
    waited_s: float | None = None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over several calls.

    Attributes:
        median: half of them are not above it.
        low: the least; from `QUARTILES_FROM` values on the first quartile.
        high: the greatest, or the third quartile.
        kind: what `low` and `high` are.
        count: how many values there are.
    """

    median: float
    low: float
    high: float
    kind: Literal["range", "quartiles"]
    count: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of several calls; None where no call has the figure. The names are those of `Sample`."""

    first_token_s: Spread | None = None
    total_s: Spread | None = None
    tokens_per_s: Spread | None = None
    tokens_in: Spread | None = None
    tokens_out: Spread | None = None
    cost_usd: Spread | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, given once or several times.

    Attributes:
        text: all of it.
        stop: why it ended.
        repetitions: which times it was given.
    """

    text: str
    stop: str
    repetitions: list[int]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A reason why calls were not answered, and of how many."""

    why: str
    count: int


class PromptRow(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a prompt with a model.

    Attributes:
        prompt: which, from 1.
        answered: calls that were answered.
        failed: calls that were not.
        figures: what was measured of those that were.
        answers: what they said, each text once.
        failures: why the others were not.
    """

    prompt: int
    answered: int
    failed: int
    figures: Figures
    answers: list[Answer]
    failures: list[Failure]


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """The call before all others, which has no part in the figures: it loads the model.

    Attributes:
        first_token_s: see `Sample`.
        total_s: see `Sample`.
        why: why it was not answered; empty where it was.
    """

    first_token_s: float | None = None
    total_s: float | None = None
    why: str = ""


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a model.

    Attributes:
        name: what it is called here.
        backend: its backend's name.
        model: its name with that.
        address: where it was named to be; empty for the usual place.
        is_scripted: whether its answers are scripted text and no model's.
        is_local: whether it runs at its user's own place.
        price: what it costs, in words; None where no price is known.
        planned: calls that were to be made.
        answered: calls that were answered.
        failed: calls that were not.
        why: why not all calls were made; empty where they were.
        warm_up: the call before all others; None where there was none.
        cut_off: answers that reached the limit of tokens.
        retried: answers that took more than one attempt.
        figures: over all its answers to all prompts.
        prompts: by prompt.
        failures: why calls were not answered.
        calls: each of them, by prompt and repetition.
        bill: what all of it took, warm-up and failed attempts included.
    """

    name: str
    backend: str
    model: str
    address: str
    is_scripted: bool
    is_local: bool
    price: str | None
    planned: int
    answered: int
    failed: int
    why: str
    warm_up: WarmUp | None
    cut_off: int
    retried: int
    figures: Figures
    prompts: list[PromptRow]
    failures: list[Failure]
    calls: list[Sample]
    bill: Bill


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison; its JSON is documented in ``docs/reference/compare.md``.

    Attributes:
        schema: ``smesh.compare/1``.
        prompts: what was asked.
        plan: how.
        models: what came of each that took part, in the order in which they were named or found.
        absent: what takes no part, why, and how to get it.
        bill: what all of it took.
        interrupted: whether it was stopped before it had ended.
        duration_s: how long it took.
    """

    schema: str
    prompts: list[str]
    plan: Plan
    models: list[ModelRow]
    absent: list[Absent]
    bill: Bill
    interrupted: bool
    duration_s: float


class Measured(NamedTuple):
    """A call as it was measured, and the text that came of it."""

    sample: Sample
    text: str


class Outcome(NamedTuple):
    """What a model came to.

    Attributes:
        entrant: the model.
        warm_up: its first call, if it had one.
        measured: all others.
        why: why not all calls were made.
    """

    entrant: Entrant
    warm_up: WarmUp | None
    measured: Sequence[Measured]
    why: str


def build(
    outcomes: Sequence[Outcome],
    prompts: Sequence[str],
    plan: Plan,
    *,
    absent: Sequence[Absent],
    ledger: Ledger,
    interrupted: bool,
    duration_s: float,
) -> Report:
    """Make the report of a comparison."""
    return Report(
        schema=SCHEMA,
        prompts=list(prompts),
        plan=plan,
        models=[_model(one, len(prompts), plan, ledger) for one in outcomes],
        absent=list(absent),
        bill=bill_of(ledger.total),
        interrupted=interrupted,
        duration_s=duration_s,
    )


def spread_of(values: Iterable[float]) -> Spread | None:
    """The median of some values and how far they lie apart, see the module; None where there is none."""
    ordered = sorted(values)
    if not ordered:
        return None
    middle = median(ordered)
    if len(ordered) < QUARTILES_FROM:
        return Spread(median=middle, low=ordered[0], high=ordered[-1], kind="range", count=len(ordered))
    low, _, high = quantiles(ordered, n=4, method="inclusive")
    # Of equal values the one that is interpolated may be another in its last digit.
    return Spread(median=middle, low=min(low, middle), high=max(high, middle), kind="quartiles", count=len(ordered))


def _model(outcome: Outcome, prompts: int, plan: Plan, ledger: Ledger) -> ModelRow:
    entrant = outcome.entrant
    measured = sorted(outcome.measured, key=lambda one: (one.sample.prompt, one.sample.repetition))
    samples = [one.sample for one in measured]
    answered = [sample for sample in samples if not sample.why]
    price = entrant.model.price
    return ModelRow(
        name=entrant.name,
        backend=entrant.model.backend.name,
        model=entrant.model.backend.model,
        address=entrant.address,
        is_scripted=entrant.is_scripted,
        is_local=entrant.model.backend.is_local,
        price=price.in_words() if price is not None else None,
        planned=prompts * plan.repeat,
        answered=len(answered),
        failed=len(samples) - len(answered),
        why=outcome.why,
        warm_up=outcome.warm_up,
        cut_off=sum(sample.stop == "max_tokens" for sample in answered),
        retried=sum((sample.attempts or 1) > 1 for sample in answered),
        figures=_figures(answered),
        prompts=[
            _prompt(number, [one for one in measured if one.sample.prompt == number])
            for number in range(1, prompts + 1)
        ],
        failures=_failures(samples),
        calls=samples,
        bill=bill_of(ledger.labels.get(entrant.name)),
    )


def _prompt(number: int, measured: Sequence[Measured]) -> PromptRow:
    answered = [one for one in measured if not one.sample.why]
    by_text: dict[tuple[str, str], list[int]] = {}
    for sample, text in answered:
        by_text.setdefault((text, sample.stop), []).append(sample.repetition)
    return PromptRow(
        prompt=number,
        answered=len(answered),
        failed=len(measured) - len(answered),
        figures=_figures([one.sample for one in answered]),
        answers=[Answer(text=text, stop=stop, repetitions=times) for (text, stop), times in by_text.items()],
        failures=_failures([one.sample for one in measured]),
    )


def _figures(answered: Sequence[Sample]) -> Figures:
    return Figures(
        **{
            name: spread_of(value for one in answered if (value := getattr(one, name)) is not None)
            for name in Figures.__struct_fields__
        }
    )


def _failures(samples: Sequence[Sample]) -> list[Failure]:
    """Reasons, the most frequent first."""
    counts = Counter(sample.why for sample in samples if sample.why)
    return [Failure(why=why, count=count) for why, count in counts.most_common()]
