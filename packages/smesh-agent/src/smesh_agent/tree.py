"""An inventory of a repository: which files are read, as what, and which are passed over and why.

Every analyzer reads exactly these files, so that what one of them says can be compared with what the
others do not. Nothing here follows a symbolic link, opens anything but a regular file, or keeps more than
a few files' text in memory.

**Ignored.** Git's rules hold: the last matching pattern of the deepest ``.gitignore`` decides, a directory
that is ignored is not entered, and the enclosing repository's own files and ``.git/info/exclude`` count
when the root is a part of it. A root that its enclosing repository ignores is not a part of it, so those
rules say nothing about it. ``.smeshignore`` has the same syntax and comes after: it may exclude more, and
take back what git ignores. The user's global git configuration is not asked: the same tree gives the same
inventory on every machine.

**Symbolic links** are passed over without a word: what they point at is either in the tree under its own
name, or is not part of it.
"""

from __future__ import annotations

import codecs
import errno
import functools
import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from pathspec import GitIgnoreSpec

from smesh_agent.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BINARY_PROBE_BYTES",
    "FILE_BYTES_MAX",
    "LINE_CHARACTERS_MAX",
    "Language",
    "Skipped",
    "SourceFile",
    "Tree",
    "split_lines",
]

FILE_BYTES_MAX = 1024 * 1024
LINE_CHARACTERS_MAX = 100_000
BINARY_PROBE_BYTES = 8 * 1024
_FILES_CACHED_MAX = 32

Language = Literal["python", "text"]

