"""Child processes: bounded in time and output, gone when nobody waits for them, and honest about why."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pytest
from smesh_agent.analyzers import Radon, RuffStyle, process
from smesh_agent.analyzers.base import Outcome
from smesh_agent.analyzers.host import Request, WorkerAnalyzer, shares, time_limit_s
from smesh_agent.analyzers.process import CrashError, HungError, Slots, run_process
from smesh_agent.errors import AnalyzerFailedError
from smesh_agent.tree import SourceFile, Tree


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


async def run(program: str, *, timeout_s: float = 20, request: bytes = b"", slots: Slots | None = None) -> bytes:
    return await run_process("test", python(program), slots=slots or Slots(2), timeout_s=timeout_s, request=request)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def until_gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


async def until_written(path: Path) -> int:
    for _ in range(500):
        if text := written(path):
            return int(text)
        await asyncio.sleep(0.01)
    raise AssertionError(f"{path} was never written")


async def test_the_answer_is_what_it_writes() -> None:
    assert await run("import sys; sys.stdout.write(sys.stdin.readline() * 2)", request=b"ab\n") == b"ab\nab\n"


async def test_large_requests_and_answers_do_not_block() -> None:
    request = b"x" * 3_000_000 + b"\n"
    echo = "import sys; s = sys.stdin.buffer.readline(); sys.stderr.write('e' * 500_000); sys.stdout.buffer.write(s)"
    assert await run(echo, request=request) == request


async def test_a_child_that_never_reads_its_request_is_no_failure() -> None:
    assert await run("print('done')", request=b"x" * 3_000_000) == b"done\n"


async def test_a_crash_gives_the_exit_code_and_the_last_line() -> None:
    with pytest.raises(CrashError, match=r"^test: exit code 3: the end$"):
        await run("import sys; sys.stderr.write('start\\n' * 9000 + 'the end\\n\\n'); sys.exit(3)")
    with pytest.raises(CrashError, match=r"^test: exit code 3$"):
        await run("import sys; sys.exit(3)")


async def test_a_signal_is_named() -> None:
    with pytest.raises(CrashError, match="ended by SIGSEGV") as failure:
        await run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert failure.value.signal_name == "SIGSEGV"


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(AnalyzerFailedError, match="cannot be started: No such file"):
        await run_process("test", ["/no/such/program"], slots=Slots(1), timeout_s=1)


async def test_too_long_an_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ANSWER_BYTES_MAX", 1024 * 1024)
    with pytest.raises(AnalyzerFailedError, match="more than 1 MiB"):
        await run("import sys\nwhile True: sys.stdout.write('x' * 10000)")


_SPAWNING = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({path!r}, "w").write(str(child.pid))
{after}
"""


@pytest.mark.parametrize("after", ["time.sleep(600)", "sys.exit(0)"])
async def test_a_hung_child_is_ended_with_all_it_started(tmp_path: Path, after: str) -> None:
    """Also one that ends itself, but leaves a child that keeps its output open."""
    place = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(HungError, match="no answer within 1 s"):
        await run(_SPAWNING.format(path=str(place), after=after), timeout_s=1)
    assert time.monotonic() - started < 5
    assert await until_gone(int(place.read_text()))


