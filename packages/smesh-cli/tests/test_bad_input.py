"""What goes wrong in `smesh review`: one clear line on stderr, a documented exit code, never a traceback."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

import pytest

ESCAPE, BIDI = "\x1b", "\N{RIGHT-TO-LEFT OVERRIDE}"
ANALYZERS = [
    "bandit", "detect-secrets", "vulture", "radon", "ruff-security", "ruff-style", "ruff-performance", "ruff-docs",
]  # fmt: skip


def one_line(ran, *words: str) -> None:
    """Assert that a command failed with one line of ours that holds these words."""
    assert ran.code == 2
    assert ran.err.startswith("smesh: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    for word in words:
        assert word in ran.err


def harmless(text: str) -> None:
    """Assert that a terminal would show this text, and obey nothing in it."""
    hidden = {c for c in text if not (c.isprintable() or c == "\n")}
    assert not hidden


# The path


def test_a_missing_path(smesh, tmp_path) -> None:
    ran = smesh("review", "--path", tmp_path / "gone")
    one_line(ran, "no such directory", "gone")
    assert ran.out == ""


def test_a_missing_path_with_a_name_that_a_terminal_would_obey(smesh, tmp_path) -> None:
    ran = smesh("review", "--path", os.fsencode(tmp_path) + b"/two\nlines, \x1b[31mred, \xff")
    one_line(ran, "no such directory")
    harmless(ran.err)


def test_a_path_that_links_to_itself(smesh, tmp_path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    one_line(smesh("review", "--path", tmp_path / "loop"), "symbolic links")


def test_an_empty_path_is_not_the_current_directory(smesh) -> None:
    ran = smesh("review", "--path", "")
    assert (ran.code, ran.out) == (2, "")
    assert "--path" in ran.err
    assert "Traceback" not in ran.err


def test_an_empty_directory(smesh, tmp_path) -> None:
    ran = smesh("review", "--path", tmp_path, "--format", "json")
    one_line(ran, "nothing to review", str(tmp_path))
    assert ran.json["source"]["files"] == 0


def test_a_directory_full_of_binaries(smesh, tmp_path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(b"\x7fELF\0\0" + bytes(range(256)))
    ran = smesh("review", "--path", tmp_path)
    one_line(ran, "nothing to review", "20 binary files")
    assert "There was nothing to review." in ran.out


def test_a_path_that_is_neither_directory_nor_file(smesh) -> None:
    one_line(smesh("review", "--path", os.devnull), "neither a directory nor a file")


@pytest.fixture
def powerless():
    """What makes a process, also root's, subject to the permissions of files: no capability to override them."""

    def drop() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP: root gains by exec no more than this set
                raise OSError(ctypes.get_errno(), "cannot drop a capability")

    return drop if os.geteuid() == 0 else None


def test_what_may_not_be_read_is_named(smesh, powerless, tmp_path) -> None:
    (tmp_path / "open.py").write_text("import os\n")
    (tmp_path / "closed.py").write_text("import os\n")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "inner.py").write_text("import os\n")
    for path in ("closed.py", "closed"):
        (tmp_path / path).chmod(0)
    ran = smesh("review", "--path", tmp_path, "--format", "json", preexec_fn=powerless)
    unread = {entry["path"].rstrip("/"): entry["reason"] for entry in ran.json["unread"]}
    assert unread == {"closed.py": "permission denied", "closed": "permission denied"}
    assert {finding["path"] for finding in ran.json["findings"]} == {"open.py"}
    assert (ran.code, ran.err) == (0, "")
    ran = smesh("review", "--path", tmp_path / "closed", preexec_fn=powerless)
    (tmp_path / "closed").chmod(0o700)
    one_line(ran, "permission denied")