_NEVER_ENTERED = frozenset(
    {
        ".git", ".hg", ".svn", ".jj", ".bzr", "CVS",
        ".venv", ".uv", "node_modules", "__pycache__", "__pypackages__",
        ".tox", ".nox", ".eggs", ".direnv", ".ipynb_checkpoints",
        ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".pytype", ".pyre",
    }
)  # fmt: skip
_PYTHON_SUFFIXES = (".py", ".pyi", ".pyw")
_PYTHON_SHEBANG = re.compile(rb"#![^\n]*\bpython[0-9.]*\b")
# PEP 263: a comment on the first or second line.
_CODING_COOKIE = re.compile(rb"\A(?:[ \t\f]*#[^\r\n]*(?:\r\n?|\n))?[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
# Lone surrogates stand for bytes that are not UTF-8; the others would break a line of a report in two.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


class SourceFile(msgspec.Struct, frozen=True):
    """One file of the tree that is read.

    Attributes:
        path: POSIX path relative to the tree's root.
        size_bytes: its size when the tree was scanned.
        language: ``python`` (``.py``, ``.pyi``, ``.pyw``, or no suffix and a Python shebang), else ``text``.
        lines: number of lines.
        encoding: the codec its text is read with; empty where none fits, and its undecodable bytes then read
            as U+FFFD. Such a file is always ``text``.
    """

    path: str
    size_bytes: int
    language: Language
    lines: int
    encoding: str

    @property
    def is_stub(self) -> bool:
        """Whether this is a type stub, in which nothing runs."""
        return self.path.endswith(".pyi")


class Skipped(msgspec.Struct, frozen=True):
    """A file or directory that is not (wholly) read, and why in a few words; the path is printable."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Tree:
    """What is read of a repository; immutable. Two that hold the same have the same digest.

    Attributes:
        root: absolute path, with no symbolic link in it.
        files: sorted by path.
        skipped: what cannot be read as what it is, sorted by path; ignored files are not among them.
        binary: how many files hold bytes that are not text, and are passed over.
        digest: SHA-256, in hexadecimal, over the path and content of every file.
    """

    root: Path
    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]
    binary: int
    digest: str
    _by_path: dict[str, SourceFile] = field(init=False, repr=False)
    _lines: Callable[[str], tuple[str, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_path", {file.path: file for file in self.files})
        cached = functools.lru_cache(maxsize=_FILES_CACHED_MAX)(self._read_lines)
        object.__setattr__(self, "_lines", cached)

    @classmethod
    def scan(cls, root: Path) -> Tree:
        """Take the inventory of a directory; a single file gives a tree of that one file.

        Raises:
            TreeError: there is nothing at ``root``, or it cannot be listed.
        """
        try:
            resolved = Path(root).resolve(strict=True)
            mode = resolved.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise TreeError(f"no such directory: {_printable(str(root))}") from None
        except (OSError, RuntimeError) as error:
            reason = _reason(error) if isinstance(error, OSError) else "too many levels of symbolic links"
            raise TreeError(f"cannot read {_printable(str(root))}: {reason}") from None
        scan = _Scan(resolved)
        if stat.S_ISREG(mode):
            scan = _Scan(resolved.parent)
            scan.read(resolved.name)
        elif stat.S_ISDIR(mode):
            scan.walk()
        else:
            raise TreeError(f"neither a directory nor a file: {_printable(str(root))}")
        return scan.tree()

    @property
    def size_bytes(self) -> int:
        """Size of all the files together."""
        return sum(file.size_bytes for file in self.files)

    def get(self, path: str) -> SourceFile | None:
        """The file at ``path``, or None."""
        return self._by_path.get(path)

    def python(self, *, stubs: bool = True) -> tuple[SourceFile, ...]:
        """The files that hold Python; without ``stubs``, those in which something runs."""
        return tuple(file for file in self.files if file.language == "python" and (stubs or not file.is_stub))

    def text(self, path: str) -> str:
        """The text of a file, every line end a newline; empty if it is not here, or has gone since."""
        return "\n".join(self._lines(path))

    def text_lines(self, path: str) -> tuple[str, ...]:
        """The lines of a file without their ends; none if it is not in the tree or has gone since."""
        return self._lines(path)

    def line(self, path: str, number: int) -> str:
        """Line ``number`` of a file, counted from 1; a line that is not there reads as empty."""
        lines = self._lines(path)
        return lines[number - 1] if 1 <= number <= len(lines) else ""

    def normalised(self, path: str, number: int) -> str:
        """The line as it counts for identity: white space collapsed, none at the ends."""
        return " ".join(self.line(path, number).split())

    def _read_lines(self, path: str) -> tuple[str, ...]:
        file = self._by_path.get(path)
        if file is None:
            return ()
        try:
            data = _read(self.root / path)
        except OSError:
            return ()
        return split_lines(data.decode(file.encoding or "utf-8", errors="replace"))


def split_lines(text: str) -> tuple[str, ...]:
    """Lines as Python counts them: form feeds and Unicode separators, unlike for str.splitlines, end none."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return tuple(lines)


class _Rules(NamedTuple):
    """One ignore file: its directory, relative to the outermost one that counts, and its patterns."""

    base: str
    spec: GitIgnoreSpec


class _Ignores(NamedTuple):
    """The ignore files that hold in one directory, outermost first."""

    git: tuple[_Rules, ...] = ()
    smesh: tuple[_Rules, ...] = ()

    def within(self, directory: Path, base: str) -> _Ignores:
        """The rules that hold in ``directory``, given those of its parent."""
        return _Ignores(
            self.git + _rules(directory / ".gitignore", base),
            self.smesh + _rules(directory / ".smeshignore", base),
        )

    def exclude(self, path: str) -> bool:
        """Whether ``path`` (a directory's ends in ``/``) is to be passed over."""
        for rules in (*reversed(self.smesh), *reversed(self.git)):
            include = _last_word(rules.spec, path[len(rules.base) :])
            if include is not None:
                return include
        return False


def _last_word(spec: GitIgnoreSpec, path: str) -> bool | None:
    """What the last pattern that matches this very path says; patterns for what lies above it have been asked there."""
    for pattern in reversed(list(spec.patterns)):
        if pattern.include is None or pattern.regex is None:
            continue
        for found in pattern.regex.finditer(path):
            if found.groupdict().get("ps_d") is None or found.end("ps_d") == len(path):
                return pattern.include
    return None


class _Scan:
    """One walk over one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[SourceFile] = []
        self.skipped: list[Skipped] = []
        self.binary = 0
        self.hashes: dict[str, bytes] = {}

    def tree(self) -> Tree:
        self.files.sort(key=lambda file: file.path)
        self.skipped.sort(key=lambda skip: (skip.path, skip.reason))
        digest = hashlib.sha256(b"smesh tree 1\0")
        for file in self.files:
            digest.update(file.path.encode() + b"\0" + self.hashes[file.path])
        return Tree(self.root, tuple(self.files), tuple(self.skipped), self.binary, digest.hexdigest())

    def skip(self, path: str, reason: str) -> None:
        self.skipped.append(Skipped(_printable(path), reason))

    def walk(self) -> None:
        """Read every directory from the root down; raises TreeError if the root itself cannot be listed."""
        lead, ignores = _enclosing(self.root)
        pending = [("", ignores)]
        while pending:
            directory, outer = pending.pop()
            try:
                entries = self._entries(directory)
            except OSError as error:
                if not directory:
                    raise TreeError(f"cannot read {_printable(str(self.root))}: {_reason(error)}") from None
                self.skip(directory.rstrip("/"), _reason(error))
                continue
            names = {entry.name for entry in entries}
            if directory and "pyvenv.cfg" in names:
                continue
            inner = outer
            if ".gitignore" in names or ".smeshignore" in names:
                inner = outer.within(self.root / directory, lead + directory)
            for entry in entries:
                path = directory + entry.name
                if entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if not (_never_entered(entry.name) or inner.exclude(f"{lead}{path}/")):
                        self._enter(path, inner, pending)
                elif entry.is_file(follow_symlinks=False) and not inner.exclude(lead + path):
                    self.read(path)

    def _entries(self, directory: str) -> list[os.DirEntry[str]]:
        with os.scandir(self.root / directory) as listing:
            return list(listing)

    def _enter(self, path: str, ignores: _Ignores, pending: list[tuple[str, _Ignores]]) -> None:
        if _UNPRINTABLE.search(path):
            self.skip(path, "its name is not printable text")
        else:
            pending.append((f"{path}/", ignores))

    def read(self, path: str) -> None:
        """Look at one regular file, and record it as source, as skipped or as binary."""
        if _UNPRINTABLE.search(path):
            self.skip(path, "its name is not printable text")
            return
        try:
            data = _read(self.root / path)
        except _NotTextError:
            self.binary += 1
            return
        except _TooLargeError:
            self.skip(path, f"larger than {FILE_BYTES_MAX // 1024 // 1024} MiB")
            return
        except OSError as error:
            if error.errno != errno.ELOOP:  # it became a symbolic link since it was listed
                self.skip(path, _reason(error))
            return
        longest = max(map(len, re.split(rb"[\r\n]", data))) if len(data) > LINE_CHARACTERS_MAX else 0
        if longest > LINE_CHARACTERS_MAX:
            self.skip(path, f"a line of {longest:,} characters")
            return
        language = _language(path, data)
        encoding = _encoding(data, language)
        if language == "python" and not encoding:
            self.skip(path, "not UTF-8, so only searched for secrets")
            language = "text"
        self.hashes[path] = hashlib.sha256(data).digest()
        self.files.append(SourceFile(path, len(data), language, _count_lines(data), encoding))


class _NotTextError(Exception):
    """The file holds a NUL where text has none."""


class _TooLargeError(Exception):
    """The file holds more than FILE_BYTES_MAX."""


def _read(path: Path) -> bytes:
    """The content of a regular text file; raises OSError, _NotTextError or _TooLargeError."""
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        # One look at the start settles what is binary, however large it is.
        large = status.st_size > FILE_BYTES_MAX
        data = os.read(descriptor, BINARY_PROBE_BYTES if large else status.st_size + 1)
        if b"\0" in data[:BINARY_PROBE_BYTES]:
            raise _NotTextError
        if large or len(data) > status.st_size:
            raise _TooLargeError
        return data
    finally:
        os.close(descriptor)


def _language(path: str, data: bytes) -> Language:
    name = path.rpartition("/")[2].lower()
    if name.endswith(_PYTHON_SUFFIXES) or ("." not in name and _PYTHON_SHEBANG.match(data)):
        return "python"
    return "text"


def _encoding(data: bytes, language: Language) -> str:
    """The codec that reads ``data``, or nothing. Python names its own by a cookie (PEP 263)."""
    candidate = "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"
    if language == "python" and (cookie := _CODING_COOKIE.match(data)):
        try:
            name = codecs.lookup(cookie[1].decode("ascii")).name
        except (LookupError, UnicodeDecodeError):
            return ""
        candidate = candidate if name == "utf-8" else name
    try:
        data.decode(candidate)
    except (UnicodeError, LookupError):  # LookupError: a codec such as rot13, which makes no text of bytes
        return ""
    return candidate


def _count_lines(data: bytes) -> int:
    ends = data.count(b"\n")
    if b"\r" in data:
        ends += data.count(b"\r") - data.count(b"\r\n")
    return ends + (not data.endswith((b"\n", b"\r")) and bool(data))


def _never_entered(name: str) -> bool:
    return name in _NEVER_ENTERED or name.endswith(".egg-info")


def _enclosing(root: Path) -> tuple[str, _Ignores]:
    """Where the root lies in its repository (empty, or ending in ``/``), and the rules from above it."""
    top = next((path for path in (root, *root.parents) if _exists(path / ".git")), root)
    ignores = _Ignores(git=_rules(_git_directory(top) / "info" / "exclude", ""))
    lead = ""
    for part in root.relative_to(top).parts:
        ignores = ignores.within(top / lead, lead)
        lead += f"{part}/"
        if ignores.exclude(lead):
            return "", _Ignores()
    return lead, ignores


def _exists(path: Path) -> bool:
    """Whether something is there that we may know of; Path.exists raises where we may not look."""
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _git_directory(top: Path) -> Path:
    """Where git keeps what belongs to the repository; a linked work tree and a submodule say so in a file."""
    place = top / ".git"
    try:
        if place.is_file():
            place = top / place.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        common = place / "commondir"
        return place / common.read_text(encoding="utf-8").strip() if common.is_file() else place
    except (OSError, UnicodeDecodeError, ValueError):
        return place


def _rules(path: Path, base: str) -> tuple[_Rules, ...]:
    """The rules of one ignore file; none if it is missing or unreadable, as git has it."""
    try:
        text = _read(path).decode("utf-8-sig", errors="surrogateescape")
    except (OSError, _NotTextError, _TooLargeError):
        return ()
    lines = [_as_git_reads(line) for line in split_lines(text) if _is_pattern(line)]
    return (_Rules(base, GitIgnoreSpec.from_lines(lines)),) if lines else ()


def _as_git_reads(line: str) -> str:
    """The pattern that pathspec takes as git takes this one: ``b/**`` is all that is in b, and not b itself."""
    stripped = line.rstrip(" ")
    name = stripped.removesuffix("/")
    return f"{name}/*{stripped[len(name) :]}" if name.endswith("/**") else line


def _is_pattern(line: str) -> bool:
    try:
        spec = GitIgnoreSpec.from_lines([line])
    except ValueError:  # git passes over a pattern that makes no sense, and so do we
        return False
    return any(pattern.include is not None for pattern in spec.patterns)


def _printable(path: str) -> str:
    return _UNPRINTABLE.sub(lambda match: f"\\x{_byte(match[0]):02x}", path)


def _byte(character: str) -> int:
    code = ord(character)
    return code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code


def _reason(error: OSError) -> str:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "permission denied"
    return (error.strerror or type(error).__name__).lower()
