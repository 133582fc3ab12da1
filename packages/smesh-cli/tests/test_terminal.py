"""What a terminal shows: progress on stderr while the review runs, and a report that fits."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest
from terminals import CONTROL, STYLE


@pytest.fixture
def shown(start, terminal, repository):
    """Run a review with stderr, or both, on a terminal; gives the exit code, stdout and all the terminal got."""

    def run(*options: str, env=None, columns: int = 100, rows: int = 40, both: bool = False):
        place = terminal(columns, rows)
        out = place.device if both else subprocess.PIPE
        process = start("review", "--path", repository, *options, env=env, stdout=out, stderr=place.device)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out, place

    return run


def test_progress_is_shown_on_stderr_and_nothing_of_it_on_stdout(shown, repository) -> None:
    code, out, place = shown()
    assert code == 0
    assert out.startswith(f"{repository}\n".encode())
    assert b"\x1b" not in out
    for word in ("smesh review", "taking the inventory", "6 files"):
        assert word in place.text
    plain = CONTROL.sub("", place.text)
    for name in ("bandit", "detect-secrets", "ruff-style", "vulture"):
        assert re.search(rf"✓ {name} +done", plain)
    assert re.search(r"layout +checks others", plain)
    assert re.search(r"✓ bandit +done +\d+ findings", plain)
    assert place.text.count("\x1b[?25l") == place.text.count("\x1b[?25h") == 1  # the cursor is back


def test_json_on_stdout_stays_clean_beside_the_progress(shown) -> None:
    code, out, place = shown("--format", "json", "--no-field")
    assert code == 0
    assert out.startswith(b"{")
    assert b"\x1b" not in out
    last = CONTROL.sub("", place.text).split("smesh review")[-1]
    assert "8/8" in last
    assert "waiting" not in last


def test_colours_on_a_terminal(shown) -> None:
    code, _, place = shown(both=True)
    assert code == 0
    assert "\x1b[1;31mhigh" in place.text
    assert "\x1b[33mmedium" in place.text


def test_no_color_means_no_colour(shown) -> None:
    _, _, place = shown("--limit", "3", env={"NO_COLOR": "1"}, both=True)
    assert not STYLE.search(place.text)
    report = place.text[place.text.index("6 files, 4 of them") :]
    assert "\x1b" not in report
    assert "corroborated" in report


def test_a_dumb_terminal_gets_no_escapes_at_all(shown) -> None:
    code, _, place = shown(env={"TERM": "dumb"}, both=True)
    assert code == 0
    assert "\x1b" not in place.text
    assert place.text.count("smesh review") == 0


@pytest.mark.parametrize("columns", [10, 40])
def test_a_narrow_terminal_wraps_under_the_indentation(shown, columns) -> None:
    code, _, place = shown(columns=columns, rows=10, both=True)
    assert code == 0
    report = STYLE.sub("", place.text[place.text.rindex("\x1b[?25h") + 6 :])
    lines = CONTROL.sub("", report).splitlines()
    assert "shop/orders.py" in lines
    if columns == 40:
        assert max(map(len, lines)) <= columns
        says = next(n for n, line in enumerate(lines) if line.startswith("     says  "))
        assert lines[says + 1].startswith(" " * 11)
        assert lines[says + 1].strip()


def test_a_terminal_that_knows_only_ascii(shown) -> None:
    code, _, place = shown(env={"PYTHONIOENCODING": "ascii"}, both=True)
    assert code == 0
    assert place.text.isascii()
    assert re.search(r"\+ bandit +done", CONTROL.sub("", place.text))


def test_ctrl_c_keeps_what_the_others_had_found(start, until, injected, terminal, repository) -> None:
    """bandit hangs, and all the other analyzers are seen to end."""
    env = injected("import sys, threading\nif 'bandit' in sys.orig_argv:\n    threading.Event().wait()\n")
    place = terminal()
    process = start("review", "--path", repository, env=env, stderr=place.device)
    until(lambda: len(set(re.findall(r"✓ (\S+) ", CONTROL.sub("", place.text)))) == 7)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    lines = out.decode().splitlines()
    assert process.returncode == 130
    assert "corroborated, 2 for" in out.decode()
    assert "bandit (" not in out.decode()
    assert lines[-1] == (
        "Stopped before the end: detect-secrets, vulture, radon, ruff-security, ruff-style, ruff-performance, "
        "ruff-docs had ended."
    )
    assert place.text.endswith("smesh: stopped; the report holds what had been found by then\n")
    assert place.text.count("\x1b[?25l") == place.text.count("\x1b[?25h") == 1
