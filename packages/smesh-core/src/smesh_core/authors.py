"""Authors: who has elements in a store, how many, and up to which sequence number.

An author is known for as long as any element of it is held. Rows name it by its slot, a small integer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Author", "Authors"]


class Author:
    """What is counted of one author.

    Attributes:
        id: node id, 32 bytes.
        slot: names it in rows.
        emissions: how many of its emissions are held.
        stances: how many of its stances are held.
        seq: the highest sequence number held of it, or held since it was first known.
    """

    __slots__ = ("emissions", "id", "seq", "slot", "stances")

    def __init__(self, identity: bytes, slot: int) -> None:
        self.id = identity
        self.slot = slot
        self.emissions = 0
        self.stances = 0
        self.seq = 0


class Authors:
    """The authors of one store, by id and by slot.

    Attributes:
        get: the author of an id, or None.
        at: the author that a row names by a slot.
    """

    def __init__(self) -> None:
        self._by_id: dict[bytes, Author] = {}
        self._by_slot: list[Author] = []
        self._free: list[int] = []
        self.get = self._by_id.get
        self.at = self._by_slot.__getitem__

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Author]:
        return iter(self._by_id.values())

    def know(self, identity: bytes) -> Author:
        """The author of this id, known from now on; it must be given an element, or forgotten again."""
        author = self.get(identity)
        if author is None:
            slot = self._free.pop() if self._free else len(self._by_slot)
            author = self._by_id[identity] = Author(identity, slot)
            self._by_slot[slot : slot + 1] = [author]
        return author

    def forget_if_done(self, author: Author) -> bool:
        """Forget an author of which nothing is held any more; whether that was so."""
        if author.emissions or author.stances:
            return False
        del self._by_id[author.id]
        self._free.append(author.slot)
        return True
