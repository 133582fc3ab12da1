"""A journal as fields use it: what is acknowledged is committed, and nobody sees what is not."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from smesh_core import (
    DEFAULT_FIELD_ID,
    Attested,
    Field,
    FieldFullError,
    Signal,
    Stance,
    WrongFieldError,
    field_id,
    node_id,
)
from smesh_runtime import (
    JournalClosedError,
    JournalError,
    JournalFormatError,
    JournalInUseError,
    LocalField,
    VirtualClock,
)
from smesh_runtime.journal import Counts, Journal, JournalReader, sqlite, writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smesh_runtime import Element, LocalMedium

NOW_NS = 10**18


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "field.journal"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While another program holds SQLite's lock on the file, commits wait for it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def until_taken(journal: Journal) -> None:
    """The thread has all that was queued in its hands."""
    while journal._queue:  # noqa: ASYNC110 - there is nothing to await: that is what is tested
        await asyncio.sleep(0.001)


async def until_queued(journal: Journal, count: int) -> None:
    while len(journal._queue) < count:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)


def held(path: Path) -> list[Element]:
    return [entry.element for entry in JournalReader(path).elements()]


def field_of(journal: Journal, capacity: int = 1000) -> LocalField:
    return LocalField(Field(capacity=capacity), clock=VirtualClock(NOW_NS), journal=journal)


async def emits(medium: LocalMedium, count: int) -> list[asyncio.Task[Signal]]:
    return [asyncio.create_task(medium.emit(b"%d" % number)) for number in range(count)]


# ---- committed, then seen


async def test_nobody_sees_what_is_not_committed(path: Path) -> None:
    with Journal(path) as journal:
        field = field_of(journal)
        async with field.join("ada") as ada, field.join("bo") as bo:
            told: list[Element] = []
            bo.listen(told.append)
            inbox = bo.subscribe()
            with locked(path):
                speaking = asyncio.create_task(ada.emit(b"wait"))
                await until_queued(journal, 1)
                await until_taken(journal)
                assert (await bo.sense(), await ada.sense(), told, speaking.done()) == ([], [], [], False)
                settling = asyncio.create_task(bo.settled())
                await asyncio.sleep(0)
                assert not settling.done()
            said = await speaking
            assert told == held(path) == [said]
            assert (await bo.sense())[0].emissions == [said]
            assert await anext(inbox) == said
            inbox.close()
            await settling


async def test_what_a_listener_is_told_is_on_the_disk(path: Path) -> None:
    with Journal(path) as journal:
        field = field_of(journal)
        async with field.join("ada") as ada:
            missing: list[Element] = []
            ada.listen(lambda element: missing.append(element) if element not in held(path) else None)
            said = await asyncio.gather(*(ada.emit(b"") for _ in range(20)))
            await ada.reinforce(said[0].statement)
            assert not missing
            assert len(held(path)) == 21


async def test_stances_are_journaled_as_a_plain_field_takes_them(path: Path) -> None:
    plain = LocalField(clock=VirtualClock(NOW_NS))
    with Journal(path) as journal:
        taken = []
        for field in (plain, field_of(journal)):
            async with field.join("ada") as ada, field.join("bo") as bo:
                said = await ada.emit(b"", ttl_ns=7 * 10**9)
                taken.append(
                    [
                        await bo.inhibit(said.statement, confidence=0.25, reason="no"),
                        await bo.reinforce(said.statement, confidence=0.5, reason="but yes"),
                        await bo.withdraw(said.statement, reason="well"),
                    ]
                )
        assert taken[0] == taken[1] == held(path)[1:]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much was committed at once, each time."""
    sizes: list[int] = []
    commit = Journal._commit

    def counted(self: Journal, connection: sqlite3.Connection, file: Path, batch: list) -> JournalError | None:
        sizes.append(len(batch))
        return commit(self, connection, file, batch)

    monkeypatch.setattr(Journal, "_commit", counted)
    return sizes


async def test_a_stance_ends_with_the_last_that_is_known_as_in_a_plain_field(path: Path) -> None:
    with Journal(path) as journal:
        taken = []
        for field in (LocalField(clock=VirtualClock(NOW_NS)), field_of(journal)):
            async with field.join("ada") as ada, field.join("bo") as bo:
                said = await ada.emit(b"", subject=b"leak", ttl_ns=40 * 10**9, intensity=0.02)
                await bo.emit(b"", subject=b"leak", ttl_ns=5 * 10**9)
                earlier = await ada.inhibit(said.statement)
                assert earlier.ttl_ns == 40 * 10**9  # the later end of two
                field.clock.advance(20)  # the first has faded, the second has ended
                await bo.emit(b"", subject=b"leak", ttl_ns=5 * 10**9)
                again, other = await ada.reinforce(said.statement), await bo.reinforce(said.statement)
                assert again.expires_at_ns == earlier.expires_at_ns  # it must outlast what it replaces
                assert other.ttl_ns == 5 * 10**9
                taken.append([earlier, again, other])
        assert taken[0] == taken[1]


