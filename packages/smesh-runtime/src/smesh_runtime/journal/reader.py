"""Reading a journal: what was said, in the order in which it was committed, what has ended included.

Every call opens a connection of its own, for reading only, and closes it when it is done: so a reader can be used by
any thread, beside the one writer, and holds nothing. Nothing in the file is believed: each row is decoded, and what its
columns say is compared with what the encoding says.
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
from smesh_core import DecodeError, Signal, Stance, decode_signal, decode_stance
from smesh_core.identity import SIGNATURE_BYTES

from smesh_runtime.errors import JournalDamagedError, JournalFormatError
from smesh_runtime.journal.schema import JOURNAL_SCHEMA, check, field_of
from smesh_runtime.journal.sqlite import ERRORS, connect, file_at, in_one_line, shown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from os import PathLike

    from smesh_runtime.medium import Element

__all__ = ["EMISSION", "STANCE", "Counts", "Entry", "JournalReader", "checksum"]

EMISSION, STANCE = 1, 2
"""Kinds of element, as attestations number them."""

_COLUMNS: Final = "position, kind, author, seq, expires_at_ns, encoding, signature, crc32"
_PAGE: Final = f"SELECT {_COLUMNS} FROM elements WHERE position > ? ORDER BY position LIMIT 1000"  # noqa: S608
_LIVING: Final = f"SELECT {_COLUMNS} FROM elements WHERE expires_at_ns > ? ORDER BY position"  # noqa: S608
_OUT_OF_STEP: Final = """
    SELECT DISTINCT elements.author FROM elements LEFT JOIN authors USING (author)
    WHERE authors.last_seq IS NULL OR authors.last_seq < elements.seq
"""
_FAULTS_MAX: Final = 100


class Entry(msgspec.Struct, frozen=True):
    """An element as a journal holds it.

    Attributes:
        position: its place in the order of commitment, from 1; never given out twice.
        element: the emission or stance.
        signature: 64 bytes where it came attested, else None; nobody has verified it.
    """

    position: int
    element: Signal | Stance
    signature: bytes | None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much a journal holds, what has ended included.

    Attributes:
        emissions: emissions held.
        stances: stances held.
        authors: authors whose last sequence number is known, also those of whom nothing is held any more.
    """

    emissions: int
    stances: int
    authors: int


