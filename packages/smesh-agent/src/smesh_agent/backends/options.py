"""Options of backends: words given by name, checked before anything is sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smesh_agent.errors import BackendSettingsError

if TYPE_CHECKING:
    from smesh_agent.backends.base import Settings

__all__ = ["number", "one_of", "refuse_unknown_options"]


def refuse_unknown_options(backend: str, settings: Settings, *known: str) -> None:
    """Check the names of a backend's own options.

    Raises:
        BackendSettingsError: it has no such option.
    """
    for name in settings.options:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise BackendSettingsError(backend, f"there is no option {name!r}; {has}")


def number(backend: str, settings: Settings, option: str, least: int) -> int | None:
    """A whole number among a backend's options; None where it is not given.

    Raises:
        BackendSettingsError: it is none, or less than `least`.
    """
    text = settings.options.get(option)
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", text) or int(text) < least:
        raise BackendSettingsError(backend, f"option {option} is {text!r}: give a whole number from {least}")
    return int(text)


def one_of(backend: str, settings: Settings, option: str, *words: str) -> str | None:
    """A word among a backend's options; None where it is not given.

    Raises:
        BackendSettingsError: it is none of `words`.
    """
    text = settings.options.get(option)
    if text is not None and text not in words:
        raise BackendSettingsError(backend, f"option {option} is {text!r}: give {' or '.join(words)}")
    return text
