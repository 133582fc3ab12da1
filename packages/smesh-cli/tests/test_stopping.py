"""Ctrl-C and SIGTERM in the middle of a review: what was found is printed, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import children_of, is_alive
from smesh_cli import stopping

if TYPE_CHECKING:
    import asyncio

WORKER = b"smesh_agent.analyzers.worker"
END_S = 10
FILES = 100


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Some 10 MB of Python, which keep bandit busy for half a minute; one file under many names."""
    root = tmp_path_factory.mktemp("large")
    functions = "".join(f'def add_{n}(a):\n    """Add."""\n    return a + {n}\n\n\n' for n in range(2000))
    (root / "m0.py").write_text(f'"""Sums."""\n\n\n{functions}')
    for number in range(1, FILES):
        os.link(root / "m0.py", root / f"m{number}.py")
    return root


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """An inventory that takes a while: 3 GB of text, one file under many names."""
    root = tmp_path_factory.mktemp("many")
    (root / "t0.txt").write_text(("word " * 19 + "\n") * 10_000)
    for number in range(1, 3000):
        os.link(root / "t0.txt", root / f"t{number}.txt")
    return root


def workers_of(process) -> dict[int, bytes]:
    """The Python workers of a review that have begun to run their own program."""
    return {pid: line for pid, line in children_of(process.pid).items() if WORKER in line}


def bytes_read_by(process) -> int:
    """How much a process has read so far, from whatever it has open."""
    (line,) = (line for line in Path(f"/proc/{process.pid}/io").read_text().splitlines() if line.startswith("rchar:"))
    return int(line.split()[1])


@pytest.mark.parametrize(
    ("number", "code", "options"),
    [
        (signal.SIGINT, 130, []),
        (signal.SIGINT, 130, ["--no-field"]),
        (signal.SIGTERM, 143, []),
    ],
    ids=["ctrl-c", "ctrl-c without a field", "sigterm"],
)
def test_a_stop_prints_what_was_found_and_leaves_nobody_behind(start, until, large, number, code, options) -> None:
    process = start("review", "--path", large, "--fail-on", "info", "--format", "json", *options)
    workers = until(lambda: workers_of(process))
    process.send_signal(number)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == code
    assert err == b"smesh: stopped; the report holds what had been found by then\n"
    report = json.loads(out)
    assert report["interrupted"] is True
    assert report["source"]["files"] == FILES
    assert "stopped" in {witness["state"] for witness in report["witnesses"]}
    assert not any(is_alive(pid, line) for pid, line in workers.items())


def test_ctrl_c_where_the_event_loop_has_no_signals(start, until, injected, large) -> None:
    """As on Windows."""
    env = injected(
        "import asyncio\ndef no_signals(*_): raise NotImplementedError\n"
        "asyncio.SelectorEventLoop.add_signal_handler = no_signals\n"
    )
    process = start("review", "--path", large, env=env)
    until(lambda: workers_of(process))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=END_S)
    assert (process.returncode, err.count(b"\n")) == (130, 1)
    assert b"\nStopped before the end: " in out


def test_a_second_ctrl_c_ends_it_at_once(start, until, large) -> None:
    """After the first, the report cannot be written: nobody reads the pipe, and it is full."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write, b"x" * 4096):
            pass
    os.set_blocking(write, True)
    process = start("review", "--path", large, stdout=write)
    workers = until(lambda: workers_of(process))
    process.send_signal(signal.SIGINT)
    until(lambda: not children_of(process.pid))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=END_S)
    os.close(read)
    os.close(write)
    assert (process.returncode, err) == (130, b"smesh: stopped at once\n")
    assert not any(is_alive(pid, line) for pid, line in workers.items())


@pytest.mark.parametrize("options", [[], ["--format", "json", "--no-field"]], ids=str)
def test_ctrl_c_during_the_inventory(start, until, many, options) -> None:
    process = start("review", "--path", many, *options)
    until(lambda: bytes_read_by(process) > 200_000_000)  # more than it takes to start
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 130
    assert err == b"smesh: stopped; the report holds what had been found by then\n"
    if options:
        report = json.loads(out)
        assert (report["interrupted"], report["source"]["files"], report["findings"]) == (True, 0, [])
        assert {witness["state"] for witness in report["witnesses"]} == {"stopped"}
    else:
        assert out.endswith(b"\nStopped before the end: no witness had ended.\n")


def test_the_workers_of_a_command_that_is_killed_end_by_themselves(start, until, large) -> None:
    process = start("review", "--path", large)
    workers = until(lambda: workers_of(process))
    process.kill()
    process.wait(timeout=END_S)
    until(lambda: not any(is_alive(pid, line) for pid, line in workers.items()), within_s=END_S)


def test_a_signal_that_whoever_started_us_has_had_ignored_stays_ignored(start, until, repository) -> None:
    """As nohup does for SIGHUP, and shells do with SIGINT for what runs in the background."""
    process = start("review", "--path", repository, heeding=False)
    until(lambda: workers_of(process))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("then", [None, ValueError("torn apart")], ids=["goes on", "complains"])
def test_a_second_signal_ends_it_whatever_the_work_makes_of_it(then: Exception | None) -> None:
    async def work(stop: asyncio.Event) -> None:
        signal.raise_signal(signal.SIGINT)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if then is not None:
            raise then

    with pytest.raises(KeyboardInterrupt):
        stopping.run(work)
