"""A field in this process, and the media that join it: no signing, no network, no copying.

`LocalField` holds the field and passes each new element to the subscribers. Delivery is a queue per subscriber, so a
slow agent delays nobody. Quiescence is exact: a count of elements that were handed out and not yet handled, which
reaches zero only when every agent waits for something new.

With a journal an element is committed, then taken in, then passed on, and then its author goes on: nobody has seen
what a crash can lose. All but the last happens on the journal's word, in the order of commitment, whatever has become
of the task that spoke; so an element is in the journal and in the field, or in neither.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from smesh_core import (
    EVERYONE,
    DecayCurve,
    Field,
    GoneError,
    Observer,
    Reading,
    Ref,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    node_id,
)
from smesh_core.limits import RADIUS_HOPS_DEFAULT, RATE_DEFAULT_PER_S, SENSE_THRESHOLD, TTL_DEFAULT_NS, TTL_MAX_NS

from smesh_runtime.clock import Clock, SystemClock
from smesh_runtime.errors import IdentityInUseError, LaggedError, MediumClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smesh_runtime.journal import Journal
    from smesh_runtime.medium import Element, Listener, Medium

    def _is_a_medium(local: LocalMedium) -> Medium:
        return local


__all__ = ["LocalField", "LocalMedium", "LocalSubscription"]

_SWEEP_EVERY_NS = 10**9
"""How often, by the field's clock, what has ended is let go."""


class LocalField:
    """A field that several participants of one process share.

    Args:
        field: what holds the elements; a new default one, or one of the journal's field, if not given.
        clock: where time comes from.
        observer: whose weights readings use; everyone counts fully and separately by default.
        backlog: elements that wait for one subscriber before the oldest are dropped; the field's capacity by default.
        journal: what keeps all that is said here, and nothing else; what lives of it is taken in at once. Whoever
            opened it closes it, after the last participant has left.

    Raises:
        JournalError: the journal cannot be read, is damaged, or is another field's.
    """

    def __init__(
        self,
        field: Field | None = None,
        *,
        clock: Clock | None = None,
        observer: Observer = EVERYONE,
        backlog: int | None = None,
        journal: Journal | None = None,
    ) -> None:
        if field is None:
            field = Field() if journal is None else Field(journal.field_id)
        self.field = field
        self.clock = SystemClock() if clock is None else clock
        self.observer = observer
        self.backlog = self.field.capacity if backlog is None else backlog
        self._members: dict[bytes, LocalMedium] = {}
        self._last_seq: dict[bytes, int] = {}
        self._subscriptions: list[LocalSubscription] = []
        self._listeners: dict[Listener, LocalMedium] = {}
        self._unhandled = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._swept_at_ns = self.clock.now_ns()
        self.journal = journal
        if journal is not None:
            self._last_seq = journal.restore(self.field, self._swept_at_ns)

    def join(self, label: str) -> LocalMedium:
        """A medium for the participant known by `label`.

        Raises:
            IdentityInUseError: a participant of that name is in the field now.
        """
        identity = node_id(label)
        if identity in self._members:
            raise IdentityInUseError(f"{label!r} is in this field already")
        medium = self._members[identity] = LocalMedium(self, identity)
        return medium

    async def settled(self) -> None:
        """Return when every subscriber has handled all that it was given."""
        while self._unhandled:
            await self._settled.wait()

    def spread(self, element: Element) -> None:
        """Pass an element that the field has just taken in to all listeners and to others' subscriptions."""
        for listener in list(self._listeners):
            listener(element)
        for subscription in self._subscriptions:
            subscription.offer(element)

    async def keep(self, element: Element) -> None:
        """Take an element in and pass it on once it is in the journal; until then the field is not settled.

        Raises:
            FieldFullError: the field has no room for it; it is not in the journal either.
            JournalError: it was not committed, and nobody was told of it.
        """
        if self.journal is None:
            raise AssertionError("there is a journal to keep it in")

        def decided(is_kept: bool) -> None:
            try:
                if is_kept:
                    if isinstance(element, Signal):
                        self.field.emit(element)
                    else:
                        self.field.take(element)
                    self.spread(element)
            finally:
                self.count(-1)

        committed = self.journal.append(element, decided=decided)
        self.count(+1)
        await committed

    def sweep(self) -> None:
        """Let go of what has ended, now and then."""
        now_ns = self.clock.now_ns()
        if now_ns - self._swept_at_ns >= _SWEEP_EVERY_NS:
            self._swept_at_ns = now_ns
            self.field.expire(now_ns)

    def next_seq(self, author: bytes) -> int:
        """The author's next sequence number, also after it left and came back."""
        seq = self._last_seq[author] = max(self._last_seq.get(author, 0) + 1, self.field.next_seq(author))
        return seq

    def ends_at_ns(self, ref: Ref, author: bytes, now_ns: int) -> int:
        """When a stance that an author takes now would end: with the last of what lives of the statement and its own.

        Raises:
            GoneError: nothing of the statement lives.
        """
        said = [emission.expires_at_ns for emission in self.field.emissions(ref, now_ns)]
        if not said:
            raise GoneError(f"nobody says {self.field.statement(ref).hex()[:8]} here any more")
        own = [stance.expires_at_ns for stance in self.field.stances(ref, now_ns) if stance.author == author]
        return max(said + own)

    def leave(self, medium: LocalMedium) -> None:
        """Forget a participant and end its subscriptions."""
        self._members.pop(medium.identity, None)
        self._listeners = {listener: owner for listener, owner in self._listeners.items() if owner is not medium}
        for subscription in [s for s in self._subscriptions if s.owner is medium]:
            subscription.close()

    def add(self, subscription: LocalSubscription) -> None:
        """Pass new elements to a subscription, beginning with all that is live."""
        self._subscriptions.append(subscription)
        for element in self._live():
            subscription.offer(element)

    def remove(self, subscription: LocalSubscription) -> None:
        """Stop passing elements to a subscription."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def listen(self, listener: Listener, owner: LocalMedium) -> Callable[[], None]:
        """Tell a listener of all that lives, and from then on of each new element."""
        for element in self._live():
            listener(element)
        self._listeners[listener] = owner

        def end() -> None:
            self._listeners.pop(listener, None)

        return end

    def _live(self) -> Iterator[Element]:
        now_ns = self.clock.now_ns()
        for sensed in self.field.query(now_ns):
            yield from self.field.emissions(sensed.ref, now_ns)
            yield from self.field.stances(sensed.ref, now_ns)

    def count(self, handed_out: int) -> None:
        """Keep the number of elements that subscribers have not handled yet."""
        self._unhandled += handed_out
        if self._unhandled:
            self._settled.clear()
        else:
            self._settled.set()

    def reading(self, ref: Ref, observer: Observer | None = None) -> Reading:
        """All that an observer, the field's own if not given, reads about a statement now."""
        return self.field.read(ref, self.clock.now_ns(), observer or self.observer)


