"""vulture: code that nothing in the tree uses.

It has to see the whole tree at once, so it is one process. What a file that cannot be parsed mentions counts
as used: better silent about dead code than wrong about live code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from smesh_agent.analyzers.base import Observation, Outcome, Unread
from smesh_agent.analyzers.host import WorkerAnalyzer
from smesh_agent.analyzers.rules import rules
from smesh_agent.analyzers.worker import why_unparsed

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable

    from smesh_agent.analyzers.worker import Source

__all__ = ["CONFIDENCE_MAX", "CONFIDENCE_PERCENT_MIN", "Vulture", "read"]

CONFIDENCE_PERCENT_MIN = 60
# Names can be made up at run time; nothing that a look at names finds is certain.
CONFIDENCE_MAX = 0.95
# vulture decides by the absolute path what is a test. Where the repository lies must not matter, so it
# gets paths under a directory that does not exist.
_ROOT = "/.smesh-tree/"
_COLLECTIONS = (
    "defined_attrs",
    "defined_classes",
    "defined_funcs",
    "defined_imports",
    "defined_methods",
    "defined_props",
    "defined_vars",
    "unreachable_code",
)


class Vulture(WorkerAnalyzer):
    """Unused code."""

    name = "vulture"
    role = "style"
    lineage = "vulture"


def read(sources: Iterable[Source]) -> Outcome:
    """What nothing uses; runs in the worker."""
    from vulture.utils import ExitCode  # noqa: PLC0415 - heavy, and for the worker only

    finder = _finder()
    unread = list[Unread]()
    for source in sources:
        before = {name: len(getattr(finder, name)) for name in _COLLECTIONS}
        text, reason = "", ""
        try:
            text = source.text()
            finder.scan(text, filename=_ROOT + source.path)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            reason = why_unparsed(error)
            finder.reachability.reset()
        if finder.exit_code != ExitCode.NoDeadCode:
            finder.exit_code = ExitCode.NoDeadCode
            reason = _why_invalid(text)
        if reason:
            for name, length in before.items():
                del getattr(finder, name)[length:]
            finder.used_names.update(re.findall(r"\w+", text))
            unread.append(Unread(source.path, reason))
    finder.scavenge([])  # reads vulture's own lists of names that libraries use
    items = finder.get_unused_code(min_confidence=CONFIDENCE_PERCENT_MIN)
    return Outcome([_observation(finder, item) for item in items], unread)


def _finder() -> Any:
    """A vulture that knows on which line of an import statement each name is."""
    from vulture import Vulture as Finder  # noqa: PLC0415
    from vulture import noqa  # noqa: PLC0415

    class LineFinder(Finder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lines: dict[tuple[str, int, str], int] = {}

        def _add_aliases(self, node: ast.Import | ast.ImportFrom) -> None:
            before = len(self.defined_imports)
            super()._add_aliases(node)
            lines = {alias.asname or alias.name.partition(".")[0]: alias.lineno for alias in node.names}
            added = self.defined_imports[before:]
            del self.defined_imports[before:]
            for item in added:
                line = lines.get(item.name, item.first_lineno)
                if not noqa.ignore_line(self.noqa_lines, line, "V104"):
                    self.defined_imports.append(item)
                    self.lines[str(item.filename), item.first_lineno, item.name] = line

    return LineFinder()


def _why_invalid(text: str) -> str:
    """Why vulture did not take the text; it only says so on the standard error."""
    import ast  # noqa: PLC0415

    try:
        ast.parse(text, type_comments=True)
    except (SyntaxError, ValueError) as error:
        return why_unparsed(error)
    return "a type comment that is not a type"


def _observation(finder: Any, item: Any) -> Observation:
    key = (str(item.filename), item.first_lineno, item.name)
    # vulture is certain of parameters only, and gives them the name it has for variables.
    what = "argument" if item.typ == "variable" and item.confidence == 100 else item.typ
    rule = rules().vulture[what]
    message = item.message if what == item.typ else f"unused argument '{item.name}'"
    return Observation(
        rule=what,
        path=str(item.filename).removeprefix(_ROOT),
        line=finder.lines.get(key, item.first_lineno) if item.typ == "import" else item.first_lineno,
        message=f"{message[:1].upper()}{message[1:]}",
        kind=rule.kind,
        severity=rule.severity,
        confidence=min(item.confidence / 100, CONFIDENCE_MAX),
        advice=rule.advice,
    )
