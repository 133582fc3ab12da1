"""The file of a journal: what it is, what is refused in its place, and what damage and full disks do."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smesh_core import DEFAULT_FIELD_ID, Signal, Stance, StanceKind, field_id, node_id
from smesh_runtime import (
    JournalDamagedError,
    JournalError,
    JournalFormatError,
    JournalFullError,
    JournalInUseError,
    LocalField,
    VirtualClock,
)
from smesh_runtime.journal import JOURNAL_SCHEMA, Journal, JournalReader, schema, sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW_NS = 10**18
GOLDEN = Path(__file__).parent / "vectors" / "journal_1.sql"
ADA, BO = node_id("ada"), node_id("bo")
SAID = Signal(author=ADA, seq=1, created_at_ns=NOW_NS, payload=b"said", subject=b"leak")
ELEMENTS = [
    SAID,
    Signal(author=ADA, seq=2, created_at_ns=NOW_NS, payload=b"own", ttl_ns=1),
    Stance(statement=SAID.statement, author=BO, seq=1, kind=StanceKind.OPPOSE, created_at_ns=NOW_NS, reason="dry"),
]

settings.register_profile(
    "journal", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "field.journal"


async def fill(journal: Journal, count: int = 0) -> None:
    for element in ELEMENTS:
        await journal.append(element)
    more = [Signal(author=BO, seq=seq, created_at_ns=NOW_NS, payload=bytes(300)) for seq in range(2, 2 + count)]
    await asyncio.gather(*(journal.append(signal) for signal in more))


def write(path: Path, count: int = 0) -> Path:
    """A journal of some elements."""
    with Journal(path) as journal:
        asyncio.run(fill(journal, count))
    return path


def refused(error: type[JournalError], opening: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The one line that it ends in."""
    with pytest.raises(JournalError) as caught:
        opening(*arguments, **named)
    message = str(caught.value)
    assert type(caught.value) is error
    assert message.isprintable()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as anybody can get at it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


# ---- what it is


def test_a_new_journal_is_durable_and_says_what_it_is(path: Path) -> None:
    with Journal(path), database(path) as connection:
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode", "auto_vacuum")
        }
    assert found == {"application_id": 0x534D5348, "user_version": 1, "journal_mode": "wal", "auto_vacuum": 2}
    with closing(sqlite.connect(path, "write")) as connection:
        schema.prepare(connection, path, DEFAULT_FIELD_ID)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)


def test_a_closed_journal_is_one_file_and_an_empty_lock(path: Path) -> None:
    write(path)
    assert list(JournalReader(path).elements())
    beside = {file.name: file.stat().st_size for file in path.parent.iterdir()}
    assert beside.keys() == {"field.journal", "field.journal-lock"}
    assert beside["field.journal-lock"] == 0


def test_a_file_with_nothing_in_it_becomes_a_journal(path: Path) -> None:
    path.touch()
    assert "no journal was made in it yet" in refused(JournalFormatError, JournalReader, path)
    write(path)
    assert [entry.element for entry in JournalReader(path).elements()] == ELEMENTS


@pytest.mark.parametrize("name", ["a?b#c%20d.journal", "später im Jahr", ":memory:", "n" * 200, "file:x?mode=ro"])
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert (tmp_path / name).stat().st_size > 0
    assert JournalReader(str(tmp_path / name)).counts().emissions == 2


def test_a_link_leads_to_the_one_journal(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with Journal(link) as journal:
        assert journal.path == path
        refused(JournalInUseError, Journal, path)


# ---- what is refused


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "circle").symlink_to("circle")
    for opening in (Journal, JournalReader):
        assert "is a folder; a journal is a file" in refused(JournalError, opening, tmp_path)
        assert "is not a regular file" in refused(JournalError, opening, tmp_path / "fifo")
        assert "is not a regular file" in refused(JournalError, opening, "/dev/null")
        assert "no folder" in refused(JournalError, opening, tmp_path / "no" / "journal")
        assert "null byte" in refused(JournalError, opening, "zero\0byte")
        refused(JournalError, opening, tmp_path / "circle")
        refused(JournalError, opening, tmp_path / ("n" * 300))
        refused(JournalError, opening, tmp_path / "fifo" / "journal")
        assert "\\n" in refused(JournalError, opening, tmp_path / "two\nlines" / "journal")
    assert "there is no such file" in refused(JournalError, JournalReader, tmp_path / "journal")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["circle", "fifo"]


