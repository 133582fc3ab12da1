"""Which backends there are, by name; nothing of them is loaded before it is asked for.

Other distributions add theirs under the entry point group ``smesh.backends``: a name, and a function that makes a
`smesh_agent.backends.base.Backend` from `Settings`. They cannot take the name of one that comes with SMESH, so that a
name always means what it says here.
"""

from __future__ import annotations

import difflib
import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Final

from smesh_agent.errors import BackendSettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from smesh_agent.backends.base import Backend, Settings

    Make = Callable[[Settings], Backend]

__all__ = ["GROUP", "backend_for_model", "backend_names", "make_backend"]

GROUP: Final = "smesh.backends"
_BUILT_IN: Final = {
    "claude": "smesh_agent.backends.claude",
    "ollama": "smesh_agent.backends.ollama",
    "openai-compatible": "smesh_agent.backends.openai_compatible",
    "scripted": "smesh_agent.backends.scripted",
}
_CLAUDE: Final = "claude-"


def backend_names() -> list[str]:
    """The names of all backends: those of SMESH, then others' by name."""
    return [*_BUILT_IN, *sorted({entry.name for entry in metadata.entry_points(group=GROUP)} - set(_BUILT_IN))]


def backend_for_model(model: str) -> str:
    """The backend that a model's name means where none is given: Claude's models say so, others are Ollama's."""
    return "claude" if model.startswith(_CLAUDE) else "ollama"


def make_backend(name: str, settings: Settings) -> Backend:
    """A backend by its name.

    Raises:
        BackendSettingsError: there is none of that name, it cannot be loaded, or it does not take the settings.
    """
    return _maker(name)(settings)


def _maker(name: str) -> Make:
    others = list(metadata.entry_points(group=GROUP, name=name))
    if name in _BUILT_IN:
        if others:
            raise BackendSettingsError(
                name, f"{_distributions(others)} wants to take this name, which is SMESH's own; remove it"
            )
        made: Make = importlib.import_module(_BUILT_IN[name]).make
        return made
    if not others:
        known = backend_names()
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise BackendSettingsError("", f"there is no backend {name!r}: there are {', '.join(known)}{meant}")
    if len(others) > 1:
        raise BackendSettingsError(
            name, f"{_distributions(others)} all bring a backend of this name; remove all but one"
        )
    return _loaded(others[0])


def _loaded(entry: metadata.EntryPoint) -> Make:
    """What another distribution brings."""
    try:
        make: Make = entry.load()
    except Exception as error:  # whatever somebody else's module does when it is loaded
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BackendSettingsError(
            entry.name, f"{_distributions([entry])} brings it, and cannot be loaded: {reason}"
        ) from error
    if not callable(make):
        raise BackendSettingsError(entry.name, f"{_distributions([entry])} names {entry.value}, which is no function")
    return make


def _distributions(entries: list[metadata.EntryPoint]) -> str:
    names = [entry.dist.name if entry.dist is not None else entry.value for entry in entries]
    return " and ".join(sorted(set(names)))
