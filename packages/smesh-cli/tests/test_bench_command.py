"""`smesh bench`: a table with units, a documented document, and a stop that keeps what was measured."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from pathlib import Path

import pytest
from smesh_agent.workflows.bench import Machine, NetworkRow, Report, Row, Spread
from smesh_cli.commands.bench import bench
from smesh_cli.summaries import of_bench

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "bench.md"
INSTANT = (
    "from smesh_agent.workflows.bench import Spread, rows\n"
    "rows.measure = lambda effort, items, prepare, work: Spread(2.0, 1.0, 3.0, 9)\n"
)
"""Nothing is measured, for tests of what goes on around it."""
TIME = r"[\d,.]+ (?:ns|us|ms|s)"


def test_a_quick_bench_says_what_and_in_which_unit(smesh) -> None:
    ran = smesh("bench", "--quick", "--engine", "numpy")
    assert (ran.code, ran.err) == (0, "")
    for row in ("create a signal, its hash not asked for", "emit a batch", "reinforce one at a time"):
        assert re.search(rf"^{row} +{TIME}  {TIME} to {TIME} +{TIME} +[\d,.]+x$", ran.out, re.MULTILINE), row
    for row in ("100 nodes, 5 signals, a call each", "1,000 nodes, 20 signals, one call"):
        figures = rf" +{TIME}  {TIME} to {TIME} +{TIME} +[\d,.]+x +{TIME}$"
        assert re.search("^" + row + figures, ran.out, re.MULTILINE), row
    last = ran.out.splitlines()[-1]
    assert last.startswith("The original in Rust, by its own figures from another machine: ")
    assert "behind it: creating a signal" in last
    assert "numpy engine" in ran.out


def test_json_on_stdout_and_nothing_else(smesh, injected) -> None:
    ran = smesh("bench", "--quick", "--json", env=injected(INSTANT))
    assert ran.code == 0, ran.err
    report = ran.json
    assert list(report) == list(Report.__struct_fields__)
    assert (report["schema"], report["engine"], report["effort"]) == ("smesh.bench/1", "numba", "quick")
    assert report["load_s"] > 0
    assert report["signals"][0].keys() == set(Row.__struct_fields__)
    assert report["networks"][0].keys() == set(NetworkRow.__struct_fields__)
    assert report["machine"].keys() == set(Machine.__struct_fields__)


def test_every_key_and_option_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for struct in (Report, Row, NetworkRow, Machine, Spread):
        for key in struct.__struct_fields__:
            assert f"`{key}`" in page, key
    for parameter in bench.params:
        assert f"`{parameter.opts[0]}`" in page, parameter.opts[0]


def test_a_bar_on_a_terminal(start, injected) -> None:
    master, device = pty.openpty()
    process = start("bench", "--quick", "--engine", "numpy", env=injected(INSTANT), stderr=device)
    os.close(device)
    shown = b""
    try:
        while data := os.read(master, 65536):
            shown += data
    except OSError:  # EIO: the command has ended
        pass
    os.close(master)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"\x1b" not in out
    for words in (b"smesh bench", b"emit a batch", b"a network of 1,000 nodes"):
        assert words in shown
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_prints_what_was_measured(start, injected, number, code) -> None:
    """The signal comes in the middle of the second row."""
    env = injected(
        "import os\nfrom smesh_agent.workflows.bench import rows\nmeasure, count = rows.measure, [0]\n"
        "def counted(*arguments):\n    count[0] += 1\n"
        f"    count[0] == 3 and os.kill(os.getpid(), {int(number)})\n    return measure(*arguments)\n"
        "rows.measure = counted\n"
    )
    process = start("bench", "--quick", "--engine", "numpy", "--json", env=env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == b"smesh: stopped; the report holds what had been measured by then\n"
    report = json.loads(out)
    assert report["interrupted"] is True
    assert [row["name"] for row in report["signals"]] == ["create", "create_hashed"]
    assert report["networks"] == []


@pytest.mark.parametrize("options", [["--threads", "0"], ["--engine", "cuda"], ["--nonsense"], ["extra"]], ids=" ".join)
def test_a_wrong_command_line(smesh, options) -> None:
    ran = smesh("bench", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("smesh: ")
    assert ran.err.endswith(" (see smesh bench --help)\n")
    assert ran.err.count("\n") == 1


def test_output_that_cannot_be_written(smesh, injected) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = smesh("bench", "--quick", "--engine", "numpy", stdout=full, env=injected(INSTANT))
    assert (ran.code, ran.err) == (2, "smesh: cannot write the result: No space left on device\n")


def test_figures_have_units_and_the_note_says_which_side_is_ahead() -> None:
    spread = Spread(median_ns=1_234_567.0, low_ns=9.994, high_ns=2.5e9, repeats=9)
    fast = Spread(median_ns=100.0, low_ns=99.0, high_ns=101.0, repeats=9)
    report = Report(
        schema="smesh.bench/1", interrupted=False, effort="full",
        machine=Machine(cpu="a processor", cores=2, platform="p", python="CPython 3", numpy="2", numba=None),
        engine="numpy", load_s=0.0, is_compiled=False,
        signals=[
            Row(name="create", what="create", items=10, ours=fast, baseline=None, ratio=None),
            Row(name="reinforce", what="reinforce", items=10, ours=spread, baseline=fast, ratio=0.0001),
        ],
        networks=[], original_ns={"create": 216.0, "reinforce": 48.0, "tick": 14_000.0}, duration_s=1.0,
    )  # fmt: skip
    text = "\n".join(line.text for line in of_bench(report))
    assert "1.23 ms  9.99 ns to 2.50 s" in text
    assert "create" in text
    assert (
        "behind it: reinforcing one 25,720x (48.0 ns there); ahead of it: creating a signal 2.2x (216 ns there)" in text
    )
