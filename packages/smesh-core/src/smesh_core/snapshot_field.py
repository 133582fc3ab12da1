"""What a snapshot of a field holds: its elements in columns, who said them, and the names they go by.

A row of the snapshot is an emission or a stance as it was said, not a row of the store's memory: what the store keeps
to be fast (chains, crowds, orders of shedding, ids of statements) follows from the elements and is made anew, most of
it when it is first needed. So no id is hashed to write a snapshot, and none to read one, unless stances wait.

References outlive a snapshot: a `Ref` has nothing but slot and generation, so a loaded field that gave its statements
other slots would let an old reference name another statement. Slots, generations and the order of free slots are kept.
"""

# A snapshot is of what is inside; field and store have no other use for ways to it.
# ruff: noqa: SLF001

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from smesh_core import limits
from smesh_core.columns import NO_ROW
from smesh_core.errors import SnapshotError
from smesh_core.field import Field
from smesh_core.rows import CURVES, KINDS, TYPES
from smesh_core.snapshot_format import (
    Column,
    Sections,
    decimal,
    joined,
    number,
    parted,
    shortened,
    spread,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from smesh_core.store import Store

__all__ = ["FIELD_COLUMNS", "field_of", "field_sections"]

_EMISSION_COLUMNS: Final = (
    Column("emission_statements", "<i4"),  # slot of the statement, less the emission's own row
    Column("emission_authors", "<i4"),
    Column("emission_seqs", "<i8"),
    Column("emission_created_ns", "<i8"),
    Column("emission_ttls_ns", "<i8"),
    Column("emission_intensities", "<f8"),
    Column("emission_confidences", "<f8"),
    Column("emission_rates_per_s", "<f8"),
    Column("emission_radii", "<u2"),
    Column("emission_types", "|u1"),
    Column("emission_curves", "|u1"),
    Column("emission_payloads", "<i4"),  # which of the payloads
)
_STANCE_COLUMNS: Final = (
    Column("stance_authors", "<i4"),
    Column("stance_seqs", "<i8"),
    Column("stance_created_ns", "<i8"),
    Column("stance_expires_ns", "<i8"),
    Column("stance_confidences", "<f8"),
    Column("stance_kinds", "|u1"),
    Column("stance_reasons", "<i4"),  # which of the reasons
)
FIELD_COLUMNS: Final = (
    Column("field_id", "|u1"),
    Column("capacity", "|u1"),  # a decimal number, as is the next
    Column("author_capacity", "|u1"),
    Column("author_ids", "|u1", limits.ID_BYTES),  # ascending
    Column("author_seqs", "<i8"),
    Column("numbered_ids", "|u1", limits.ID_BYTES),  # who was given sequence numbers here, ascending
    Column("numbered_seqs", "<i8"),
    Column("generations", "<i8"),  # of every slot that was ever used
    Column("free_slots", "<i4"),  # the last is used first
    Column("emission_rows", "<i4"),  # ascending
    *_EMISSION_COLUMNS,
    Column("payload_sizes", "<u2"),
    Column("payloads", "|u1"),
    Column("subject_slots", "<i4"),  # statements with a subject, ascending
    Column("subject_sizes", "<u2"),
    Column("subjects", "|u1"),
    Column("waiting_slots", "<i4"),  # statements with stances that nobody says, ascending
    Column("waiting_ids", "|u1", limits.ID_BYTES),
    Column("stance_statements", "<i4"),  # slots, ascending; stances on one statement newest arrival first
    *_STANCE_COLUMNS,
    Column("reason_sizes", "<u2"),
    Column("reasons", "|u1"),
)
"""Sections of a field's snapshot, in their order."""

_DTYPES: Final = {column.name: column.dtype for column in FIELD_COLUMNS}
_PART: Final = (0.0, 1.0)
_EMISSION_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "emission_seqs": (0, limits.SEQ_MAX),
    "emission_created_ns": (0, limits.CREATED_AT_NS_MAX),
    "emission_ttls_ns": (1, limits.TTL_MAX_NS),
    "emission_intensities": _PART,
    "emission_confidences": _PART,
    "emission_rates_per_s": (0.0, limits.RATE_MAX_PER_S),
    "emission_types": (0, len(TYPES) - 1),
    "emission_curves": (0, len(CURVES) - 1),
}
_STANCE_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "stance_seqs": (0, limits.SEQ_MAX),
    "stance_created_ns": (0, limits.CREATED_AT_NS_MAX),
    "stance_expires_ns": (1, limits.SEQ_MAX),
    "stance_confidences": (5e-324, 1.0),
    "stance_kinds": (0, len(KINDS) - 1),
}
_STORED_AS: Final = {
    "seq": "emission_seqs",
    "created_at_ns": "emission_created_ns",
    "ttl_ns": "emission_ttls_ns",
    "intensity": "emission_intensities",
    "confidence": "emission_confidences",
    "rate_per_s": "emission_rates_per_s",
    "radius": "emission_radii",
    "type": "emission_types",
    "curve": "emission_curves",
}
_STANCES_STORED_AS: Final = {
    "seq": "stance_seqs",
    "created_at_ns": "stance_created_ns",
    "expires_at_ns": "stance_expires_ns",
    "confidence": "stance_confidences",
    "kind": "stance_kinds",
}
_CAPACITY_MAX: Final = 10**300
"""So that the part of it that an author may fill, a float times this, is a number."""


