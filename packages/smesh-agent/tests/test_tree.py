"""The inventory of a repository."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from smesh_agent.errors import TreeError
from smesh_agent.tree import FILE_BYTES_MAX, LINE_CHARACTERS_MAX, Tree, split_lines


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())


def paths(tree: Tree) -> list[str]:
    return [file.path for file in tree.files]


def reasons(tree: Tree) -> dict[str, str]:
    return {skip.path: skip.reason for skip in tree.skipped}


def test_files_are_sorted_and_described(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b/c.py": "x = 1\ny = 2",
            "a.pyi": "x: int\n",
            "run": "#!/usr/bin/env python3\nprint()\n",
            "sh": "#!/bin/sh\n",
            "notes.txt": "",
        },
    )
    tree = Tree.scan(tmp_path)
    assert [(f.path, f.language, f.lines, f.encoding) for f in tree.files] == [
        ("a.pyi", "python", 1, "utf-8"),
        ("b/c.py", "python", 2, "utf-8"),
        ("notes.txt", "text", 0, "utf-8"),
        ("run", "python", 2, "utf-8"),
        ("sh", "text", 1, "utf-8"),
    ]
    assert [f.path for f in tree.python()] == ["a.pyi", "b/c.py", "run"]
    assert [f.path for f in tree.python(stubs=False)] == ["b/c.py", "run"]
    assert tree.root == tmp_path.resolve()
    assert tree.size_bytes == sum(f.size_bytes for f in tree.files)


def test_digest_names_the_content(tmp_path: Path) -> None:
    for name, files in {
        "one": {"a.py": "1", "b.py": "2"},
        "same": {"b.py": "2", "a.py": "1"},
        "content": {"a.py": "1", "b.py": "3"},
        "names": {"a.py": "1", "c.py": "2"},
        "swapped": {"a.py": "2", "b.py": "1"},
    }.items():
        write(tmp_path / name, files)
    digests = {path.name: Tree.scan(path).digest for path in tmp_path.iterdir()}
    assert digests["one"] == digests["same"]
    assert len(set(digests.values())) == 4


def test_empty_repository_is_a_tree_without_files(tmp_path: Path) -> None:
    tree = Tree.scan(tmp_path)
    assert (tree.files, tree.skipped, tree.binary) == ((), (), 0)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"no such directory: .*nowhere"):
        Tree.scan(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(TreeError):
        Tree.scan(tmp_path / "loop")
    with pytest.raises(TreeError):
        Tree.scan(Path("with\0nul"))


def test_a_file_is_a_tree_of_one(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "x\n", "b.py": "y\n", ".gitignore": "*"})
    tree = Tree.scan(tmp_path / "a.py")
    assert paths(tree) == ["a.py"]
    assert tree.line("a.py", 1) == "x"


def test_a_device_is_no_tree() -> None:
    with pytest.raises(TreeError, match="neither a directory nor a file"):
        Tree.scan(Path("/dev/null"))


def test_lines_are_those_that_python_counts(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": b"one\r\ntwo\x0cstill\rthree \xe2\x80\xa8 still\n  four\t 4 \n"})
    tree = Tree.scan(tmp_path)
    assert tree.text_lines("a.py") == ("one", "two\x0cstill", "three \u2028 still", "  four\t 4 ")
    assert tree.files[0].lines == 4
    assert tree.normalised("a.py", 4) == "four 4"
    assert (tree.line("a.py", 0), tree.line("a.py", 5), tree.line("b.py", 1)) == ("", "", "")


@given(st.text(alphabet="ab\r\n\x0c\x1c\u2028", max_size=30))
def test_split_lines_counts_as_the_compiler(text: str) -> None:
    assert list(split_lines(text)) == [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def test_a_file_that_has_gone_reads_as_empty(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "x\n"})
    tree = Tree.scan(tmp_path)
    (tmp_path / "a.py").unlink()
    assert tree.line("a.py", 1) == ""


def test_what_is_never_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {f"{name}/x.py": "" for name in (".git", ".venv", ".uv", "node_modules", "__pycache__", "a.egg-info")},
    )
    write(tmp_path, {"env/pyvenv.cfg": "", "env/lib/x.py": "", "kept/x.py": ""})
    tree = Tree.scan(tmp_path)
    assert paths(tree) == ["kept/x.py"]
    assert tree.skipped == ()


def test_binary_files_are_counted(tmp_path: Path) -> None:
    write(tmp_path, {"a.bin": b"\0abc", "late.txt": b"x" * 9000 + b"\0", "big.bin": b"\0" * (FILE_BYTES_MAX + 1)})
    tree = Tree.scan(tmp_path)
    assert (tree.binary, paths(tree), tree.skipped) == (2, ["late.txt"], ())


def test_large_files_and_long_lines_are_skipped(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "large.py": b"#\n" * FILE_BYTES_MAX,
            "just.txt": b"#\n" * (FILE_BYTES_MAX // 2),
            "long.json": "x" * (LINE_CHARACTERS_MAX + 1),
            "cr.txt": ("x" * 60_000 + "\r") * 2,
        },
    )
    with (tmp_path / "huge.py").open("wb") as stream:  # one line of 100 MB, sparse but for its start
        stream.write(b"x" * 10_000)
        stream.truncate(100_000_000)
    tree = Tree.scan(tmp_path)
    assert paths(tree) == ["cr.txt", "just.txt"]
    assert reasons(tree) == {
        "huge.py": "larger than 1 MiB",
        "large.py": "larger than 1 MiB",
        "long.json": "a line of 100,001 characters",
    }


def test_encodings(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "bom.py": b"\xef\xbb\xbfx = 1\n",
            "cookie.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
            "second.py": b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nx = '\x80'\n",
            "third.py": b"\n\n# coding: latin-1\nx = '\xe9'\n",
            "wrong.py": b"x = '\xe9'\n",
            "unknown.py": b"# coding: no-such-codec\nx = 1\n",
            "rot.py": b"# coding: rot13\nk = 1\n",
            "text.txt": b"caf\xe9 au lait\n",
        },
    )
    tree = Tree.scan(tmp_path)
    described = {f.path: (f.language, f.encoding) for f in tree.files}
    assert described["bom.py"] == ("python", "utf-8-sig")
    assert described["cookie.py"] == ("python", "iso8859-1")
    assert described["second.py"] == ("python", "cp1252")
    for name in ("third.py", "wrong.py", "unknown.py", "rot.py", "text.txt"):
        assert described[name] == ("text", ""), name
    assert tree.line("bom.py", 1) == "x = 1"
    assert tree.line("second.py", 3) == "x = '€'"
    assert tree.line("text.txt", 1) == "caf\ufffd au lait"
    assert set(reasons(tree)) == {"third.py", "wrong.py", "unknown.py", "rot.py"}


def test_links_loops_and_special_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, {"real/a.py": "", "outside.py": ""})
    root = tmp_path / "real"
    (root / "loop").symlink_to(".")
    (root / "b.py").symlink_to("a.py")
    (root / "c.py").symlink_to("../outside.py")
    (root / "dangling.py").symlink_to("nowhere")
    os.mkfifo(root / "fifo.py")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)  # the name of a socket has room for about 100 bytes
        try:
            listener.bind("socket.py")
        finally:
            os.chdir(here)
        tree = Tree.scan(root)
    assert (paths(tree), tree.skipped) == (["a.py"], ())
    (tmp_path / "link").symlink_to("real")
    assert Tree.scan(tmp_path / "link").root == root.resolve()


def test_names_that_are_not_printable_are_skipped_with_an_escaped_name(tmp_path: Path) -> None:
    for name in (b"new\nline.py", b"caf\xe9.py", b"esc\x1b[31m.py"):
        (tmp_path / os.fsdecode(name)).write_text("x = 1\n")
    (tmp_path / os.fsdecode(b"d\xff")).mkdir()
    write(tmp_path, {"-rf.py": "", "@args.py": "", "a b 'c'.py": "", "naïve ☃.py": ""})
    tree = Tree.scan(tmp_path)
    assert paths(tree) == ["-rf.py", "@args.py", "a b 'c'.py", "naïve ☃.py"]
    assert set(reasons(tree)) == {"new\\x0aline.py", "caf\\xe9.py", "esc\\x1b[31m.py", "d\\xff"}
    assert all(skip.path.isprintable() and skip.path.encode() for skip in tree.skipped)


_SCAN = """
import os, sys
from pathlib import Path
from smesh_agent.errors import TreeError
from smesh_agent.tree import Tree
if os.getuid() == 0:  # root reads everything
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    tree = Tree.scan(Path(sys.argv[1]))
except TreeError as error:
    sys.exit(str(error))
