"""Batches: many emissions in columns, checked together, each made a `Signal` only when somebody asks for it.

A batch has the bounds of `Signal` and refuses what `Signal` refuses, in its words. A value that all signals share is
given once; where they differ, it is an array or a sequence with one entry a signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, overload

import numpy as np

from smesh_core.errors import InvalidSignalError
from smesh_core.limits import (
    CREATED_AT_NS_MAX,
    ID_BYTES,
    PAYLOAD_BYTES_MAX,
    RADIUS_HOPS_DEFAULT,
    RADIUS_HOPS_MAX,
    RATE_DEFAULT_PER_S,
    RATE_MAX_PER_S,
    SEQ_MAX,
    SUBJECT_BYTES_MAX,
    TTL_DEFAULT_NS,
    TTL_MAX_NS,
)
from smesh_core.signal import DEFAULT_FIELD_ID, DecayCurve, Signal, SignalType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["SignalBatch"]

_BYTES: Final = {"author": (ID_BYTES, ID_BYTES), "payload": (0, PAYLOAD_BYTES_MAX), "subject": (1, SUBJECT_BYTES_MAX)}
_CODES: Final[dict[str, type]] = {"type": SignalType, "decay": DecayCurve}
_INTEGERS: Final = {
    "seq": (0, SEQ_MAX),
    "created_at_ns": (0, CREATED_AT_NS_MAX),
    "ttl_ns": (1, TTL_MAX_NS),
    "radius": (0, RADIUS_HOPS_MAX),
}
_NUMBERS: Final = {"intensity": 1.0, "confidence": 1.0, "rate_per_s": RATE_MAX_PER_S}


class SignalBatch(Sequence[Signal]):
    """Emissions of one field by one or many authors.

    Each attribute but the field is one value that all share, or a sequence or array of shape (n,); n is the number of
    sequence numbers. What is given is not copied: leave it as it is.

    Args:
        author: node id, 32 bytes.
        seq: sequence numbers: an integer array, a range or a sequence of int.
        created_at_ns: when each was said.
        payload: at most 15,239 bytes.
        type: what each is for.
        subject: what each is about; None for its author's own statement.
        ttl_ns: life, at most 30 days.
        intensity: strength at creation, in [0, 1].
        confidence: how sure the author is, in [0, 1].
        decay: how intensity fades.
        rate_per_s: the decay's rate λ, in [0, 10^6].
        radius: hops, at most 65,535.
        field_id: the field that all are said in, 32 bytes.

    Raises:
        InvalidSignalError: a value has the wrong type or is out of bounds (in the words of `Signal`, and which signal
            it is), or a sequence has another length than the sequence numbers.
    """

    def __init__(
        self,
        *,
        author: bytes | Sequence[bytes],
        seq: NDArray[np.integer[Any]] | Sequence[int],
        created_at_ns: int | NDArray[np.integer[Any]] | Sequence[int],
        payload: bytes | Sequence[bytes] = b"",
        type: SignalType | Sequence[SignalType] = SignalType.DATA,  # noqa: A002 - the signal's own term
        subject: bytes | Sequence[bytes | None] | None = None,
        ttl_ns: int | NDArray[np.integer[Any]] | Sequence[int] = TTL_DEFAULT_NS,
        intensity: float | NDArray[np.floating[Any]] | Sequence[float] = 1.0,
        confidence: float | NDArray[np.floating[Any]] | Sequence[float] = 1.0,
        decay: DecayCurve | Sequence[DecayCurve] = DecayCurve.EXPONENTIAL,
        rate_per_s: float | NDArray[np.floating[Any]] | Sequence[float] = RATE_DEFAULT_PER_S,
        radius: int | NDArray[np.integer[Any]] | Sequence[int] = RADIUS_HOPS_DEFAULT,
        field_id: bytes = DEFAULT_FIELD_ID,
    ) -> None:
        if not _differs(seq):
            raise InvalidSignalError("a batch takes a sequence number for each signal")
        self._size = len(seq)
        self._given: dict[str, Any] = {
            "author": author,
            "seq": seq,
            "created_at_ns": created_at_ns,
            "payload": payload,
            "type": type,
            "subject": subject,
            "ttl_ns": ttl_ns,
            "intensity": intensity,
            "confidence": confidence,
            "decay": decay,
            "rate_per_s": rate_per_s,
            "radius": radius,
        }
        self.field_id = field_id
        self._columns: dict[str, Any] = {}
        if self._size:
            self._check()

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> Signal: ...
    @overload
    def __getitem__(self, at: slice) -> list[Signal]: ...
    def __getitem__(self, at: int | slice) -> Signal | list[Signal]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(self._size))]
        if not -self._size <= at < self._size:
            raise IndexError(f"a batch of {self._size} signals has none at {at}")
        return Signal(field_id=self.field_id, **{name: _entry(value, at) for name, value in self._given.items()})

    def __iter__(self) -> Iterator[Signal]:
        return (self[at] for at in range(self._size))

    def __repr__(self) -> str:
        return f"<SignalBatch of {self._size}>"

    # ---- what a store reads

    def shares(self, name: str) -> bool:
        """Whether all signals share the value of this attribute."""
        return not _differs(self._given[name])

    def given(self, name: str) -> Any:
        """An attribute as it was given: one value, or a sequence of n."""
        return self._given[name]

    def column(self, name: str) -> Any:
        """A numeric attribute: one number, or an array of shape (n,)."""
        return self._columns[name]

    def last_seqs(self, of: NDArray[np.int64]) -> Iterator[tuple[bytes, int]]:
        """The authors of these signals, each with the highest sequence number that it says one of them under."""
        if not len(of):
            return
        author, seq = self._given["author"], self._columns["seq"][of]
        if self.shares("author"):
            yield author, int(seq.max())
            return
        highest: dict[bytes, int] = {}
        for at, number in zip(of.tolist(), seq.tolist(), strict=True):
            highest[author[at]] = max(number, highest.get(author[at], 0))
        yield from highest.items()

    # ---- bounds

    def _check(self) -> None:
        """Refuse what `Signal` would refuse: the first signal is made, then each column that differs is looked at."""
        for name, value in self._given.items():
            if _differs(value) and len(value) != self._size:
                raise InvalidSignalError(f"a batch of {self._size} signals has {len(value)} for {name}")
        self._made(0)
        for name, value in self._given.items():
            if not _differs(value):
                self._columns[name] = value
            elif name in _BYTES:
                if not _are_bytes(value, *_BYTES[name], may_be_none=name == "subject"):
                    self._refuse(name)
            else:
                column = self._sound_column(name, value)
                if column is None:
                    self._refuse(name)
                self._columns[name] = column

    @staticmethod
    def _sound_column(name: str, value: Any) -> NDArray[Any] | None:
        """An attribute as an array of numbers, or None where one of them is not within its bounds."""
        if name in _CODES:
            return np.array(value, np.uint8) if set(map(type, value)) == {_CODES[name]} else None
        if name in _INTEGERS:
            return _integers(value, *_INTEGERS[name])
        return _numbers(value, _NUMBERS[name])

    def _refuse(self, name: str) -> NoReturn:
        """Make the signals, one of which is not sound in this attribute, to say which and why."""
        for at in range(self._size):
            self._made(at)
        raise InvalidSignalError(f"{name} of a batch takes one value or a sequence of plain ones")

    def _made(self, at: int) -> Signal:
        try:
            return self[at]
        except InvalidSignalError as error:
            raise InvalidSignalError(f"{error} (signal {at} of a batch of {self._size})") from None


def _differs(value: object) -> bool:
    """Whether an attribute is given one by one."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview | str)


