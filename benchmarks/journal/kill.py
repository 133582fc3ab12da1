"""kill -9 at random moments, thousands of times: does the journal have all that was acknowledged?

Each time a process opens the journal, restores its field from it and has seven agents speak as fast as they can: six
say something and object to it, one says what ends at once. Whatever is acknowledged, the process writes to a pipe. It
is killed at a moment drawn from the seed, one time in five so early that it may not have opened the file yet. Then it
is checked that the journal

* holds everything that was read from the pipe,
* has no (author, sequence number) twice, over all lives of the process,
* is sound, by its own verification.

After every second kill that is left to the next, so that what a kill leaves behind is at times first met by a reader,
at times by the next writer. Every so many kills a new journal is begun, so that both new and long ones are met. A
failure prints seed and number. What this cannot show is a loss of power: the machine goes on, and so does what it holds
in memory for the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import machine
from smesh_runtime import LocalField
from smesh_runtime.journal import Journal, JournalReader

NAMES = ("ada", "bo", "cy", "dee", "eve", "flo")
WORDS_MAX = 200
LINE = 65
"""Bytes of an id in hex and the end of its line."""


def drawn(seed: int, kill: int, what: str, below: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{kill}/{what}".encode()).digest()[:8]) % below


async def speak(path: Path, pipe: int) -> None:
    with Journal(path) as journal:
        field = LocalField(journal=journal)

        async def argue(name: str) -> None:
            async with field.join(name) as medium:
                while True:
                    said = await medium.emit(name.encode() * 40)
                    os.write(pipe, said.id.hex().encode() + b"\n")
                    stance = await medium.inhibit(said.statement, reason="on second thoughts")
                    os.write(pipe, stance.id.hex().encode() + b"\n")

        async def mumble() -> None:
            async with field.join("mumbler") as medium:
                while True:
                    said = await medium.emit(b"mumble", ttl_ns=1)
                    os.write(pipe, said.id.hex().encode() + b"\n")

        await asyncio.gather(*map(argue, NAMES), mumble())


def killed(path: Path, seed: int, kill: int) -> list[str]:
    """The ids that a process was told are kept, which was killed at some moment."""
    ours, its = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(speak(path, its))
        except BaseException:  # noqa: BLE001 - whatever it is, it is to be seen, and this process must not go on
            traceback.print_exc()
        os._exit(1)
    os.close(its)
    told = b""
    is_early = drawn(seed, kill, "early", 5) == 0
    words = 0 if is_early else 1 + drawn(seed, kill, "words", WORDS_MAX)
    while len(told) < words * LINE and (more := os.read(ours, 1 << 16)):
        told += more
    time.sleep(drawn(seed, kill, "us", 20_000 if is_early else 3_000) / 1e6)
    os.kill(child, signal.SIGKILL)
    while more := os.read(ours, 1 << 16):
        told += more
    os.close(ours)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        raise SystemExit(f"seed {seed}, kill {kill}: the process failed before it was killed")
    return [line.decode() for line in told.split(b"\n")[:-1]]


def check(path: Path, acknowledged: list[str], seed: int, kill: int) -> int:
    """Everything that must hold after a kill; how many elements the journal has."""
    elements = [entry.element for entry in JournalReader(path).elements()]
    held = {element.id.hex() for element in elements}
    lost = [identity for identity in acknowledged if identity not in held]
    faults = JournalReader(path).verify()
    numbers = {(element.author, element.seq) for element in elements}
    if lost or faults or len(numbers) < len(elements):
        twice = len(elements) - len(numbers)
        raise SystemExit(
            f"seed {seed}, kill {kill}: {len(lost)} of {len(acknowledged)} acknowledged elements lost, "
            f"{twice} numbers used twice, faults: {faults}"
        )
    return len(elements)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--kills-a-journal", type=int, default=20, help="then a new one is begun")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    arguments = parser.parse_args()
    print(machine.describe(), flush=True)
    begun = time.perf_counter()
    total = unasked = nothing = held = 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path, acknowledged = Path(folder) / "0.journal", list[str]()
        for kill in range(arguments.kills):
            if kill % arguments.kills_a_journal == 0:
                path, acknowledged = Path(folder) / f"{kill}.journal", []
                Journal(path).close()
            told = killed(path, arguments.seed, kill)
            acknowledged += told
            total += len(told)
            nothing += not told
            is_last = (kill + 1) % arguments.kills_a_journal == 0 or kill + 1 == arguments.kills
            if is_last or kill % 2:
                held = check(path, acknowledged, arguments.seed, kill)
            if is_last:
                unasked += held - len(acknowledged)
                path.unlink()
            if (kill + 1) % 500 == 0:
                print(f"  {kill + 1} kills, {total:,} acknowledged, none lost", flush=True)
    print(f"seed {arguments.seed}: {arguments.kills} kills in {time.perf_counter() - begun:.0f} s")
    print(f"acknowledged: {total:,}, of which lost: 0; sequence numbers used twice: 0; damaged journals: 0")
    print(f"committed and not yet acknowledged: {unasked:,}; killed before anything was acknowledged: {nothing}")


if __name__ == "__main__":
    main()
