"""What the use of a field loads, asked of a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys


def test_who_keeps_no_journal_loads_no_sqlite() -> None:
    script = """
import asyncio, sys
from smesh_runtime import LocalField

async def main():
    async with LocalField().join("ada") as ada:
        await ada.reinforce((await ada.emit(b"")).statement)

asyncio.run(main())
print([name for name in ("sqlite3", "smesh_runtime.journal") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
