"""References: names for statements that a field holds, one by one and many at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from smesh_core.columns import NO_ROW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["Ref", "Refs"]


class Ref(NamedTuple):
    """Names a statement that a field holds; it stops working, for good, when the statement is gone."""

    slot: int
    generation: int


as_ref = partial(tuple.__new__, Ref)
"""A reference from a pair; what the class does when called, without the detour through its arguments."""


class Refs(Sequence["Ref | None"]):
    """References to many statements, kept as two columns and made into `Ref` when asked for.

    Attributes:
        slots: shape (n,); `NO_ROW` where there is none.
        generations: shape (n,).
    """

    __slots__ = ("generations", "slots")

    def __init__(self, slots: NDArray[np.int64], generations: NDArray[np.int64]) -> None:
        self.slots = slots
        self.generations = generations

    @classmethod
    def of(cls, refs: Iterable[Ref | None]) -> Refs:
        """The columns of references that came one by one."""
        pairs = [(NO_ROW, 0) if ref is None else ref for ref in refs]
        columns = np.array(pairs, np.int64).reshape(len(pairs), 2)
        return cls(columns[:, 0], columns[:, 1])

    def __len__(self) -> int:
        return len(self.slots)

    @overload
    def __getitem__(self, at: int) -> Ref | None: ...
    @overload
    def __getitem__(self, at: slice) -> Refs: ...
    def __getitem__(self, at: int | slice) -> Ref | Refs | None:
        if isinstance(at, slice):
            return Refs(self.slots[at], self.generations[at])
        slot = int(self.slots[at])
        return None if slot == NO_ROW else Ref(slot, int(self.generations[at]))

    def __iter__(self) -> Iterator[Ref | None]:
        for pair in zip(self.slots.tolist(), self.generations.tolist(), strict=True):
            yield None if pair[0] == NO_ROW else as_ref(pair)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_is_same, self, other))

    __hash__ = None  # type: ignore[assignment]  # it is a view of arrays

    def __repr__(self) -> str:
        return f"Refs({list(self)!r})"


def _is_same(one: object, other: object) -> bool:
    return one == other
