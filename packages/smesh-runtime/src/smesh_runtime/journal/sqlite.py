"""What a journal asks of SQLite: connections, the lock of its one writer, and errors in one line.

A connection is used by the thread that made it and by no other (Python's module holds to that by itself).

WAL lets others read while one writes, so it cannot be what keeps a second writer out: SQLite's own locks last as long
as a transaction. The one writer therefore holds, for as long as it lives, an exclusive lock on a second, empty
database beside the journal, whose name ends in ``-lock``. The system lets go of it when the process ends, however it
ends. The file stays: if it were removed, somebody could hold a lock on it that nobody else sees.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from smesh_runtime.errors import (
    JournalDamagedError,
    JournalError,
    JournalFormatError,
    JournalFullError,
    JournalInUseError,
)

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["ERRORS", "connect", "file_at", "hold_lock", "in_one_line", "shown"]

ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What Python's module raises; the latter where SQLite's own error quotes what is in a damaged file."""

BUSY_S: Final = 5.0
"""How long a commit waits for another program that holds SQLite's own lock on the file."""


def file_at(path: str | PathLike[str]) -> Path:
    """Where the file of a journal is, or can be made, once all links are followed.

    Raises:
        JournalError: something else is there, there is no such folder, or it may not be looked into.
    """
    try:
        file = Path(path).resolve()
        found = file.stat()
    except FileNotFoundError:
        if not file.parent.is_dir():
            raise JournalError(f"no folder {shown(file.parent)} to keep a journal in") from None
        return file
    except (OSError, ValueError, RuntimeError) as error:  # of the last two: a zero byte; links in a circle
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
        raise JournalError(f"no journal can be at {shown(path)}: {reason}") from None
    if not stat.S_ISREG(found.st_mode):
        what = "is a folder" if stat.S_ISDIR(found.st_mode) else "is not a regular file"
        raise JournalError(f"{shown(file)} {what}; a journal is a file")
    if found.st_size == 1:  # SQLite would take it for an empty one
        raise JournalFormatError(f"{shown(file)} is not a journal: it is one byte; give the journal another name")
    return file


def connect(file: Path, purpose: Literal["read", "write"]) -> sqlite3.Connection:
    """A connection in autocommit mode, to be used by this thread only.

    Args:
        file: as `file_at` gives it.
        purpose: only who writes makes a file that is not there.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    # Who reads may write as well, if only to leave none of SQLite's own files behind.
    mode = "rw" if purpose == "read" else "rwc"
    connection = sqlite3.connect(f"{file.as_uri()}?mode={mode}", uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        if purpose == "read":
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def hold_lock(file: Path) -> sqlite3.Connection:
    """Be the one writer of a journal until the connection that this returns is closed.

    Raises:
        JournalInUseError: another process is, or another `Journal` of this one.
        JournalError: the lock cannot be made.
    """
    beside = file.with_name(file.name + "-lock")
    try:
        lock = sqlite3.connect(f"{beside.as_uri()}?mode=rwc", uri=True, timeout=0.0, isolation_level=None)
    except ERRORS as error:
        raise in_one_line(error, beside, "cannot write") from None
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")  # a lock needs no file of its own to be rolled back
        lock.execute("BEGIN EXCLUSIVE")
    except ERRORS as error:
        lock.close()
        if _code(error) == sqlite3.SQLITE_BUSY:
            raise JournalInUseError(
                f"{shown(file)} is written by another process, or another Journal of this one: close that first"
            ) from None
        raise in_one_line(error, beside, "cannot write") from None
    return lock


def in_one_line(error: Exception, file: Path, what: str) -> JournalError:
    """One of `ERRORS` as one of the journal's, which says what was wrong, where, and what to do."""
    name, code, said = shown(file), _code(error), shown(error)  # what SQLite says can quote what is in a damaged file
    if code == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return JournalFullError(f"{what} {name}: the disk is full; make room, and it goes on")
    if code == sqlite3.SQLITE_CORRUPT or isinstance(error, UnicodeDecodeError):
        return JournalDamagedError(f"{what} {name}: it is damaged ({said}); verify it, and restore a copy")
    if code == sqlite3.SQLITE_NOTADB:
        return JournalFormatError(f"{name} is not a journal: it is no SQLite database; give the journal another name")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return JournalInUseError(f"{what} {name}: another program has locked it for more than {BUSY_S:g} s")
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        return JournalError(f"{what} {name}: {_refusal(file, error)}")
    return JournalError(f"{what} {name}: {said}; look at the disk, and open the journal again")


def shown(what: object) -> str:
    """A path, or what somebody says, on one line, whatever is in it."""
    text = str(what)
    return text if text.isprintable() else ascii(text)


def _code(error: Exception) -> int:
    """SQLite's primary code; 0 for an error of Python's module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _refusal(file: Path, error: Exception) -> str:
    """What of a file keeps SQLite from opening or writing it, as far as can be seen."""
    if not file.exists() and os.access(file.parent, os.W_OK):
        return "there is no such file"
    if not os.access(file.parent, os.W_OK):
        return "its folder is read-only, and SQLite keeps files of its own there; allow writing, or use another folder"
    if not os.access(file, os.R_OK):
        return "it may not be read; allow reading"
    if not os.access(file, os.W_OK):
        return "it is read-only; allow writing"
    return shown(error)
