"""Compilation: what a compiled kernel is keyed by, what it costs, and that no state of its cache breaks anything.

The path of a tick takes seconds to compile, so that is done once; the rest is tried with a kernel of one line.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smesh_core
from smesh_core.engine import default_engine, set_compile_notice, warmup
from smesh_core.network import Network
from smesh_core.topologies import full_mesh

pytest.importorskip("numba")

from numba.core import event
from smesh_core.kernels import _jit, compiled, tick

PACKAGE = Path(str(files("smesh_core")))
KERNELS = PACKAGE / "kernels"
PROGRAM = """
from smesh_core.network import Network
from smesh_core.topologies import full_mesh
network = Network(full_mesh(7), seed=3)
network.emit_batch([0, 1, 2] * 3, confidence=0.6, evidence=0.5, counter_evidence=0.2, radius=3)
network.fail([4], at_tick=2)
network.recover([4], at_tick=5)
network.run(30)
print(network.engine, network.digest())
"""


def digest_here(engine: Any = "numpy") -> str:
    """What the program prints, after the name of the engine."""
    network = Network(full_mesh(7), seed=3, engine=engine)
    network.emit_batch([0, 1, 2] * 3, confidence=0.6, evidence=0.5, counter_evidence=0.2, radius=3)
    network.fail([4], at_tick=2)
    network.recover([4], at_tick=5)
    network.run(30)
    return network.digest()


def run(program: str, *, package: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own, with nothing said of numba but this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    if package is not None:
        kept["PYTHONPATH"] = str(package)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**kept, **environment},
    )


def says(done: subprocess.CompletedProcess[str], output: str) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A cache of compiled kernels that one process has filled, and what that process said."""
    place = tmp_path_factory.mktemp("cache")
    return place, run(PROGRAM, NUMBA_CACHE_DIR=str(place))


# ---- the cache


def test_the_first_process_says_once_that_it_compiles(cache: tuple[Path, Any]) -> None:
    _, done = cache
    says(done, f"numba {digest_here()}")
    assert done.stderr == "smesh: compiling run_signals (a few seconds; kept for next time)\n"


def test_one_kernel_of_one_signature_is_kept_under_the_stamp_of_its_sources(cache: tuple[Path, Any]) -> None:
    place, _ = cache
    kept = sorted(path.name for path in place.rglob("*.nb?"))
    assert len(kept) == 2
    assert all(name.startswith(f"tick.run_signals.{_jit.source_stamp()}-") for name in kept)
    assert [name.rsplit(".", 2)[1:] for name in kept if name.endswith("nbc")] == [["1", "nbc"]]


def test_a_second_process_compiles_nothing_and_says_nothing(cache: tuple[Path, Any]) -> None:
    place, first = cache
    done = run(PROGRAM, NUMBA_CACHE_DIR=str(place))
    says(done, first.stdout.strip())
    assert done.stderr == ""


TRIPLED = "import small\nprint(small.triple(14), small.triple.is_cached)"


