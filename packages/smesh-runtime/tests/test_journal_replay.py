"""A restored field: it reads as the one that wrote the journal, and goes on as that would have.

Random histories are played to two fields on one clock: a plain one that lives through all of it, and a journaled one
that is closed and opened again, and compacted, wherever the history says so.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smesh_core import (
    DecayCurve,
    Field,
    FieldFullError,
    GoneError,
    Observer,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    WrongFieldError,
    field_id,
    node_id,
    subject,
)
from smesh_core import limits as core_limits
from smesh_runtime import LocalField, LocalMedium, VirtualClock
from smesh_runtime.journal import Journal, JournalReader
from smesh_runtime.journal.replay import replay

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW_NS = 10**18
NAMES = ("ada", "bo", "cy")
ROSTER = Observer(roster={node_id("ada"): "a", node_id("bo"): "b"}, trust={node_id("cy"): 0.8}, unknown_vote=0.5)

who = st.integers(0, len(NAMES) - 1)
part = st.sampled_from([0.05, 0.5, 1.0])


def emissions(curves: Sequence[DecayCurve]) -> st.SearchStrategy[tuple[Any, ...]]:
    about = st.sampled_from([None, subject("a"), subject("b")])
    life_s, rate_per_s = st.integers(1, 40), st.sampled_from([0.02, 0.5])
    return st.tuples(st.just("emit"), who, about, life_s, st.sampled_from(curves), part, part, rate_per_s)


stances = st.tuples(st.just("stand"), who, st.integers(0, 30), st.sampled_from(StanceKind), part)
waits = st.tuples(st.just("wait"), st.integers(1, 20))
upkeep = st.sampled_from([("restart",), ("compact",)])


def histories(curves: Sequence[DecayCurve]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    said = emissions(curves)
    return st.lists(st.one_of(said, said, stances, stances, waits, upkeep), min_size=15, max_size=40)


class Played:
    """A field to which a history is played, and all that was said in it."""

    def __init__(self, clock: VirtualClock, capacity: int, path: Path | None = None) -> None:
        self.clock, self.capacity, self.path = clock, capacity, path
        self.said: list[bytes] = []
        self.answers: list[object] = []
        self.open()

    def open(self) -> None:
        self.journal = None if self.path is None else Journal(self.path)
        field = Field(capacity=self.capacity)
        self.field = LocalField(field, clock=self.clock, observer=ROSTER, journal=self.journal)
        self.media = [self.field.join(name) for name in NAMES]

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()

    async def play(self, deed: tuple[Any, ...]) -> None:
        if deed[0] == "emit":
            _, by, about, ttl_s, curve, intensity, confidence, rate_per_s = deed
            await self.answered(
                self.media[by].emit(
                    b"%d" % len(self.answers),
                    type=SignalType.DATA if about is None else SignalType.ALERT,
                    subject=about,
                    ttl_ns=ttl_s * 10**9,
                    intensity=intensity,
                    confidence=confidence,
                    decay=curve,
                    rate_per_s=rate_per_s,
                )
            )
        elif deed[0] == "stand" and self.said:
            _, by, which, kind, confidence = deed
            statement, medium = self.said[which % len(self.said)], self.media[by]
            if kind is StanceKind.WITHDRAW:
                await self.answered(medium.withdraw(statement, reason="well"))
            else:
                stand = medium.reinforce if kind is StanceKind.SUPPORT else medium.inhibit
                await self.answered(stand(statement, confidence=confidence, reason="so"))
        elif self.journal is not None and deed[0] == "restart":
            self.close()
            self.open()
        elif self.journal is not None and deed[0] == "compact":
            await self.journal.compact(self.clock.now_ns())

    async def answered(self, saying: Any) -> None:
        try:
            answer = await saying
        except (FieldFullError, GoneError) as error:
            self.answers.append(type(error))
            return
        self.answers.append(answer)
        if isinstance(answer, Signal):
            self.said.append(answer.statement)

    async def readings(self) -> list[object]:
        ada = self.media[0]
        everything = [await ada.read(statement) for statement in self.said]
        return [everything, await ada.sense(threshold=0.0), await self.media[1].sense(limit=2)]


async def compare(history: list[tuple[Any, ...]], capacity: int, path: Path) -> None:
    clock = VirtualClock(NOW_NS)
    plain, journaled = Played(clock, capacity), Played(clock, capacity, path)
    for deed in [*history, ("restart",)]:
        if deed[0] == "wait":
            clock.advance(deed[1])
        await plain.play(deed)
        await journaled.play(deed)
        assert journaled.answers == plain.answers
        if deed[0] in {"wait", "restart"}:
            assert await journaled.readings() == await plain.readings()
    for later_s in (1, 2, 3, 10, 30, 60):
        clock.advance(later_s)
        assert await journaled.readings() == await plain.readings()
    assert journaled.journal is not None
    assert journaled.journal.verify() == []
    journaled.close()


def play(history: list[tuple[Any, ...]], capacity: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(history, capacity, Path(folder) / "journal"))


property_test = settings(
    derandomize=True, database=None, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)


@property_test
@given(histories(list(DecayCurve)))
def test_a_restored_field_reads_and_goes_on_as_the_first_would_have(history: list[tuple[Any, ...]]) -> None:
    play(history, 1000)


@property_test
@given(histories([DecayCurve.STEP]))
def test_a_restored_field_has_shed_what_the_first_had(history: list[tuple[Any, ...]]) -> None:
    """As long as nothing fades before its expiry, which is the one thing that the order of shedding does not know."""
    play(history, 3)


# ---- one by one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "field.journal"


def reopened(journal: Journal, clock: VirtualClock) -> tuple[LocalField, LocalMedium]:
    field = LocalField(clock=clock, journal=journal)
    return field, field.join("ada")


async def test_numbers_go_on_when_all_that_had_them_has_ended(path: Path) -> None:
    clock = VirtualClock(NOW_NS)
    with Journal(path) as journal:
        _, ada = reopened(journal, clock)
        last = [await ada.emit(b"", ttl_ns=10**9) for _ in range(5)][-1]
        stance = await ada.reinforce(last.statement)
    clock.advance(60)
    for _ in range(2):
        with Journal(path) as journal:
            field, ada = reopened(journal, clock)
            assert len(field.field) == 0
            assert field.next_seq(ada.identity) == stance.seq + 1
            await journal.compact(clock.now_ns())


async def test_what_ends_at_this_very_time_is_not_restored(path: Path) -> None:
    clock = VirtualClock(NOW_NS)
    with Journal(path) as journal:
        _, ada = reopened(journal, clock)
        ends = await ada.emit(b"ends", ttl_ns=10**9, decay=DecayCurve.STEP)
        lasts = await ada.emit(b"lasts", ttl_ns=10**9 + 1, decay=DecayCurve.STEP)
    clock.advance(1)
    with Journal(path) as journal:
        field, ada = reopened(journal, clock)
        assert (field.field.find(ends.statement), len(field.field)) == (None, 1)
        assert await ada.read(lasts.statement) is not None


async def test_listeners_and_subscribers_get_what_was_restored(path: Path) -> None:
    clock = VirtualClock(NOW_NS)
    with Journal(path) as journal:
        field, ada = reopened(journal, clock)
        said = await ada.emit(b"task")
        stance = await field.join("bo").inhibit(said.statement, reason="no")
    with Journal(path) as journal:
        field, ada = reopened(journal, clock)
        told: list[object] = []
        ada.listen(told.append)
        inbox = field.join("cy").subscribe(stances=True)
        assert told == [await anext(inbox), await anext(inbox)] == [said, stance]
        inbox.close()


async def test_faded_elements_take_no_place_in_a_full_field(path: Path) -> None:
    clock = VirtualClock(NOW_NS)
    with Journal(path) as journal:
        field = LocalField(Field(capacity=2), clock=clock, journal=journal)
        async with field.join("ada") as ada:
            for _ in range(2):
                await ada.emit(b"fades", intensity=0.02, ttl_ns=60 * 10**9)
            clock.advance(10)
            said = await ada.emit(b"lives", ttl_ns=30 * 10**9)
    with Journal(path) as journal:
        field = LocalField(Field(capacity=2), clock=clock, journal=journal)
        async with field.join("ada") as ada:
            assert [reading.emissions for reading in await ada.sense()] == [[said]]


async def test_more_waiting_stances_than_a_field_takes_are_no_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_limits, "STANCES_WAITING", 3)
    with Journal(path) as journal:
        for seq in range(1, 10):
            stance = Stance(
                statement=bytes([seq]) * 32,
                author=node_id("ada"),
                seq=seq,
                kind=StanceKind.SUPPORT,
                created_at_ns=NOW_NS,
                ttl_ns=10**9 - seq,
            )
            await journal.append(stance)
        field = Field()
        assert replay(journal, field, NOW_NS) == 3
        with pytest.raises(WrongFieldError):
            replay(JournalReader(path), Field(field_id("other")), NOW_NS)
