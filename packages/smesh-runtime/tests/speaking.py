"""For test_journal_kill: a process that speaks until it is killed, and says of each element that it was accepted."""

from __future__ import annotations

import asyncio
import os
import sys

from smesh_runtime import LocalField
from smesh_runtime.journal import Journal


async def speak(field: LocalField, name: str) -> None:
    async with field.join(name) as medium:
        while True:
            said = await medium.emit(name.encode() * 40)
            accepted(said.id)
            accepted((await medium.inhibit(said.statement, reason="on second thoughts")).id)


async def mumble(field: LocalField) -> None:
    """What this one says has ended when the next process restores the field; its numbers must go on all the same."""
    async with field.join("mumbler") as medium:
        while True:
            accepted((await medium.emit(b"mumble", ttl_ns=1)).id)


def accepted(identity: bytes) -> None:
    """At once: what a buffer held would be lost with the process, and be missed by nobody."""
    os.write(1, identity.hex().encode() + b"\n")


async def main() -> None:
    with Journal(sys.argv[1]) as journal:
        field = LocalField(journal=journal)
        await asyncio.gather(*(speak(field, name) for name in ("ada", "bo", "cy", "dee", "eve")), mumble(field))


if __name__ == "__main__":
    asyncio.run(main())
