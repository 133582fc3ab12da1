"""`smesh resilience`: a report, a document, a page and a plot; a stop that keeps what was tried, and going on."""

from __future__ import annotations

import os
import re
import signal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from processes import children_of, is_alive
from smesh_agent.workflows.resilience import SYSTEMS, Behind, Break, Estimate, Plan, Report, Row
from smesh_cli.commands import resilience as command
from smesh_core.attacks import ATTACKS
from smesh_core.topologies import TOPOLOGIES
from terminals import CONTROL

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "resilience.md"
SMALL = ("--nodes", "20", "--rounds", "2", "--ticks", "12")
QUICK = (*SMALL, "--attack", "collusion", "--attack", "silence", "--extent", "0.3", "--extent", "0.5", "--seeds", "3")
LONG = (*SMALL, "--seeds", "100000", "--attack", "collusion", "--extent", "0.3")
END_S = 30
VOID = {"meta", "br", "hr", "img", "link"}


@pytest.fixture(scope="module")
def told(smesh, tmp_path_factory):
    """One run with everything, and where it wrote."""
    place = tmp_path_factory.mktemp("told")
    ran = smesh(
        "resilience", *QUICK, "--html", place / "page.html", "--plot", place / "plot.svg", "--journal", place / "j"
    )
    assert ran.code == 0, ran.err
    return ran, place


def test_the_report_names_where_systems_break_and_where_they_are_behind(told) -> None:
    out = told[0].out
    assert out.startswith("2 attacks on networks of 20 nodes, 3 seeds from 0; 2 rounds of 12 ticks\n")
    assert re.search(r"^small world +collusion +silence$", out, re.MULTILINE)
    for system in SYSTEMS:
        assert re.search(rf"^{system} +(-|always|at \d+%) +(-|always|at \d+%)$", out, re.MULTILINE), system
        figures = rf"^{system}( +\d+% ±\d+){{3}} +(-|[\d.]+ ±[\d.]+) +[\d,]+$"
        assert len(re.findall(figures, out, re.MULTILINE)) == 2, system
    assert "\ncollusion, 50%  " in out
    assert "\nBehind a baseline, in points of right verdicts" in out


def test_the_same_options_say_the_same_in_any_number_of_processes(told, smesh) -> None:
    assert smesh("resilience", *QUICK, "--jobs", "1").out == told[0].out
    assert smesh("resilience", *QUICK, "--seed", "7").out != told[0].out


def test_files_are_said_and_the_same_report_writes_the_same_bytes(told, smesh, tmp_path) -> None:
    ran, place = told
    assert ran.err.splitlines()[-2:] == [f"smesh: wrote {place / 'page.html'}", f"smesh: drew {place / 'plot.svg'}"]
    again = smesh(
        "resilience",
        *QUICK,
        "--journal",
        place / "j",
        "--html",
        tmp_path / "page",
        "--plot",
        tmp_path / "p.svg",
        "--json",
    )
    assert again.code == 0
    assert (tmp_path / "page").read_bytes() == (place / "page.html").read_bytes()
    assert (tmp_path / "p.svg").read_bytes() == (place / "plot.svg").read_bytes()


def test_a_whole_journal_needs_no_engine_and_no_process(told, smesh, injected) -> None:
    ran, place = told
    refusal = injected("import multiprocessing as m\nm.get_context = None\nimport sys\nsys.modules['numba'] = None\n")
    assert smesh("resilience", *QUICK, "--journal", place / "j", env=refusal).out == ran.out


def test_json_has_every_number(told, smesh) -> None:
    ran = smesh("resilience", *QUICK, "--journal", told[1] / "j", "--json")
    assert (ran.code, ran.err) == (0, "")
    report = ran.json
    assert list(report) == list(Report.__struct_fields__)
    assert (report["schema"], report["seeds"], report["interrupted"]) == ("smesh.resilience/1", 3, False)
    assert len(report["rows"]) == (1 + 2 * 2) * len(SYSTEMS)
    assert report["rows"][0].keys() == set(Row.__struct_fields__)
    assert report["rows"][0]["accuracy"].keys() == set(Estimate.__struct_fields__)
    assert len(report["breaks"]) == 2 * len(SYSTEMS)


def test_every_key_and_option_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for struct in (Report, Plan, Row, Break, Behind, Estimate):
        for key in struct.__struct_fields__:
            assert f"`{key}`" in page, key
    for parameter in command.resilience.params:
        assert f"`{parameter.opts[0]}" in page, parameter.opts[0]
    for system in SYSTEMS:
        assert f"`{system}`" in page, system


def test_the_command_offers_what_there_is() -> None:
    """It names attacks and topologies itself, so that its help does not load NumPy."""
    plan = Plan()
    assert tuple(command._ATTACKS) == plan.attacks == ATTACKS[1:]
    assert sorted(command._TOPOLOGIES) == sorted(TOPOLOGIES)
    assert plan.fractions == command._EXTENTS
    defaults = {parameter.name: parameter.default for parameter in command.resilience.params}
    for name in ("nodes", "degree", "rounds", "ticks", "seeds", "first_seed"):
        assert defaults[name] == getattr(plan, name), name