def write_small(place: Path) -> Path:
    """A module with a kernel that compiles in no time, for what is the same with any."""
    (place / "small.py").write_text(
        "from smesh_core.kernels._jit import entry\n@entry(int)\ndef triple(x):\n    return 3 * x\n"
    )
    return place


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a module, with a cache beside it that one process has filled."""
    place = write_small(tmp_path_factory.mktemp("small"))
    done = run(TRIPLED, package=place, NUMBA_CACHE_DIR=str(place / "cache"))
    says(done, "42 True")
    assert done.stderr == "smesh: compiling triple (a few seconds; kept for next time)\n"
    return place


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("length", [100, None], ids=["cut short", "turned around"])
def test_a_broken_cache_costs_a_compilation_and_nothing_else(
    small: Path, tmp_path: Path, kind: str, length: int | None
) -> None:
    shutil.copytree(small / "cache", tmp_path / "cache")
    (broken,) = (tmp_path / "cache").rglob(f"*.{kind}")
    held = broken.read_bytes()
    broken.write_bytes(bytes(255 - byte for byte in held) if length is None else held[:length])
    done = run(TRIPLED, package=small, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("42 ")
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 2
    assert all(line.startswith("smesh: ") for line in lines)
    assert sum("compiling triple" in line for line in lines) == 1


def test_where_no_cache_can_be_it_compiles_for_itself_and_says_so(tmp_path: Path) -> None:
    """No directory can be made beside the sources, nor below a home that is a file; root or not."""
    write_small(tmp_path)
    (tmp_path / "__pycache__").touch()
    home = tmp_path / "home"
    home.touch()
    nowhere = {name: str(home / "below") for name in ("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME", "IPYTHONDIR")}
    done = run(TRIPLED, package=tmp_path, **nowhere)
    says(done, "42 False")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0] == "smesh: no writable directory for compiled kernels; compiling for this process alone"
    assert lines[1].startswith("smesh: compiling triple")


# ---- what a kernel is keyed by


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources that may be edited, and that the stamp is taken of."""
    shutil.copytree(PACKAGE, tmp_path / "smesh_core", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(_jit, "files", lambda name: tmp_path / name)
    return tmp_path / "smesh_core"


def stamp() -> str:
    return _jit.source_stamp.__wrapped__()


def test_the_stamp_hangs_on_every_source(copied: Path) -> None:
    stamps = {stamp()}
    assert stamps == {_jit.source_stamp()}
    for number, source in enumerate(_jit._SOURCES, start=2):
        path = copied / source
        path.write_bytes(path.read_bytes() + b"\n# edited\n")
        stamps.add(stamp())
        assert len(stamps) == number, source


def test_the_stamp_hangs_on_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stamp()
    monkeypatch.setitem(_jit._OPTIONS, "nogil", False)
    assert stamp() != before


def test_the_stamp_hangs_on_nothing_else(copied: Path) -> None:
    before = stamp()
    (copied / "field.py").write_bytes(b"")
    assert stamp() == before


@pytest.mark.parametrize("source", sorted(path.name for path in KERNELS.glob("*.py")))
def test_all_that_kernels_take_from_elsewhere_is_among_the_sources(source: str) -> None:
    """numba would notice neither an edited constant nor an edited record."""
    tree = ast.parse((KERNELS / source).read_text())
    if not any(isinstance(node, ast.Name) and node.id in {"entry", "inner"} for node in ast.walk(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("smesh_core"):
            path = (node.module or "").removeprefix("smesh_core.").replace(".", "/") + ".py"
            assert path in _jit._SOURCES, f"{source} takes {[name.name for name in node.names]} from {node.module}"
            assert node.level == 0
        if isinstance(node, ast.Import):
            assert [name.name for name in node.names] == ["numpy"]


def kernels_of(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("source", sorted(path.name for path in KERNELS.glob("*.py")))
def test_kernels_call_only_what_stands_in_their_file(source: str) -> None:
    tree = ast.parse((KERNELS / source).read_text())
    imported = {
        name.asname or name.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("smesh_core")
        for name in node.names
    }
    if not imported & {"entry", "inner"}:
        return
    here = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for kernel in kernels_of(tree):
        decorators = [d.func if isinstance(d, ast.Call) else d for d in kernel.decorator_list]
        assert [d.id for d in decorators if isinstance(d, ast.Name)] in (["entry"], ["inner"]), kernel.name
        for call in (
            node for node in ast.walk(kernel) if isinstance(node, ast.Call) and node not in kernel.decorator_list
        ):
            if isinstance(call.func, ast.Name):
                assert call.func.id in here | {"range", "len", "min", "max"}, f"{kernel.name} calls {call.func.id}"
                assert call.func.id not in imported
            else:
                assert isinstance(call.func, ast.Attribute)
                value = call.func.value
                is_numpy = isinstance(value, ast.Name) and value.id == "np"
                assert is_numpy or call.func.attr == "view", f"{kernel.name} calls {ast.unparse(call.func)}"


def test_only_one_file_calls_numba() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        imports = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {name.name for node in imports for name in node.names} | {
            node.module for node in imports if isinstance(node, ast.ImportFrom)
        }
        uses = any(name and name.split(".")[0] == "numba" for name in names)
        assert uses == (path == KERNELS / "_jit.py"), path


def test_no_option_changes_what_arithmetic_gives() -> None:
    """Networks are the same to the last bit; only decay may round a product and a sum at once, and says so."""
    for kernel in compiled.KERNELS:
        assert "parallel" not in kernel.options, kernel.name
        assert kernel.options["error_model"] == "numpy", kernel.name
        assert kernel.options.get("fastmath", set()) <= {"contract"}, kernel.name
    assert "fastmath" not in tick.run_signals.options
    assert "fastmath" not in _jit._OPTIONS


def test_every_public_operand_of_randomness_is_64_bits() -> None:
    """Constants that kernels mix words with are uint64, so that nothing becomes a float."""
    for name in ("GAMMA", "SIGNAL_STEP", "STREAM_STEP", "TICK_STEP", "RELAY", "EVIDENCE", "ONE", "BLOCK_CELLS"):
        assert type(getattr(tick, name)) is np.uint64, name


# ---- one signature


def test_each_kernel_compiles_once_whatever_it_is_called_with() -> None:
    assert [kernel.name for kernel in compiled.KERNELS].count("run_signals") == 1
    digest_here("numba")
    entries = [kernel.compile() for kernel in compiled.KERNELS]
    with event.install_recorder("numba:compile") as recorder:
        digest_here("numba")
        for threads in (1, 2, 7):
            network = Network(full_mesh(9), engine="numba", capacity=2, lineages=[0] * 9, trust=0.3)
            network.emit_batch(range(9), at_tick=range(9))
            network.set_trust(1, 2, 0.9)
            network.partition([0, 1] * 4 + [0], at_tick=3)
            network.run(20, threads=threads)
    assert not recorder.buffer
    assert [kernel.compile() for kernel in compiled.KERNELS] == entries


def test_warmup_names_the_engine_and_leaves_nothing_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warmup() == default_engine() == "numba"
    assert all(kernel._compiled is not None for kernel in compiled.KERNELS)
    asked: list[str] = []
    monkeypatch.setattr(_jit.Kernel, "compile", lambda kernel: asked.append(kernel.name))
    assert warmup() == "numba"
    assert set(asked) >= {"run_signals"}
    assert compiled.compile_all() is None


# ---- notices


def test_notices_go_where_they_are_sent(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    set_compile_notice(said.append)
    try:
        announcer = _jit._Announcer("a_kernel")
        announcer.on_start(None)
        announcer.on_start(None)
        announcer.on_end(None)
    finally:
        set_compile_notice(None)
    assert said == ["smesh: compiling a_kernel (a few seconds; kept for next time)"]
    assert capsys.readouterr().err == ""
    _jit._Announcer("b_kernel").on_start(None)
    assert capsys.readouterr().err == "smesh: compiling b_kernel (a few seconds; kept for next time)\n"


@pytest.mark.parametrize("error", [OSError("full"), EOFError(), ValueError("odd\nlines"), TypeError("x"), IndexError()])
def test_an_error_of_the_cache_is_one_line_and_a_kernel_that_runs(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    said: list[str] = []

    def triple(x):
        return 3 * x

    kernel = _jit.Kernel(triple, (int,), _jit._OPTIONS)
    first = kernel._specialised
    monkeypatch.setattr(_jit, "notify", said.append)
    calls: list[Any] = []

    def failing(dispatcher: Any) -> Any:
        calls.append(dispatcher)
        if len(calls) == 1:
            raise error
        return first(dispatcher)

    monkeypatch.setattr(kernel, "_specialised", failing)
    assert kernel(7) == 21
    assert not kernel.is_cached
    assert all("\n" not in line for line in said)
    assert said[0].startswith("smesh: the cache of compiled kernels failed (")


def test_an_error_of_a_kernel_is_not_one_of_the_cache() -> None:
    def broken(x):
        return x.nothing_of_the_kind

    kernel = _jit.Kernel(broken, (int,), _jit._OPTIONS)
    set_compile_notice(lambda _: None)
    try:
        with pytest.raises(Exception, match="nothing_of_the_kind"):
            kernel(1)
    finally:
        set_compile_notice(None)


# ---- with the compiler off

PLAIN = """
import warnings
import numpy as np
from smesh_core import rng
from smesh_core.kernels import _jit, tick
from smesh_core.network import Network
from smesh_core.topologies import full_mesh

warnings.simplefilter("error")
np.seterr(over="ignore", divide="ignore", invalid="ignore")  # words wrap, as they are meant to


class Row:
    # One record of a table, by attribute, as kernels see it.
    def __init__(self, table, at):
        self.__dict__.update(table=table, at=at)

    def __getattr__(self, name):
        return self.table[name][self.at]

    def __setattr__(self, name, value):
        self.table[name][self.at] = value


class Rows:
    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)

    def __getitem__(self, at):
        return Row(self.table, at)

    def __setitem__(self, at, row):
        self.table[at] = row.table[row.at]


loops = tick.run_signals.function


def plainly(*arguments):
    return loops(*(Rows(a) if getattr(getattr(a, "dtype", None), "names", None) else a for a in arguments))


tick.run_signals._compiled = plainly
for stream in (tick.RELAY, tick.EVIDENCE):
    for seed, number, at, edge in GOLDEN:
        key = tick.tick_key(tick.stream_key(np.uint64(seed), stream, number), at)
        assert type(key) is np.uint64
        wanted = rng.key(seed, rng.Stream(int(stream)), at, number)
        assert int(key) == int(wanted[0])
        assert tick.draw_unit(key, edge) == rng.draw_unit(wanted, edge)[0]
"""
GOLDEN = [
    (0, 0, 0, 0),
    (42, 1000, 17, 123456),
    (2**53 + 1, 2**53 + 1, 2**53 + 1, 2**53 + 1),
    (2**64 - 1, 2**63 - 1, 2**62, 2**63 - 1),
]


def test_the_loops_say_the_same_uncompiled() -> None:
    """With the compiler off they are plain Python, which traces and counts as covered; words must wrap silently."""
    program = PLAIN.replace("GOLDEN", repr(GOLDEN)) + PROGRAM
    says(run(program, NUMBA_DISABLE_JIT="1"), f"numba {digest_here()}")


def test_networks_run_with_the_compiler_off() -> None:
    says(run(PROGRAM, NUMBA_DISABLE_JIT="1"), f"numba {digest_here()}")


def test_the_digest_is_the_same_compiled() -> None:
    assert digest_here("numba") == digest_here("numpy")
    assert smesh_core.__version__
