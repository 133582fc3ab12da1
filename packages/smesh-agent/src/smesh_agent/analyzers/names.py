"""Where names are mentioned in a tree, other than by code that uses them; built once for a tree, on demand.

Two things are looked for: what modules import from one another, which tells a re-export from an import nobody
needs; and identifiers in strings, templates, configuration and documentation, by which frameworks find code
that no other code mentions.
"""

from __future__ import annotations

import ast
import re
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smesh_agent.tree import SourceFile, Tree

__all__ = ["NameIndex", "names_in"]

_CONFIGURATION = (".toml", ".cfg", ".ini", ".yaml", ".yml", ".json", ".xml", ".conf", ".env", ".in")
_TEMPLATES = (".html", ".htm", ".jinja", ".jinja2", ".j2", ".tpl", ".mako", ".djhtml")
_PROSE = (".rst", ".md", ".txt")
_MENTIONS_MAX = 3
# A whole string that is a name or a dotted path of names: "handler", "package.module:function".
_STRING = re.compile(r"""(?<![\w'"])[rbuf]?(?:"([A-Za-z_][\w.:]*)"|'([A-Za-z_][\w.:]*)')""", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
# In prose only what is marked or shaped as code: `name`, name(), snake_case, camelCase.
_PROSE_CODE = re.compile(r"`{1,2}[~!]?([\w.:]+)(?:\(\))?`|\b([A-Za-z_]\w*)\(\)|\b(\w+_\w+|[A-Za-z]+[a-z][A-Z]\w*)\b")

_indexes: weakref.WeakKeyDictionary[Tree, NameIndex] = weakref.WeakKeyDictionary()


def names_in(tree: Tree) -> NameIndex:
    """The index of a tree, made when it is first asked for."""
    if tree not in _indexes:
        _indexes[tree] = NameIndex(tree)
    return _indexes[tree]


class NameIndex:
    """What a tree says about names."""

    def __init__(self, tree: Tree) -> None:
        self._modules = _modules(tree)
        self._imports: dict[tuple[str, int], list[str]] = {}
        self._uses: dict[tuple[str, str], list[str]] = {}
        self._exports: dict[tuple[str, str], str] = {}
        self._mentions: dict[str, list[tuple[str, int]]] = {}
        for file in tree.files:
            lines = tree.text_lines(file.path)
            if file.language == "python":
                self._read_python(file.path, lines)
            else:
                self._read_text(file.path, lines)

    def imported_on(self, path: str, line: int) -> list[str]:
        """The names that imports on this line bind."""
        return self._imports.get((path, line), [])

    def reexport_of(self, path: str, name: str) -> str | None:
        """Who takes ``name`` from the module at ``path``, as the end of a sentence; None if nobody does."""
        if place := self._exports.get((path, name)):
            return f"listed in __all__ ({place})"
        users = [place for place in self._uses.get((path, name), []) if place.rpartition(":")[0] != path]
        return f"imported from here by {users[0]}" if users else None

    def mention_of(self, name: str, *, outside: str) -> str | None:
        """The first place outside one file that names ``name``, as path:line."""
        for path, line in self._mentions.get(name, []):
            if path != outside:
                return f"{path}:{line}"
        return None

    def _mention(self, name: str, path: str, line: int) -> None:
        places = self._mentions.setdefault(name, [])
        # One place of each file: the file that defines the name must not use up the room.
        if len(places) < _MENTIONS_MAX and not (places and places[-1][0] == path):
            places.append((path, line))

    def _read_text(self, path: str, lines: tuple[str, ...]) -> None:
        if path.endswith(_PROSE):
            pattern = _PROSE_CODE
        elif path.endswith(_CONFIGURATION + _TEMPLATES):
            pattern = _IDENTIFIER
        else:
            return
        for number, line in enumerate(lines, start=1):
            for match in pattern.finditer(line):
                for name in _IDENTIFIER.findall(match[0]):
                    self._mention(name, path, number)

    def _read_python(self, path: str, lines: tuple[str, ...]) -> None:
        for number, line in enumerate(lines, start=1):
            for match in _STRING.finditer(line):
                for name in re.split(r"[.:]+", match[1] or match[2]):
                    self._mention(name, path, number)
        try:
            module = ast.parse("\n".join(lines))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return  # the analyzers name the files that do not parse
        aliases: dict[str, str] = {}
        for node in _walk(module):
            match node:
                case ast.ImportFrom():
                    self._read_import_from(path, node, aliases)
                case ast.Import():
                    for alias in node.names:
                        bound = alias.asname or alias.name.partition(".")[0]
                        self._imports.setdefault((path, alias.lineno), []).append(bound)
                        aliases[bound] = alias.name if alias.asname else bound
                case ast.Attribute(value=ast.Name(id=name)) if name in aliases:
                    self._use(aliases[name], node.attr, f"{path}:{node.lineno}")
                case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple() as value):
                    for item in value.elts:
                        if isinstance(item, ast.Constant) and isinstance(item.value, str):
                            self._exports[path, item.value] = f"{path}:{item.lineno}"

    def _read_import_from(self, path: str, node: ast.ImportFrom, aliases: dict[str, str]) -> None:
        source = _absolute(path, node)
        for alias in node.names:
            bound = alias.asname or alias.name
            self._imports.setdefault((path, alias.lineno), []).append(bound)
            self._use(source, alias.name, f"{path}:{alias.lineno}")
            aliases[bound] = f"{source}.{alias.name}"

    def _use(self, module: str, name: str, place: str) -> None:
        for path in self._modules.get(module, ()):
            self._uses.setdefault((path, name), []).append(place)


def _walk(module: ast.Module) -> Iterator[ast.AST]:
    """Imports before what uses them, which is the order of the text in almost every module."""
    nodes = list(ast.walk(module))
    yield from (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    yield from (node for node in nodes if isinstance(node, ast.Attribute | ast.Assign))


def _modules(tree: Tree) -> dict[str, list[str]]:
    """Which files a dotted module name may mean: packages are counted from their outermost directory."""
    packages = {file.path.rpartition("/")[0] for file in tree.files if file.path.endswith("__init__.py")}
    modules: dict[str, list[str]] = {}
    for file in tree.python(stubs=False):
        modules.setdefault(_dotted(file, packages), []).append(file.path)
        # Relative imports are resolved within the tree, whatever the package is called from outside.
        modules.setdefault("/" + _without_init(file.path), []).append(file.path)
    return modules


def _dotted(file: SourceFile, packages: set[str]) -> str:
    directory = file.path.rpartition("/")[0]
    outermost = directory
    while outermost in packages and outermost:
        outermost = outermost.rpartition("/")[0]
    start = len(outermost) + 1 if outermost else 0
    return _without_init(file.path[start:]).replace("/", ".")


def _without_init(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__")


def _absolute(path: str, node: ast.ImportFrom) -> str:
    """The module imported from; for a relative import, by its place in the tree, behind a slash."""
    if not node.level:
        return node.module or ""
    parts = path.split("/")[: -node.level]
    return "/" + "/".join([*parts, *(node.module or "").split(".")]).rstrip("/")