def _entry(value: Any, at: int) -> Any:
    """An attribute of one signal, as a Python value."""
    if not _differs(value):
        return value
    entry = value[at]
    return entry.item() if isinstance(value, np.ndarray) and isinstance(entry, np.generic) else entry


def _are_bytes(values: Sequence[Any], least: int, most: int, *, may_be_none: bool) -> bool:
    kinds = set(map(type, values))
    if may_be_none and type(None) in kinds:
        values = [value for value in values if value is not None]
        kinds.remove(type(None))
        if not kinds:
            return True
    if kinds != {bytes} or max(map(len, values)) > most:
        return False
    return not least or min(map(len, values)) >= least


def _integers(values: Any, least: int, most: int) -> NDArray[np.int64] | None:
    """As an array, where each is an int within bounds; otherwise None."""
    if not isinstance(values, np.ndarray | range) and set(map(type, values)) != {int}:
        return None
    try:
        column = np.asarray(values)
    except OverflowError:
        return None
    if column.ndim != 1 or column.dtype.kind not in "iu" or column.min() < least or column.max() > most:
        return None
    return column.astype(np.int64, copy=False)


def _numbers(values: Any, most: float) -> NDArray[np.float64] | None:
    """As an array, where each is a number in [0, most]; otherwise None."""
    if not isinstance(values, np.ndarray | range):
        if not all(issubclass(kind, int | float) for kind in set(map(type, values))):
            return None
    elif np.asarray(values).dtype.kind not in "biuf":
        return None
    try:
        column = np.asarray(values, np.float64)
    except OverflowError:
        return None
    # Written so that NaN is not within bounds.
    return column if column.ndim == 1 and column.min() >= 0.0 and column.max() <= most else None