print([file.path for file in tree.files], [(skip.path, skip.reason) for skip in tree.skipped])
"""


@pytest.fixture
def readable(tmp_path: Path) -> Path:
    """A directory that others can reach."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.owner() == tmp_path.owner() and directory != Path("/tmp"):  # noqa: S108
            directory.chmod(directory.stat().st_mode | 0o055)
    return tmp_path


def scan_unprivileged(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _SCAN, str(path)], capture_output=True, text=True, check=False)


def test_what_may_not_be_read_is_skipped(readable: Path) -> None:
    write(readable, {"ok.py": "", "closed.py": "", "dir/inner.py": ""})
    (readable / "closed.py").chmod(0)
    (readable / "dir").chmod(0)
    result = scan_unprivileged(readable)
    (readable / "dir").chmod(0o755)
    assert result.stdout.strip() == ("['ok.py'] [('closed.py', 'permission denied'), ('dir', 'permission denied')]"), (
        result.stderr
    )


def test_a_root_that_may_not_be_listed_is_an_error(readable: Path) -> None:
    root = readable / "closed"
    root.mkdir(mode=0)
    result = scan_unprivileged(root)
    assert result.returncode == 1
    assert result.stderr.strip() == f"cannot read {root}: permission denied"


def test_ignore_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".gitignore": "# comment\n*.log\n!keep.log\n/build/\ndocs/*.tmp\ncache/\n",
            "a.log": "", "keep.log": "", "build/x.py": "", "sub/build/y.py": "",
            "docs/a.tmp": "", "docs/deep/b.tmp": "", "cache/z.py": "",
            "sub/.gitignore": "!a.log\n*.py\n", "sub/a.log": "", "sub/c.py": "", "sub/deep/d.py": "",
        },
    )  # fmt: skip
    assert paths(Tree.scan(tmp_path)) == [
        ".gitignore", "docs/deep/b.tmp", "keep.log", "sub/.gitignore", "sub/a.log",
    ]  # fmt: skip