async def test_cancellation_ends_the_child_at_once(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    slots = Slots(1)
    task = asyncio.create_task(run(_SPAWNING.format(path=str(place), after="time.sleep(600)"), slots=slots))
    grandchild = await until_written(place)
    waiting = asyncio.create_task(run("print(1)", slots=slots))
    await asyncio.sleep(0.05)
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert await until_gone(grandchild)
    assert await asyncio.wait_for(waiting, 10) == b"1\n", "the slot was not given back"


async def test_no_more_children_than_slots(tmp_path: Path) -> None:
    slots = Slots(2)
    stamp = "import time; a = time.monotonic(); time.sleep(0.2); print(a, time.monotonic())"
    spans = [
        tuple(map(float, answer.split()))
        for answer in await asyncio.gather(*[run(stamp, slots=slots) for _ in range(6)])
    ]
    for start, _ in spans:
        assert sum(a <= start < b for a, b in spans) <= 2


_INTERRUPTED = """
import asyncio, sys
from smesh_agent.analyzers.process import Slots, run_process
program = "import os, time; open({place!r}, 'w').write(str(os.getpid())); time.sleep(600)"
async def main():
    await run_process("test", [sys.executable, "-c", program], slots=Slots(1), timeout_s=600)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_an_interrupted_parent_leaves_nobody_behind(tmp_path: Path, how: signal.Signals) -> None:
    place = tmp_path / "pid"
    program = _INTERRUPTED
    if how == signal.SIGKILL:  # a worker notices that its standard input has closed
        program = program.replace(
            "import os, time; open({place!r}, 'w')",
            "import os, time, threading; from smesh_agent.analyzers.worker import _end_with_parent; "
            "threading.Thread(target=_end_with_parent, daemon=True).start(); open({place!r}, 'w')",
        )
    parent = await asyncio.create_subprocess_exec(
        *python(program.format(place=str(place))), stderr=asyncio.subprocess.PIPE
    )
    child = await until_written(place)
    assert alive(child)
    parent.send_signal(how)
    _, complaint = await asyncio.wait_for(parent.communicate(), 10)
    assert await until_gone(child)
    assert b"never awaited" not in complaint
    assert b"Warning" not in complaint


def file(path: str, size: int) -> SourceFile:
    return SourceFile(path, size, "python", 1, "utf-8")


def test_shares_are_balanced_and_complete() -> None:
    files = [file(f"{n}.py", (n + 1) * 10_000) for n in range(40)]
    parts = shares(files, 4)
    assert sorted(f.path for part in parts for f in part) == sorted(f.path for f in files)
    sizes = [sum(f.size_bytes for f in part) for part in parts]
    assert max(sizes) - min(sizes) <= 10_000
    assert shares(files, 4) == parts
    assert len(shares([file("a.py", 10), file("b.py", 10)], 4)) == 1
    assert shares([], 4) == []


def test_the_time_limit_grows_with_the_tree() -> None:
    assert time_limit_s([]) == 120
    assert time_limit_s([file("a.py", 1024 * 1024)] * 10) == 300


async def test_a_worker_that_dies_on_a_file_goes_on_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is real; radon in it is replaced by something that takes the process with it."""
    (tmp_path / "stub" / "radon").mkdir(parents=True)
    (tmp_path / "stub" / "radon" / "__init__.py").write_text("")
    (tmp_path / "stub" / "radon" / "complexity.py").write_text(
        "import os, signal, time\n"
        "def cc_visit(code):\n"
        "    if 'deadly' in code:\n        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if 'failing' in code:\n        raise TypeError('bug in radon')\n"
        "    if 'endless' in code:\n        time.sleep(600)\n"
        "    print('noise on the standard output')\n"
        "    return []\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("a", "b", "c", "d"):
        (root / f"{name}.py").write_text("deadly = 1\n" if name in "bd" else "x = 1\n")
    outcome = await Radon().run(Tree.scan(root))
    assert [(entry.path, entry.reason) for entry in outcome.unread] == [
        ("b.py", "radon was ended by SIGSEGV"),
        ("d.py", "radon was ended by SIGSEGV"),
    ]
    for name in ("e", "f"):
        (root / f"{name}.py").write_text("deadly = 1\n")
    with pytest.raises(CrashError, match="SIGSEGV"):
        await Radon().run(Tree.scan(root))
    for path in root.iterdir():
        path.write_text("failing = 1\n" if path.name == "c.py" else "x = 1\n")
    with pytest.raises(CrashError, match="radon: exit code 1: TypeError: bug in radon"):
        await Radon().run(Tree.scan(root))
    (root / "c.py").write_text("endless = 1\n")
    with pytest.raises(HungError, match=r"^radon: no answer within 2 s \(in c.py\)$"):
        await Radon(timeout_s=2).run(Tree.scan(root))
    (root / "c.py").unlink()
    assert await Radon().run(Tree.scan(root)) == Outcome([], [])


async def test_one_failing_share_fails_the_analyzer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(WorkerAnalyzer):
        name, role, lineage, separable = "no-such-analyzer", "style", "x", True

    for n in range(8):
        (tmp_path / f"{n}.py").write_text("#\n" * 200_000)
    with pytest.raises(AnalyzerFailedError, match=r"^no-such-analyzer: exit code 1: KeyError"):
        await Broken(slots=Slots(2)).run(Tree.scan(tmp_path))


async def test_no_temporary_files_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    await Radon().run(Tree.scan(tmp_path))
    await RuffStyle().run(Tree.scan(tmp_path))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_worker_answers_with_json_only(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "position").touch()
    command = [
        sys.executable,
        "-P",
        "-m",
        "smesh_agent.analyzers.worker",
        "radon",
        str(tmp_path),
        str(tmp_path / "position"),
    ]
    request = msgspec.json.encode(Request([("a.py", "utf-8"), ("gone.py", "utf-8")])) + b"\n"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(request)
        child.stdin.flush()
        answer = child.stdout.read()
    outcome = msgspec.json.decode(answer, type=Outcome)
    assert [(entry.path, entry.reason) for entry in outcome.unread] == [("gone.py", "no such file or directory")]


def test_a_worker_without_a_parent_ends(tmp_path: Path) -> None:
    (tmp_path / "position").touch()
    os.mkfifo(tmp_path / "a.py")  # it will wait here for ever
    command = [
        sys.executable,
        "-P",
        "-m",
        "smesh_agent.analyzers.worker",
        "radon",
        str(tmp_path),
        str(tmp_path / "position"),
    ]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(b'{"files":[["a.py","utf-8"]]}\n')
    child.stdin.flush()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1.5)
        raise AssertionError("it should be waiting")
    child.stdin.close()
    assert child.wait(5) == 1
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    child.stderr.close()