async def test_all_that_came_meanwhile_is_one_commit(path: Path, batches: list[int]) -> None:
    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            with locked(path):
                first = await emits(ada, 1)
                await until_queued(journal, 1)
                await until_taken(journal)
                rest = await emits(ada, 300)  # more than one statement takes
                await until_queued(journal, 300)
            said = await asyncio.gather(*first, *rest)
    assert batches == [1, 300]
    assert held(path) == said


async def test_a_batch_is_bounded_in_bytes(path: Path, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_BATCH_BYTES_MAX", 1000)
    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            with locked(path):
                waiting = [asyncio.create_task(ada.emit(bytes(400))) for _ in range(9)]
                await until_queued(journal, 7)
            said = await asyncio.gather(*waiting)
    assert held(path) == said
    assert max(batches) == 2  # which are more than 1,000 bytes


async def test_a_busy_loop_lets_the_thread_in_and_an_idle_one_need_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(writer, "time", SimpleNamespace(sleep=slept.append, thread_time=time.thread_time))
    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            for is_busy in (False, True):
                with locked(path):
                    (speaking,) = await emits(ada, 1)
                    for _ in range(20):
                        await asyncio.sleep(0 if is_busy else 0.003)
                        until_s = time.thread_time() + 0.003 * is_busy
                        while time.thread_time() < until_s:
                            pass
                assert bool(slept) is is_busy
                await speaking
            while journal._unfinished:  # noqa: ASYNC110 - it ends by itself
                await asyncio.sleep(0.001)


def test_each_event_loop_is_watched_once_whatever_others_say(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[object] = []
    monkeypatch.setattr(Journal, "_watch", lambda _, loop, *__: watched.append(loop))
    loops = [asyncio.new_event_loop() for _ in range(2)]
    with Journal(path) as journal:

        async def say(seq: int) -> asyncio.Future[None]:
            return journal.append(Signal(author=node_id("ada"), seq=seq, created_at_ns=NOW_NS))

        with locked(path):
            committing = [loops[seq % 2].run_until_complete(say(seq)) for seq in range(1, 21)]
            for loop in loops:
                loop.run_until_complete(asyncio.sleep(0.01))
        for loop in loops:
            loop.run_until_complete(asyncio.wait([one for one in committing if one.get_loop() is loop]))
            loop.close()
    assert watched == loops


def test_a_loop_that_ended_early_is_not_waited_for_by_later_ones(path: Path) -> None:
    with Journal(path) as journal:

        async def leave() -> None:
            journal.append(Signal(author=node_id("ada"), seq=1, created_at_ns=NOW_NS))

        async def stay() -> None:
            await journal.append(Signal(author=node_id("bo"), seq=1, created_at_ns=NOW_NS))
            async with asyncio.timeout(10):
                while asyncio.get_running_loop() in journal._unfinished:  # noqa: ASYNC110 - it ends by itself
                    await asyncio.sleep(0.001)

        with locked(path):
            asyncio.run(leave())
        asyncio.run(stay())


# ---- when a commit fails


async def test_a_failed_commit_is_told_to_all_that_waited_and_spread_by_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    with Journal(path) as journal:
        field = field_of(journal)
        async with field.join("ada") as ada, field.join("bo") as bo:
            told: list[Element] = []
            bo.listen(told.append)
            with locked(path):
                failed = await asyncio.gather(*await emits(ada, 5), return_exceptions=True)
            assert [type(error) for error in failed] == [JournalInUseError] * 5
            assert len({id(error) for error in failed}) == 5
            assert "another program has locked it" in str(failed[0])
            assert (told, await bo.sense(), held(path)) == ([], [], [])
            await field.settled()
            said = await ada.emit(b"later")
            assert said.seq > 5
            assert told == held(path) == [said]


async def test_after_an_error_of_the_disk_nothing_is_committed_any_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            said = await ada.emit(b"before")
            with monkeypatch.context() as while_broken:
                while_broken.setattr(writer, "_insert", broken)
                failed = [await asyncio.gather(*await emits(ada, 2), return_exceptions=True)]
            failed.append(await asyncio.gather(*await emits(ada, 2), return_exceptions=True))
            line = f"cannot write {path}: disk I/O error; look at the disk, and open the journal again"
            assert [[str(error) for error in errors] for errors in failed] == [[line, line]] * 2
            assert len({id(error) for errors in failed for error in errors}) == 4
            assert held(path) == [said]
    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            await ada.emit(b"after")


async def test_whatever_breaks_in_the_thread_nobody_waits_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(writer, "_insert", broken)
    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            with pytest.raises(JournalError, match=r"cannot write .*: MemoryError: no more"):
                await asyncio.wait_for(ada.emit(b""), 10)


async def test_a_mistake_of_a_listener_is_its_speakers_alone(path: Path) -> None:
    with Journal(path) as journal:
        field = field_of(journal)
        async with field.join("ada") as ada:

            def listen(element: Element) -> None:
                if element.payload == b"1":
                    raise ZeroDivisionError

            ada.listen(listen)
            with locked(path):
                speaking = await emits(ada, 3)
                await until_queued(journal, 1)
            first, second, third = await asyncio.gather(*speaking, return_exceptions=True)
            assert type(second) is ZeroDivisionError
            assert [first.payload, third.payload] == [b"0", b"2"]
            await field.settled()


async def test_what_a_full_field_refuses_is_not_in_the_journal(path: Path) -> None:
    with Journal(path) as journal:
        field = field_of(journal, capacity=1)
        async with field.join("ada") as ada, field.join("bo") as bo:
            told: list[Element] = []
            bo.listen(told.append)
            said = await ada.emit(b"", ttl_ns=100)
            with pytest.raises(FieldFullError, match="no room"):
                await ada.emit(b"", ttl_ns=1)
            assert told == held(path) == [said]
            await field.settled()
            assert (await ada.emit(b"", ttl_ns=200)).seq == 3
    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            assert [signal.seq for reading in await ada.sense() for signal in reading.emissions] == [1, 3]


# ---- when a speaker is cancelled


async def test_a_cancelled_element_is_journaled_and_spread_or_neither(path: Path) -> None:
    with Journal(path) as journal:
        field = field_of(journal)
        async with field.join("ada") as ada:
            told: list[Element] = []
            ada.listen(told.append)
            with locked(path):
                in_hand = asyncio.create_task(ada.emit(b"in hand"))
                await until_queued(journal, 1)
                await until_taken(journal)
                in_queue = asyncio.create_task(ada.emit(b"in the queue"))
                await until_queued(journal, 1)
                for speaking in (in_hand, in_queue):
                    speaking.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await speaking
                assert not told
            await field.settled()
            last = await ada.emit(b"last")
            assert [element.payload for element in told] == [b"in hand", b"last"]
            assert told == held(path)
            assert last.seq == 3


def test_an_element_whose_event_loop_has_ended_is_journaled(path: Path) -> None:
    journal = Journal(path)

    async def speak() -> None:
        speaking = asyncio.create_task(field_of(journal).join("ada").emit(b"last words"))
        await until_queued(journal, 1)
        await until_taken(journal)
        speaking.cancel()

    with locked(path):
        asyncio.run(speak())
    journal.close()
    assert [element.payload for element in held(path)] == [b"last words"]


# ---- closing


async def test_closing_commits_what_waits(path: Path) -> None:
    journal = Journal(path)
    async with field_of(journal).join("ada") as ada:
        speaking = await emits(ada, 50)
        await until_queued(journal, 1)
        journal.close()
        journal.close()
        said = await asyncio.gather(*speaking)
        assert held(path) == said
        with pytest.raises(JournalClosedError, match=r"field\.journal was closed"):
            await ada.emit(b"")
        with pytest.raises(JournalClosedError):
            await journal.compact(0)
        await ada.settled()
    assert [file.name for file in sorted(path.parent.iterdir())] == ["field.journal", "field.journal-lock"]


def test_a_forked_process_has_no_journal(path: Path) -> None:
    script = """
import asyncio, os, sys
from smesh_runtime import JournalError, LocalField
from smesh_runtime.journal import Journal

journal = Journal(sys.argv[1])
ada = LocalField(journal=journal).join("ada")
child = os.fork()
if child == 0:
    try:
        asyncio.run(ada.emit(b"child"))
    except JournalError as error:
        journal.close()
        os.write(1, str(error).encode())
    os._exit(0)
os.waitpid(child, 0)
asyncio.run(ada.emit(b"parent"))
journal.close()
"""
    run = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, str(path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path} was opened by the process that this one was forked from"
    assert [element.payload for element in held(path)] == [b"parent"]


# ---- one field, one process


def test_a_journal_is_of_one_field(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(JournalFormatError, match="is the journal of field"):
            LocalField(Field(field_id("other")), journal=journal)
        LocalField(journal=journal)
        with pytest.raises(JournalInUseError, match="is the journal of another field of this process"):
            LocalField(journal=journal)
    with pytest.raises(JournalFormatError, match="is the journal of field"):
        Journal(path, field_id=field_id("other"))


async def test_a_field_that_is_not_given_takes_the_journals_id(path: Path) -> None:
    with Journal(path, field_id=field_id("garden")) as journal:
        field = LocalField(journal=journal)
        assert field.field.field_id == field_id("garden")
        async with field.join("ada") as ada:
            assert (await ada.emit(b"")).field_id == field_id("garden")
        with pytest.raises(WrongFieldError, match=f"an element of field {DEFAULT_FIELD_ID.hex()[:8]}"):
            journal.append(Signal(author=bytes(32), seq=1, created_at_ns=0))


async def test_attested_elements_keep_their_signatures(path: Path) -> None:
    signal = Signal(author=node_id("ada"), seq=1, created_at_ns=0)
    with Journal(path) as journal:
        await journal.append(Attested(signal, bytes(range(64))))
        await journal.append(signal)
        assert [(entry.element, entry.signature) for entry in journal.elements()] == [
            (signal, bytes(range(64))),
            (signal, None),
        ]
        assert journal.verify() == []


# ---- history


async def test_history_is_in_order_and_has_what_ended(path: Path) -> None:
    with Journal(path) as journal:
        field = field_of(journal)
        async with field.join("ada") as ada, field.join("bo") as bo:
            said = [await ada.emit(b"%d" % number, ttl_ns=10**9) for number in range(5)]
            stance = await bo.inhibit(said[0].statement)
            field.clock.advance(60)
            said.append(await ada.emit(b"late"))
            entries = list(journal.elements())
            assert [entry.element for entry in entries] == [*said[:5], stance, said[5]]
            assert isinstance(entries[5].element, Stance)
            positions = [entry.position for entry in entries]
            assert positions == sorted(set(positions))
            assert list(journal.elements(after=positions[4])) == entries[5:]
            assert journal.counts() == Counts(emissions=6, stances=1, authors=2)
            assert journal.last_seqs() == {ada.identity: 6, bo.identity: 1}


async def test_history_can_be_followed_while_it_is_written(path: Path) -> None:
    with Journal(path) as journal:
        async with field_of(journal, capacity=2000).join("ada") as ada:
            await asyncio.gather(*await emits(ada, 1500))
            history = journal.elements()
            first = next(history)
            late = await ada.emit(b"late")  # nobody waits for a slow reader
            rest = list(history)
            assert len(rest) == 1500
            assert (first.position, rest[-1].element) == (1, late)


async def test_compaction_drops_what_ended_and_keeps_numbers(path: Path) -> None:
    with Journal(path) as journal:
        field = field_of(journal, capacity=10_000)
        async with field.join("ada") as ada, field.join("bo") as bo:
            await asyncio.gather(*(ada.emit(bytes(200), ttl_ns=10**9) for _ in range(2500)))
            kept = await ada.emit(b"kept", ttl_ns=60 * 10**9)
            gone = await bo.emit(b"gone", ttl_ns=10**9)
            last = list(journal.elements())[-1].position
            assert await journal.compact(NOW_NS + 10**9 - 1) == 0
            field.clock.advance(1)
            assert await journal.compact(field.clock.now_ns()) == 2501
            assert held(path) == [kept]
            assert journal.last_seqs() == {ada.identity: 2501, bo.identity: gone.seq}
            assert journal.verify() == []
    assert len(path.read_bytes()) < 100_000  # noqa: ASYNC240
    with Journal(path) as journal:
        field = LocalField(clock=field.clock, journal=journal)
        async with field.join("bo") as bo:
            assert (await bo.emit(b"")).seq == gone.seq + 1
        assert list(journal.elements())[-1].position > last


@pytest.mark.parametrize("before_ns", [-(10**30), 10**30])
async def test_any_time_can_be_compacted_before(path: Path, before_ns: int) -> None:
    with Journal(path) as journal:
        async with field_of(journal).join("ada") as ada:
            await ada.emit(b"")
            assert await journal.compact(before_ns) == (before_ns > 0)