# ---- writing


def field_sections(field: Field) -> Sections:
    """All that a field holds, as sections.

    Raises:
        SnapshotError: its capacity is beyond what a snapshot holds.
    """
    store = field._store
    if store.capacity > _CAPACITY_MAX:
        raise SnapshotError("a snapshot is of a field that holds at most 10^300 emissions")
    authors = sorted(store.authors, key=lambda author: author.id)
    numbers = np.zeros(1 + max((author.slot for author in authors), default=0), np.int32)
    numbers[[author.slot for author in authors]] = np.arange(len(authors))
    # A key that is no node's id was asked for once and can say nothing.
    said_here = sorted((by, seq) for by, seq in field._last_seq_here.items() if _is_id(by))
    found: Sections = {
        "field_id": np.frombuffer(field.field_id, np.uint8),
        "capacity": decimal(store.capacity),
        "author_capacity": decimal(store.author_capacity),
        "author_ids": _ids([author.id for author in authors]),
        "author_seqs": np.array([author.seq for author in authors], np.int64),
        "numbered_ids": _ids([by for by, _ in said_here]),
        "numbered_seqs": np.array([seq for _, seq in said_here], np.int64),
        "generations": np.array(store.rows.generations[: store.rows.used], np.int64),
        "free_slots": np.array(store.rows.free_slots, np.int64),
        **_emission_sections(store, numbers),
        **_statement_sections(store),
        **_stance_sections(store, numbers),
    }
    return {name: np.ascontiguousarray(found[name], np.dtype(dtype)) for name, dtype in _DTYPES.items()}


def _emission_sections(store: Store, numbers: NDArray[np.int32]) -> Sections:
    rows = store.rows.rows()
    which, payloads = _numbered(map(store.rows.payload, rows.tolist()))
    columns = {name: store.rows[stored][rows] for stored, name in _STORED_AS.items()}
    columns |= {name: columns[name] + 0.0 for name in columns if columns[name].dtype.kind == "f"}  # no negative zero
    columns["emission_statements"] = store.rows["statement"][rows] - rows
    columns["emission_authors"] = numbers[store.rows["author"][rows]]
    columns["emission_payloads"] = which
    sizes, text = joined(payloads, _DTYPES["payload_sizes"])
    shorter = {column.name: shortened(columns[column.name], column.dtype) for column in _EMISSION_COLUMNS}
    return {"emission_rows": rows, **shorter, "payload_sizes": sizes, "payloads": text}


def _statement_sections(store: Store) -> Sections:
    """What is known of statements beside their emissions: subjects, and the ids of those that nobody says."""
    index, used = store.index, store.rows.used
    with_subject = sorted(index.shared.values())
    subjects = [index.subject(slot) or b"" for slot in with_subject]
    is_waiting = np.array(store.rows.generations[:used], np.int64) & 1 == 0
    is_waiting[store.rows.rows()] = False
    is_waiting[store.rows.free_slots] = False
    waiting = np.flatnonzero(is_waiting)
    sizes, text = joined(subjects, _DTYPES["subject_sizes"])
    return {
        "subject_slots": np.array(with_subject, np.int64),
        "subject_sizes": sizes,
        "subjects": text,
        "waiting_slots": waiting,
        "waiting_ids": _ids(index.ids_of(waiting.tolist())),
    }


def _stance_sections(store: Store, numbers: NDArray[np.int32]) -> Sections:
    stances = store.stances
    slots = np.unique(stances["statement"][stances.rows()]).tolist()
    rows = np.array([row for slot in slots for row in store.stance_rows(slot)], np.int64)
    which, reasons = _numbered(map(stances.reason, rows.tolist()))
    columns = {name: stances[stored][rows] for stored, name in _STANCES_STORED_AS.items()}
    columns["stance_authors"] = numbers[stances["author"][rows]]
    columns["stance_reasons"] = which
    sizes, text = joined([reason.encode() for reason in reasons], _DTYPES["reason_sizes"])
    shorter = {column.name: shortened(columns[column.name], column.dtype) for column in _STANCE_COLUMNS}
    return {"stance_statements": stances["statement"][rows], **shorter, "reason_sizes": sizes, "reasons": text}


