"""Merging: what comes in a batch, taken into a store by whole columns.

A batch changes a store exactly as its elements would, one at a time. Whole columns are written for the elements of
which it is plain beforehand what they do: an emission of a statement that nobody has said, a node's first stance on a
statement or one that replaces its last, with room for all of them. Everything else (repetitions, equivocations, a
second emission of a statement, a store that is full or where somebody waits) takes the way of one call at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smesh_core import limits
from smesh_core.columns import NO_ROW
from smesh_core.errors import FieldFullError
from smesh_core.refs import Refs
from smesh_core.store import CROWD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.authors import Author
    from smesh_core.batch import SignalBatch
    from smesh_core.index import Shared
    from smesh_core.signal import Stance
    from smesh_core.store import Store

__all__ = ["merge", "stand_on_many"]


class _Speakers(NamedTuple):
    """Who speaks in a batch: the ids, which of them says each signal (None where it is one), and how many each says."""

    ids: list[bytes]
    which: NDArray[np.int64] | None
    counts: list[int]


def merge(store: Store, batch: SignalBatch) -> Refs:
    """Hold the emissions of a batch; for each the reference of its statement, or none where there was no room."""
    slots = np.full(len(batch), NO_ROW)
    generations = np.zeros(len(batch), np.int64)
    if not len(batch):
        return Refs(slots, generations)
    speakers = _speakers(batch)
    if store.has_room_for(len(batch), zip(speakers.ids, speakers.counts, strict=True)):
        _say_new(store, batch, speakers, slots, generations)
        _find_held(store, batch, speakers, slots, generations)
    for at in np.flatnonzero(slots == NO_ROW).tolist():
        try:
            slots[at] = slot = store.add_emission(batch[at])
        except FieldFullError:
            continue
        generations[at] = store.rows.generations[slot]
    return Refs(slots, generations)


def _speakers(batch: SignalBatch) -> _Speakers:
    given = batch.given("author")
    if batch.shares("author"):
        return _Speakers([given], None, [len(batch)])
    numbers = {author: number for number, author in enumerate(dict.fromkeys(given))}
    which = np.fromiter(map(numbers.__getitem__, given), np.int64, len(batch))
    return _Speakers(list(numbers), which, np.bincount(which).tolist())


def _say_new(
    store: Store,
    batch: SignalBatch,
    speakers: _Speakers,
    slots: NDArray[np.int64],
    generations: NDArray[np.int64],
) -> None:
    """Hold the emissions whose statements nobody has said yet, and note their slots and generations."""
    new, rows, subjects = _new_statements(store, batch, speakers)
    if not len(new):
        return
    is_all = len(new) == len(batch)

    def only_new(given: Any) -> Any:
        return given if is_all or not isinstance(given, np.ndarray) else given[new]

    payload = batch.given("payload")
    if batch.shares("payload"):
        payloads = [payload] * len(new)
    else:
        payloads = payload if is_all else [payload[at] for at in new.tolist()]
    seq, which = only_new(batch.column("seq")), only_new(speakers.which)
    authors = _count_elements(store, speakers.ids, which, seq)
    columns = {name: only_new(batch.column(name)) for name in _SAME_COLUMNS}
    store.rows.write_many(
        rows,
        {
            "statement": rows,
            "seq": seq,
            **columns,
            "author": authors,
            "first_stance": NO_ROW,
            "stances": 0,
            "type": only_new(batch.column("type")),
            "curve": only_new(batch.column("decay")),
        },
        payloads,
    )
    store.emissions += len(new)
    slots[new], generations[new] = rows, store.rows.name_many(rows)
    store.index.enter_many(rows, subjects)


_SAME_COLUMNS = ("created_at_ns", "ttl_ns", "intensity", "confidence", "rate_per_s", "radius")


def _new_statements(
    store: Store, batch: SignalBatch, speakers: _Speakers
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[int, Shared]]:
    """Which signals of a batch are surely the first of their statements, a row for each, and their subjects by row."""
    subject = batch.given("subject")
    if subject is None:
        new = _new_of_authors(store, batch, speakers)
        return new, store.rows.take_many(len(new)), {}
    subjects = [subject] * len(batch) if batch.shares("subject") else subject
    is_own = np.array([said is None for said in subjects])
    if is_own.any():
        is_new = np.zeros(len(batch), bool)
        is_new[_new_of_authors(store, batch, speakers)] = True
        new = np.flatnonzero(is_new | ~is_own)
    else:
        new = np.arange(len(batch))
    rows = store.rows.take_many(len(new))
    kinds = [batch.given("type")] * len(batch) if batch.shares("type") else batch.given("type")
    # A subject that is known keeps its row; the row that was meant for it is not needed then.
    entered, known = {}, []
    enter = store.index.shared.setdefault
    for number, (at, row) in enumerate(zip(new.tolist(), rows.tolist(), strict=True)):
        said = subjects[at]
        if said is None:
            continue
        shared = (kinds[at], said)
        if enter(shared, row) == row:
            entered[row] = shared
        else:
            known.append(number)
    if known:
        store.rows.give_back(rows[known].tolist())
        new, rows = np.delete(new, known), np.delete(rows, known)
    return new, rows, entered


def _new_of_authors(store: Store, batch: SignalBatch, speakers: _Speakers) -> NDArray[np.int64]:
    """Signals whose number is higher than any their author used before, and the first of the batch to have it."""
    seq = batch.column("seq")
    if speakers.which is None:
        last = store.author_seq(speakers.ids[0]) if store.authors.get(speakers.ids[0]) else -1
        if seq[0] > last and (seq[1:] > seq[:-1]).all():
            return np.arange(len(seq))
        which: NDArray[np.int64] = np.zeros(len(seq), np.int64)
    else:
        which = speakers.which
    known = [store.authors.get(author) for author in speakers.ids]
    last_seq = np.array([-1 if author is None else author.seq for author in known])
    order = np.lexsort((seq, which))
    is_first = np.ones(len(seq), bool)
    is_first[1:] = (seq[order[1:]] != seq[order[:-1]]) | (which[order[1:]] != which[order[:-1]])
    is_new = np.zeros(len(seq), bool)
    is_new[order] = is_first
    return np.flatnonzero(is_new & (seq > last_seq[which]))


def _find_held(
    store: Store,
    batch: SignalBatch,
    speakers: _Speakers,
    slots: NDArray[np.int64],
    generations: NDArray[np.int64],
) -> None:
    """Note the slots of emissions that are held already, each as the only one of its statement."""
    rest = np.flatnonzero(slots == NO_ROW)
    if not len(rest):
        return
    known = [store.authors.get(author) for author in speakers.ids]
    author_slots = np.array([NO_ROW if author is None else author.slot for author in known])
    authors = author_slots[np.zeros(len(batch), np.int64) if speakers.which is None else speakers.which]
    columns = {name: np.broadcast_to(batch.column(name), len(batch)) for name in (*_SAME_COLUMNS, "seq", "type")}
    columns |= {"author": authors, "curve": np.broadcast_to(batch.column("decay"), len(batch))}
    given = {name: column[rest] for name, column in columns.items()}
    keys = zip(*(given[name].tolist() for name in ("author", "type", "seq")), strict=True)
    subject = batch.given("subject")
    subjects = [subject] * len(rest) if batch.shares("subject") else [subject[at] for at in rest.tolist()]
    rows = np.array(store.index.find_many(keys, subjects))
    held = store.rows
    is_held = (rows != NO_ROW) & ~np.isin(rows, np.array(store.crowded(), np.int64)) & held.are_listed(rows)
    for name, column in given.items():
        is_held &= held[name][rows] == column
    payload = batch.given("payload")
    for at, row in zip(rest[is_held].tolist(), rows[is_held].tolist(), strict=True):
        if held.payload(row) == (payload if batch.shares("payload") else payload[at]):
            slots[at], generations[at] = row, held.generations[row]


def _count_elements(
    store: Store, ids: list[bytes], which: NDArray[np.int64] | None, seq: NDArray[np.int64]
) -> NDArray[np.int64] | int:
    """Count emissions of these authors, which are new here; their slots in rows."""
    if which is None:
        author = store.authors.know(ids[0])
        author.emissions += len(seq)
        author.seq = max(author.seq, int(seq.max()))
        return author.slot
    highest = np.zeros(len(ids), np.int64)
    np.maximum.at(highest, which, seq)
    slots = np.zeros(len(ids), np.int64)
    for number, count in enumerate(np.bincount(which, minlength=len(ids)).tolist()):
        if count:
            author = store.authors.know(ids[number])
            author.emissions += count
            author.seq = max(author.seq, int(highest[number]))
            slots[number] = author.slot
    return slots[which]


# ---- stances


def stand_on_many(store: Store, slots: NDArray[np.int64], stance: Stance) -> NDArray[np.bool_]:
    """Let a node take one stance on many statements that are said, under one number after the other.

    Args:
        store: where.
        slots: of the statements, shape (n,).
        stance: what it says, with the number of the first; its statement and its life are not looked at.

    Returns:
        For which of them this was done, shape (n,); the others must be taken one by one.
    """
    author = store.authors.get(stance.author)
    is_done, earlier = _plain_stances(store, slots, author)
    now_ns, rows, stances = stance.created_at_ns, store.rows, store.stances
    seq = np.arange(stance.seq, stance.seq + len(slots))
    ends_ns = rows["created_at_ns"][slots] + rows["ttl_ns"][slots]
    is_first = earlier == NO_ROW
    if author is not None and not is_first.all():
        last_ns = np.where(is_first, 0, stances["expires_at_ns"][earlier])
        ends_ns = np.maximum(ends_ns, last_ns)
        is_done &= is_first | ((stances["seq"][earlier] < seq) & (last_ns <= now_ns + limits.TTL_MAX_NS))
    expires_ns = now_ns + np.clip(ends_ns - now_ns, 1, limits.TTL_MAX_NS)
    author = store.authors.know(stance.author)
    columns: dict[str, Any] = {
        "created_at_ns": now_ns,
        "confidence": stance.confidence,
        "author": author.slot,
        "kind": stance.kind,
    }
    at = np.flatnonzero(is_done & is_first)
    if len(at):
        taken, on = stances.take_many(len(at)), slots[at]
        following = rows["first_stance"][on]
        columns |= {"statement": on, "seq": seq[at], "expires_at_ns": expires_ns[at]}
        stances.write_many(taken, {**columns, "next": following, "previous": NO_ROW}, [stance.reason] * len(at))
        stances["previous"][following[following != NO_ROW]] = taken[following != NO_ROW]
        rows["first_stance"][on] = taken
        rows["stances"][on] += 1
        author.stances += len(at)
    at = np.flatnonzero(is_done & ~is_first)
    if len(at):
        order = at[np.argsort(earlier[at])]
        stances.renew_many(earlier[order])
        columns |= {"statement": slots[order], "seq": seq[order], "expires_at_ns": expires_ns[order]}
        stances.write_many(earlier[order], columns, [stance.reason] * len(at))
    if is_done.any():
        author.seq = max(author.seq, int(seq[is_done].max()))
    store.forget_if_done(author)
    return is_done


def _plain_stances(
    store: Store, slots: NDArray[np.int64], author: Author | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """On which statements a stance can be taken by whole columns, and the row of the node's last one, or NO_ROW."""
    earlier = np.full(len(slots), NO_ROW)
    if store.is_shedding_stances:
        return np.zeros(len(slots), bool), earlier
    count = store.rows["stances"][slots]
    is_plain = count < min(CROWD, limits.STANCES_PER_STATEMENT)
    crowded = np.array(store.crowded(), np.int64)
    if len(crowded):
        is_plain &= ~np.isin(slots, crowded)
    ordered = np.sort(slots)
    if (ordered[1:] == ordered[:-1]).any():
        # Of several stances on one statement the last counts; the others are forgotten when their turn comes.
        last = np.empty(store.rows.used, np.int64)
        last[slots] = np.arange(len(slots))
        is_plain &= last[slots] == np.arange(len(slots))
    if author is None or not author.stances:
        return is_plain, earlier
    found = np.zeros(len(slots), np.int64)
    walking = np.flatnonzero(is_plain & (count > 0))
    rows = store.rows["first_stance"][slots[walking]].astype(np.int64)
    while len(walking):
        is_mine = store.stances["author"][rows] == author.slot
        earlier[walking[is_mine]] = rows[is_mine]
        found[walking[is_mine]] += 1
        rows = store.stances["next"][rows].astype(np.int64)
        goes_on = rows != NO_ROW
        walking, rows = walking[goes_on], rows[goes_on]
    return is_plain & (found <= 1), earlier
