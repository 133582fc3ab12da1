"""Where the line goes that says that kernels are being compiled. Kept apart from numba, so that setting it is free."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["notify", "set_compile_notice"]


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


_notice: Callable[[str], None] = _to_stderr


def set_compile_notice(notice: Callable[[str], None] | None) -> None:
    """Say what to do with lines about compilation; None writes them to stderr again."""
    global _notice  # noqa: PLW0603 - one process has one stderr
    _notice = notice or _to_stderr


def notify(text: str) -> None:
    """Pass a line on to whoever was set."""
    _notice(text)
