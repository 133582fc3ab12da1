"""Pacing: never more than the limits, in the order of arrival, and nothing is kept by who leaves."""

from __future__ import annotations

import asyncio

import pytest
from fake_backend import in_time
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_agent.backends.pacing import BURST_S, Pacing
from smesh_agent.errors import BackendSettingsError
from smesh_runtime import VirtualClock


def now_s(clock: VirtualClock) -> float:
    return clock.monotonic_ns() / 1e9


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def all_of(*tasks: asyncio.Task[None]) -> None:
    await asyncio.gather(*tasks)


async def paced(pacing: Pacing, clock: VirtualClock, calls: list[tuple[float, int, float]]) -> list[tuple[float, int]]:
    """Calls that come at a time, take so many tokens and so long; returns when each of them was let through."""
    begun: list[tuple[float, int]] = []

    async def call(index: int, at_s: float, tokens: int, lasts_s: float) -> None:
        if at_s > 0:
            await clock.sleep(at_s)
        async with pacing.place(tokens):
            begun.append((now_s(clock), index))
            if lasts_s > 0:
                await clock.sleep(lasts_s)

    await asyncio.gather(*(call(index, *one) for index, one in enumerate(calls)))
    return begun


async def test_no_more_are_under_way_than_allowed_and_the_first_to_come_go_first() -> None:
    clock, most = VirtualClock(), 0
    pacing = Pacing(clock, concurrency_max=3)

    async def watched() -> list[tuple[float, int]]:
        nonlocal most
        running = asyncio.ensure_future(paced(pacing, clock, [(0, 0, 1.0 + index / 100) for index in range(10)]))
        while not running.done():
            most = max(most, pacing.busy)
            await asyncio.sleep(0)
        return running.result()

    begun = await in_time(clock, watched())
    assert [index for _, index in begun] == list(range(10))
    assert most == 3
    assert begun[3][0] == 1.0
    assert pacing.busy == 0


async def test_requests_a_minute_go_out_at_once_up_to_the_burst_and_then_evenly() -> None:
    clock = VirtualClock()
    begun = await in_time(clock, paced(Pacing(clock, requests_per_minute=60), clock, [(0, 0, 0)] * 25))
    times = [time_s for time_s, _ in begun]
    assert times[:BURST_S] == [0.0] * BURST_S
    assert times[BURST_S:] == [float(n) for n in range(1, 16)]


async def test_less_than_one_in_the_burst_is_one_at_a_time() -> None:
    clock = VirtualClock()
    begun = await in_time(clock, paced(Pacing(clock, requests_per_minute=2), clock, [(0, 0, 0)] * 4))
    assert [time_s for time_s, _ in begun] == [0.0, 30.0, 60.0, 90.0]


async def test_a_request_of_more_tokens_than_the_burst_goes_out_alone_and_is_paid_off() -> None:
    clock = VirtualClock()
    pacing = Pacing(clock, tokens_per_minute=600)
    begun = await in_time(clock, paced(pacing, clock, [(0, 300, 0), (0, 1, 0), (0, 100, 0)]))
    assert [index for _, index in begun] == [0, 1, 2]
    assert begun[0][0] == 0.0
    assert begun[1][0] == pytest.approx(30 - BURST_S + 0.1)  # all but the burst is paid
    assert begun[2][0] == pytest.approx(30.1)


async def test_what_was_not_taken_is_given_back() -> None:
    async def gap(took: int | None) -> float:
        clock = VirtualClock()
        pacing = Pacing(clock, tokens_per_minute=600)

        async def both() -> float:
            async with pacing.place(400) as place:
                if took is not None:
                    place.took(took)
            async with pacing.place(100):
                return now_s(clock)

        return await in_time(clock, both())

    assert await gap(None) == pytest.approx(40.0)
    assert await gap(100) == pytest.approx(10.0)
    assert await gap(500) == pytest.approx(50.0)
    assert await gap(0) == 0.0


calls = st.lists(
    st.tuples(
        st.integers(0, 300).map(lambda tenths: tenths / 10), st.integers(0, 400), st.sampled_from([0.0, 0.5, 4.0])
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(calls, st.integers(1, 120), st.integers(30, 2000), st.integers(1, 4))
def test_no_span_of_time_holds_more_than_the_limits(
    plan: list[tuple[float, int, float]], requests: int, tokens: int, places: int
) -> None:
    clock = VirtualClock()
    pacing = Pacing(clock, concurrency_max=places, requests_per_minute=requests, tokens_per_minute=tokens)
    begun = asyncio.run(in_time(clock, paced(pacing, clock, plan)))
    assert len(begun) == len(plan)
    for first in range(len(begun)):
        for last in range(first + 1, len(begun)):
            span_s = begun[last][0] - begun[first][0]
            # What goes out last was let through only when all before it was paid but for the burst.
            assert last - first <= max(0, span_s + BURST_S) * requests / 60 + 1e-6
            sent = sum(plan[index][1] for _, index in begun[first:last])
            assert sent <= (span_s + BURST_S) * tokens / 60 + 1e-6
    arrived = sorted(range(len(plan)), key=lambda index: plan[index][0])
    assert [plan[index][0] for _, index in begun] == [plan[index][0] for index in arrived]


async def test_whoever_leaves_takes_nothing_along() -> None:
    """Cancelled while it waits in the line, for a place, for a limit, or while it holds one."""
    for waits_for in ("line", "place", "limit", "nothing"):
        clock = VirtualClock()
        pacing = Pacing(clock, concurrency_max=1, requests_per_minute=6 if waits_for == "limit" else None)

        async def call(pacing: Pacing = pacing, clock: VirtualClock = clock) -> None:
            async with pacing.place():
                await clock.sleep(5.0)

        before = {"line": 2, "place": 1, "limit": 1, "nothing": 0}[waits_for]
        others = [asyncio.create_task(call()) for _ in range(before)]
        await settle()
        if waits_for == "limit":
            clock.advance(5.0)
            await settle()
        leaver = asyncio.create_task(call())
        await settle()
        assert pacing.busy == (0 if waits_for == "limit" else 1)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        later = [asyncio.create_task(call()) for _ in range(2)]
        await in_time(clock, all_of(*others, *later))
        assert pacing.busy == 0
        # The one who left was sent nothing, so those after it were not kept waiting for it.
        assert now_s(clock) == {"line": 20.0, "place": 15.0, "limit": 25.0, "nothing": 10.0}[waits_for]


@pytest.mark.parametrize("name", ["concurrency_max", "requests_per_minute", "tokens_per_minute"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(BackendSettingsError, match=name):
        Pacing(VirtualClock(), **{name: 0})
