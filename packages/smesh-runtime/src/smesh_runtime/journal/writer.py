"""The one writer of a journal: a thread that commits, as many elements at once as have come meanwhile.

**Group commit.** A commit waits for the disk, so one that holds many elements costs little more than one that holds one
(DeWitt et al.: Implementation techniques for main memory database systems, 1984). Whoever appends puts an element into
a queue and waits. The thread takes all that is there, commits it, tells the event loop, and takes what has come in the
meantime. It never waits for more to come, and sleeps while there is nothing.

**One statement a batch.** The thread shares the interpreter with the event loop, and each call of SQLite gives the
interpreter's lock away and has to get it back: up to 5 ms, where the loop is busy. 100 elements inserted one by one
took 235 ms beside a busy loop, and 16 ms as one statement in a transaction. So the elements of a batch are one
statement, which is its own transaction; `schema` has a trigger for what else belongs to it.

**The loop lets the thread in.** An event loop that is never idle can starve the thread. The interpreter's lock is taken
from its holder for a thread that has waited 5 ms in vain; but every turn of the loop lets go of it while it asks for
I/O, which is too short for the thread to wake up and take it, and begins its 5 ms anew. Beside turns of 4 ms a commit
was seen to take 19 s. So where the thread does not get on beside a busy loop, the loop sleeps for 0.2 ms every 2 ms.

**Journal before spread.** `append` calls `decided` on the event loop as soon as the fate of the element is known, and
only then lets the caller go on. A field takes the element in and passes it on in there. So it is journaled and passed
on, or neither, also where the caller was cancelled meanwhile: an element that still waited in the queue then is taken
out of it, one that was being committed is passed on.

**After an error** all that waited for the commit are told, and none of them is acknowledged. Where the disk was full,
or another program had locked the file, later commits are tried as ever. After anything else what the disk holds is not
known for certain (a failed fsync cannot be tried again: Rebello et al., Can applications recover from fsync failures?,
2020), so nothing more is written until the journal has been opened again. It can then hold what it had refused, if that
reached the disk after all; nobody has seen it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakKeyDictionary

from smesh_core import (
    DEFAULT_FIELD_ID,
    Attested,
    FieldFullError,
    Signal,
    WrongFieldError,
    encode_signal,
    encode_stance,
)
from smesh_core.limits import SEQ_MAX

from smesh_runtime.errors import (
    JournalClosedError,
    JournalError,
    JournalFormatError,
    JournalFullError,
    JournalInUseError,
)
from smesh_runtime.journal.reader import EMISSION, STANCE, JournalReader, checksum
from smesh_runtime.journal.replay import replay
from smesh_runtime.journal.schema import check, prepare
from smesh_runtime.journal.sqlite import ERRORS, connect, file_at, hold_lock, in_one_line, shown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from os import PathLike
    from pathlib import Path
    from typing import Any

    from smesh_core import Field

    from smesh_runtime.medium import Element

__all__ = ["Journal"]

_STATEMENT_ROWS_MAX: Final = 124
"""Times 8 columns that is under 999, the number of parameters that any SQLite takes."""
_BATCH_BYTES_MAX: Final = 1 << 20
_PATIENCE_S: Final = 0.002
_LET_IN_S: Final = 0.0002
_COMPACT_ROWS: Final = 1000
"""Elements that are dropped in one transaction, so that nobody waits long for their turn."""
_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT: Final = "INSERT INTO elements (position, kind, author, seq, expires_at_ns, encoding, signature, crc32) VALUES "
_DROP: Final = """
    DELETE FROM elements WHERE position IN (SELECT position FROM elements WHERE expires_at_ns <= ? LIMIT ?)
