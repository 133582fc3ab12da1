"""LocalMedium: the conformance suite of all media, and what only a field in one process does."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from smesh_core import Field, FieldFullError, SignalType, Stance
from smesh_runtime import IdentityInUseError, LaggedError, LocalField, VirtualClock
from smesh_runtime.conformance import CHECKS
from smesh_runtime.journal import Journal


@asynccontextmanager
async def open_local(*labels: str):
    clock = VirtualClock(now_ns=10**18)
    field = LocalField(clock=clock)
    media = [field.join(label) for label in labels]
    yield media, clock
    for medium in media:
        await medium.close()


@asynccontextmanager
async def open_journaled(*labels: str):
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal") as journal:
        clock = VirtualClock(now_ns=10**18)
        field = LocalField(clock=clock, journal=journal)
        media = [field.join(label) for label in labels]
        yield media, clock
        for medium in media:
            await medium.close()


@pytest.mark.parametrize("open_media", [open_local, open_journaled])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check, open_media) -> None:
    await check(open_media)


def test_two_participants_cannot_share_an_identity() -> None:
    field = LocalField(clock=VirtualClock())
    field.join("ada")
    with pytest.raises(IdentityInUseError, match="'ada' is in this field already"):
        field.join("ada")


async def test_an_identity_that_left_can_return_and_reuses_no_sequence_number() -> None:
    clock = VirtualClock()
    field = LocalField(clock=clock)
    async with field.join("ada") as ada:
        first = await ada.emit(b"", ttl_ns=1)
    clock.advance(10)
    async with field.join("ada") as again:
        assert (await again.emit(b"")).seq > first.seq


async def test_settled_waits_for_an_agent_that_is_still_working() -> None:
    field = LocalField(clock=VirtualClock())
    async with field.join("ada") as ada, field.join("bo") as bo:
        may_finish = asyncio.Event()

        async def work() -> None:
            async for _ in tasks:
                await may_finish.wait()
                await bo.emit(b"done", type=SignalType.RESPONSE)

        tasks = bo.subscribe(types=[SignalType.QUERY])
        working = asyncio.create_task(work())
        await ada.emit(b"", type=SignalType.QUERY)
        settling = asyncio.create_task(ada.settled())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not settling.done()
        may_finish.set()
        await settling
        assert len(await ada.sense(types=[SignalType.RESPONSE])) == 1
        tasks.close()
        await working


async def test_an_agent_that_dies_does_not_keep_the_field_from_settling() -> None:
    field = LocalField(clock=VirtualClock())
    async with field.join("ada") as ada:
        bo = field.join("bo")
        tasks = bo.subscribe()
        await ada.emit(b"one")
        await ada.emit(b"two")
        await anext(tasks)
        await bo.close()
        await asyncio.wait_for(ada.settled(), 5)


async def test_a_slow_subscriber_is_told_what_it_missed() -> None:
    field = LocalField(clock=VirtualClock(), backlog=3)
    async with field.join("ada") as ada, field.join("bo") as bo:
        inbox = bo.subscribe()
        said = [await ada.emit(bytes([n])) for n in range(5)]
        with pytest.raises(LaggedError, match="2 elements were dropped"):
            await anext(inbox)
        assert [await anext(inbox) for _ in range(3)] == said[2:]
        inbox.close()
        await ada.settled()


async def test_a_late_subscriber_gets_the_stances_too() -> None:
    field = LocalField(clock=VirtualClock())
    async with field.join("ada") as ada, field.join("bo") as bo:
        said = await ada.emit(b"")
        stance = await ada.inhibit(said.statement, reason="on second thoughts")
        inbox = bo.subscribe(stances=True)
        assert [await anext(inbox), await anext(inbox)] == [said, stance]
        assert isinstance(stance, Stance)


async def test_a_full_field_refuses_and_tells_nobody() -> None:
    field = LocalField(Field(capacity=1), clock=VirtualClock())
    async with field.join("ada") as ada, field.join("bo") as bo:
        said = await ada.emit(b"", ttl_ns=100)
        inbox = bo.subscribe()
        with pytest.raises(FieldFullError):
            await ada.emit(b"", ttl_ns=1)
        assert await anext(inbox) == said
        inbox.close()
        await ada.settled()


async def test_a_virtual_clock_wakes_sleepers_in_the_order_of_their_times() -> None:
    clock, woken = VirtualClock(), []

    async def sleeper(delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append(delay_s)

    sleepers = [asyncio.create_task(sleeper(delay_s)) for delay_s in (3, 1, 2)]
    await asyncio.sleep(0)
    clock.advance(2.5)
    await asyncio.sleep(0)
    assert woken == [1, 2]
    clock.advance(0.5)
    await asyncio.gather(*sleepers)
    assert woken == [1, 2, 3]
    assert clock.now_ns() == 3 * 10**9
