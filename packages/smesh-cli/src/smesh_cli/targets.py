"""Files that a result is written to beside stdout: checked before the work begins, and written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from smesh_cli.errors import CliError, OutputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check", "write"]


def check(option: str, path: Path) -> None:
    """See whether a file could be written there.

    Args:
        option: which asks for it.
        path: where.

    Raises:
        CliError: its directory is not there, it is itself a directory, or may not be written.
    """
    if not path.parent.is_dir():
        raise CliError(f"{option}: there is no directory {path.parent}")
    if path.is_dir():
        raise CliError(f"{option}: {path} is a directory")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CliError(f"{option}: {path} may not be written")


def write(path: Path, data: bytes) -> None:
    """Write a file.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None
