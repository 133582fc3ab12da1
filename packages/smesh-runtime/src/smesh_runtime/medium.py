"""The medium: all that an agent sees of a field, wherever the field is.

An agent emits, senses, subscribes, takes stances and waits. It never learns whether the field is in its own process
(`smesh_runtime.local`) or shared by a mesh. Every medium passes `smesh_runtime.conformance`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from smesh_core import DecayCurve, Signal, SignalType, Stance
from smesh_core.limits import RADIUS_HOPS_DEFAULT, RATE_DEFAULT_PER_S, SENSE_THRESHOLD, TTL_DEFAULT_NS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smesh_core import Observer, Reading

    from smesh_runtime.clock import Clock

__all__ = ["Element", "Listener", "Medium", "Subscription"]

Element = Signal | Stance
"""What travels in a field."""
Listener = Callable[[Element], None]
"""Told of an element at once; it returns soon, raises nothing, and says nothing in the field itself."""


class Subscription(Protocol):
    """Elements by others: first those that live when it is opened, then each new one, once.

    An element counts as in hand from when it is given out until the next one is asked for; see `Medium.settled`.
    """

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Element:
        """The next element.

        Raises:
            LaggedError: elements were dropped because this subscriber was too slow.
            StopAsyncIteration: the subscription or its medium was closed.
        """
        ...

    def close(self) -> None:
        """Stop; a waiting reader ends."""
        ...


class Medium(Protocol):
    """One participant's access to one field."""

    @property
    def identity(self) -> bytes:
        """The participant's node id, 32 bytes; author of all it says."""
        ...

    @property
    def clock(self) -> Clock:
        """The field's time."""
        ...

    @property
    def observer(self) -> Observer:
        """Whose weights its readings use."""
        ...

    async def emit(
        self,
        payload: bytes,
        *,
        type: SignalType = SignalType.DATA,  # noqa: A002 - the signal's own term
        subject: bytes | None = None,
        ttl_ns: int = TTL_DEFAULT_NS,
        intensity: float = 1.0,
        confidence: float = 1.0,
        decay: DecayCurve = DecayCurve.EXPONENTIAL,
        rate_per_s: float = RATE_DEFAULT_PER_S,
        radius: int = RADIUS_HOPS_DEFAULT,
    ) -> Signal:
        """Say something now, under the next sequence number, and return it once it is accepted.

        Accepted means committed, where the medium has a journal; nobody senses it before that. If this is cancelled, it
        is said as if it had not been, or not at all.

        Raises:
            InvalidSignalError: a value is out of bounds; nothing was said.
            FieldFullError: there is no room for it.
            MediumClosedError: the medium was closed.
            JournalError: it could not be committed; nothing was said.
        """
        ...

    async def reinforce(self, statement: bytes, *, confidence: float = 1.0, reason: str = "") -> Stance:
        """Support a statement on evidence of one's own.

        Raises:
            GoneError: the statement is not there, or no longer.
            InvalidSignalError: a value is out of bounds.
            FieldFullError: there is no room for it.
            MediumClosedError: the medium was closed.
            JournalError: it could not be committed; nothing was said.
        """
        ...

    async def inhibit(self, statement: bytes, *, confidence: float = 1.0, reason: str = "") -> Stance:
        """Oppose a statement on evidence of one's own; otherwise like `reinforce`."""
        ...

    async def withdraw(self, statement: bytes, *, reason: str = "") -> Stance:
        """No longer stand for or against a statement; otherwise like `reinforce`."""
        ...

    async def sense(
        self,
        *,
        threshold: float = SENSE_THRESHOLD,
        types: Iterable[SignalType] | None = None,
        limit: int | None = None,
    ) -> list[Reading]:
        """What is felt now at or above a threshold, strongest first, then by statement id."""
        ...

    async def read(self, statement: bytes) -> Reading | None:
        """What is known about one statement; None where nobody has said it, or no longer."""
        ...

    def reading(self, statement: bytes, observer: Observer | None = None) -> Reading | None:
        """`read`, at once and from what has come this far.

        Args:
            statement: its id.
            observer: by whose weights; the medium's own if not given.
        """
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have a function told of every element, one's own too, in the order in which the field takes them in.

        First it is told of all that lives. It is told before whoever emits goes on, so what it keeps is never behind.

        Returns:
            What ends it.
        """
        ...

    def subscribe(self, *, types: Iterable[SignalType] | None = None, stances: bool = False) -> Subscription:
        """Follow emissions of some types (None for all) and, if asked for, stances."""
        ...

    async def settled(self) -> None:
        """Return when nothing new has come for the medium's settle window and no local subscriber has anything left.

        The window is none in one process, where the answer is exact: every subscriber has handled all it was given.
        """
        ...

    async def close(self) -> None:
        """Leave; what was said stays until it ends."""
        ...
