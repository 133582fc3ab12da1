"""A job: what is to be done, as a file says it, and as tasks of the work protocol.

A job is a YAML or JSON file:

```yaml
title: An open night at the observatory
tasks:
  - id: history
    do: Collect what is known about the old refractor.
    skill: research
  - id: leaflet
    do: Write half a page for visitors about it.
    skill: write
    after: [history]
    approve: true
```

Of a task only `id` and `do` must be there. Tasks come after others by their ids; a person is asked before one with
`approve` proceeds. Equal files make equal tasks, so that a run that is taken up again knows them.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import yaml
from msgspec import Meta
from smesh_core import node_id
from smesh_core.errors import PayloadError
from smesh_core.payload import Task

from smesh_agent.errors import JobError
from smesh_agent.work import PERSON, task_id

__all__ = [
    "FILE_BYTES_MAX",
    "TASKS_MAX",
    "Job",
    "Todo",
    "demo_job",
    "demo_script",
    "load_text",
    "parse_job",
    "placed",
    "read_job",
]

FILE_BYTES_MAX: Final = 8 * 1024 * 1024
TASKS_MAX: Final = 10_000
_RUN_S_MAX_DEFAULT: Final = 600


class Todo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task, as a file says it.

    Attributes:
        id: what others call it.
        do: what is to be done.
        skill: the skill that it needs; empty where any agent will do.
        priority: in [0, 1].
        after: ids of the tasks that it comes after.
        approve: whether a person is asked before it proceeds.
        within_s: longest run time of an attempt, in whole seconds.
    """

    id: Annotated[str, Meta(min_length=1, max_length=100)]
    do: Annotated[str, Meta(min_length=1)]
    skill: str = ""
    priority: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    after: Annotated[list[str], Meta(max_length=64)] = []
    approve: bool = False
    within_s: Annotated[int, Meta(ge=1)] = _RUN_S_MAX_DEFAULT


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tasks: Annotated[list[Todo], Meta(min_length=1, max_length=TASKS_MAX)]
    title: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        title: what it is called; may be empty.
        todos: the tasks as the file says them, each after those that it comes after.
        tasks: the same as tasks of the work protocol.
    """

    title: str
    todos: list[Todo]
    tasks: list[Task]

    @property
    def skills(self) -> list[str]:
        """The skills that it takes, in the order in which they are first needed."""
        return list(dict.fromkeys(todo.skill for todo in self.todos))


def read_job(path: Path) -> Job:
    """Read a job from a file.

    Raises:
        JobError: it cannot be read, is no YAML or JSON, or says something that a job does not have.
    """
    return _job(load_text(path), str(path))


def demo_job() -> Job:
    """The job that shows what a run looks like."""
    text = (resources.files(__package__) / "demo.yaml").read_text(encoding="utf-8")
    return parse_job(text, "demo.yaml")


def demo_script() -> Path:
    """The script that answers to the demo's tasks where no model is asked."""
    return Path(str(resources.files(__package__) / "demo_script.yaml"))


def parse_job(text: str, name: str) -> Job:
    """Read a job from text; `name` is what errors call it.

    Raises:
        JobError: see `read_job`.
    """
    return _job(_loaded(text, name), name)


def _job(read: Any, name: str) -> Job:
    try:
        job = msgspec.convert({"tasks": read} if isinstance(read, list) else read, _File)
    except msgspec.ValidationError as error:
        raise JobError(f"{name}: {placed(str(error))}") from error
    todos = _in_order(job.tasks, name)
    return Job(title=job.title, todos=todos, tasks=_tasks(todos, name))


def load_text(path: Path) -> Any:
    """What a file of YAML or JSON holds.

    Raises:
        JobError: it cannot be read, is too large, or is neither.
    """
    try:
        with path.open("rb") as file:
            read = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise JobError(f"{path}: {error.strerror or error}") from error
    if len(read) > FILE_BYTES_MAX:
        raise JobError(f"{path}: larger than {FILE_BYTES_MAX // 1024**2} MiB")
    try:
        return _loaded(read.decode(), str(path))
    except UnicodeDecodeError as error:
        raise JobError(f"{path}: not text in UTF-8 (byte {error.start + 1})") from error


def _loaded(text: str, name: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in {"{", "["} else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise JobError(f"{name}, line {error.lineno}: {error.msg}") from error
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise JobError(f"{name}{where}: {' '.join((error.problem or 'not YAML').split())}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise JobError(f"{name}: {reason[:200]}") from error


def placed(fault: str) -> str:
    """A fault in msgspec's words, with the place first: ``tasks[0].id: Expected `str`, got `int` ``."""
    what, _, where = fault.partition(" - at `")
    place = where.rstrip("`").removeprefix("$").removeprefix(".")
    return f"{place}: {what}" if place else what


def _in_order(todos: list[Todo], name: str) -> list[Todo]:
    """The tasks such that each comes after those that it comes after; otherwise as they stand in the file."""
    by_id: dict[str, Todo] = {}
    for todo in todos:
        if todo.id in by_id:
            raise JobError(f"{name}: two tasks have the id {todo.id!r}")
        by_id[todo.id] = todo
    ordered: dict[str, Todo] = {}
    for todo in todos:
        path = [todo.id]
        while path:
            last = by_id[path[-1]]
            needed = next((one for one in last.after if one not in ordered), None)
            if needed is None:
                ordered[last.id] = last
                path.pop()
            elif needed not in by_id:
                raise JobError(f"{name}: task {last.id!r} comes after {needed!r}, which is not there")
            elif needed in path:
                circle = " after ".join([*path[path.index(needed) :], needed])
                raise JobError(f"{name}: tasks wait for each other: {circle}")
            else:
                path.append(needed)
    return list(ordered.values())


def _tasks(todos: list[Todo], name: str) -> list[Task]:
    made: dict[str, Task] = {}
    for todo in todos:
        try:
            made[todo.id] = Task(
                what=todo.do,
                skill=todo.skill,
                priority=todo.priority,
                after=tuple(task_id(made[needed]).hex() for needed in dict.fromkeys(todo.after)),
                key=todo.id,
                run_s_max=todo.within_s,
                approver=node_id(PERSON).hex() if todo.approve else "",
            )
        except PayloadError as error:
            raise JobError(f"{name}, task {todo.id!r}: {error}") from error
    return list(made.values())