def test_smeshignore_comes_after(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".gitignore": "build/\n*.gen.py\n",
            ".smeshignore": "!build/\n!wanted.gen.py\nvendor/\n",
            "build/x.py": "", "wanted.gen.py": "", "other.gen.py": "", "vendor/v.py": "",
        },
    )  # fmt: skip
    assert paths(Tree.scan(tmp_path)) == [".gitignore", ".smeshignore", "build/x.py", "wanted.gen.py"]


def test_the_enclosing_repository_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".git/info/exclude": "secret.py\n",
            ".gitignore": "/pkg/gen/\n/other.py\n",
            "pkg/.gitignore": "inner.py\n",
            "pkg/src/gen/a.py": "", "pkg/gen/b.py": "", "pkg/src/other.py": "", "pkg/src/inner.py": "",
            "pkg/src/secret.py": "",
        },
    )  # fmt: skip
    assert paths(Tree.scan(tmp_path / "pkg")) == [".gitignore", "src/gen/a.py", "src/other.py"]
    assert paths(Tree.scan(tmp_path / "pkg" / "src")) == ["gen/a.py", "other.py"]


def test_a_root_that_its_repository_ignores_stands_alone(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": "", ".gitignore": "*\n", "unpacked/a.py": ""})
    assert paths(Tree.scan(tmp_path / "unpacked")) == ["a.py"]


def test_senseless_ignore_files_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": b"!\n[\n\\\n\xff\xfe*\n***/\nb.py\n", "a.py": "", "b.py": ""})
    assert "a.py" in paths(Tree.scan(tmp_path))
    assert "b.py" not in paths(Tree.scan(tmp_path))
    (tmp_path / ".gitignore").unlink()
    os.mkfifo(tmp_path / ".gitignore")
    assert paths(Tree.scan(tmp_path)) == ["a.py", "b.py"]


_SEGMENT = st.sampled_from(["a", "b", "lib", "x.py", "y.txt"])
_PATTERN = st.builds(
    lambda negate, rooted, parts, trailing: f"{negate}{rooted}{'/'.join(parts)}{trailing}",
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(st.sampled_from(["a", "b", "lib", "*.py", "*", "**", "x.*", "?"]), min_size=1, max_size=3),
    st.sampled_from(["", "/"]),
)


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(files={"a/b/a", "a/b/c/d"}, top=[], nested=["b/**/"])
@example(files={"a/a/a"}, top=[], nested=["a", "!a/**"])
@example(files={"a/b/a", "a/a"}, top=["a", "*/", "!a"], nested=[])
@given(
    files=st.sets(st.lists(_SEGMENT, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8),
    top=st.lists(_PATTERN, max_size=4),
    nested=st.lists(_PATTERN, max_size=3),
)
def test_what_is_ignored_is_what_git_ignores(
    tmp_path_factory: pytest.TempPathFactory, files: set[str], top: list[str], nested: list[str]
) -> None:
    root = tmp_path_factory.mktemp("repository")
    for path in sorted(files):  # a name cannot be a file and a directory
        try:
            write(root, {path: "x\n"})
        except OSError:
            continue
    write(root, {".gitignore": "\n".join(top) + "\n"})
    if (root / "a").is_dir():
        write(root, {"a/.gitignore": "\n".join(nested) + "\n"})
    environment = {"PATH": os.environ["PATH"], "HOME": str(root.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(root)]
    subprocess.run([*command, "init", "-q"], check=True, env=environment)
    listed = subprocess.run(
        [*command, "ls-files", "-z", "--others", "--exclude-standard"],
        check=True, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert paths(Tree.scan(root)) == sorted(filter(None, listed.stdout.split("\0")))