# The files


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A tree with one of everything that is hard to read or dangerous to show."""
    root = tmp_path_factory.mktemp("odd")
    (root / "fine.py").write_text("import os\n")
    (root / "latin.py").write_bytes(b"name = 'caf\xe9'\n")
    (root / "broken.py").write_text("def f(:\n")
    (root / "null.py").write_bytes(b"import os\n\0")
    (root / "wide.txt").write_text("x" * 200_000)
    with (root / "endless.js").open("wb") as stream:  # one line of 100 MB, of which the disk keeps a few blocks
        stream.write(b"x" * 10_000)
        stream.truncate(100_000_000)
    (root / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "dangling.py").symlink_to("gone.py")
    os.mkfifo(root / "pipe.py")
    for name in (b"two\nlines.py", b"\x1b[2Jcleared.py", b"not\xfftext.py"):
        with open(os.path.join(os.fsencode(root), name), "wb") as stream:  # noqa: PTH118, PTH123
            stream.write(b"import os\n")
    evaluate = "ev" + "al"
    (root / "shown.py").write_text(
        f'first = {evaluate}("{ESCAPE}]0;title{ESCAPE}\\\\")\n'
        f'second = {evaluate}("[red]not markup[/red]")\n'
        f'third = {evaluate}("{BIDI} backwards")\n'
        f'fourth = {evaluate}("\x9b31m")\n'
        f'fifth = {evaluate}(":boom: \N{BLACK HEART SUIT}")\n'
    )
    (root / f"right{BIDI}left.py").write_text("import os\n")
    return root


@pytest.fixture(scope="module")
def odd_text(smesh, odd):
    return smesh("review", "--path", odd, "--limit", "0")


@pytest.fixture(scope="module")
def odd_json(smesh, odd):
    return smesh("review", "--path", odd, "--format", "json")


def test_odd_files_are_no_error(odd_text, odd_json) -> None:
    assert (odd_text.code, odd_text.err) == (0, "")
    assert (odd_json.code, odd_json.err) == (0, "")


def test_what_was_not_read_is_named_with_the_reason(odd_json) -> None:
    unread = {entry["path"]: entry for entry in odd_json.json["unread"]}
    assert unread["latin.py"]["reason"] == "not UTF-8, so only searched for secrets"
    assert unread["endless.js"]["reason"] == "larger than 1 MiB"
    assert unread["wide.txt"]["reason"] == "a line of 200,000 characters"
    assert "syntax" in unread["broken.py"]["reason"]
    assert {"bandit", "radon", "vulture"} <= set(unread["broken.py"]["witnesses"])
    for name in ("two\\x0alines.py", "\\x1b[2Jcleared.py", "not\\xfftext.py"):
        assert unread[name]["reason"] == "its name is not printable text"
    assert odd_json.json["source"]["binary_files"] == 1


def test_the_text_names_it_too(odd_text) -> None:
    lines = odd_text.out.splitlines()
    at = lines.index("Not read, or not by all")
    assert any(line.startswith("    broken.py: ") and "syntax" in line for line in lines[at:])
    assert "    endless.js: larger than 1 MiB" in lines[at:]


def test_links_are_not_followed(odd_json) -> None:
    report = odd_json.json
    assert not any("loop" in finding["path"] for finding in report["findings"])
    assert not {"loop", "self", "dangling.py", "pipe.py"} & {entry["path"] for entry in report["unread"]}


def test_nothing_that_a_terminal_would_obey_is_printed(odd_text, odd_json) -> None:
    harmless(odd_text.out)
    harmless(odd_json.out)


def test_code_is_shown_literally(odd_text) -> None:
    assert '("\\x1b]0;title\\x1b\\\\")' in odd_text.out
    assert '("[red]not markup[/red]")' in odd_text.out
    assert '("\\u202e backwards")' in odd_text.out
    assert '("\\x9b31m")' in odd_text.out
    assert '(":boom: \N{BLACK HEART SUIT}")' in odd_text.out
    assert "\nright\\u202eleft.py\n" in odd_text.out


def test_json_gives_back_the_code_as_it_is(odd_json) -> None:
    code = {finding["code"] for finding in odd_json.json["findings"]}
    assert "third = ev" + f'al("{BIDI} backwards")' in code
    assert "fourth = ev" + 'al("\x9b31m")' in code
    assert "fifth = ev" + 'al(":boom: \N{BLACK HEART SUIT}")' in code


def test_a_directory_whose_name_is_not_text(smesh, tmp_path) -> None:
    root = os.path.join(os.fsencode(tmp_path), b"not\xfftext")  # noqa: PTH118
    os.mkdir(root)  # noqa: PTH102
    with open(os.path.join(root, b"a.py"), "wb") as stream:  # noqa: PTH118, PTH123
        stream.write(b"import os\n")
    ran = smesh("review", "--path", root, "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["source"]["path"].endswith("not\\xfftext")
    assert {finding["path"] for finding in ran.json["findings"]} == {"a.py"}


def test_a_terminal_that_knows_only_ascii(smesh, tmp_path) -> None:
    (tmp_path / "a.py").write_text("caf\N{LATIN SMALL LETTER E WITH ACUTE} = ev" + 'al("1")\n')
    ran = smesh("review", "--path", tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert (ran.code, ran.err) == (0, "")
    assert "| caf\\xe9 = ev" + 'al("1")\n' in ran.out


# The analyzers


CRASHING_BANDIT = (
    "import os, sys\nif 'bandit' in sys.orig_argv:\n    sys.stderr.write('no memory\\n')\n    os._exit(3)\n"
)
HANGING_WORKERS = (
    "import sys, threading\nif 'smesh_agent.analyzers.worker' in sys.orig_argv:\n    threading.Event().wait()\n"
)


def test_an_analyzer_that_crashes_costs_only_its_own_findings(smesh, injected, repository) -> None:
    ran = smesh("review", "--path", repository, "--format", "json", env=injected(CRASHING_BANDIT))
    one_line(ran, "bandit failed", "no memory")
    states = {witness["name"]: witness["state"] for witness in ran.json["witnesses"]}
    assert states.pop("bandit") == "failed"
    assert set(states.values()) == {"done"}
    assert "CWE-78" in {finding["kind"] for finding in ran.json["findings"]}


def test_analyzers_that_hang_are_ended_and_the_others_heard(smesh, injected, repository) -> None:
    env = injected(HANGING_WORKERS)
    ran = smesh("review", "--path", repository, "--format", "json", "--timeout", "4", "--jobs", "4", env=env)
    one_line(ran, "4 witnesses failed", "no answer within 4 s", "bandit, detect-secrets, vulture, radon")
    states = {witness["name"]: witness["state"] for witness in ran.json["witnesses"]}
    assert {name for name, state in states.items() if state == "failed"} == set(ANALYZERS[:4])
    assert {said["witness"] for finding in ran.json["findings"] for said in finding["says"]} == set(ANALYZERS[4:])


def test_a_time_limit_that_nothing_can_meet_still_gives_a_report(smesh, injected, repository) -> None:
    ran = smesh("review", "--path", repository, "--timeout", "0.1", env=injected(HANGING_WORKERS))
    one_line(ran, "witnesses failed", "no answer within 0")
    assert ran.out.endswith("\nIncomplete: not every witness could say what it knows.\n")
    assert "bandit failed: no answer within 0" in ran.out


def test_when_no_analyzer_can_be_started_there_is_still_a_report(smesh, repository) -> None:
    """A process with too few file descriptors for the pipes to a child."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))

    ran = smesh("review", "--path", repository, "--format", "json", "--fail-on", "info", preexec_fn=limit)
    one_line(ran, "8 witnesses failed", "too many open files".capitalize())
    assert (ran.json["findings"], ran.json["source"]["files"]) == ([], 6)
    assert {w["name"] for w in ran.json["witnesses"] if w["state"] == "failed"} == set(ANALYZERS)


