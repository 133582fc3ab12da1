"""Shedding: what a full store drops, so that the same elements remain in whatever order they came.

The order is earliest (expiry, id) first. A store that keeps the k latest of what it was ever given holds the same k
whatever the order of arrival; so do two stores that shed and then exchange what they hold. (Where one element can
replace several, as a node's newest stance does, what a full store holds can depend on what it shed before.)
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["SheddingOrder"]

Entry: TypeAlias = tuple[int, bytes, int, int]


class SheddingOrder:
    """Rows by (expiry, id), earliest first, for the scopes (the whole store, one author) that have filled up.

    A scope costs nothing until it is first asked for its earliest row. Entries of rows that have gone are passed over
    when met, and swept when they outnumber the others.

    Attributes:
        scopes: the scopes that are tracked.

    Args:
        is_current: whether the row in this slot still has this generation.
    """

    def __init__(self, is_current: Callable[[int, int], bool]) -> None:
        self._is_current = is_current
        self._heaps: dict[int, list[Entry]] = {}
        self.scopes = self._heaps.keys()
        self._swept_at: dict[int, int] = {}

    def earliest(self, scope: int, entries: Callable[[], Iterable[Entry]]) -> Entry:
        """The scope's earliest (expiry_ns, id, slot, generation); `entries` lists them when it is first asked."""
        heap = self._heaps.get(scope)
        if heap is None:
            heap = self._heaps[scope] = list(entries())
            heapq.heapify(heap)
            self._swept_at[scope] = len(heap)
        while not self._is_current(*heap[0][2:]):
            heapq.heappop(heap)
        return heap[0]

    def tracks(self, scope: int) -> bool:
        """Whether the scope's rows must be added as they come."""
        return scope in self._heaps

    def add(self, scope: int, entry: Entry) -> None:
        """Note a new row of a scope that is tracked."""
        heap = self._heaps[scope]
        heapq.heappush(heap, entry)
        if len(heap) > 2 * self._swept_at[scope] + 64:
            heap[:] = dict.fromkeys(entry for entry in heap if self._is_current(*entry[2:]))
            heapq.heapify(heap)
            self._swept_at[scope] = len(heap)

    def forget(self, scope: int) -> None:
        """Stop tracking a scope that is gone or has room again."""
        self._heaps.pop(scope, None)
        self._swept_at.pop(scope, None)