"""


class Journal(JournalReader):
    """A journal, to be written and read; the one writer of its file, until it is closed.

    Appending is done from an event loop, reading and closing from any thread. A process that was forked off has no
    writer, and is refused.

    Args:
        path: its file, on a disk of this machine; made if it is not there.
        field_id: the field whose elements these are, 32 bytes.

    Raises:
        JournalInUseError: somebody else writes it.
        JournalFormatError: the file is something else, of a later schema, or the journal of another field.
        JournalDamagedError: the file is damaged.
        JournalFullError: there is no room on the disk.
        JournalError: the file cannot be read or written, or cannot be there.
    """

    def __init__(self, path: str | PathLike[str], *, field_id: bytes = DEFAULT_FIELD_ID) -> None:
        self._queue: deque[_Job] = deque()
        self._wakes = threading.Condition()
        self._unfinished: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
        self._batches = 0
        self._is_closing = False
        self._failure: JournalError | None = None
        self._is_restored = False
        self._process = os.getpid()
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(file_at(path), field_id, opened), name="smesh-journal", daemon=True
        )
        self._thread.start()
        try:
            opened.result()
            super().__init__(path)
        except BaseException:
            self.close()
            raise

    def append(
        self, said: Element | Attested, *, decided: Callable[[bool], None] = lambda _: None
    ) -> asyncio.Future[None]:
        """Commit an element; what this returns is done once it is, and may be cancelled.

        Args:
            said: an emission or a stance, as it is or attested; the signature is kept, and not verified.
            decided: called once, on this event loop, before the future is done, with whether the element is in the
                journal. Where it raises FieldFullError the element is taken out again, and the future raises that.

        Raises:
            WrongFieldError: the element belongs to another field.
            JournalClosedError: the journal was closed.
            JournalError: by the future, that the element could not be committed; at once, that the journal can no
                longer be written, or that this process is not the one that opened it.
        """
        element, signature = (said.element, said.signature) if isinstance(said, Attested) else (said, None)
        if element.field_id != self.field_id:
            raise WrongFieldError(f"an element of field {element.field_id.hex()[:8]} in {shown(self.path)}")
        job = _Append(element, signature, decided)
        self._put(job)
        job.future.add_done_callback(lambda future: self._take_back(job) if future.cancelled() else None)
        return job.future

    def restore(self, field: Field, now_ns: int) -> dict[bytes, int]:
        """Have the one field that this journal is written by take in what lives of it.

        Args:
            field: what it holds already is not journaled.
            now_ns: when, in nanoseconds of the field's clock.

        Returns:
            The last sequence number of each author.

        Raises:
            JournalInUseError: another field of this process writes this journal.
            JournalFormatError: the field has another id.
            JournalDamagedError: an element is not what was written.
            JournalError: the journal cannot be read.
        """
        if self._is_restored:
            raise JournalInUseError(f"{shown(self.path)} is the journal of another field of this process")
        if field.field_id != self.field_id:
            held, asked = self.field_id.hex()[:8], field.field_id.hex()[:8]
            raise JournalFormatError(f"{shown(self.path)} is the journal of field {held}, not of {asked}")
        replay(self, field, now_ns)
        self._is_restored = True
        return self.last_seqs()

    async def compact(self, before_ns: int) -> int:
        """Drop what came to its end at or before a time; every author's last sequence number is kept.

        In small steps, between which others commit. What that leaves free in the file is used again, and given back to
        the file system when the journal is closed.

        Args:
            before_ns: in nanoseconds of the field's clock; one that is still to come drops what lives.

        Returns:
            How many elements were dropped.

        Raises:
            JournalClosedError: the journal was closed.
            JournalError: it cannot be written; what was dropped until then is dropped.
        """
        dropped = 0
        while True:
            job = _Compact(max(-1, min(before_ns, SEQ_MAX)))
            self._put(job)
            await job.future
            dropped += job.dropped
            if job.dropped < _COMPACT_ROWS:
                return dropped

    def close(self) -> None:
        """Commit what is still waiting, and let go of the file; does nothing where that was done already."""
        if os.getpid() != self._process:
            return  # The thread, its connections and its locks are those of the process that this one was forked from.
        with self._wakes:
            self._is_closing = True
            self._wakes.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- on the event loop

    def _put(self, job: _Job) -> None:
        if os.getpid() != self._process:
            raise JournalError(f"{shown(self.path)} was opened by the process that this one was forked from")
        with self._wakes:
            if self._is_closing:
                raise JournalClosedError(f"the journal {shown(self.path)} was closed")
            if self._failure is not None:
                raise _copy(self._failure)
            self._queue.append(job)
            unfinished = self._unfinished.get(job.loop)
            self._unfinished[job.loop] = (unfinished or 0) + 1
            self._wakes.notify()
        if unfinished is None:  # else the loop is watched already
            job.loop.call_later(_PATIENCE_S, self._watch, job.loop, self._batches, time.thread_time())

    def _watch(self, loop: asyncio.AbstractEventLoop, batches: int, busy_s: float) -> None:
        """Let the thread in, where it has finished nothing since, and the loop was busy meanwhile; see the module."""
        with self._wakes:
            if not self._unfinished[loop]:
                del self._unfinished[loop]
                return
        if batches == self._batches and time.thread_time() - busy_s > _PATIENCE_S / 8:
            time.sleep(_LET_IN_S)
        loop.call_later(_PATIENCE_S, self._watch, loop, self._batches, time.thread_time())

    def _take_back(self, job: _Append) -> None:
        """Nobody waits for an element any more: unless it is being committed, or was, it is not said."""
        with self._wakes:
            if job not in self._queue:
                return
            self._queue.remove(job)
            self._unfinished[job.loop] -= 1
        job.decided(False)

    def _finish(self, jobs: Sequence[_Job], error: JournalError | None) -> None:
        with self._wakes:
            self._unfinished[jobs[0].loop] -= len(jobs)
            self._batches += 1
        for job in jobs:
            try:
                job.finish(error)
            except Exception as mistake:  # noqa: BLE001 - one listener's mistake is no reason to forget other emitters
                if isinstance(mistake, FieldFullError) and isinstance(job, _Append):
                    self._take_out(job, mistake)
                else:
                    job.fail(mistake)

    def _take_out(self, refused: _Append, refusal: FieldFullError) -> None:
        """The field has no room for an element that was committed: before its author is told, it must be gone."""
        try:
            self._put(_Remove(refused, refusal))
        except JournalError as error:
            refused.fail(error)

    # ---- in the thread

    def _work(self, file: Path, field_id: bytes, opened: Future[None]) -> None:
        """Open the file, commit until the journal is closed, and close the file."""
        with ExitStack() as held:
            try:
                connection, position = _open(file, field_id, held)
            except BaseException as error:  # noqa: BLE001 - whoever opens it waits, and must be told
                held.close()  # before whoever waits can try again
                opened.set_exception(error)
                return
            opened.set_result(None)
            while batch := self._next_batch():
                for job in batch:
                    position = job.number(position)
                self._tell(batch, self._commit(connection, file, batch))
            with suppress(*ERRORS):  # A file that stays longer than it must has all that was committed.
                connection.executescript("PRAGMA incremental_vacuum")  # by `execute` it would be one page only

    def _next_batch(self) -> list[_Job]:
        """What has come, as soon as anything has; nothing once the journal is closing and all is committed."""
        with self._wakes:
            while not self._queue and not self._is_closing:
                self._wakes.wait()
            batch: list[_Job] = []
            size = 0
            while self._queue and size < _BATCH_BYTES_MAX:
                batch.append(self._queue.popleft())
                size += batch[-1].size
            return batch

    def _commit(self, connection: sqlite3.Connection, file: Path, batch: Sequence[_Job]) -> JournalError | None:
        """Commit a batch, all or nothing; what went wrong, if anything did."""
        if self._failure is not None:
            return self._failure
        rows = [job.row for job in batch if isinstance(job, _Append)]
        others = [job for job in batch if not isinstance(job, _Append)]
        try:
            try:
                if not others and len(rows) <= _STATEMENT_ROWS_MAX:
                    _insert(connection, rows)
                    return None
                connection.execute("BEGIN IMMEDIATE")
                for start in range(0, len(rows), _STATEMENT_ROWS_MAX):
                    _insert(connection, rows[start : start + _STATEMENT_ROWS_MAX])
                for job in others:
                    job.perform(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except ERRORS as error:
            failure = in_one_line(error, file, "cannot write")
            if not isinstance(failure, JournalFullError | JournalInUseError):
                self._failure = failure
            return failure
        except Exception as error:  # noqa: BLE001 - such as no memory: nobody may wait for ever
            self._failure = JournalError(f"cannot write {shown(file)}: {type(error).__name__}: {error}")
            return self._failure
        return None

    def _tell(self, batch: Sequence[_Job], error: JournalError | None) -> None:
        """Have every event loop that waits for something of a batch finish it."""
        waiting: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job in batch:
            waiting.setdefault(job.loop, []).append(job)
        for loop, jobs in waiting.items():
            try:
                loop.call_soon_threadsafe(self._finish, jobs, error)
            except RuntimeError:  # that loop is closed, and with it all that waited
                continue


class _Job:
    """Something that the thread is to do, and who waits for it."""

    size = 0
    """Bytes that it writes."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def number(self, position: int) -> int:
        """Take the next position after this one, where it needs any; the last that is taken."""
        return position

    def perform(self, connection: sqlite3.Connection) -> None:
        """Do it, in a transaction, in the thread."""

    def finish(self, error: JournalError | None) -> None:
        """On the event loop, after the commit or what went wrong with it."""
        if error is not None:
            self.fail(_copy(error))
        elif not self.future.done():
            self.future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Have who waits raise an error; where nobody waits any more, the event loop is told."""
        if not self.future.done():
            self.future.set_exception(error)
        elif not isinstance(error, JournalError | FieldFullError):
            self.loop.call_exception_handler({"message": "nobody waits for an element any more", "exception": error})


class _Append(_Job):
    """An element to be inserted."""

    def __init__(self, element: Element, signature: bytes | None, decided: Callable[[bool], None]) -> None:
        super().__init__()
        self.decided = decided
        if isinstance(element, Signal):
            kind, encoding = EMISSION, encode_signal(element)
        else:
            kind, encoding = STANCE, encode_stance(element)
        self.row: tuple[Any, ...] = (
            kind,
            element.author,
            element.seq,
            element.expires_at_ns,
            encoding,
            signature,
            checksum(encoding, signature),
        )
        self.size = len(encoding)

    def number(self, position: int) -> int:
        self.row = (position + 1, *self.row)
        return position + 1

    def finish(self, error: JournalError | None) -> None:
        self.decided(error is None)
        super().finish(error)


class _Remove(_Job):
    """An element to be taken out again, because the field has no room for it."""

    def __init__(self, refused: _Append, refusal: FieldFullError) -> None:
        super().__init__()
        self._refused = refused
        self._refusal = refusal

    def perform(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM elements WHERE position = ?", self._refused.row[:1])

    def finish(self, error: JournalError | None) -> None:
        self._refused.fail(self._refusal if error is None else _copy(error))


class _Compact(_Job):
    """The next elements to be dropped."""

    dropped = 0

    def __init__(self, before_ns: int) -> None:
        super().__init__()
        self._before_ns = before_ns

    def perform(self, connection: sqlite3.Connection) -> None:
        self.dropped = connection.execute(_DROP, (self._before_ns, _COMPACT_ROWS)).rowcount


def _open(file: Path, field_id: bytes, held: ExitStack) -> tuple[sqlite3.Connection, int]:
    """Become the one writer of a file: a connection, and the last position that was given out."""
    try:
        with closing(connect(file, "write")) as looking:
            check(looking, file)  # before anything is written beside what may be somebody else's
        held.enter_context(closing(hold_lock(file)))
        connection = held.enter_context(closing(connect(file, "write")))
        prepare(connection, file, field_id)
        (position,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
    except ERRORS as error:
        raise in_one_line(error, file, "cannot open") from None
    return connection, position


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, at most 124, by one statement."""
    if rows:
        connection.execute(_INSERT + ", ".join([_ROW] * len(rows)), [value for row in rows for value in row])


def _copy(error: JournalError) -> JournalError:
    """An error for one more who raises it: tracebacks are kept in the error itself."""
    return type(error)(*error.args)