# The output


def test_findings_count_more_than_a_failed_witness(smesh, injected, repository) -> None:
    ran = smesh("review", "--path", repository, "--fail-on", "high", env=injected(CRASHING_BANDIT))
    assert ran.code == 1
    assert "--fail-on high fails" in ran.out
    assert "bandit failed" in ran.out
    assert ran.err.startswith("smesh: bandit failed")


@pytest.mark.parametrize("level", ["never", "high"])
def test_a_reader_that_goes_away_changes_nothing_but_the_output(start, repository, level) -> None:
    read, write = os.pipe()
    process = start("review", "--path", repository, "--limit", "0", "--fail-on", level, stdout=write)
    os.close(write)
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0 if level == "never" else 1, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["review"], ["review", "--format", "json"]], ids=str)
def test_output_that_cannot_be_written(smesh, tmp_path, arguments) -> None:
    (tmp_path / "a.txt").write_text("text\n")
    with Path("/dev/full").open("wb") as full:
        ran = smesh(*arguments, stdout=full, cwd=tmp_path)
    one_line(ran, "No space left on device")


def test_a_reader_that_was_never_there(start) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("--help", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_closed_streams(smesh, tmp_path) -> None:
    (tmp_path / "a.py").write_text("import os\n")

    def close() -> None:
        os.close(1)
        os.close(2)

    ran = smesh("review", "--path", tmp_path, "--fail-on", "low", preexec_fn=close)
    assert (ran.code, ran.out, ran.err) == (1, "", "")


# The command line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["review", "--nonsense"],
        ["review", "extra"],
        ["review", "--format", "xml"],
        ["review", "--fail-on", "severe"],
        ["review", "--limit", "-1"],
        ["review", "--jobs", "0"],
        ["review", "--timeout", "0"],
        ["review", "--timeout", "nan"],
        ["status", "--nonsense"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line(smesh, arguments) -> None:
    ran = smesh(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("smesh: ")
    assert ran.err.count("\n") == 1
    where = " ".join(["smesh", *(word for word in arguments[:1] if word in {"review", "status"})])
    assert ran.err.endswith(f" (see {where} --help)\n")


def test_an_unexpected_error_is_one_line_and_shows_where_on_request(smesh, injected) -> None:
    env = injected(
        "import smesh_agent.status as s\ndef collect():\n    raise ZeroDivisionError('odd')\ns.collect = collect\n"
    )
    one_line(smesh("status", env=env), "unexpected ZeroDivisionError: odd", "SMESH_DEBUG=1")
    debugged = smesh("status", env=env | {"SMESH_DEBUG": "1"})
    assert debugged.code == 2
    assert debugged.err.startswith("Traceback")