class LocalMedium:
    """One participant of a `LocalField`; made by `LocalField.join`."""

    def __init__(self, field: LocalField, identity: bytes) -> None:
        self._field: LocalField | None = field
        self._clock = field.clock
        self._observer = field.observer
        self._identity = identity

    @property
    def identity(self) -> bytes:
        """The participant's node id."""
        return self._identity

    @property
    def clock(self) -> Clock:
        """The field's time."""
        return self._clock

    @property
    def observer(self) -> Observer:
        """Whose weights readings use."""
        return self._observer

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
        """See `Medium.emit`; lets other agents run before it returns."""
        joined = self._joined()
        signal = Signal(
            author=self._identity,
            seq=joined.next_seq(self._identity),
            created_at_ns=self._clock.now_ns(),
            payload=payload,
            type=type,
            subject=subject,
            ttl_ns=ttl_ns,
            intensity=intensity,
            confidence=confidence,
            decay=decay,
            rate_per_s=rate_per_s,
            radius=radius,
            field_id=joined.field.field_id,
        )
        if joined.journal is not None:
            await joined.keep(signal)
            return signal
        joined.field.emit(signal)
        joined.spread(signal)
        await asyncio.sleep(0)
        return signal

    async def reinforce(self, statement: bytes, *, confidence: float = 1.0, reason: str = "") -> Stance:
        """See `Medium.reinforce`."""
        return await self._take(StanceKind.SUPPORT, statement, confidence=confidence, reason=reason)

    async def inhibit(self, statement: bytes, *, confidence: float = 1.0, reason: str = "") -> Stance:
        """See `Medium.inhibit`."""
        return await self._take(StanceKind.OPPOSE, statement, confidence=confidence, reason=reason)

    async def withdraw(self, statement: bytes, *, reason: str = "") -> Stance:
        """See `Medium.withdraw`."""
        return await self._take(StanceKind.WITHDRAW, statement, confidence=1.0, reason=reason)

    async def sense(
        self,
        *,
        threshold: float = SENSE_THRESHOLD,
        types: Iterable[SignalType] | None = None,
        limit: int | None = None,
    ) -> list[Reading]:
        """See `Medium.sense`."""
        joined = self._joined()
        felt = joined.field.sense(
            self._clock.now_ns(), threshold=threshold, types=types, observer=self._observer, limit=limit
        )
        return [joined.reading(sensed.ref) for sensed in felt]

    async def read(self, statement: bytes) -> Reading | None:
        """See `Medium.read`."""
        return self.reading(statement)

    def reading(self, statement: bytes, observer: Observer | None = None) -> Reading | None:
        """See `Medium.reading`."""
        joined = self._joined()
        ref = joined.field.find(statement)
        reading = None if ref is None else joined.reading(ref, observer or self._observer)
        return reading if reading is not None and reading.emissions else None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """See `Medium.listen`."""
        return self._joined().listen(listener, self)

    def subscribe(self, *, types: Iterable[SignalType] | None = None, stances: bool = False) -> LocalSubscription:
        """See `Medium.subscribe`."""
        joined = self._joined()
        wanted = frozenset(SignalType) if types is None else frozenset(types)
        subscription = LocalSubscription(joined, self, wanted, stances=stances)
        joined.add(subscription)
        return subscription

    async def settled(self) -> None:
        """See `Medium.settled`."""
        await self._joined().settled()

    async def close(self) -> None:
        """See `Medium.close`."""
        if self._field is not None:
            self._field.leave(self)
            self._field = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _joined(self) -> LocalField:
        if self._field is None:
            raise MediumClosedError("this medium was closed")
        self._field.sweep()
        return self._field

    async def _take(self, kind: StanceKind, statement: bytes, *, confidence: float, reason: str) -> Stance:
        joined = self._joined()
        ref = joined.field.find(statement)
        if ref is None:
            raise GoneError(f"nobody says {statement.hex()[:8]} here, or no longer")
        now_ns, by = self._clock.now_ns(), self._identity
        if joined.journal is not None:
            ends_at_ns = joined.ends_at_ns(ref, by, now_ns)
            stance = Stance(
                statement=statement,
                author=by,
                seq=joined.next_seq(by),
                kind=kind,
                created_at_ns=now_ns,
                ttl_ns=min(ends_at_ns - now_ns, TTL_MAX_NS),
                confidence=confidence,
                reason=reason,
                field_id=joined.field.field_id,
            )
            await joined.keep(stance)
            return stance
        seq = joined.next_seq(by)
        if kind is StanceKind.WITHDRAW:
            stance = joined.field.withdraw(ref, by=by, now_ns=now_ns, seq=seq, reason=reason)
        else:
            stand = joined.field.reinforce if kind is StanceKind.SUPPORT else joined.field.inhibit
            stance = stand(ref, by=by, now_ns=now_ns, seq=seq, confidence=confidence, reason=reason)
        joined.spread(stance)
        await asyncio.sleep(0)
        return stance


