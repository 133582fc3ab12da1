"""What is in the file of a journal, and which versions of it there are.

| table | a row |
|---|---|
| `journal` | the one field whose elements these are |
| `elements` | an element, in its canonical encoding, in the order of `position`; positions are never given out twice |
| `authors` | the highest sequence number ever used by an author, also when none of its elements is left |

Of an element the columns before `encoding` repeat what is in it, so that SQLite can look for it. `signature` is there
where it came attested, and `crc32` is of encoding and signature: SQLite keeps no checksums, and a disk could alter most
of a payload without anybody's noticing. A trigger keeps `authors`, so that a batch of elements is one statement and
needs no other in its transaction (why that matters is in `writer`).

`PRAGMA application_id` says that a file is a journal, `PRAGMA user_version` of which schema. Migrations take a file
from each version to the next, in one transaction; the first of them makes the tables in an empty file. A file in which
there is nothing at all is taken for one whose making was cut short.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from smesh_core.limits import ID_BYTES

from smesh_runtime.errors import JournalDamagedError, JournalError, JournalFormatError
from smesh_runtime.journal.sqlite import shown

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["APPLICATION_ID", "JOURNAL_SCHEMA", "MIGRATIONS", "Migration", "check", "field_of", "prepare"]

APPLICATION_ID: Final = int.from_bytes(b"SMSH")
JOURNAL_SCHEMA: Final = 1
"""What is written. Each earlier version is brought to it by `MIGRATIONS` when it is opened for writing."""

Migration = Callable[[sqlite3.Connection], None]

_FIRST: Final = (
    "CREATE TABLE journal (field_id BLOB NOT NULL)",
    """
    CREATE TABLE elements (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
        author BLOB NOT NULL,
        seq INTEGER NOT NULL,
        expires_at_ns INTEGER NOT NULL,
        encoding BLOB NOT NULL,
        signature BLOB,
        crc32 INTEGER NOT NULL
    )
    """,
    "CREATE INDEX elements_by_end ON elements (expires_at_ns)",
    "CREATE TABLE authors (author BLOB PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID",
    """
    CREATE TRIGGER elements_number_authors AFTER INSERT ON elements BEGIN
        INSERT INTO authors VALUES (new.author, new.seq)
        ON CONFLICT (author) DO UPDATE SET last_seq = max(last_seq, excluded.last_seq);
    END
    """,
)


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in _FIRST:
        connection.execute(statement)


MIGRATIONS: Final[tuple[Migration, ...]] = (_make_tables,)
"""The one at n makes a file of schema n, in which nothing is for n = 0, one of schema n + 1."""

if len(MIGRATIONS) != JOURNAL_SCHEMA:
    raise AssertionError("there is a migration to every schema")


def check(connection: sqlite3.Connection, file: Path) -> int:
    """The schema of a file, 0 where nothing is in it yet; nothing is changed.

    Raises:
        JournalFormatError: it is a database of something else, or of a later schema.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == version == tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise JournalFormatError(
            f"{shown(file)} is a database of something else (application id {application}); "
            "give the journal another name"
        )
    if version > JOURNAL_SCHEMA:
        raise JournalFormatError(
            f"{shown(file)} has journal schema {version}, and this smesh-runtime knows up to {JOURNAL_SCHEMA}; "
            "update smesh-runtime"
        )
    return int(version)


def prepare(connection: sqlite3.Connection, file: Path, field_id: bytes) -> None:
    """Make a file ready for the one writer: durable, of the present schema, of this field.

    Raises:
        JournalFormatError: it is something else's, of a later schema, or of another field.
        JournalDamagedError: it does not say of which field it is.
        JournalError: where it is kept, SQLite has no WAL.
        sqlite3.Error: it cannot be read or written.
    """
    if check(connection, file) == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only possible as long as nothing is there
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(f"{shown(file)} is on a file system without shared memory; keep it on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # on macOS only this reaches the disk
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check(connection, file)
        for migrate in MIGRATIONS[version:]:
            migrate(connection)
        if version == 0:
            connection.execute("INSERT INTO journal VALUES (?)", (field_id,))
        if version < JOURNAL_SCHEMA:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {JOURNAL_SCHEMA}")
        held = field_of(connection, file)
        if held != field_id:
            raise JournalFormatError(
                f"{shown(file)} is the journal of field {held.hex()[:8]}, not of {field_id.hex()[:8]}"
            )
        connection.execute("DELETE FROM journal WHERE 0")  # fails where the file cannot be written; BEGIN does not
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def field_of(connection: sqlite3.Connection, file: Path) -> bytes:
    """The id (32 bytes) of the field whose journal this is.

    Raises:
        JournalDamagedError: the file does not say it.
    """
    rows = connection.execute("SELECT field_id FROM journal").fetchall()
    if len(rows) != 1 or type(rows[0][0]) is not bytes or len(rows[0][0]) != ID_BYTES:
        raise JournalDamagedError(f"{shown(file)} is damaged: it names no field; restore a copy")
    held: bytes = rows[0][0]
    return held
