"""Rows: how an emission and a stance are written into a row of a table, and read back from it.

What came in one at a time is kept beside its numbers as the very value that came. What came in a batch is numbers and
a payload or a reason, and becomes a `Signal` or a `Stance` when somebody asks for it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from smesh_core.columns import NO_ROW, Columns
from smesh_core.signal import DecayCurve, Signal, SignalType, Stance, StanceKind

if TYPE_CHECKING:
    from smesh_core.authors import Authors
    from smesh_core.index import StatementIndex

__all__ = ["CURVES", "KINDS", "TYPES", "EmissionRows", "StanceRows"]

TYPES: Final = tuple(SignalType)
CURVES: Final = tuple(DecayCurve)
KINDS: Final = tuple(StanceKind)
"""Types, curves and kinds by their codes."""

_WORD: Final = struct.Struct("@qqqdB")
"""A stance's number, beginning, end, confidence and kind: the first columns of its row."""


class EmissionRows(Columns):
    """Emissions; the row of a statement's first one also names the statement, and heads its stances."""

    def __init__(self) -> None:
        super().__init__(
            {
                "statement": np.int64,
                "seq": np.int64,
                "created_at_ns": np.int64,
                "ttl_ns": np.int64,
                "intensity": np.float64,
                "confidence": np.float64,
                "rate_per_s": np.float64,
                "author": np.int32,
                "first_stance": np.int32,
                "stances": np.int32,
                "radius": np.uint16,
                "type": np.uint8,
                "curve": np.uint8,
            }
        )

    def write(self, row: int, slot: int, signal: Signal, author: int) -> None:
        """Fill and list a row with an emission of the statement in a slot, on which nobody stands yet."""
        self.record.pack_into(
            self.memory,
            row * self.stride,
            slot,
            signal.seq,
            signal.created_at_ns,
            signal.ttl_ns,
            signal.intensity,
            signal.confidence,
            signal.rate_per_s,
            author,
            NO_ROW,
            0,
            signal.radius,
            signal.type,
            signal.decay,
        )
        self.values[row] = signal
        self.is_listed[row] = True

    def signal(self, row: int, field_id: bytes, authors: Authors, index: StatementIndex) -> Signal:
        """The emission in a row."""
        held: Signal | bytes = self.values[row]
        if isinstance(held, Signal):
            return held
        slot, seq, created_at_ns, ttl_ns, intensity, confidence, rate_per_s, author, _, _, radius, kind, curve = (
            self.record.unpack_from(self.memory, row * self.stride)
        )
        signal = self.values[row] = Signal(
            author=authors.at(author).id,
            seq=seq,
            created_at_ns=created_at_ns,
            payload=held,
            type=TYPES[kind],
            subject=index.subject(slot),
            ttl_ns=ttl_ns,
            intensity=intensity,
            confidence=confidence,
            decay=CURVES[curve],
            rate_per_s=rate_per_s,
            radius=radius,
            field_id=field_id,
        )
        return signal

    def payload(self, row: int) -> bytes:
        """The payload of the emission in a row."""
        held: Signal | bytes = self.values[row]
        return held.payload if isinstance(held, Signal) else held


class StanceRows(Columns):
    """Stances, each in the chain of its statement's."""

    def __init__(self) -> None:
        super().__init__(
            {
                "seq": np.int64,
                "created_at_ns": np.int64,
                "expires_at_ns": np.int64,
                "confidence": np.float64,
                "kind": np.uint8,
                "author": np.int32,
                "next": np.int32,
                "previous": np.int32,
                "statement": np.int64,
            }
        )

    def write(self, row: int, stance: Stance, author: int, following: int, slot: int) -> None:
        """Fill and list a row with a stance that comes before another on the statement in a slot."""
        created_at_ns = stance.created_at_ns
        self.record.pack_into(
            self.memory,
            row * self.stride,
            stance.seq,
            created_at_ns,
            created_at_ns + stance.ttl_ns,
            stance.confidence,
            stance.kind,
            author,
            following,
            NO_ROW,
            slot,
        )
        self.values[row] = stance
        self.is_listed[row] = True

    def write_word(self, row: int, stance: Stance) -> None:
        """Fill the first columns of a row, in their order, with what a stance says."""
        created_at_ns = stance.created_at_ns
        _WORD.pack_into(
            self.memory,
            row * self.stride,
            stance.seq,
            created_at_ns,
            created_at_ns + stance.ttl_ns,
            stance.confidence,
            stance.kind,
        )
        self.values[row] = stance

    def stance(self, row: int, field_id: bytes, authors: Authors, index: StatementIndex) -> Stance:
        """The stance in a row."""
        held: Stance | str = self.values[row]
        if isinstance(held, Stance):
            return held
        seq, created_at_ns, expires_at_ns, confidence, kind, author, _, _, slot = self.record.unpack_from(
            self.memory, row * self.stride
        )
        stance = self.values[row] = Stance(
            statement=index.id_of(slot),
            author=authors.at(author).id,
            seq=seq,
            kind=KINDS[kind],
            created_at_ns=created_at_ns,
            ttl_ns=expires_at_ns - created_at_ns,
            confidence=confidence,
            reason=held,
            field_id=field_id,
        )
        return stance

    def reason(self, row: int) -> str:
        """What the stance in a row gives as a reason."""
        held: Stance | str = self.values[row]
        return held if isinstance(held, str) else held.reason