@pytest.mark.parametrize("content", [b"x", b"xy", b"SQLite format 3\0", b"not a database" * 100, bytes(5000)])
def test_what_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for opening in (Journal, JournalReader):
        assert "is not a journal" in refused(JournalFormatError, opening, path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "setting", ["PRAGMA user_version = 1", "PRAGMA application_id = 7", "CREATE TABLE notes (text)"]
)
def test_a_database_of_something_else_is_refused_and_left_alone(path: Path, setting: str) -> None:
    with database(path) as connection:
        connection.execute(setting)
    content = path.read_bytes()
    for opening in (Journal, JournalReader):
        assert "is a database of something else" in refused(JournalFormatError, opening, path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_later_schema_is_refused_and_left_alone(path: Path) -> None:
    write(path)
    with database(path) as connection:
        connection.execute(f"PRAGMA user_version = {JOURNAL_SCHEMA + 1}")
    content = path.read_bytes()
    for opening in (Journal, JournalReader):
        message = refused(JournalFormatError, opening, path)
        assert f"has journal schema {JOURNAL_SCHEMA + 1}" in message
        assert "update smesh-runtime" in message
    assert path.read_bytes() == content


def test_another_fields_journal_is_refused(path: Path) -> None:
    write(path)
    message = refused(JournalFormatError, Journal, path, field_id=field_id("other"))
    assert f"of field {DEFAULT_FIELD_ID.hex()[:8]}, not of {field_id('other').hex()[:8]}" in message


HOLD = """
import sys
from smesh_runtime.journal import Journal
with Journal(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_there_is_one_writer_and_any_number_of_readers(path: Path) -> None:
    write(path)
    run = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        assert "is written by another process" in refused(JournalInUseError, Journal, path)
        readers = [JournalReader(path), JournalReader(path)]
        assert [reader.counts().stances for reader in readers] == [1, 1]
        assert readers[0].verify() == []
        other.kill()
    with Journal(path) as journal:  # the dead hold no lock
        refused(JournalInUseError, Journal, path)
        asyncio.run(fill(journal))
        assert len(list(readers[0].elements())) == 6


def test_a_lock_that_is_no_lock_is_refused(path: Path) -> None:
    path.with_name(path.name + "-lock").write_text("mine" * 1000)
    assert "field.journal-lock is not a journal" in refused(JournalFormatError, Journal, path)


# Root may write anywhere; without its capabilities it is a user like others.
WITHOUT_RIGHTS = """
import ctypes, os, sys
from smesh_runtime import JournalError
from smesh_runtime.journal import Journal, JournalReader

if os.geteuid() == 0:
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0
try:
    (Journal if sys.argv[1] == "write" else JournalReader)(sys.argv[2])
except JournalError as error:
    print(type(error).__name__, error)
"""


def without_rights(how: str, path: Path) -> str:
    run = [sys.executable, "-c", WITHOUT_RIGHTS, how, str(path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="takes rights away as Linux does")
def test_what_may_not_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = write(folder / "field.journal")
    path.chmod(0o400)
    assert "field.journal: it is read-only; allow writing" in without_rights("write", path)
    assert without_rights("read", path) == ""
    path.chmod(0o000)
    assert "field.journal: it may not be read; allow reading" in without_rights("write", path)
    assert "it may not be read; allow reading" in without_rights("read", path)
    path.chmod(0o600)
    folder.chmod(0o500)
    assert "its folder is read-only" in without_rights("write", path)
    assert "its folder is read-only" in without_rights("write", folder / "new.journal")
    folder.chmod(0o000)
    assert "Permission denied" in without_rights("read", path)
    folder.chmod(0o700)
    assert [entry.element for entry in JournalReader(path).elements()] == ELEMENTS


# ---- schemas


def of_golden_file(path: Path) -> Path:
    with database(path) as connection:
        connection.executescript(GOLDEN.read_text(encoding="utf-8"))
    return path


def test_a_journal_of_schema_1_is_read_for_ever(path: Path) -> None:
    of_golden_file(path)
    with Journal(path) as journal:
        assert [entry.element for entry in journal.elements()] == ELEMENTS
        assert journal.last_seqs() == {ADA: 2, BO: 1}
        assert journal.verify() == []
        asyncio.run(fill(journal))
        assert [entry.position for entry in journal.elements()] == [1, 2, 3, 4, 5, 6]


def test_an_earlier_schema_is_brought_to_this_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_golden_file(path)

    def migrate(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE elements ADD COLUMN heard_at_ns INTEGER")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, migrate))
    monkeypatch.setattr(schema, "JOURNAL_SCHEMA", 2)
    monkeypatch.setattr("smesh_runtime.journal.reader.JOURNAL_SCHEMA", 2)
    assert "open it for writing once to bring it to 2" in refused(JournalFormatError, JournalReader, path)
    for _ in range(2):  # the second time there is nothing left to do
        with Journal(path) as journal:
            assert [entry.element for entry in journal.elements()] == ELEMENTS
    with database(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT heard_at_ns FROM elements").fetchall() == [(None,)] * 3


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_golden_file(path)

    def migrate(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE authors")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with monkeypatch.context() as later:
        later.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, migrate))
        later.setattr(schema, "JOURNAL_SCHEMA", 2)
        assert "no such table: nowhere" in refused(JournalError, Journal, path)
    with Journal(path) as journal:
        assert journal.last_seqs() == {ADA: 2, BO: 1}


# ---- damage


def use(path: Path) -> list[str]:
    """What a user meets: the errors of opening, restoring, reading and verifying."""
    met: list[str] = []
    ways: list[Callable[[Any], object]] = [
        lambda journal: LocalField(clock=VirtualClock(NOW_NS), journal=journal),
        lambda journal: met.extend(journal.verify()),
        lambda journal: list(journal.elements()),
        JournalReader.counts,
        JournalReader.last_seqs,
    ]
    for way in ways:
        try:
            with Journal(path) as journal:
                way(journal)
        except JournalError as error:
            met.append(str(error))
    assert all(line.isprintable() for line in met)
    return met


def test_a_damaged_page_is_named_wherever_it_is(path: Path) -> None:
    write(path, 60)
    whole = path.read_bytes()
    assert use(path) == []
    pages = len(whole) // 4096
    assert pages > 8
    for page in range(pages):
        if page == 1:
            continue  # It says where pages went when others were given back, and is needed only then.
        path.write_bytes(whole[: 4096 * page] + b"\xee" * 4096 + whole[4096 * (page + 1) :])
        assert use(path), f"page {page + 1} is damaged, and nobody says so"


def test_a_file_that_was_cut_is_named(path: Path) -> None:
    write(path, 60)
    whole = path.read_bytes()
    for size in (100, 4096, 8192, len(whole) - 4096, len(whole) - 400):
        path.write_bytes(whole[:size])
        assert use(path), f"cut to {size} bytes, and nobody says so"


@settings(settings.get_profile("journal"), max_examples=100)
@given(at=st.integers(1, 10**6), by=st.one_of(st.binary(min_size=1, max_size=40), st.none()))
def test_whatever_bytes_are_changed_it_is_said_or_does_no_harm(
    tmp_path_factory: Any, at: int, by: bytes | None
) -> None:
    path = write(tmp_path_factory.mktemp("bytes") / "field.journal", 20)
    whole, elements = path.read_bytes(), [entry.element for entry in JournalReader(path).elements()]
    at = 1 + at % (len(whole) - 1)  # with nothing left it would be a new journal
    path.write_bytes(whole[:at] if by is None else whole[:at] + by + whole[at + len(by) :])
    assert use(path) or [entry.element for entry in JournalReader(path).elements()] == elements


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE elements SET encoding = x'00', crc32 = 3523407757 WHERE position = 1", "element 1 is not an emission"),
        ("UPDATE elements SET encoding = 'text' WHERE position = 1", "element 1 is neither an emission nor a stance"),
        ("UPDATE elements SET kind = 2 WHERE position = 1", "element 1 is not a stance"),
        ("UPDATE elements SET author = zeroblob(32) WHERE position = 1", "element 1 is not what its row says"),
        ("UPDATE elements SET seq = 7 WHERE position = 1", "element 1 is not what its row says"),
        ("UPDATE elements SET expires_at_ns = 7 WHERE position = 3", "element 3 is not what its row says"),
        ("UPDATE elements SET signature = 'x' WHERE position = 3", "element 3 has a signature that is none"),
        ("UPDATE elements SET signature = zeroblob(64) WHERE position = 3", "element 3 has another checksum"),
        ("DELETE FROM authors", "has an element above its last sequence number"),
        ("UPDATE authors SET last_seq = 0", "has an element above its last sequence number"),
        ("UPDATE authors SET last_seq = 'x'", "an author has no last number"),
        ("DELETE FROM journal", "it names no field"),
        ("UPDATE journal SET field_id = 7", "it names no field"),
        ("DROP TABLE elements", "no such table"),
    ],
)
def test_every_row_is_checked(path: Path, change: str, said: str) -> None:
    write(path)
    with database(path) as connection:
        connection.execute(change)
    met = use(path)
    assert any(said in line for line in met), met


async def test_what_comes_before_damage_can_be_read(path: Path) -> None:
    with Journal(path) as journal:
        await fill(journal)
        with database(path) as connection:
            connection.execute("UPDATE elements SET encoding = x'00' WHERE position = 2")
        history = journal.elements()
        assert next(history).element == SAID
        with pytest.raises(JournalDamagedError, match="element 2"):
            next(history)
        with pytest.raises(JournalDamagedError, match="element 2"):
            LocalField(clock=VirtualClock(NOW_NS), journal=journal)
        assert len(journal.verify()) == 1


# ---- disks that end


@contextmanager
def tiny_disk(folder: Path) -> Iterator[bool]:
    """A disk of 256 KiB; whether it could be made."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    is_there = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, timeout=60).returncode == 0
    try:
        yield is_there
    finally:
        if is_there:
            subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True, timeout=60)


