"""Budgets: caps hold whatever runs at the same time and however it ends, and the ledger is right."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from fake_backend import asked, counted, in_time
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_agent.backends.base import Message, Request, Tool, ToolCall
from smesh_agent.backends.budget import MAX_TOKENS_FLOOR, Account, Allowance, Budget, tokens_bound
from smesh_agent.backends.prices import FREE, Price, Tier
from smesh_agent.errors import (
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    BudgetExceededError,
    CallTimeoutError,
    OverloadedError,
    RateLimitedError,
    UnreachableError,
)
from smesh_runtime import VirtualClock

DEAR = Price(tiers=(Tier(input=Decimal(2), output=Decimal(10), cache_write=Decimal(3), cache_read=Decimal("0.1")),))
"""A token of prompt costs at most 3 millionths of a USD, one of answer 10."""


def reserve(budget: Budget, tokens_in: int = 100, max_tokens: int = 100, **values):
    return budget.reserve(tokens_in=tokens_in, max_tokens=max_tokens, **({"price": DEAR} | values))


# One request at a time


async def test_the_most_is_set_aside_and_what_was_taken_is_charged() -> None:
    budget = Budget(tokens=1000, usd=0.01)
    async with reserve(budget, label="a") as held:
        assert held.max_tokens == 100
        assert budget.left == Allowance(tokens=800, pusd=10**10 - 100 * 3_000_000 - 100 * 10_000_000)
        assert held.took(counted(80, 20, cached_in=50, cache_written_in=30)) == pytest.approx(0.000295)
    total = budget.ledger.total
    assert (total.tokens_in, total.tokens_out, total.cached_in, total.calls) == (80, 20, 50, 1)
    assert (total.failures, total.estimated, total.unpriced) == (0, 0, 0)
    assert budget.left == Allowance(tokens=900, pusd=10**10 - 295_000_000)
    assert budget.reserved == Account()
    assert budget.ledger.labels == {"a": total}


async def test_an_answer_is_cut_to_what_is_left_but_not_to_nothing() -> None:
    budget = Budget(tokens=100 + MAX_TOKENS_FLOOR)
    async with reserve(budget, max_tokens=5000) as held:
        assert held.max_tokens == MAX_TOKENS_FLOOR
        held.took(counted(0, 0))
    async with reserve(budget, 101, 10):
        pass  # who asks for less than the floor gets it
    budget = Budget(tokens=100 + MAX_TOKENS_FLOOR - 1)
    with pytest.raises(BudgetExceededError, match=r"355 tokens left.*100 tokens.*256"):
        async with reserve(budget, max_tokens=5000):
            raise AssertionError("nothing may be sent")
    assert budget.ledger.total == Account()


async def test_an_answer_is_cut_to_what_can_be_paid() -> None:
    budget = Budget(usd=0.0003 + 0.003)
    async with reserve(budget, max_tokens=5000) as held:
        assert held.max_tokens == 300  # the prompt may cost 0.0003
        held.took(counted(100, 300))
    with pytest.raises(BudgetExceededError, match=r"\$0\.0001 left"):
        async with reserve(budget):
            raise AssertionError("nothing may be sent")


async def test_a_provider_that_counts_more_is_believed_and_the_next_request_is_not_sent() -> None:
    budget = Budget(tokens=250)
    async with reserve(budget) as held:
        held.took(counted(300, 100))
    assert budget.left.tokens == 0
    with pytest.raises(BudgetExceededError):
        async with reserve(budget, 0, 1):
            raise AssertionError("nothing may be sent")


async def test_no_cap_is_a_ledger() -> None:
    budget = Budget()
    async with reserve(budget, 10**12, 10**9, price=None) as held:
        assert held.max_tokens == 10**9
        assert held.took(counted(5, 6, is_counted=False)) is None
    assert budget.left == Allowance()
    total = budget.ledger.total
    assert (total.tokens, total.cost_usd, total.unpriced, total.estimated) == (11, 0.0, 1, 1)
    assert total.cost_in_words() == "unknown for 1 of 1 requests"
    async with reserve(budget) as held:
        held.took(counted(100, 10))
    assert total.cost_in_words() == "at least $0.0003, and unknown for 1 of 2 requests"
    async with reserve(free := Budget(usd=0.0), price=FREE) as held:
        assert held.took(counted()) == 0.0
    assert free.ledger.total.cost_in_words() == "$0.0000"


async def test_an_unknown_price_is_not_taken_for_nothing() -> None:
    short = Price(tiers=(Tier(input=Decimal(1), output=Decimal(1), prompt_tokens_max=50),))
    for price in (None, short):
        with pytest.raises(BudgetExceededError, match="not known"):
            async with reserve(Budget(usd=100.0), price=price):
                raise AssertionError("nothing may be sent")


async def test_a_prompt_that_turns_out_longer_than_any_price_is_charged_as_the_most() -> None:
    short = Price(tiers=(Tier(input=Decimal(1), output=Decimal(1), prompt_tokens_max=100),))
    budget = Budget(usd=1.0)
    async with reserve(budget, price=short) as held:
        assert held.took(counted(101, 1)) is None
    total = budget.ledger.total
    assert (total.cost_pusd, total.unpriced) == (200 * 10**6, 1)


# How requests end


@pytest.mark.parametrize("error", [OverloadedError, RateLimitedError, UnreachableError])
async def test_what_was_not_taken_on_costs_nothing_unless_it_had_begun(error) -> None:
    budget = Budget(tokens=1000)
    with pytest.raises(error):
        async with reserve(budget, label="a"):
            raise error("fake", "no")
    assert budget.ledger.labels == {"a": Account(failures=1)}

    async def begun() -> None:
        async with reserve(budget, label="b") as held:
            held.has_begun = True
            raise error("fake", "no")

    with pytest.raises(error):
        await begun()
    assert budget.ledger.labels["b"].tokens == 200
    assert budget.left.tokens == 800


@pytest.mark.parametrize(
    "error",
    [CallTimeoutError("fake", "slow"), BadAnswerError("fake", "broke off"), asyncio.CancelledError(), OSError()],
)
async def test_what_nobody_knows_is_charged_as_the_most_and_called_an_estimate(error) -> None:
    budget = Budget(usd=1.0)
    with pytest.raises(type(error)):
        async with reserve(budget):
            raise error
    assert budget.ledger.total == Account(
        tokens_in=100, tokens_out=100, cost_pusd=1_300_000_000, failures=1, estimated=1
    )
    assert budget.reserved == Account()


# Requests at the same time


async def test_who_does_not_fit_waits_for_what_others_leave_in_the_order_of_arrival() -> None:
    budget, clock, order = Budget(tokens=1000), VirtualClock(), []

    async def call(name: str, tokens: int, lasts_s: float, took: int) -> None:
        async with reserve(budget, tokens, 300) as held:
            order.append((name, clock.monotonic_ns() / 1e9, held.max_tokens))
            await clock.sleep(lasts_s)
            held.took(counted(took, 0))

    async def all_of_them() -> None:
        await asyncio.gather(
            call("a", 300, 2.0, 100), call("b", 100, 1.0, 100), call("c", 100, 1.0, 100), call("d", 0, 1.0, 0)
        )

    await in_time(clock, all_of_them())
    # c has to wait until a leaves something over, and d waits behind it though d would fit.
    assert order == [("a", 0.0, 300), ("b", 0.0, 300), ("c", 2.0, 300), ("d", 2.0, 300)]
    assert budget.left.tokens == 700


async def test_a_small_request_waits_too() -> None:
    budget = Budget(tokens=1000)

    async def small() -> int:
        async with reserve(budget, 0, 10) as held:
            return held.max_tokens

    async with reserve(budget, 500, 495) as first:
        waiting = asyncio.create_task(small())
        await asyncio.sleep(0)
        first.took(counted(0, 0))
    assert await waiting == 10


async def test_who_cannot_fit_whatever_others_leave_does_not_wait() -> None:
    budget = Budget(tokens=1000)
    async with reserve(budget):
        with pytest.raises(BudgetExceededError):
            async with reserve(budget, 990, 300):
                raise AssertionError("nothing may be sent")


async def test_the_provider_counts_only_where_the_bound_is_too_much() -> None:
    counts = 0

    async def count() -> int | None:
        nonlocal counts
        counts += 1
        await asyncio.sleep(0)
        return 40

    budget = Budget(tokens=1000)
    async with reserve(budget, 900, 100, count=count) as held:
        held.took(counted(0, 0))
    assert counts == 0
    async with reserve(budget, 5000, 100, count=count) as held:
        assert held.most.tokens_in == 40
        held.took(counted(0, 0))
    assert counts == 1
    with pytest.raises(BudgetExceededError):
        async with reserve(Budget(tokens=100), 5000, 100, count=count):
            raise AssertionError("nothing may be sent")
    assert counts == 2


async def test_a_count_that_fails_is_no_count() -> None:
    async def count() -> int | None:
        raise UnreachableError("fake", "nobody there")

    budget = Budget(tokens=1000)
    with pytest.raises(UnreachableError):
        async with reserve(budget, 5000, 100, count=count):
            raise AssertionError("nothing may be sent")
    assert budget.reserved == Account() == budget.ledger.total
    async with reserve(budget):  # the line is free again
        pass


async def test_who_leaves_the_line_leaves_it_to_the_next() -> None:
    budget = Budget(tokens=1000)
    entered = asyncio.Event()

    async def call() -> None:
        async with reserve(budget, 400, 300) as held:
            entered.set()
            held.took(counted(0, 0))

    async with reserve(budget, 400, 300) as first:
        head, behind = asyncio.create_task(call()), asyncio.create_task(call())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not entered.is_set()
        head.cancel()
        await asyncio.gather(head, return_exceptions=True)
        first.took(counted(0, 0))
    await behind
    assert entered.is_set()
    assert budget.left.tokens == 1000


ENDINGS = ["answered", "cancelled", "refused", "broke off"]
requests = st.lists(
    st.tuples(
        st.integers(0, 3000),  # the bound of its prompt
        st.integers(1, 2000),  # what it may write
        st.integers(0, 100),  # how much of both it takes, in percent
        st.integers(0, 5),  # when it comes
        st.integers(1, 5),  # how long it takes
        st.sampled_from(ENDINGS),
        st.booleans(),  # whether the model is free
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(requests, st.none() | st.integers(0, 8000), st.none() | st.integers(0, 60_000))
def test_caps_hold_whatever_runs_at_the_same_time(
    plan: list[tuple[int, int, int, int, int, str, bool]], tokens: int | None, micro_usd: int | None
) -> None:
    clock = VirtualClock()
    budget = Budget(tokens=tokens, usd=None if micro_usd is None else micro_usd / 1e6)
    caps, sent, taken = budget.allowance, [], Account()

    def check() -> None:
        spent, aside = budget.ledger.total, budget.reserved
        assert caps.tokens is None or spent.tokens + aside.tokens <= caps.tokens
        assert caps.pusd is None or spent.cost_pusd + aside.cost_pusd <= caps.pusd

    async def call(index: int) -> None:
        bound, max_tokens, percent, at_s, lasts_s, ending, is_free = plan[index]
        price = FREE if is_free else DEAR
        await clock.sleep(at_s)
        async with reserve(budget, bound, max_tokens, price=price, label=str(index % 3)) as held:
            check()
            assert min(max_tokens, MAX_TOKENS_FLOOR) <= held.max_tokens <= max_tokens
            sent.append(index)
            await clock.sleep(lasts_s)
            if ending == "cancelled":
                taken.add(held.unfinished)
                raise asyncio.CancelledError
            if ending == "refused":
                taken.add(Account(failures=1))
                raise OverloadedError("fake", "no")
            if ending == "broke off":
                held.has_begun = True
                taken.add(held.unfinished)
                raise BadAnswerError("fake", "broke off")
            read = bound * percent // 100
            held.took(counted(read, held.max_tokens * percent // 100, cache_written_in=read))
            taken.add(held.taken)
        check()

    async def all_of_them() -> list[BaseException | None]:
        return await asyncio.gather(*(call(index) for index in range(len(plan))), return_exceptions=True)

    results = asyncio.run(in_time(clock, all_of_them()))
    refused = [index for index, result in enumerate(results) if isinstance(result, BudgetExceededError)]
    assert sorted([*sent, *refused]) == list(range(len(plan)))
    assert not [result for result in results if isinstance(result, AssertionError)]
    assert budget.reserved == Account()
    assert budget.ledger.total == taken
    check()
    if tokens is None and micro_usd is None:
        assert not refused
    labelled = Account()
    for account in budget.ledger.labels.values():
        labelled.add(account)
    assert labelled == taken


# Several processes


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 9))
def test_allowances_add_up_to_what_is_left(tokens: int, micro_usd: int, parts: int) -> None:
    budget = Budget(tokens=tokens, usd=micro_usd / 1e6)
    left = budget.left
    shares = budget.split(parts)
    assert len(shares) == parts
    assert sum(share.tokens for share in shares) == left.tokens
    assert sum(share.pusd for share in shares) == left.pusd == micro_usd * 10**6
    assert max(share.tokens for share in shares) - min(share.tokens for share in shares) <= 1
    assert budget.left == Allowance(tokens=0, pusd=0)


async def test_a_process_spends_its_allowance_and_gives_back_the_rest() -> None:
    budget = Budget(tokens=1000, usd=1.0)
    async with reserve(budget, label="before") as held:
        held.took(counted(50, 50))
    shares = [msgspec.json.decode(msgspec.json.encode(share), type=Allowance) for share in budget.split(2)]
    with pytest.raises(BudgetExceededError):
        async with reserve(budget, 1, 1):
            raise AssertionError("nothing may be sent")
    child = Budget.of(shares[0])
    assert child.left.tokens == 450
    async with reserve(child, label="child") as held:
        held.took(counted(100, 20))
    budget.take_back(shares[0], msgspec.json.decode(msgspec.json.encode(child.ledger), type=type(child.ledger)))
    assert budget.left.tokens == 1000 - 100 - 120 - 450
    assert budget.ledger.labels["child"] == child.ledger.total
    assert budget.ledger.total.tokens == 220
    budget.take_back(shares[1], Budget().ledger)
    assert budget.left.tokens == 780
    assert Budget().split(3) == [Allowance()] * 3


async def test_a_budget_is_not_split_under_way() -> None:
    budget = Budget(tokens=1000)
    async with reserve(budget):
        with pytest.raises(BackendSettingsError):
            budget.split(2)
    with pytest.raises(BackendSettingsError):
        budget.split(0)


@pytest.mark.parametrize("caps", [{"tokens": -1}, {"usd": -0.1}, {"usd": float("nan")}, {"usd": float("inf")}])
def test_a_cap_that_is_none_is_refused(caps) -> None:
    with pytest.raises(BackendError, match="budget"):
        Budget(**caps)


# The bound of a prompt


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_prompt_is_bounded_by_its_bytes(system: str, text: str) -> None:
    bound = tokens_bound(asked(text, system=system))
    assert bound >= len(system.encode()) + len(text.encode())
    assert bound < len(system.encode()) + len(text.encode()) + 200


def test_calls_tools_and_schemas_count() -> None:
    bound = tokens_bound(asked())
    call = ToolCall("1", "f", {"text": "x" * 1000})
    with_call = Request(messages=(*asked().messages, Message(role="assistant", calls=(call,))))
    assert tokens_bound(with_call) > bound + 1000
    tool = Tool("f", "y" * 1000, {"type": "object"})
    assert tokens_bound(asked(tools=(tool,))) > bound + 1000
    assert tokens_bound(asked(schema={"description": "z" * 1000})) > bound + 1000
    assert tokens_bound(asked("\ud800")) > 0