class LocalSubscription:
    """Elements on their way to one subscriber; made by `LocalMedium.subscribe`."""

    def __init__(self, field: LocalField, owner: LocalMedium, types: frozenset[SignalType], *, stances: bool) -> None:
        self.owner = owner
        self._field = field
        self._types = types
        self._stances = stances
        self._waiting: deque[Element] = deque()
        self._in_hand = 0
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._is_open = True

    def offer(self, element: Element) -> None:
        """Queue an element that the subscriber asked for; over the backlog the oldest is dropped."""
        wanted = element.type in self._types if isinstance(element, Signal) else self._stances
        if not wanted or element.author == self.owner.identity:
            return
        self._waiting.append(element)
        self._field.count(+1)
        if len(self._waiting) > self._field.backlog:
            self._waiting.popleft()
            self._field.count(-1)
            self._dropped += 1
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Element:
        self._put_down()
        while not self._waiting and self._is_open:
            self._arrived.clear()
            await self._arrived.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            raise LaggedError(f"{dropped} elements were dropped: the subscriber was too slow")
        if not self._waiting:
            raise StopAsyncIteration
        self._in_hand = 1
        return self._waiting.popleft()

    def close(self) -> None:
        """Stop; what is still waiting is dropped, and a waiting reader ends."""
        if self._is_open:
            self._is_open = False
            self._field.remove(self)
            self._field.count(-len(self._waiting))
            self._waiting.clear()
            self._put_down()
            self._arrived.set()

    def _put_down(self) -> None:
        """The element given out last has been handled."""
        in_hand, self._in_hand = self._in_hand, 0
        self._field.count(-in_hand)
