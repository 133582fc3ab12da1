"""What every medium must do, as checks that a test suite runs against each implementation.

A check gets a way to open media that share one field on a clock the check can move, and raises `ConformanceError`
where the medium falls short. It waits only for `Medium.settled`, so it holds for a field in one process and for one
spread over many.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_conformance(check):
        await check(open_my_media)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from smesh_core import (
    ConsensusState,
    DecayCurve,
    GoneError,
    InvalidSignalError,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    subject,
)

from smesh_runtime.errors import ConformanceError, MediumClosedError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from smesh_runtime.clock import VirtualClock
    from smesh_runtime.medium import Element, Medium

__all__ = ["CHECKS", "Check", "OpenMedia"]


class OpenMedia(Protocol):
    """Opens one medium for each label, all in one new field on one clock, and closes them at the end."""

    def __call__(self, *labels: str) -> AbstractAsyncContextManager[tuple[Sequence[Medium], VirtualClock]]:
        """See the class."""
        ...


Check = Callable[[OpenMedia], Awaitable[None]]

_SAID: Final = subject("conformance", "said")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ConformanceError(what)


async def others_sense_what_one_emits(open_media: OpenMedia) -> None:
    """An emission is felt by others, with its payload, author and time."""
    async with open_media("ada", "bo") as ((ada, bo), clock):
        said = await ada.emit(b"hello", type=SignalType.ALERT, confidence=0.5)
        await bo.settled()
        (felt,) = await bo.sense()
        _require(felt.emissions == [said], "the emission that was sensed is not the one that was said")
        _require(said.author == ada.identity, "an emission's author is not its speaker")
        _require(said.created_at_ns == clock.now_ns(), "an emission was not made at the clock's time")
        _require(felt.value == 0.5, f"an emission of confidence 0.5 is felt at {felt.value}")
        _require(not await bo.sense(types=[SignalType.DATA]), "sensing ignores the type")
        _require(not await bo.sense(threshold=0.51), "sensing ignores the threshold")


async def sensing_is_strongest_first(open_media: OpenMedia) -> None:
    """What is sensed comes strongest first, and a limit keeps the strongest."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        for confidence in (0.3, 0.9, 0.6):
            await ada.emit(b"", confidence=confidence)
        await bo.settled()
        values = [reading.value for reading in await bo.sense()]
        _require(values == [0.9, 0.6, 0.3], f"sensed in the order {values}")
        _require([r.value for r in await bo.sense(limit=1)] == [0.9], "a limit does not keep the strongest")


async def emitters_meet_at_one_statement(open_media: OpenMedia) -> None:
    """Correlatable signals with one subject are one statement; others never are."""
    async with open_media("ada", "bo", "cy") as ((ada, bo, cy), _):
        first = await ada.emit(b"a", subject=_SAID)
        second = await bo.emit(b"b", subject=_SAID)
        own = await ada.emit(b"a")
        other = await bo.emit(b"a")
        await cy.settled()
        _require(first.statement == second.statement, "one subject made two statements")
        _require(own.statement != other.statement, "two authors' own signals made one statement")
        reading = await cy.read(first.statement)
        _require(reading is not None and len(reading.emissions) == 2, "two emissions were not both held")


async def stances_move_value_and_consensus(open_media: OpenMedia) -> None:
    """Support raises value and reaches consensus, opposition lowers it, withdrawal takes it back."""
    async with open_media("ada", "bo", "cy") as ((ada, bo, cy), _):
        said = await ada.emit(b"", subject=_SAID, confidence=0.5)
        await bo.settled()
        await bo.reinforce(said.statement, reason="seen too")
        await cy.settled()
        supported = await cy.read(said.statement)
        await cy.inhibit(said.statement, reason="not so")
        await ada.settled()
        opposed = await ada.read(said.statement)
        await bo.withdraw(said.statement)
        await ada.settled()
        withdrawn = await ada.read(said.statement)
        if supported is None or opposed is None or withdrawn is None:
            raise ConformanceError("a live statement cannot be read")
        _require(supported.value > 0.5, "support did not raise the value")
        _require(supported.verdict.state is ConsensusState.REACHED, "two of two lineages did not reach consensus")
        _require(opposed.value < supported.value, "opposition did not lower the value")
        _require(withdrawn.value < opposed.value, "withdrawing support did not lower the value")
        _require(withdrawn.verdict.state is ConsensusState.OPEN, "consensus was latched")
        kinds = {position.author: (position.kind, position.reason) for position in withdrawn.positions}
        _require(kinds[cy.identity] == (StanceKind.OPPOSE, "not so"), "a stance lost its kind or reason")
        _require(kinds[bo.identity][0] is StanceKind.WITHDRAW, "a withdrawal is not on record")