async def emit_until_it_fails(field: LocalField) -> tuple[list[Signal], list[BaseException]]:
    async with field.join("ada") as ada:
        said: list[Signal] = []
        while True:
            answers = await asyncio.gather(*(ada.emit(bytes(1000)) for _ in range(10)), return_exceptions=True)
            said += [answer for answer in answers if isinstance(answer, Signal)]
            failed = [answer for answer in answers if isinstance(answer, BaseException)]
            if failed:
                sensed = [signal for reading in await ada.sense() for signal in reading.emissions]
                assert sorted(sensed, key=lambda signal: signal.seq) == said
                return said, failed


def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    ballast, path = tmp_path / "ballast", tmp_path / "field.journal"
    with tiny_disk(tmp_path) as is_there:
        if not is_there:
            pytest.skip("only root can mount a disk; see the next test")
        ballast.write_bytes(bytes(64 * 1024))
        clock = VirtualClock(NOW_NS)

        async def run() -> list[Signal]:
            with Journal(path) as journal:
                field = LocalField(clock=clock, journal=journal)
                said, failed = await emit_until_it_fails(field)
                assert {type(error) for error in failed} == {JournalFullError}
                assert "the disk is full; make room, and it goes on" in str(failed[0])
                assert [entry.element for entry in journal.elements()] == said
                ballast.unlink()
                async with field.join("bo") as bo:
                    said.append(await bo.emit(b"room"))
                assert journal.verify() == []
                return said

        said = asyncio.run(run())
        assert len(said) > 10
        with Journal(path) as journal:
            assert [entry.element for entry in journal.elements()] == said
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(257 * 1024))
        assert "the disk is full" in refused(JournalFullError, Journal, path)


