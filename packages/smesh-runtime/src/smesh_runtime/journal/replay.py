"""Replay: a field from what lives of a journal.

A field is a set of live elements, and taking one in is a union with it. So a field that takes in what lives of a
journal, in whatever order, reads as the field that wrote the journal, now and at any later time. Elements that have
ended, by their expiry or because they faded under `smesh_core.limits.INTENSITY_MIN`, are left out: they would be let go
of at once, and in a full field they would take the place of some that live.

What a full field had shed is in the journal as well. It stays out for as long as those that it was shed for last; where
they faded before their expiry, there is room for it again, and it is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smesh_core import FieldFullError, Signal, intensity_at
from smesh_core.limits import INTENSITY_MIN

if TYPE_CHECKING:
    from smesh_core import Field

    from smesh_runtime.journal.reader import JournalReader

__all__ = ["replay"]


def replay(journal: JournalReader, field: Field, now_ns: int) -> int:
    """Have a field take in what lives of a journal.

    Returns:
        How many elements that were. Some can be missing in the field, where it has no room for all.

    Raises:
        WrongFieldError: the journal is another field's.
        JournalDamagedError: an element is not what was written; the field holds those before it.
        JournalError: the journal cannot be read.
    """
    taken = 0
    for entry in journal.living(now_ns):
        element = entry.element
        try:
            if not isinstance(element, Signal):
                field.take(element)
            elif _intensity(element, now_ns) >= INTENSITY_MIN:
                field.emit(element)
            else:
                continue
        except FieldFullError:
            continue  # It was shed, as it is now, or would have been.
        taken += 1
    return taken


def _intensity(signal: Signal, now_ns: int) -> float:
    age_ns = now_ns - signal.created_at_ns
    return intensity_at(signal.decay, signal.intensity, signal.rate_per_s, signal.ttl_ns, age_ns)