async def repeating_oneself_adds_nothing(open_media: OpenMedia) -> None:
    """One node counts once, however often it says the same."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        said = await ada.emit(b"", subject=_SAID, confidence=0.5)
        await bo.settled()
        await bo.reinforce(said.statement)
        once = await bo.read(said.statement)
        for _ in range(5):
            await bo.reinforce(said.statement)
            await ada.reinforce(said.statement)
        await bo.settled()
        again = await bo.read(said.statement)
        _require(once is not None and again is not None and once.value == again.value, "repetition changed the value")


async def signals_end(open_media: OpenMedia) -> None:
    """A signal fades, ends at its expiry, and support does not keep it."""
    async with open_media("ada", "bo") as ((ada, bo), clock):
        said = await ada.emit(b"", ttl_ns=10 * 10**9, decay=DecayCurve.LINEAR)
        await bo.settled()
        await bo.reinforce(said.statement)
        clock.advance(5)
        halfway = await bo.read(said.statement)
        _require(halfway is not None and 0.0 < halfway.value < 1.0, "a signal did not fade")
        clock.advance(5)
        _require(await bo.read(said.statement) is None, "a signal outlived its expiry")
        _require(not await bo.sense(threshold=0.0), "an ended signal is sensed")
        await _refused(GoneError, bo.reinforce(said.statement), "support of an ended signal was accepted")


async def subscribers_get_everything_once(open_media: OpenMedia) -> None:
    """A subscription gives what lives already, then what comes, each once, and not one's own."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        before = await ada.emit(b"before", type=SignalType.QUERY)
        await ada.emit(b"of another type")
        await bo.settled()
        await bo.emit(b"own", type=SignalType.QUERY)
        subscription = bo.subscribe(types=[SignalType.QUERY], stances=True)
        after = await ada.emit(b"after", type=SignalType.QUERY)
        stance = await ada.reinforce(after.statement)
        received: list[Signal | Stance] = [await anext(subscription) for _ in range(3)]
        _require(received == [before, after, stance], f"a subscriber got {received}")
        subscription.close()
        await _refused(StopAsyncIteration, anext(subscription), "a closed subscription went on")


async def listeners_are_told_at_once(open_media: OpenMedia) -> None:
    """A listener is told of what lives, then of each element, its own too, before the emitter goes on."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        before = await ada.emit(b"before", subject=_SAID)
        await bo.settled()
        told: list[Element] = []
        end = bo.listen(told.append)
        _require(told == [before], "a listener was not told of what lived")
        own = await bo.emit(b"own")
        _require(told == [before, own], "a listener was not told of its own at once")
        stance = await ada.inhibit(before.statement, reason="no")
        await bo.settled()
        _require(told == [before, own, stance], "a listener was not told of another's stance")
        reading = bo.reading(before.statement)
        _require(reading is not None and reading.verdict.oppose > 0, "a reading leaves out what has come")
        _require(reading == await bo.read(before.statement), "read and reading differ")
        _require(bo.reading(bytes(32)) is None, "what nobody says can be read")
        end()
        await ada.emit(b"after")
        await bo.settled()
        _require(len(told) == 3, "a listener that was ended is told more")


async def settled_waits_for_handlers(open_media: OpenMedia) -> None:
    """The medium is not settled while a subscriber has an element in hand."""
    async with open_media("ada", "bo", "cy") as ((ada, bo, cy), _):
        subscription = bo.subscribe(types=[SignalType.QUERY])
        await ada.emit(b"", type=SignalType.QUERY)
        await anext(subscription)
        await bo.emit(b"answer", type=SignalType.RESPONSE)
        # Asking for the next element says that the last one is handled; closing says the same.
        subscription.close()
        await cy.settled()
        _require(len(await cy.sense(types=[SignalType.RESPONSE])) == 1, "settled before the answer was there")


async def bad_values_are_refused(open_media: OpenMedia) -> None:
    """NaN, infinite, negative and oversize values are refused and nothing is said."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        for bad in (float("nan"), float("inf"), -0.1, 1.1):
            await _refused(InvalidSignalError, ada.emit(b"", confidence=bad), f"confidence {bad} was accepted")
            await _refused(InvalidSignalError, ada.emit(b"", intensity=bad), f"intensity {bad} was accepted")
        await _refused(InvalidSignalError, ada.emit(bytes(2**14)), "an oversize payload was accepted")
        await _refused(InvalidSignalError, ada.emit(b"", ttl_ns=0), "a life of nothing was accepted")
        await bo.settled()
        _require(not await bo.sense(threshold=0.0), "a refused emission was said")


