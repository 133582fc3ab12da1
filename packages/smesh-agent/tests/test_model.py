"""A model around a backend: attempts, waits, budgets, cancellation, streams, structured answers, tools, redaction."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import aclosing
from decimal import Decimal

import msgspec
import pytest
from fake_backend import Fake, asked, completed, counted, in_time, pieces, wants
from smesh_agent.backends.base import Delta, Message, Request, StopReason, Tool, ToolCall
from smesh_agent.backends.budget import Account, Budget
from smesh_agent.backends.model import Model
from smesh_agent.backends.pacing import Pacing
from smesh_agent.backends.prices import Prices, parse_price
from smesh_agent.backends.replies import Call, Reply
from smesh_agent.backends.retrying import Retries, draw
from smesh_agent.backends.tools import Ability, ability
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    BudgetExceededError,
    CallTimeoutError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    SchemaError,
    UnreachableError,
)
from smesh_runtime import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(10**18)


def model(clock: VirtualClock, backend: Fake, **values) -> Model:
    return Model(backend, clock=clock, **values)


# An answer, and what it took


async def test_an_answer_has_its_cost_and_its_times(clock) -> None:
    answer = [0.5, Delta("y"), 1.0, Delta("es"), 0.25, completed("yes", usage=counted(1000, 100, cached_in=400))]
    told: list[Call] = []
    one = model(clock, Fake(answer, clock=clock), told=told.append)
    reply = await in_time(clock, one.generate(asked(), label="a"))
    assert (reply.text, reply.attempts, reply.max_tokens) == ("yes", 1, 1024)
    assert reply.cost_usd == pytest.approx((600 * 2 + 400 * 0.1 + 100 * 10) / 1e6)
    assert (reply.first_token_s, reply.latency_s, reply.waited_s) == (0.5, 1.75, 0.0)
    assert one.budget.ledger.labels["a"].cost_usd == reply.cost_usd
    assert [(call.label, call.reply, call.error, call.took_s) for call in told] == [("a", reply, None, 1.75)]


async def test_a_model_at_its_users_own_place_costs_nothing_and_an_unknown_one_is_not_known(clock) -> None:
    assert (await in_time(clock, model(clock, Fake(completed(), is_local=True)).generate(asked()))).cost_usd == 0.0
    odd = model(clock, Fake(completed(), model="odd"))
    assert (await in_time(clock, odd.generate(asked()))).cost_usd is None
    assert odd.budget.ledger.total.cost_in_words() == "unknown for 1 of 1 requests"
    known = Prices({"odd": parse_price("1/2")})
    priced = model(clock, Fake(completed(usage=counted(10**6, 0)), model="odd"), prices=known, budget=Budget(usd=5.0))
    assert (await in_time(clock, priced.generate(asked()))).cost_usd == 1.0


def test_a_budget_in_usd_needs_a_price(clock) -> None:
    with pytest.raises(BackendSettingsError, match=r"no price of odd is known.*give its price, or a budget in tokens"):
        model(clock, Fake(completed(), model="odd"), budget=Budget(usd=1.0))
    model(clock, Fake(completed(), model="odd"), budget=Budget(tokens=1))
    model(clock, Fake(completed(), model="odd", is_local=True), budget=Budget(usd=0.0))


async def test_an_answer_without_its_end_is_none(clock) -> None:
    backend = Fake([Delta("y")])
    with pytest.raises(BadAnswerError, match="ended without"):
        await in_time(clock, model(clock, backend, retries=Retries(attempts_max=1)).generate(asked()))
    assert backend.open == 0


async def test_an_iterator_that_is_no_generator_will_do(clock) -> None:
    class Once:
        def __aiter__(self):
            return self

        async def __anext__(self):
            return completed("once")

    backend = Fake(completed())
    backend.stream = lambda _: Once()
    assert (await in_time(clock, model(clock, backend).generate(asked()))).text == "once"


async def test_close_closes_the_backend(clock) -> None:
    backend = Fake(completed())
    await model(clock, backend).close()
    assert backend.closed == 1


# Attempts


async def test_waits_between_attempts_grow_and_are_drawn_from_the_seed(clock) -> None:
    backend = Fake(OverloadedError("fake", "busy"), clock=clock)
    one = model(clock, backend, retries=Retries(attempts_max=6, first_s=1.0, longest_s=4.0), seed=7)
    with pytest.raises(OverloadedError, match="busy; gave up after 6 attempts"):
        await in_time(clock, one.generate(asked()))
    waits = [b - a for a, b in itertools.pairwise(backend.sent_s)]
    assert waits == pytest.approx([draw(7, 0, n) * cap for n, cap in enumerate([1.0, 2.0, 4.0, 4.0, 4.0], start=1)])
    assert one.budget.ledger.total == Account(failures=6)


def test_draws_are_uniform_and_repeat_and_differ() -> None:
    drawn = [draw(seed, call, attempt) for seed in range(10) for call in range(10) for attempt in range(10)]
    assert len(set(drawn)) == 1000
    assert all(0.0 <= one < 1.0 for one in drawn)
    assert sum(drawn) / 1000 == pytest.approx(0.5, abs=0.03)
    assert [sum(one < edge for one in drawn) / 1000 for edge in (0.25, 0.75)] == pytest.approx([0.25, 0.75], abs=0.05)
    assert draw(-3, 5, 2) == draw(-3, 5, 2) != draw(3, 5, 2)


async def test_no_attempt_comes_before_its_provider_allows(clock) -> None:
    backend = Fake(
        RateLimitedError("fake", "slow down", retry_after_s=20.0),
        RateLimitedError("fake", "slow down", retry_after_s=0.0),
        completed(),
        clock=clock,
    )
    reply = await in_time(clock, model(clock, backend, retries=Retries(first_s=1.0)).generate(asked()))
    first, second = (b - a for a, b in itertools.pairwise(backend.sent_s))
    assert 20.0 < first <= 21.0
    assert 0.0 < second <= 2.0
    assert reply.attempts == 3
    assert reply.waited_s == pytest.approx(first + second)
    assert reply.latency_s == 0.0


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RateLimitedError("fake", "slow down", retry_after_s=7200.0), "asks to wait 7,200 s, and at most 120 s"),
        (RateLimitedError("fake", "slow down", retry_after_s=float("inf")), "asks to wait inf s"),
        (RateLimitedError("fake", "slow down", retry_after_s=90.0), r"gave up after 1 attempts: .* 60.0 s left"),
        (AuthenticationError("fake", "bad key"), "^fake: bad key$"),
        (ModelNotFoundError("fake", "no such model"), "^fake: no such model$"),
        (RequestRejectedError("fake", "too long"), "^fake: too long$"),
    ],
)
async def test_what_makes_no_sense_is_not_tried_again(clock, error: BackendError, why: str) -> None:
    backend = Fake(error)
    with pytest.raises(type(error), match=why):
        await in_time(clock, model(clock, backend, timeout_s=60.0).generate(asked()))
    assert len(backend.requests) == 1


async def test_a_fault_in_a_backend_is_not_hidden(clock) -> None:
    told: list[Call] = []
    one = model(clock, Fake(ZeroDivisionError("odd")), told=told.append)
    with pytest.raises(ZeroDivisionError):
        await in_time(clock, one.generate(asked()))
    assert isinstance(told[0].error, ZeroDivisionError)
    assert one.budget.ledger.total.estimated == 1


async def test_one_deadline_stands_over_all_attempts(clock) -> None:
    backend = Fake([3.0, OverloadedError("fake", "busy")], [0.5, Delta("y"), 10**6 * 1.0, completed()], clock=clock)
    told: list[Call] = []
    one = model(clock, backend, timeout_s=5.0, retries=Retries(first_s=0.5), told=told.append)
    begun_s = clock.monotonic_ns() / 1e9
    with pytest.raises(CallTimeoutError, match="took more than 5 s, 2 attempts and their waits included"):
        await in_time(clock, one.generate(asked()))
    assert clock.monotonic_ns() / 1e9 - begun_s == pytest.approx(5.0)
    assert told[0].took_s == pytest.approx(5.0)
    assert isinstance(told[0].error, CallTimeoutError)
    assert backend.open == 0
    assert (one.budget.ledger.total.failures, one.budget.ledger.total.estimated) == (2, 1)


async def test_a_call_that_is_over_leaves_nothing_behind_that_waits_for_its_deadline(clock) -> None:
    await in_time(clock, model(clock, Fake(completed()), timeout_s=5.0).generate(asked()))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_deadline_also_ends_a_wait_for_a_turn(clock) -> None:
    pacing = Pacing(clock, concurrency_max=1)
    slow = model(clock, Fake([100.0, completed()], clock=clock), pacing=pacing)
    quick = model(clock, backend := Fake(completed()), pacing=pacing, timeout_s=1.0)

    async def both() -> list[Reply | BaseException]:
        return await asyncio.gather(slow.generate(asked()), quick.generate(asked()), return_exceptions=True)

    first, second = await in_time(clock, both())
    assert isinstance(first, Reply)
    assert isinstance(second, CallTimeoutError)
    assert backend.requests == []
    assert quick.budget.ledger.total == Account()


async def test_a_timeout_of_somebody_elses_is_not_taken_for_the_deadline(clock) -> None:
    with pytest.raises(TimeoutError, match="own"):
        await in_time(clock, model(clock, Fake(TimeoutError("own"))).generate(asked()))


# Budgets and limits


async def test_an_attempt_that_fails_is_charged_as_it_failed(clock) -> None:
    backend = Fake([Delta("y"), OverloadedError("fake", "busy")], UnreachableError("fake", "gone"), completed())
    one = model(clock, backend, budget=Budget(tokens=5000))
    await in_time(clock, one.generate(asked()))
    total = one.budget.ledger.total
    assert (total.calls, total.failures, total.estimated) == (1, 2, 1)
    assert total.tokens_out == 1024 + 5
    assert one.budget.reserved == Account()


async def test_an_answer_is_cut_to_the_budget_and_says_so(clock) -> None:
    backend = Fake(completed(), count=100)
    one = model(clock, backend, budget=Budget(tokens=500))
    reply = await in_time(clock, one.generate(asked("x" * 600)))
    assert len(backend.counted) == 1
    assert reply.max_tokens == backend.requests[0].max_tokens == 500 - (100 + 5 + 64)
    with pytest.raises(BudgetExceededError, match=r"420 tokens left.* 169 tokens and an answer of 256"):
        await in_time(clock, model(clock, backend, budget=Budget(tokens=420)).generate(asked("x" * 600)))
    assert (len(backend.counted), len(backend.requests)) == (2, 1)
    assert not BudgetExceededError("", "").retryable


async def test_calls_that_run_at_the_same_time_do_not_overrun_a_budget(clock) -> None:
    backend = Fake([1.0, completed(usage=counted(60, 40))], clock=clock)
    budget = Budget(tokens=2000, usd=0.02)
    one = model(clock, backend, budget=budget)

    async def many() -> list[Reply | BaseException]:
        return await asyncio.gather(
            *(one.generate(asked(max_tokens=300), label=f"{n}") for n in range(20)), return_exceptions=True
        )

    outcomes = await in_time(clock, many())
    answered = [one for one in outcomes if isinstance(one, Reply)]
    refused = [one for one in outcomes if isinstance(one, BudgetExceededError)]
    assert len(answered) + len(refused) == 20
    # A request may take 373 tokens and takes 100: five go out at once, the others wait for what these leave over, until
    # less is left than an answer of 256 tokens may take.
    assert len(answered) == 17
    assert {reply.max_tokens for reply in answered[:-1]} == {300}
    assert backend.open_max == 5
    total = budget.ledger.total
    assert (total.tokens, total.calls, total.failures) == (1700, 17, 0)


async def test_pacing_is_shared_and_corrected(clock) -> None:
    pacing = Pacing(clock, tokens_per_minute=6000)
    backends = [Fake(completed(usage=counted(10, 10)), clock=clock) for _ in range(2)]
    models = [model(clock, backend, pacing=pacing) for backend in backends]

    async def calls() -> None:
        for one in (*models, *models):
            await one.generate(asked(max_tokens=900))

    await in_time(clock, calls())
    assert [round(at - 10**9, 1) for backend in backends for at in backend.sent_s] == [0.0, 0.0, 0.0, 0.0]


# Cancellation


async def step_until_cancelled(clock: VirtualClock, work, at: int) -> bool:
    """Let a task go on for so many steps of the loop, and cancel it; returns whether it was done before."""
    task = asyncio.ensure_future(work)
    for step in range(at):
        if task.done():
            break
        await asyncio.sleep(0)
        if step % 7 == 6:
            clock.advance_to_next()
    was_done = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return was_done


@pytest.mark.parametrize("way", ["generate", "stream", "structured", "converse"])
async def test_whoever_is_cancelled_anywhere_leaves_everything(way: str) -> None:
    async def used(one: Model) -> None:
        match way:
            case "generate":
                await one.generate(asked())
            case "stream":
                async with aclosing(one.stream(asked())) as reading:
                    async for _ in reading:
                        await asyncio.sleep(0)
            case "structured":
                await one.structured(asked(), Verdict)
            case "converse":
                await one.converse(asked(), [able(slow)])

    async def slow(arguments: dict) -> str:
        await asyncio.sleep(0)
        return "it is"

    last = {"structured": completed('{"holds": true}')}.get(way, completed())
    middle = {"structured": [completed("no")], "converse": [wants("look")]}.get(way, [])
    for at in itertools.count():
        clock = VirtualClock(10**18)
        pacing = Pacing(clock, concurrency_max=1, requests_per_minute=600, tokens_per_minute=60_000)
        answers = [[0.1, OverloadedError("fake", "busy")], *middle, [0.1, Delta("y"), 0.1, Delta("e"), last]]
        backend = Fake(*answers, clock=clock, count=1)
        told: list[Call] = []
        one = model(clock, backend, pacing=pacing, budget=Budget(tokens=2800), told=told.append)
        was_done = await step_until_cancelled(clock, used(one), at)
        assert backend.open == 0
        assert pacing.busy == 0
        assert one.budget.reserved == Account()
        total = one.budget.ledger.total
        assert total.calls + total.failures == len(backend.requests)
        if at > 0 and not was_done and told:
            assert isinstance(told[-1].error, asyncio.CancelledError) or told[-1].reply is not None
        after = model(clock, Fake(completed()), pacing=pacing, budget=Budget())
        assert (await in_time(clock, after.generate(asked()))).text == "yes"
        if was_done:
            break
    assert at > 20


async def test_nobody_else_is_cancelled_with_it(clock) -> None:
    one = model(clock, Fake([5.0, completed()], clock=clock), pacing=Pacing(clock, concurrency_max=1))
    first, second = (asyncio.ensure_future(one.generate(asked())) for _ in range(2))
    for _ in range(10):
        await asyncio.sleep(0)
    first.cancel()

    async def rest() -> Reply:
        return await second

    assert (await in_time(clock, rest())).text == "yes"
    assert first.cancelled()


# Streams


async def collected(one: Model, request: Request) -> list[Delta | Reply]:
    async with aclosing(one.stream(request)) as reading:
        return [piece async for piece in reading]


async def test_a_stream_passes_on_pieces_and_then_the_reply(clock) -> None:
    one = model(clock, Fake([0.5, *pieces("y", "", "es")], clock=clock))
    *deltas, reply = await in_time(clock, collected(one, asked()))
    assert deltas == [Delta("y"), Delta("es")]
    assert reply.text == "yes"
    assert reply.first_token_s == 0.5


async def test_a_stream_is_tried_again_before_its_first_piece(clock) -> None:
    backend = Fake(OverloadedError("fake", "busy"), pieces("yes"))
    *deltas, reply = await in_time(clock, collected(model(clock, backend), asked()))
    assert deltas == [Delta("yes")]
    assert reply.attempts == 2


async def test_a_stream_that_breaks_says_what_was_given_out_and_is_not_tried_again(clock) -> None:
    backend = Fake([Delta("ye"), Delta("a"), OverloadedError("fake", "busy")], completed())
    given: list[Delta | Reply] = []

    async def read() -> None:
        async with aclosing(model(clock, backend).stream(asked())) as reading:
            async for piece in reading:
                given.append(piece)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(BadAnswerError, match=r"broke off after 3 characters.*not asked for again: busy"):
        await in_time(clock, read())
    assert given == [Delta("ye"), Delta("a")]
    assert len(backend.requests) == 1


async def test_the_deadline_does_not_strike_its_reader(clock) -> None:
    """A reader may take as long as it wants with what it has."""
    one = model(clock, Fake([Delta("y"), 1.0, completed("y")], clock=clock), timeout_s=5.0)

    async def read() -> list[Delta | Reply]:
        found = []
        async with aclosing(one.stream(asked())) as reading:
            async for piece in reading:
                await clock.sleep(60.0)
                found.append(piece)
        return found

    delta, reply = await in_time(clock, read())
    assert delta == Delta("y")
    assert reply.latency_s == 1.0

    late = model(clock, Fake([Delta("y"), 9.0, completed("y")], clock=clock), timeout_s=5.0)
    with pytest.raises(CallTimeoutError, match="more than 5 s; 1 characters had been given out"):
        await in_time(clock, collected(late, asked()))


async def test_a_reader_that_stops_ends_the_call(clock) -> None:
    backend = Fake([Delta("y"), 100.0, completed("y")], clock=clock)
    told: list[Call] = []
    one = model(clock, backend, pacing=(pacing := Pacing(clock, concurrency_max=1)), told=told.append)

    async def read() -> None:
        async with aclosing(one.stream(asked())) as reading:
            async for _ in reading:
                break

    await in_time(clock, read())
    assert (backend.open, pacing.busy, one.budget.reserved.calls) == (0, 0, 0)
    assert one.budget.ledger.total.estimated == 1
    assert isinstance(told[0].error, asyncio.CancelledError)


# Structured answers


class Verdict(msgspec.Struct):
    holds: bool


async def test_a_structured_answer_needs_no_repair(clock) -> None:
    backend = Fake(completed('It is: {"holds": true}'))
    request = asked(tools=(able(look).tool,))
    value, reply = await in_time(clock, model(clock, backend).structured(request, Verdict))
    assert value == Verdict(holds=True)
    assert backend.requests[0].schema["required"] == ["holds"]
    assert backend.requests[0].tools == ()
    assert reply.attempts == 1


async def test_one_repair_is_asked_for_and_both_are_paid(clock) -> None:
    backend = Fake(
        completed('{"holds": "yes"}', usage=counted(10, 5)), completed('{"holds": false}', usage=counted(30, 6))
    )
    one = model(clock, backend)
    value, reply = await in_time(clock, one.structured(asked(), Verdict, label="a"))
    assert value == Verdict(holds=False)
    *_, said, told = backend.requests[1].messages
    assert said == Message(role="assistant", text='{"holds": "yes"}')
    assert "Expected `bool`, got `str`" in told.text
    assert reply.completion.usage == counted(40, 11)
    assert reply.attempts == 2
    assert reply.cost_usd == one.budget.ledger.labels["a"].cost_usd == pytest.approx(190e-6)


async def test_a_second_misfit_is_an_error(clock) -> None:
    backend = Fake(completed("no"), completed("still\nno " + "x" * 1000))
    with pytest.raises(
        SchemaError, match="no Verdict: there is no JSON object in it; it begins 'still no xxx"
    ) as caught:
        await in_time(clock, model(clock, backend).structured(asked(), Verdict))
    assert len(backend.requests) == 2
    assert len(str(caught.value)) < 400
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("stop", "why"),
    [
        (StopReason.REFUSAL, "declined to answer"),
        (StopReason.MAX_TOKENS, "cut off at 77 tokens"),
        (StopReason.CONTEXT_EXCEEDED, "window is full"),
    ],
)
@pytest.mark.parametrize("first", [[], [completed("no")]], ids=["at once", "in the repair"])
async def test_what_is_no_whole_answer_is_not_called_a_misfit(clock, stop, why, first) -> None:
    backend = Fake(*first, completed('{"holds": tr', stop=stop))
    with pytest.raises(RequestRejectedError, match=why):
        await in_time(clock, model(clock, backend).structured(asked(max_tokens=77), Verdict))
    assert len(backend.requests) == len(first) + 1


# Tools


def able(perform, name: str = "look", **schema) -> Ability:
    return Ability(Tool(name, "looks", {"type": "object", "properties": {"at": {}}, **schema}), perform)


async def look(arguments: dict) -> str:
    return f"{arguments['at']} is red"


async def test_tools_are_used_until_the_model_has_said_all(clock) -> None:
    backend = Fake(wants("look", at="A"), wants("look", "2", at="B"), completed("both are red"))
    talk = await in_time(clock, model(clock, backend).converse(asked("what?"), [able(look)]))
    assert talk.is_finished
    assert talk.rounds == 3
    assert talk.reply.text == "both are red"
    assert talk.reply.completion.usage == counted(30, 15)
    assert [(one.role, one.text, one.answers) for one in talk.messages] == [
        ("user", "what?", ""),
        ("assistant", "", ""),
        ("tool", "A is red", "1"),
        ("assistant", "", ""),
        ("tool", "B is red", "2"),
        ("assistant", "both are red", ""),
    ]
    assert [tool.name for tool in backend.requests[0].tools] == ["look"]
    assert backend.requests[2].messages == talk.messages[:-1]


async def fails(arguments: dict) -> str:
    raise OSError("the door is shut")


class At(msgspec.Struct):
    at: int


async def look_at(where: At) -> str:
    return f"{where.at + 1}"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (ToolCall("1", "fly", {}), "there is no tool 'fly'; there are: look, fails, strict, typed"),
        (ToolCall("1", "fails", {}), "OSError: the door is shut"),
        (ToolCall("1", "strict", {"b": 1}), "bad arguments: missing: at; unknown: b"),
        (ToolCall("1", "typed", {"at": "x"}), r"bad arguments: Expected `int`, got `str` - at `$.at`"),
        (ToolCall("1", "typed", {}), "bad arguments: missing: at"),
        (ToolCall("1", "look", {}), "KeyError: 'at'"),
    ],
)
async def test_what_goes_wrong_with_a_tool_is_told_to_the_model(clock, call: ToolCall, told: str) -> None:
    tools = [
        able(look),
        able(fails, "fails"),
        able(look, "strict", required=["at"], additionalProperties=False),
        ability("typed", "adds one", At, look_at),
    ]
    backend = Fake(completed("", stop=StopReason.TOOL_USE, calls=(call,)), completed("so be it"))
    talk = await in_time(clock, model(clock, backend).converse(asked(), tools))
    assert talk.messages[2] == Message(role="tool", text=told, answers="1", is_error=True)
    assert talk.reply.text == "so be it"


async def test_typed_tools_and_several_calls_of_one_turn(clock) -> None:
    calls = (ToolCall("a", "typed", {"at": 1}), ToolCall("b", "typed", {"at": 2}))
    backend = Fake(completed("", stop=StopReason.TOOL_USE, calls=calls), completed())
    talk = await in_time(clock, model(clock, backend).converse(asked(), [ability("typed", "adds one", At, look_at)]))
    assert [(one.text, one.answers, one.is_error) for one in talk.messages[2:4]] == [
        ("2", "a", False),
        ("3", "b", False),
    ]


async def test_a_paused_turn_goes_on(clock) -> None:
    backend = Fake(completed("let me", stop=StopReason.PAUSED), completed("see"))
    talk = await in_time(clock, model(clock, backend).converse(asked(), []))
    assert (talk.is_finished, talk.rounds, talk.reply.text) == (True, 2, "see")
    assert backend.requests[1].messages[-1] == Message(role="assistant", text="let me")


async def test_a_model_that_never_ends_is_ended_and_what_was_said_is_kept(clock) -> None:
    backend = Fake(wants("look", at="A"))
    talk = await in_time(clock, model(clock, backend).converse(asked(), [able(look)], rounds_max=3))
    assert not talk.is_finished
    assert (talk.rounds, len(backend.requests), len(talk.messages)) == (3, 3, 6)


async def test_a_long_answer_of_a_tool_is_cut(clock) -> None:
    async def long(arguments: dict) -> str:
        return "x" * 100_000

    talk = await in_time(clock, model(clock, Fake(wants("look"), completed())).converse(asked(), [able(long)]))
    assert talk.messages[2].text.endswith("\n[34464 more characters were cut off]")


# Secrets


async def test_secrets_leave_in_no_text(clock) -> None:
    secret = "hunter2"  # noqa: S105 - this one is known

    async def tells(arguments: dict) -> str:
        return f"the word is {secret}"

    backend = Fake(wants("look", at={"deep": [f"{secret}!", 1]}), completed(), count=7)
    one = model(clock, backend, redact=lambda text: text.replace(secret, "***"))
    request = asked(f"my word is {secret}", system=f"{secret} is a secret")
    await in_time(clock, one.converse(request, [able(tells)]))
    assert [request.system for request in backend.requests] == ["*** is a secret"] * 2
    _, call, answer = backend.requests[1].messages
    assert backend.requests[1].messages[0].text == "my word is ***"
    assert call.calls[0].arguments == {"at": {"deep": ["***!", 1]}}
    assert answer.text == "the word is ***"
    assert secret not in repr(backend.requests)
    assert await in_time(clock, one.count_tokens(request)) == 7
    assert len(backend.counted) == 1
    assert secret not in repr(backend.counted)


async def test_a_count_has_the_deadline_too(clock) -> None:
    backend = Fake(completed())

    async def hang(request: Request) -> int | None:
        await clock.sleep(10**6)
        return 1

    backend.count_tokens = hang
    with pytest.raises(CallTimeoutError, match="more than 3 s"):
        await in_time(clock, model(clock, backend, timeout_s=3.0).count_tokens(asked()))


async def test_cost_is_exact_in_sum(clock) -> None:
    one = model(clock, Fake(completed(usage=counted(1, 0)), model="odd"), prices=Prices({"odd": parse_price("0.1/0")}))

    async def many() -> None:
        for _ in range(1000):
            await one.generate(asked())

    await in_time(clock, many())
    assert one.budget.ledger.total.cost_pusd == int(Decimal("0.1") * 10**6) * 1000
    assert one.budget.ledger.total.cost_usd == 0.0001
