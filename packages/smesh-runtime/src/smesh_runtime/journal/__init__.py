"""The journal of a field: all that was acknowledged, in the order in which it was committed, in one SQLite file.

A `Journal` writes, one at a time; a `JournalReader` reads, any number, also while one writes. A field that is given a
journal says nothing to anybody that is not committed, and begins with what lives of it:

    with Journal("field.journal") as journal:
        field = LocalField(journal=journal)

| module | what is in it |
|---|---|
| `schema` | the tables, their version, and how a file of an earlier version becomes one of this |
| `sqlite` | connections, the lock of the one writer, and SQLite's errors in one line |
| `reader` | elements, counts, verification |
| `writer` | the thread that commits, many elements at once |
| `replay` | a field from what lives of a journal |

This package loads sqlite3; `smesh_runtime` does not load this package. Everything that is promised:
`docs/reference/journal.md`.
"""

from smesh_runtime.journal.reader import Counts, Entry, JournalReader
from smesh_runtime.journal.schema import JOURNAL_SCHEMA
from smesh_runtime.journal.writer import Journal

__all__ = ["JOURNAL_SCHEMA", "Counts", "Entry", "Journal", "JournalReader"]