async def sequence_numbers_are_never_reused(open_media: OpenMedia) -> None:
    """Everything one participant says has a sequence number of its own, also after all before it has ended."""
    async with open_media("ada", "bo") as ((ada, bo), clock):
        first = await ada.emit(b"", ttl_ns=10**9)
        await bo.settled()
        stance = await ada.reinforce(first.statement)
        clock.advance(60)
        second = await ada.emit(b"")
        _require(first.seq < stance.seq < second.seq, "a sequence number was used twice")


async def many_speak_at_once(open_media: OpenMedia) -> None:
    """Whoever speaks again before its last word was accepted says both, each once and under a number of its own."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        told: list[Element] = []
        bo.listen(told.append)
        said = await asyncio.gather(*(ada.emit(b"%d" % number) for number in range(20)))
        await bo.settled()
        _require(len({signal.seq for signal in said}) == 20, "a sequence number was used twice")
        _require([s.payload for s in said] == [b"%d" % n for n in range(20)], "an emitter was given another's signal")
        _require(sorted(told, key=_seq) == sorted(said, key=_seq), "of many words some were not heard, or twice")


async def what_is_cancelled_is_said_or_not(open_media: OpenMedia) -> None:
    """A word whose speaker is cancelled reaches everybody or nobody, and its number is not used again."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        told: list[Element] = []
        bo.listen(told.append)
        for turns in range(4):
            speaking = asyncio.create_task(ada.emit(b"cancelled"))
            for _ in range(turns):
                await asyncio.sleep(0)
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        await ada.emit(b"last")
        await bo.settled()
        sensed = [signal for reading in await bo.sense() for signal in reading.emissions]
        _require(sorted(sensed, key=_seq) == sorted(told, key=_seq), "some heard what others cannot sense")
        _require(len({element.seq for element in told}) == len(told), "a sequence number was used twice")


async def a_closed_medium_says_so(open_media: OpenMedia) -> None:
    """After closing, speaking is refused, subscriptions end, and what was said stays."""
    async with open_media("ada", "bo") as ((ada, bo), _):
        said = await ada.emit(b"", subject=_SAID)
        subscription = ada.subscribe()
        await bo.settled()
        await ada.close()
        await _refused(MediumClosedError, ada.emit(b""), "a closed medium emitted")
        await _refused(StopAsyncIteration, anext(subscription), "a closed medium's subscription went on")
        _require(await bo.read(said.statement) is not None, "what a participant said went with it")


def _seq(element: Element) -> int:
    return element.seq


async def _refused(error: type[BaseException], attempt: Awaitable[object], otherwise: str) -> None:
    try:
        await attempt
    except error:
        return
    raise ConformanceError(otherwise)


CHECKS: Final[tuple[Check, ...]] = (
    others_sense_what_one_emits,
    sensing_is_strongest_first,
    emitters_meet_at_one_statement,
    stances_move_value_and_consensus,
    repeating_oneself_adds_nothing,
    signals_end,
    subscribers_get_everything_once,
    listeners_are_told_at_once,
    settled_waits_for_handlers,
    bad_values_are_refused,
    sequence_numbers_are_never_reused,
    many_speak_at_once,
    what_is_cancelled_is_said_or_not,
    a_closed_medium_says_so,
)
"""Every check of the suite."""
