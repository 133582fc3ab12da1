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

from smesh_agent.errors import BackendError, BackendSettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from smesh_agent.backends.base import Backend, Settings

    Make = Callable[[Settings], Backend]

__all__ = [
    "GROUP",
    "backend_for_model",
    "backend_names",
    "distributions",
    "entry_point_of",
    "load_entry_point",
    "make_backend",
]

GROUP: Final = "smesh.backends"
_BUILT_IN: Final = {
    "claude": "smesh_agent.backends.claude",
    "ollama": "smesh_agent.backends.ollama",
    "openai-compatible": "smesh_agent.backends.openai_compatible",
    "scripted": "smesh_agent.backends.scripted",
}
_CLAUDE: Final = "claude-"
_CASSETTE: Final = "cassette"
_MEMBERS: Final = ("name", "model", "is_local", "stream", "count_tokens", "models", "close")


def backend_names() -> list[str]:
    """The names of all backends: those of SMESH, then others' by name, whether or not they can be loaded."""
    others = {entry.name for entry in metadata.entry_points(group=GROUP)} - {*_BUILT_IN, _CASSETTE}
    return [*_BUILT_IN, *sorted(others)]


def backend_for_model(model: str) -> str:
    """The backend that a model's name means where none is given: Claude's models say so, others are Ollama's."""
    return "claude" if model.startswith(_CLAUDE) else "ollama"


def make_backend(name: str, settings: Settings) -> Backend:
    """A backend by its name.

    Raises:
        BackendSettingsError: there is none of that name, it cannot be loaded, or it does not take the settings.
    """
    entry = entry_point_of(name)
    if entry is not None:
        return _made_by(entry, settings)
    made: Make = importlib.import_module(_BUILT_IN[name]).make
    return made(settings)


def entry_point_of(name: str) -> metadata.EntryPoint | None:
    """What brings a backend of another distribution, found and not loaded; None for one that comes with SMESH.

    Raises:
        BackendSettingsError: there is none of that name that can be made by it, or several.
    """
    others = list(metadata.entry_points(group=GROUP, name=name))
    if name in {*_BUILT_IN, _CASSETTE}:
        if others:
            raise BackendSettingsError(
                name, f"{distributions(*others)} wants to take this name, which is SMESH's own; remove it"
            )
        if name == _CASSETTE:
            raise BackendSettingsError(name, "a recording is replayed from its file, and not made by name")
        return None
    if not others:
        known = backend_names()
        near = [one for one in known if name and one.startswith(name)] or difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise BackendSettingsError("", f"there is no backend {name!r}: there are {', '.join(known)}{meant}")
    if len(others) > 1:
        raise BackendSettingsError(name, f"{distributions(*others)} all bring a backend of this name; keep one")
    return others[0]


def load_entry_point(entry: metadata.EntryPoint) -> Make:
    """What makes a backend of another distribution.

    Raises:
        BackendSettingsError: it cannot be loaded, or is no function.
    """
    whose = distributions(entry)
    try:
        make: Make = entry.load()
    except Exception as error:
        raise BackendSettingsError(entry.name, f"{whose} brings it, and cannot be loaded: {_words(error)}") from error
    if not callable(make):
        raise BackendSettingsError(entry.name, f"{whose} names {entry.value}, which is no function")
    return make


def _made_by(entry: metadata.EntryPoint, settings: Settings) -> Backend:
    """What another distribution makes; whatever it does wrong, the error names it."""
    whose, make = distributions(entry), load_entry_point(entry)
    try:
        backend = make(settings)
    except BackendError:
        raise
    except Exception as error:
        raise BackendSettingsError(entry.name, f"{whose} brings it, and cannot make it: {_words(error)}") from error
    if missing := [member for member in _MEMBERS if not hasattr(backend, member)]:
        raise BackendSettingsError(entry.name, f"{whose} makes no backend: it has no {' and no '.join(missing)}")
    if backend.name != entry.name:
        raise BackendSettingsError(entry.name, f"{whose} makes a backend that calls itself {backend.name!r}")
    return backend


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def distributions(*entries: metadata.EntryPoint) -> str:
    """The distributions that entry points are of, in words."""
    names = [entry.dist.name if entry.dist is not None else entry.value for entry in entries]
    return " and ".join(sorted(set(names)))
