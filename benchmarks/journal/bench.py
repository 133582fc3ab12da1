"""How many emits a second a journaled field acknowledges, beside bare commits of SQLite on the same disk.

The baseline does in one thread what the disk makes one wait for: a table of nothing but a number and the bytes, WAL,
synchronous FULL, as many rows a commit as there are emitters. It has no event loop, no second thread, no index, makes
no element, and tells nobody. Rows of one size take turns; the best round of each is shown. Times are of one emit, from
the call to the acknowledgement, over all rounds.

`beside work` is the same while the event loop computes for 4 ms at a time, as one does whose agents think in Python.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from typing import TYPE_CHECKING

import machine
from smesh_core import Signal, encode_signal, node_id
from smesh_runtime import LocalField
from smesh_runtime.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOAD = bytes(250)
ENCODED = encode_signal(Signal(author=node_id("ada"), seq=1, created_at_ns=0, payload=PAYLOAD))
WORK_MS = 4


class Round:
    """Emits a second, and what each emit took in milliseconds."""

    def __init__(self, emits: int, took_s: float, each_ms: list[float]) -> None:
        self.emits_per_s = emits / took_s
        self.each_ms = each_ms


def bare(path: Path, rows: int, commits: int) -> Round:
    """Commits of so many rows, one statement each."""
    each_ms: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS plain (number INTEGER PRIMARY KEY, bytes BLOB)")
        insert = "INSERT INTO plain (bytes) VALUES " + ", ".join(["(?)"] * rows)  # noqa: S608
        begun = time.perf_counter()
        for _ in range(commits):
            started = time.perf_counter()
            connection.execute(insert, [ENCODED] * rows)
            each_ms.append(1e3 * (time.perf_counter() - started))
        return Round(rows * commits, time.perf_counter() - begun, each_ms)


async def acknowledged(path: Path | None, emitters: int, emits: int, *, works: bool = False) -> Round:
    """So many emitters, each of which emits again as soon as its last emit was acknowledged."""
    each_ms: list[float] = []
    journal = Journal(path) if path is not None else None
    field = LocalField(journal=journal)

    async def speak(name: str) -> None:
        async with field.join(name) as medium:
            for _ in range(emits):
                started = time.perf_counter()
                await medium.emit(PAYLOAD, ttl_ns=10**9)
                each_ms.append(1e3 * (time.perf_counter() - started))

    async def work() -> None:
        while True:
            until = time.perf_counter() + WORK_MS / 1e3
            while time.perf_counter() < until:
                sum(range(100))
            await asyncio.sleep(0)

    working = asyncio.create_task(work()) if works else None
    begun = time.perf_counter()
    await asyncio.gather(*(speak(f"agent {number}") for number in range(emitters)))
    took_s = time.perf_counter() - begun
    if working is not None:
        working.cancel()
    if journal is not None:
        journal.close()
    return Round(emitters * emits, took_s, each_ms)


def measure(emitters: int, emits: int, rounds: int, folder: Path) -> None:
    journal, plain = folder / f"{emitters}.journal", folder / f"{emitters}.sqlite"
    fewer = max(1, emits // 10)
    works: dict[str, Callable[[], Round]] = {
        f"bare, {emitters} a commit": lambda: bare(plain, emitters, emits),
        "journaled field": lambda: asyncio.run(acknowledged(journal, emitters, emits)),
        "journaled field, beside work": lambda: asyncio.run(acknowledged(journal, emitters, fewer, works=True)),
        "field without a journal": lambda: asyncio.run(acknowledged(None, emitters, emits)),
    }
    done: dict[str, list[Round]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            done[name].append(work())
    print(f"\n{emitters} at once, {emits} each, best of {rounds} rounds")
    print(f"  {'':<32}{'acknowledged/s':>16}{'of bare':>10}{'median ms':>12}{'99% ms':>9}{'longest ms':>12}")
    base = max(one.emits_per_s for one in done[f"bare, {emitters} a commit"])
    for name, found in done.items():
        best = max(one.emits_per_s for one in found)
        each = sorted(ms for one in found for ms in one.each_ms)
        late = each[min(len(each) - 1, int(0.99 * len(each)))]
        print(f"  {name:<32}{best:16,.0f}{best / base:10.2f}{statistics.median(each):12.3f}{late:9.2f}{each[-1]:12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emitters", type=int, nargs="+", default=[1, 10, 100], help="how many emit at once")
    parser.add_argument("--emits", type=int, default=500, help="emits of each in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    arguments = parser.parse_args()
    print(machine.describe())
    print(f"SQLite {sqlite3.sqlite_version}; elements of {len(ENCODED)} bytes; WAL, synchronous FULL")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for emitters in arguments.emitters:
            measure(emitters, arguments.emits, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