class JournalReader:
    """A journal, to be read; safe in any thread, and while another process writes it.

    Args:
        path: its file. Beside it SQLite keeps two more while the journal is in use, so the folder must be writable,
            unless a writer is at work.

    Attributes:
        path: the file, with all links followed.
        field_id: the field whose elements these are, 32 bytes.

    Raises:
        JournalFormatError: it is no journal, an empty one, or one of another schema.
        JournalError: there is none, or it cannot be read.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = file_at(path)
        with self._reading() as connection:
            version = check(connection, self.path)
            if version == 0:
                raise JournalFormatError(f"{shown(self.path)} is empty: no journal was made in it yet")
            if version < JOURNAL_SCHEMA:
                raise JournalFormatError(
                    f"{shown(self.path)} has journal schema {version}; open it for writing once to bring it to "
                    f"{JOURNAL_SCHEMA}"
                )
            self.field_id = field_of(connection, self.path)

    def elements(self, *, after: int = 0) -> Iterator[Entry]:
        """All that the journal holds, oldest first.

        What is committed while this goes on comes as well; a reader that is slow keeps nobody from writing.

        Args:
            after: only what comes after this position.

        Raises:
            JournalDamagedError: a row is not what was written; what comes before it has been given out.
            JournalError: it cannot be read.
        """
        with self._reading() as connection:
            while rows := connection.execute(_PAGE, (after,)).fetchall():
                for row in rows:
                    yield self._entry(row)
                after = rows[-1][0]

    def living(self, now_ns: int) -> Iterator[Entry]:
        """What has not come to its end by a time, oldest first; raises what `elements` does."""
        with self._reading() as connection:
            for row in connection.execute(_LIVING, (now_ns,)):
                yield self._entry(row)

    def last_seqs(self) -> dict[bytes, int]:
        """The highest sequence number that each author ever used here; raises what `elements` does."""
        with self._reading() as connection:
            rows = connection.execute("SELECT author, last_seq FROM authors ORDER BY author").fetchall()
        if not all(type(author) is bytes and type(seq) is int for author, seq in rows):
            raise JournalDamagedError(f"{shown(self.path)} is damaged: an author has no last number; restore a copy")
        return dict(rows)

    def counts(self) -> Counts:
        """How much it holds; raises what `elements` does."""
        with self._reading() as connection:
            kinds = dict(connection.execute("SELECT kind, count(*) FROM elements GROUP BY kind").fetchall())
            (authors,) = connection.execute("SELECT count(*) FROM authors").fetchone()
            return Counts(emissions=kinds.get(EMISSION, 0), stances=kinds.get(STANCE, 0), authors=authors)

    def verify(self) -> list[str]:
        """What is wrong with the file, a line each and no more than 100; empty where all is as it was written.

        SQLite checks its pages and indexes; then every row is decoded and compared with its checksum and its columns,
        and every author's last sequence number with its elements. Signatures are not verified: for that one must know
        which mesh it is.

        Raises:
            JournalError: it cannot be read at all.
        """
        faults: list[str] = []
        with self._reading() as connection:
            try:
                checked = connection.execute(f"PRAGMA integrity_check({_FAULTS_MAX})").fetchall()
                faults += [shown(line) for (line,) in checked if line != "ok"]
                for row in connection.execute(f"SELECT {_COLUMNS} FROM elements ORDER BY position"):  # noqa: S608
                    try:
                        self._entry(row)
                    except JournalDamagedError as error:
                        faults.append(str(error))
                for (author,) in connection.execute(_OUT_OF_STEP):
                    name = author.hex()[:8] if type(author) is bytes else repr(author)[:40]
                    faults.append(f"{shown(self.path)}: author {name} has an element above its last sequence number")
            except ERRORS as error:
                faults.append(str(in_one_line(error, self.path, "cannot verify")))
        return faults[:_FAULTS_MAX]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            connection = connect(self.path, "read")
            yield connection
        except ERRORS as error:
            raise in_one_line(error, self.path, "cannot read") from None
        finally:
            if connection is not None:
                connection.close()

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        """What is in a row.

        Raises:
            JournalDamagedError: it is not what was written.
        """
        position, kind, author, seq, expires_at_ns, encoding, signature, crc32 = row
        at = f"{shown(self.path)} is damaged: element {position}"
        if type(encoding) is not bytes or kind not in {EMISSION, STANCE}:
            raise JournalDamagedError(f"{at} is neither an emission nor a stance; restore a copy")
        if not (signature is None or (type(signature) is bytes and len(signature) == SIGNATURE_BYTES)):
            raise JournalDamagedError(f"{at} has a signature that is none; restore a copy")
        if crc32 != checksum(encoding, signature):
            raise JournalDamagedError(f"{at} has another checksum than was written; restore a copy")
        try:
            element: Element = decode_signal(encoding) if kind == EMISSION else decode_stance(encoding)
        except DecodeError as error:
            raise JournalDamagedError(f"{at} is {error}; restore a copy") from None
        said = (element.author, element.seq, element.expires_at_ns, element.field_id)
        if said != (author, seq, expires_at_ns, self.field_id):
            raise JournalDamagedError(f"{at} is not what its row says, or of another field; restore a copy")
        return Entry(position, element, signature)


def checksum(encoding: bytes, signature: bytes | None) -> int:
    """What shows that an element is not what was written, where that was not intended."""
    return zlib.crc32(signature or b"", zlib.crc32(encoding))