def _numbered(values: Iterable[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """Which of the distinct values each is, and these in the order in which they first come."""
    numbers: dict[Any, int] = {}
    which = [numbers.setdefault(value, len(numbers)) for value in values]
    return np.array(which, np.int64), list(numbers)


def _ids(ids: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(ids), np.uint8).reshape(len(ids), limits.ID_BYTES)


def _is_id(key: object) -> bool:
    return type(key) is bytes and len(key) == limits.ID_BYTES


# ---- reading


def field_of(sections: Sections) -> Field:
    """The field that these sections are of.

    Raises:
        SnapshotError: they are of none.
    """
    identity = sections["field_id"].tobytes()
    if len(identity) != limits.ID_BYTES:
        raise SnapshotError("the field's id is not 32 bytes")
    field = Field(identity, capacity=number(sections, "capacity", 1, _CAPACITY_MAX))
    store = field._store
    store.author_capacity = number(sections, "author_capacity", 1, _CAPACITY_MAX)
    said_here = _ascending_ids(sections, "numbered_ids")
    seqs = within("numbered_seqs", sections["numbered_seqs"], 0, limits.SEQ_MAX)
    if len(seqs) != len(said_here):
        raise SnapshotError("not as many numbered_seqs as numbered_ids")
    field._last_seq_here.update(zip(said_here, seqs.tolist(), strict=True))
    _load_authors(store, sections)
    waiting = _load_emissions(store, sections)
    _load_stances(store, sections, waiting)
    for author in store.authors:
        if author.emissions + author.stances == 0 or author.emissions > store.author_capacity:
            raise SnapshotError("an author has no elements, or more than its share")
    return field


def _load_authors(store: Store, sections: Sections) -> None:
    seqs = within("author_seqs", sections["author_seqs"], 0, limits.SEQ_MAX)
    ids = _ascending_ids(sections, "author_ids")
    if len(seqs) != len(ids):
        raise SnapshotError("not as many author_seqs as author_ids")
    for identity, seq in zip(ids, seqs.tolist(), strict=True):
        store.authors.know(identity).seq = seq


def _load_emissions(store: Store, sections: Sections) -> NDArray[np.int64]:
    """Fill the rows of a store with what is said; the slots of statements that wait."""
    rows = _slots(sections, "emission_rows", is_ascending=True)
    columns = {column.name: spread(sections, column.name, len(rows)) for column in _EMISSION_COLUMNS}
    for name, (low, high) in _EMISSION_BOUNDS.items():
        within(name, columns[name], low, high)
    if len(rows) > store.capacity:
        raise SnapshotError("the field holds more than its capacity")
    statements = rows + columns["emission_statements"]
    waiting = _slots(sections, "waiting_slots", is_ascending=True)
    _load_slots(store, sections, rows, statements, waiting)
    payloads = parted(sections["payload_sizes"], sections["payloads"], "payloads", 0, limits.PAYLOAD_BYTES_MAX)
    which = _chosen("emission_payloads", columns["emission_payloads"], len(payloads))
    authors = _counted(store, columns["emission_authors"], columns["emission_seqs"])
    for author, count in zip(store.authors, np.bincount(authors, minlength=len(store.authors)).tolist(), strict=True):
        author.emissions = count
    stored = {name: columns[said] for name, said in _STORED_AS.items()}
    if len(rows):
        named = {"statement": statements, "author": authors, "first_stance": NO_ROW, "stances": 0}
        store.rows.write_many(rows, {**stored, **named}, [payloads[at] for at in which.tolist()])
    store.emissions = len(rows)
    _load_statements(store, sections, rows, statements)
    return waiting


def _load_slots(
    store: Store,
    sections: Sections,
    rows: NDArray[np.int64],
    statements: NDArray[np.int64],
    waiting: NDArray[np.int64],
) -> None:
    """Take all slots, after it is clear that each has one use: free, a row, the name of a statement, or both."""
    generations, free = sections["generations"], _slots(sections, "free_slots", is_ascending=False)
    within("generations", generations, 0, 2**62)
    used = len(generations)
    said = np.unique(within("statements", statements, 0, used - 1))
    for name, slots in (("emission_rows", rows), ("waiting_slots", waiting), ("free_slots", free)):
        within(name, slots, 0, used - 1)
    uses = np.zeros(used, np.int64)
    uses[rows] = 1
    is_name = np.zeros(used, bool)
    is_name[said] = True
    of_row = np.full(used, NO_ROW)
    of_row[rows] = statements
    own_row_gone = said[uses[said] == 0]
    taken = (rows, own_row_gone, waiting, free)
    uses[:] = 0
    for slots in taken:
        uses[slots] += 1
    is_named_right = (of_row[said] == said) | (of_row[said] == NO_ROW)
    if sum(map(len, taken)) != used or (uses != 1).any() or not is_named_right.all():
        raise SnapshotError("slots are free and used at once, used twice, or neither")
    if not np.array_equal(generations & 1 == 1, is_name):
        raise SnapshotError("generations are odd where nothing is said, or even where something is")
    store.rows.take_many(used)
    store.rows.generations[:used] = generations.tolist()
    store.rows.free_slots += free.tolist()


def _load_statements(store: Store, sections: Sections, rows: NDArray[np.int64], statements: NDArray[np.int64]) -> None:
    """Let statements with a subject be found, and know which are said by several; each is said in one way only."""
    columns = store.rows
    said, first, which, counts = np.unique(statements, return_index=True, return_inverse=True, return_counts=True)
    kinds = columns["type"][rows]
    if not np.array_equal(kinds, kinds[first][which]):
        raise SnapshotError("the emissions of a statement differ in type")
    slots = _slots(sections, "subject_slots", is_ascending=True)
    has_subject = np.isin(said, slots)
    if has_subject.sum() != len(slots):
        raise SnapshotError("a subject of a statement that nobody says")
    # The row that names a statement whose first emission has gone tells what its statement is all the same.
    is_gone = ~columns.are_listed(said)
    for name in ("type", "author", "seq", "created_at_ns", "ttl_ns"):
        columns[name][said[is_gone]] = columns[name][rows[first[is_gone]]]
    columns["first_stance"][said], columns["stances"][said] = NO_ROW, 0
    own = said[~has_subject]
    keys = np.stack([columns[name][own].astype(np.int64) for name in ("author", "type", "seq")])
    ordered = keys[:, np.lexsort(keys)]
    if (ordered[:, 1:] == ordered[:, :-1]).all(axis=0).any():
        raise SnapshotError("two statements are the same one")
    is_own_row = ~has_subject[which]
    for name in ("author", "seq"):
        column = columns[name][rows]
        if not np.array_equal(column[is_own_row], column[first][which][is_own_row]):
            raise SnapshotError("an author's own statement is said by two")
    _enter_subjects(store, sections, slots)
    _gather_crowds(store, rows, which, (counts > 1) | is_gone, said)


def _enter_subjects(store: Store, sections: Sections, slots: NDArray[np.int64]) -> None:
    subjects = parted(sections["subject_sizes"], sections["subjects"], "subjects", 1, limits.SUBJECT_BYTES_MAX)
    if len(subjects) != len(slots):
        raise SnapshotError("not as many subjects as subject_slots")
    kinds = [TYPES[kind] for kind in store.rows["type"][slots].tolist()]
    shared = dict(zip(slots.tolist(), zip(kinds, subjects, strict=True), strict=True))
    store.index.shared.update((said, slot) for slot, said in shared.items())
    if len(store.index.shared) != len(shared):
        raise SnapshotError("two statements are the same one")
    store.index.enter_many(slots, shared)


def _gather_crowds(
    store: Store, rows: NDArray[np.int64], which: NDArray[Any], is_crowd: NDArray[np.bool_], said: NDArray[np.int64]
) -> None:
    """List the emissions of statements that were said more than once."""
    members = np.flatnonzero(is_crowd[which])
    for slot, row in zip(said[which[members]].tolist(), rows[members].tolist(), strict=True):
        if store._crowds.setdefault(slot, {}).setdefault(store.signal(row), row) != row:
            raise SnapshotError("an emission is held twice")


def _load_stances(store: Store, sections: Sections, waiting: NDArray[np.int64]) -> None:
    """Chain stances to their statements, and let those wait whose statements nobody says."""
    slots = _slots(sections, "stance_statements", is_ascending=False)
    columns = {column.name: spread(sections, column.name, len(slots)) for column in _STANCE_COLUMNS}
    for name, (low, high) in _STANCE_BOUNDS.items():
        within(name, columns[name], low, high)
    within("lives of stances", columns["stance_expires_ns"] - columns["stance_created_ns"], 1, limits.TTL_MAX_NS)
    within("stance_statements", slots, 0, store.rows.used - 1)
    if (slots[1:] < slots[:-1]).any():
        raise SnapshotError("stance_statements do not ascend")
    reasons = _reasons(sections)
    which = _chosen("stance_reasons", columns["stance_reasons"], len(reasons))
    authors = _counted(store, columns["stance_authors"], columns["stance_seqs"])
    for author, count in zip(store.authors, np.bincount(authors, minlength=len(store.authors)).tolist(), strict=True):
        author.stances = count
    _let_wait(store, sections, waiting, slots)
    _check_replaced(slots, authors, columns)
    if not len(slots):
        return
    begins, counts = np.unique(slots, return_index=True, return_counts=True)[1:]
    within("stances on a statement", counts, 1, limits.STANCES_PER_STATEMENT)
    rows = store.stances.take_many(len(slots))
    following, previous = rows + 1, rows - 1
    previous[begins] = NO_ROW
    following[begins + counts - 1] = NO_ROW
    stored = {name: columns[said] for name, said in _STANCES_STORED_AS.items()}
    chained = {"author": authors, "next": following, "previous": previous, "statement": slots}
    store.stances.write_many(rows, {**stored, **chained}, [reasons[at] for at in which.tolist()])
    store.rows["first_stance"][slots[begins]] = rows[begins]
    store.rows["stances"][slots[begins]] = counts


def _let_wait(store: Store, sections: Sections, waiting: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
    """Make statements known by their ids that have stances and that nobody says."""
    ids = [row.tobytes() for row in sections["waiting_ids"]]
    is_of_waiting = np.isin(slots, waiting)
    said = np.array(store.rows.generations, np.int64)[slots] & 1 == 1
    if not (said | is_of_waiting).all() or len(np.unique(slots[is_of_waiting])) != len(waiting):
        raise SnapshotError("stances on a statement that is not there, or a statement that waits without any")
    if len(ids) != len(waiting) or is_of_waiting.sum() > limits.STANCES_WAITING:
        raise SnapshotError("not as many waiting_ids as waiting_slots, or more stances than may wait")
    store.rows["first_stance"][waiting], store.rows["stances"][waiting] = NO_ROW, 0
    for slot, identity in zip(waiting.tolist(), ids, strict=True):
        # What is looked up is hashed, and with it all that is said here: one that is said does not wait.
        if store.index.find(identity) != NO_ROW:
            raise SnapshotError("a statement waits that is said, or waits twice")
        store.index.know_id(slot, identity)
    store._unsaid, store._waiting = len(waiting), int(is_of_waiting.sum())


def _check_replaced(slots: NDArray[np.int64], authors: NDArray[np.int64], columns: Sections) -> None:
    """A node's older stance on a statement is held only where it outlives the newer one."""
    seqs, ends = columns["stance_seqs"], columns["stance_expires_ns"]
    order = np.lexsort((-ends, seqs, authors, slots))
    before, after = order[:-1], order[1:]
    is_same_node = (slots[before] == slots[after]) & (authors[before] == authors[after])
    if (is_same_node & (ends[before] <= ends[after])).any():
        raise SnapshotError("a stance is held beside one that replaces it")


def _reasons(sections: Sections) -> list[str]:
    texts = parted(sections["reason_sizes"], sections["reasons"], "reasons", 0, limits.REASON_BYTES_MAX)
    try:
        return [text.decode() for text in texts]
    except UnicodeDecodeError:
        raise SnapshotError("a reason is not UTF-8") from None


def _counted(store: Store, authors: NDArray[Any], seqs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The slots of authors, which have used these sequence numbers and maybe higher ones."""
    known = [author.seq for author in store.authors]
    which = within("authors", authors, 0, len(known) - 1).astype(np.int64)
    if (np.array(known, np.int64)[which] < seqs).any():
        raise SnapshotError("an author has used a higher sequence number than its highest")
    return which


def _chosen(name: str, which: NDArray[Any], count: int) -> NDArray[Any]:
    return within(name, which, 0, count - 1)


def _slots(sections: Sections, name: str, *, is_ascending: bool) -> NDArray[np.int64]:
    slots = sections[name].astype(np.int64)
    if is_ascending and (slots[1:] <= slots[:-1]).any():
        raise SnapshotError(f"{name} do not ascend")
    return slots


def _ascending_ids(sections: Sections, name: str) -> list[bytes]:
    ids = [row.tobytes() for row in sections[name]]
    if any(one >= other for one, other in pairwise(ids)):
        raise SnapshotError(f"{name} do not ascend")
    return ids