class _Reader(HTMLParser):
    """Whether tags close in order, and what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in {"src", "href", "srcset", "action"}]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(told) -> None:
    text = (told[1] / "page.html").read_text(encoding="utf-8")
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert reader.addresses == []
    assert not re.search(r"url\(|@import|https?://|NaN|nan\b|None", text)
    for words in ("Breaking points, small world", "Where SMESH does worse than a baseline", "collusion", "silence"):
        assert words in reader.text
    assert "eclipse" not in reader.text  # it was not asked for
    assert reader.tags.count("figure") == 2 * 4
    # A curve for each system in each figure, within it.
    assert len(re.findall("<polyline", text)) == reader.tags.count("figure") * len(SYSTEMS)
    for points in re.findall(r'<polyline points="([^"]*)"', text):
        for x, y in (map(float, point.split(",")) for point in points.split()):
            assert 0 <= x <= 420
            assert 0 <= y <= 230


def test_several_topologies_each_have_their_part(smesh, tmp_path) -> None:
    ran = smesh(
        *("resilience", *SMALL, "--attack", "spam", "--extent", "0.4", "--seeds", "2"),
        *("--topology", "ring", "--topology", "grid", "--html", tmp_path / "page", "--plot", tmp_path / "p.png"),
    )
    assert ran.code == 0, ran.err
    assert re.findall(r"^(ring|grid) +spam$", ran.out, re.MULTILINE) == ["ring", "grid"]
    text = (tmp_path / "page").read_text(encoding="utf-8")
    assert text.index("Breaking points, ring") < text.index("Breaking points, grid") < text.index("Attacks, ring")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--attack", "rumour"], "'rumour' is not one of 'spam'"),
        (["--extent", "1"], "1.0 is not in the range 0.0<x<1.0"),
        (["--extent", "nan"], "more than 0 and less than 1"),
        (["--extent", "0.2", "--extent", "0.2"], "each extent once"),
        (["--attack", "spam", "--attack", "spam"], "each attack once"),
        (["--seeds", "1"], "1 is not in the range"),
        (["--seeds", "100000"], "at most 1,000,000 trials"),
        (["--nodes", "90000", "--topology", "full-mesh"], "ask for fewer nodes"),
        (["--html", "missing/page.html"], "--html: there is no directory missing"),
        (["--plot", "figure.pdf"], "--plot draws .png and .svg"),
        (["--journal", "missing/journal"], "cannot write missing/journal: No such file or directory"),
        (["--journal", "."], "cannot read .: Is a directory"),
    ],
    ids=str,
)
def test_bad_options_are_one_line_before_anything_runs(smesh, tmp_path, options, says) -> None:
    ran = smesh("resilience", *options, cwd=tmp_path)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err
    assert not list(tmp_path.iterdir())


def test_a_journal_of_something_else_is_left_alone(smesh, tmp_path) -> None:
    mine = tmp_path / "notes"
    mine.write_text("things to do\n")
    ran = smesh("resilience", *QUICK, "--journal", mine)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "it is left as it is" in ran.err
    assert mine.read_text() == "things to do\n"


# Stopping


def workers_of(process) -> dict[int, bytes]:
    """The processes of a pool that have begun."""
    return {pid: line for pid, line in children_of(process.pid).items() if b"spawn_main" in line}


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_reports_whole_seeds_and_the_same_command_goes_on(start, smesh, until, tmp_path, number, code) -> None:
    journal = tmp_path / "journal"
    process = start("resilience", *LONG, "--journal", journal)
    until(lambda: lines_of(journal) > 8)
    workers = workers_of(process)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == code
    said = re.fullmatch(rb"smesh: stopped; (\d+) of 100,000 seeds are complete, and the same command goes on\n", err)
    assert said, err
    seeds = int(said[1])
    assert 0 < 2 * seeds <= lines_of(journal) - 1
    assert out.startswith(f"1 attack on networks of 20 nodes, {seeds} of 100,000 seeds from 0;".encode())
    assert workers
    assert not any(is_alive(pid, line) for pid, line in workers.items())
    few = (*LONG[:-6], "--seeds", str(seeds + 2), *LONG[-4:])
    held = lines_of(journal)
    again = smesh("resilience", *few, "--journal", journal)
    assert again.code == 0, again.err
    assert lines_of(journal) <= held + 4
    assert again.out == smesh("resilience", *few).out


def test_ctrl_c_in_a_terminal_reaches_every_process_and_none_complains(start, until, tmp_path) -> None:
    journal = tmp_path / "journal"
    process = start("resilience", *LONG, "--journal", journal, start_new_session=True)
    until(lambda: lines_of(journal) > 4)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=END_S)
    assert process.returncode == 130
    assert err.count(b"\n") == 1, err


def test_a_second_ctrl_c_ends_it_at_once(start, until, terminal) -> None:
    place = terminal(100)
    endless = ("--nodes", "20000", "--rounds", "1000", "--ticks", "10000")
    process = start("resilience", *endless, "--attack", "collusion", "--extent", "0.3", stderr=place.device)
    workers = until(lambda: workers_of(process))
    process.send_signal(signal.SIGINT)
    until(lambda: "ending those that are being run" in place.text)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=END_S)
    assert process.returncode == 130
    until(lambda: not any(is_alive(pid, line) for pid, line in workers.items()))
    assert place.text.endswith("smesh: stopped at once\n")


def test_processes_end_with_the_one_that_started_them(start, until, tmp_path) -> None:
    journal = tmp_path / "journal"
    process = start("resilience", *LONG, "--journal", journal)
    until(lambda: lines_of(journal) > 4)
    workers = workers_of(process)
    assert workers
    process.kill()
    process.wait()
    until(lambda: not any(is_alive(pid, line) for pid, line in workers.items()))


def test_a_bar_says_how_far_it_is(start, terminal) -> None:
    place = terminal(100)
    process = start("resilience", *QUICK, stderr=place.device)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert b"\x1b" not in out
    text = CONTROL.sub("", place.text)
    assert "smesh resilience" in text
    assert re.search(r"\d+ of 15 trials", text)
