"""What can go wrong in the command itself, as one family of exceptions; the message is one line."""

from __future__ import annotations

__all__ = ["CliError", "OutputError"]


class CliError(Exception):
    """Base of every error that smesh-cli raises on purpose."""


class OutputError(CliError):
    """The result cannot be written where it was to go."""