LIMITED = """
import asyncio, resource, sys
from smesh_runtime import JournalError, LocalField
from smesh_runtime.journal import Journal

async def main():
    with Journal(sys.argv[1]) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        field = LocalField(journal=journal)
        async with field.join("ada") as ada:
            failed = []
            while not failed:
                answers = await asyncio.gather(*(ada.emit(bytes(1000)) for _ in range(10)), return_exceptions=True)
                failed = [answer for answer in answers if isinstance(answer, JournalError)]
                for answer in answers:
                    if answer not in failed:
                        print(answer.id.hex())
            sensed = {signal.id for reading in await ada.sense() for signal in reading.emissions}
            print(len(failed), type(failed[0]).__name__, len(sensed))
            try:
                await ada.emit(b"")
            except JournalError as error:
                print(error)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_after_an_error_of_the_disk_nothing_is_written_until_it_is_opened_again(path: Path) -> None:
    run = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    *acknowledged, failed, last = done.stdout.splitlines()
    assert failed == f"10 JournalError {len(acknowledged)}"
    assert last == f"cannot write {path}: disk I/O error; look at the disk, and open the journal again"
    with Journal(path) as journal:
        held = [entry.element.id.hex() for entry in journal.elements()]
        assert held[: len(acknowledged)] == acknowledged
        assert journal.verify() == []
