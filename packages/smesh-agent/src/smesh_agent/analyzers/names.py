"""Where names are mentioned in a tree, other than by code that uses them; read once for a tree, on demand.

Two things are looked for: what modules import from one another, which tells a re-export from an import nobody
needs; and identifiers in strings, templates, configuration and documentation, by which frameworks find code
that no other code mentions. A word such as ``about`` is in every text; it counts only where it can be nothing
but a name.
"""

from __future__ import annotations

import ast
import functools
import re
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smesh_agent.tree import SourceFile, Tree

__all__ = ["Imports", "Mentions", "imports_of", "mentions_in"]

_CONFIGURATION = (".toml", ".cfg", ".ini", ".yaml", ".yml", ".json", ".xml", ".conf", ".env", ".in")
_TEMPLATES = (".html", ".htm", ".jinja", ".jinja2", ".j2", ".tpl", ".mako", ".djhtml")
_PROSE = (".rst", ".md", ".txt")
_MENTIONS_MAX = 3
# A whole string that is a name or a path of names: "on_start", "package.module:function".
_STRING = re.compile(r"""(?<![\w'"])[rbuf]?(?:"([A-Za-z_][\w.:]*)"|'([A-Za-z_][\w.:]*)')""", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
# Names with an underscore within, a capital within, or nothing but capitals and digits.
_DISTINCTIVE = re.compile(r"_*(?:[A-Za-z0-9]+_\w+|[A-Za-z0-9]*[a-z][A-Z]\w*|[A-Z][A-Z0-9]+)")
_PROSE_CODE = re.compile(rf"`{{1,2}}[~!]?([\w.:]+)(?:\(\))?`|\b([A-Za-z_]\w*)\(\)|\b({_DISTINCTIVE.pattern})\b")


class Imports:
    """What the modules of a tree import from one another."""

    def __init__(self, tree: Tree) -> None:
        self._modules = _modules(tree)
        self._bound: dict[tuple[str, int], list[str]] = {}
        self._uses: dict[tuple[str, str], list[str]] = {}
        self._exports: dict[tuple[str, str], str] = {}
        for file in tree.python():
            try:
                module = ast.parse(tree.text(file.path))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # the analyzers name the files that do not parse
            self._read(file.path, module)

    def bound_on(self, path: str, line: int) -> list[str]:
        """The names that imports on this line bind."""
        return self._bound.get((path, line), [])

    def reexport_of(self, path: str, name: str) -> str | None:
        """Who takes ``name`` from the module at ``path``, as the end of a sentence; None if nobody does."""
        if place := self._exports.get((path, name)):
            return f"listed in __all__ ({place})"
        users = [place for place in self._uses.get((path, name), []) if place.rpartition(":")[0] != path]
        return f"imported from here by {users[0]}" if users else None

    def _read(self, path: str, module: ast.Module) -> None:
        aliases: dict[str, str] = {}
        nodes = list(ast.walk(module))
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                self._read_import_from(path, node, aliases)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    self._bound.setdefault((path, alias.lineno), []).append(bound)
                    aliases[bound] = alias.name if alias.asname else bound
        for node in nodes:
            match node:
                case ast.Attribute(value=ast.Name(id=name)) if name in aliases:
                    self._use(aliases[name], node.attr, f"{path}:{node.lineno}")
                case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple() as value):
                    self._read_exports(path, value)

    def _read_import_from(self, path: str, node: ast.ImportFrom, aliases: dict[str, str]) -> None:
        source = _absolute(path, node)
        for alias in node.names:
            bound = alias.asname or alias.name
            self._bound.setdefault((path, alias.lineno), []).append(bound)
            self._use(source, alias.name, f"{path}:{alias.lineno}")
            separator = "/" if source.startswith("/") else "."
            aliases[bound] = f"{source}{separator}{alias.name}"

    def _read_exports(self, path: str, names: ast.List | ast.Tuple) -> None:
        for item in names.elts:
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                self._exports[path, item.value] = f"{path}:{item.lineno}"

    def _use(self, module: str, name: str, place: str) -> None:
        for path in self._modules.get(module, ()):
            self._uses.setdefault((path, name), []).append(place)


class Mentions:
    """Identifiers that stand in strings of code, and in text that is not code."""

    def __init__(self, tree: Tree) -> None:
        self._places: dict[str, list[tuple[str, int]]] = {}
        for file in tree.files:
            finder = _finder(file)
            if finder is None:
                continue
            for number, line in enumerate(tree.text_lines(file.path), start=1):
                for name in finder(line):
                    self._add(name, file.path, number)

    def of(self, name: str, *, outside: str) -> str | None:
        """The first place outside one file that names ``name``, as path:line."""
        for path, line in self._places.get(name, []):
            if path != outside:
                return f"{path}:{line}"
        return None

    def _add(self, name: str, path: str, line: int) -> None:
        places = self._places.setdefault(name, [])
        # One place of each file: the file that defines the name must not use up the room.
        if len(places) < _MENTIONS_MAX and not (places and places[-1][0] == path):
            places.append((path, line))


def _finder(file: SourceFile) -> functools.partial[Iterator[str]] | None:
    """How names are found in a line of this file; None for texts in which nothing is a name."""
    if file.language == "python":
        return functools.partial(_names_in_strings)
    if file.path.endswith(_PROSE):
        return functools.partial(_names_matching, _PROSE_CODE)
    if file.path.endswith(_TEMPLATES):
        return functools.partial(_names_matching, _DISTINCTIVE)
    if file.path.endswith(_CONFIGURATION):
        return functools.partial(_names_matching, _IDENTIFIER)
    return None


def _names_in_strings(line: str) -> Iterator[str]:
    for match in _STRING.finditer(line):
        names = [name for name in re.split(r"[.:]+", match[1] or match[2]) if name]
        yield from (name for name in names if len(names) > 1 or _DISTINCTIVE.fullmatch(name))


def _names_matching(pattern: re.Pattern[str], line: str) -> Iterator[str]:
    for match in pattern.finditer(line):
        yield from _IDENTIFIER.findall(match[0])


_imports: weakref.WeakKeyDictionary[Tree, Imports] = weakref.WeakKeyDictionary()
_mentions: weakref.WeakKeyDictionary[Tree, Mentions] = weakref.WeakKeyDictionary()


def imports_of(tree: Tree) -> Imports:
    """The imports of a tree, read when they are first asked for."""
    if tree not in _imports:
        _imports[tree] = Imports(tree)
    return _imports[tree]


def mentions_in(tree: Tree) -> Mentions:
    """The mentions in a tree, read when they are first asked for."""
    if tree not in _mentions:
        _mentions[tree] = Mentions(tree)
    return _mentions[tree]


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
    outermost = file.path.rpartition("/")[0]
    while outermost and outermost in packages:
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
    return "/" + "/".join([*parts, *(node.module or "").split(".")]).strip("/")
