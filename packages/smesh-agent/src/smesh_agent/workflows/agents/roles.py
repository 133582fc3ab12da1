"""Roles: what an agent is told that it is, by the skills that it has.

A role has one skill or several, and instructions for the model. For the skills ``research``, ``write`` and ``review``
there are built-in ones, and for any other a plain one, so that a job needs no file of roles. A file of roles, in YAML
or JSON, is a list:

```yaml
- name: historian
  skills: [research]
  instructions: You know archives. Give the source of everything that you say.
  model: qwen2.5:7b
```
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from smesh_agent.errors import JobError
from smesh_agent.workflows.agents.job import load_text, placed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Role", "read_roles", "roles_for"]

ROLES_MAX = 1000


class Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent is.

    Attributes:
        name: agents are called after it.
        skills: what it can do.
        instructions: what the model is told that it is; the built-in ones of its first skill if empty.
        model: a model of its own with the run's backend; the run's if empty.
    """

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    skills: Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(min_length=1, max_length=32)]
    instructions: str = ""
    model: str = ""


def read_roles(path: Path) -> list[Role]:
    """Read roles from a file.

    Raises:
        JobError: it cannot be read, is no YAML or JSON, or is no list of roles.
    """
    try:
        roles = msgspec.convert(load_text(path), Annotated[list[Role], Meta(min_length=1, max_length=ROLES_MAX)])
    except msgspec.ValidationError as error:
        raise JobError(f"{path}: {placed(str(error))}") from error
    names = [role.name for role in roles]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise JobError(f"{path}: two roles have the name {twice!r}")
    return [_instructed(role) for role in roles]


def roles_for(skills: Sequence[str]) -> list[Role]:
    """A role for each skill that a job needs; tasks that need none are done by any of them."""
    named = [skill for skill in skills if skill] or ["work"]
    return [_instructed(Role(name=skill, skills=[skill])) for skill in named]


def _instructed(role: Role) -> Role:
    if role.instructions:
        return role
    known = tomllib.loads((resources.files(__package__) / "roles.toml").read_text(encoding="utf-8"))
    entry = next((known[skill] for skill in role.skills if skill in known), known["other"])
    return msgspec.structs.replace(role, instructions=" ".join(entry["instructions"].split()))
