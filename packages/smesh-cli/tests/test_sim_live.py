"""What a terminal shows while a network runs: the live view at any size, and that nothing of it is left behind."""

from __future__ import annotations

import re
import signal
import subprocess

import numpy as np
import pytest
from smesh_cli import sketch
from smesh_cli.following import Follower, totals
from smesh_cli.picture import Picture
from smesh_core.simulation import Scenario, network_of, report_of
from smesh_core.topologies import TOPOLOGIES
from terminals import STYLE, Terminal

DOWN = "\N{MULTIPLICATION SIGN}"
SIZES = [(1, 1), (10, 3), (20, 5), (40, 12), (79, 24), (100, 30), (220, 60)]


@pytest.fixture
def watch(start, terminal):
    """Start a simulation on a terminal."""

    def run(*options: str, columns: int = 100, rows: int = 30, env=None, engine: str = "numpy", **streams):
        place = terminal(columns, rows)
        streams = {"stdout": place.device, "stderr": place.device} | streams
        engine_options = ["--engine", engine]
        return start("sim", *engine_options, *options, env={"CI": ""} | (env or {}), **streams), place

    return run


def restored(place: Terminal) -> bool:
    """Whether a terminal is as it was: its own screen, with a cursor."""
    return (
        place.has_cursor and not place.is_other and place.written.count("\x1b[?1049h") == place.written.count("?1049l")
    )


# The view


def test_a_run_is_watched_and_ends_with_the_summary(watch, smesh) -> None:
    options = ["--ticks", "60", "--failing", "0.3", "--partitioned", "0.3", "--seed", "2"]
    process, place = watch(*options, "--speed", "60")
    assert process.wait(60) == 0
    frames = "\n".join(place.shown)
    for words in (
        "building the network",
        "coverage",
        "reinforced",
        "down, parted",
        f"{DOWN} is down",
        "■ cut off",
        "lost",
    ):
        assert words in frames, words
    assert re.search(r"tick \d+/60", frames)
    assert re.search(r" \d+ █+░+ +\d+% (reached|open|rejected)", frames)
    assert {DOWN, "■", "●"} <= set(frames)
    assert restored(place)
    assert smesh("sim", "--engine", "numpy", *options, "--no-live").out.split() == [
        word for line in place.after.splitlines() if not line.startswith("smesh:") for word in line.split()
    ]
    assert place.after.splitlines()[-1].startswith("smesh: 60 ticks in ")


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_it_fits_a_terminal_of_any_size(watch, columns, rows) -> None:
    process, place = watch("--ticks", "30", "--speed", "0", columns=columns, rows=rows)
    assert process.wait(60) == 0
    assert place.written.count("\x1b[H") > 1
    assert not place.overflowed
    assert restored(place)
    assert "digest" in place.after


def test_a_terminal_may_change_its_size(watch, until) -> None:
    process, place = watch("--ticks", "1000", "--speed", "20", columns=100, rows=30)
    until(lambda: re.search(r"tick [1-9]\d*/1,000.*signals ", place.frame, re.DOTALL), within_s=30)
    place.resize(50, 12)
    until(lambda: re.search(r"^reached .* arrivals; ", place.frame, re.MULTILINE), within_s=30)
    assert max(map(len, place.frame.splitlines())) <= 50
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert restored(place)


@pytest.mark.parametrize("moment", ["loading the engine", "compiling", "tick 5/"])
def test_ctrl_c_at_any_moment_gives_the_terminal_back(watch, until, moment, tmp_path) -> None:
    env = {"NUMBA_CACHE_DIR": str(tmp_path)} if moment == "compiling" else {}
    process, place = watch("--speed", "10", env=env, engine="numba")
    until(lambda: moment in place.screen or moment in "".join(place.shown[-20:]), within_s=30)
    assert place.is_other
    assert not place.has_cursor
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    until(lambda: "smesh:" in place.after)
    assert restored(place)
    if moment == "tick 5/":
        assert re.search(r"^\d+ of 100 ticks of 1 s, seed 0$", place.after, re.MULTILINE)
        assert "smesh: stopped; the report holds the ticks that were run by then\n" in place.after
    else:
        assert place.after == "smesh: stopped before the network was there; there is nothing to report\n"


def test_a_second_ctrl_c_gives_the_terminal_back_too(watch, until, injected) -> None:
    """The report takes for ever."""
    env = injected(
        "import threading\nimport smesh_core.simulation as s\n"
        "s.report_of = lambda *_: (print('reading', flush=True), threading.Event().wait())\n"
    )
    process, place = watch("--ticks", "3", "--speed", "0", env=env)
    until(lambda: "reading" in place.written)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    until(lambda: "stopped at once" in place.after)
    assert restored(place)


def test_an_error_gives_the_terminal_back(watch) -> None:
    process, place = watch("--topology", "full-mesh", "--nodes", "100000")
    assert process.wait(60) == 2
    assert restored(place)
    assert place.after.startswith("smesh: full-mesh of 100,000 nodes")


@pytest.mark.parametrize(("nodes", "marks"), [("50", "·•●"), ("3000", "·░▒")])
def test_no_colour_where_none_is_wanted(watch, nodes, marks) -> None:
    process, place = watch("--nodes", nodes, "--ticks", "30", "--speed", "60", env={"NO_COLOR": "1"})
    assert process.wait(60) == 0
    assert not STYLE.search(place.written)
    assert set(marks) <= set("\n".join(place.shown))


def test_colours_otherwise(watch) -> None:
    process, place = watch("--ticks", "30", "--speed", "60", env={"COLORTERM": "truecolor"})
    assert process.wait(60) == 0
    assert len(set(STYLE.findall(place.written))) > 10


@pytest.mark.parametrize("nodes", ["50", "3000"])
def test_a_terminal_that_knows_only_ascii(watch, nodes) -> None:
    process, place = watch("--nodes", nodes, "--ticks", "30", "--speed", "0", env={"PYTHONIOENCODING": "ascii"})
    assert process.wait(60) == 0
    assert place.written.isascii()
    assert "\\u" not in place.written


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_no_view_where_nobody_would_see_it(watch, env) -> None:
    process, place = watch("--ticks", "10", env=env)
    assert process.wait(60) == 0
    assert "\x1b[?1049h" not in place.written
    assert "digest" in place.written


def test_the_view_is_on_stderr_where_the_result_goes_elsewhere(watch) -> None:
    process, place = watch("--ticks", "20", "--speed", "0", "--live", stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith(b"Small world of 50 nodes")
    assert b"\x1b" not in out
    assert "\x1b[?1049h" in place.written
    assert restored(place)


def test_by_default_there_is_no_view_then(watch) -> None:
    process, place = watch("--ticks", "20", "--json", stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=60)
    assert out.startswith(b"{")
    assert "\x1b[?1049h" not in place.written


def test_a_large_network_has_a_bar(watch) -> None:
    process, place = watch("--no-live", "--nodes", "400000", engine="numba")
    assert process.wait(60) == 0
    assert "building the network" in place.written
    assert "smesh sim" in place.written
    assert place.has_cursor
    assert "Small world of 400,000 nodes" in place.written


# What is drawn


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("nodes", [1, 2, 7, 50, 997])
def test_every_node_has_a_place_in_a_picture_of_any_size(topology, nodes) -> None:
    network = TOPOLOGIES[topology](nodes, 0, 6)
    for columns, rows in SIZES:
        graph = sketch.graph_of(network, columns, rows)
        if graph is not None:
            cells = set(map(tuple, graph.cells.tolist()))
            assert len(cells) == nodes
            assert all(0 <= x < columns and 0 <= y < rows for x, y in cells)
        mosaic = sketch.mosaic_of(network, columns, rows)
        assert mosaic.squares.shape == (rows, columns)
        assert mosaic.place_of.min() >= 0
        assert mosaic.place_of.max() < mosaic.places
        if topology != "grid":
            assert set(mosaic.place_of.tolist()) == set(mosaic.squares.reshape(-1).tolist())
        else:
            assert set(mosaic.squares[mosaic.squares >= 0].tolist()) <= set(mosaic.place_of.tolist())


@pytest.mark.parametrize("step", [1, 7])
def test_what_is_felt_is_what_the_network_says(step) -> None:
    """Against all arrivals, looked at one by one, in every frame."""
    scenario = Scenario(nodes=120, signals=30, radius=8, failing=0.2, partitioned=0.3, ttl_s=12)
    network = network_of(scenario, engine="numpy")
    place_of = np.arange(120) % 17
    follower = Follower(network, place_of, 17, moves_max=10**6)
    seen: set[tuple[int, ...]] = set()
    for _ in range(0, 70, step):
        network.run(step)
        glimpse = follower.look()
        signals, found = network.state.signals, network.arrivals()
        felt = np.zeros(17)
        for arrival in found:
            age = network.tick - signals["born"][arrival["signal"]]
            if 0 < age < signals["life"][arrival["signal"]]:
                strength = network.state.intensities[signals["decay"][arrival["signal"]] + age] * arrival["attenuation"]
                felt[place_of[arrival["node"]]] = max(felt[place_of[arrival["node"]]], strength)
        assert glimpse.felt == pytest.approx(felt, rel=1e-6)
        moves = set(map(tuple, glimpse.moves.tolist()))
        assert not moves & seen
        seen |= moves
        down = network.state.sides < 0
        assert glimpse.down == pytest.approx(np.bincount(place_of[down], minlength=17) / np.bincount(place_of))
    assert len(seen) > 500
    assert seen <= set(zip(found["signal"].tolist(), found["via"].tolist(), found["node"].tolist(), strict=True))


def test_totals_are_those_of_the_report() -> None:
    scenario = Scenario(nodes=120, signals=30, failing=0.2, partitioned=0.3, capacity=2, ticks=90)
    network = network_of(scenario, engine="numpy")
    network.run(40)
    counts, report = totals(network), report_of(scenario, network)
    for name in ("emitted", "arrivals", "copies", "lost", "sensed", "reinforced", "inhibited"):
        assert getattr(counts, name) == getattr(report, name), name
    assert counts.coverage == pytest.approx(report.coverage_by_tick[-1])


@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_frame_is_as_large_as_the_terminal(topology, columns, rows) -> None:
    scenario = Scenario(topology=topology, failing=0.5, partitioned=0.5, ticks=20)
    network = network_of(scenario, engine="numpy")
    picture = Picture(scenario, ticks_per_s=9.0, has_colours=True, is_plain=False)
    assert len(picture.frame(columns, rows, phase="building the network").lines()) == rows
    picture.follow(network)
    for _ in range(3):
        network.run(4)
        lines = picture.frame(columns, rows).lines()
        assert len(lines) == rows
        assert max(map(len, lines)) <= columns


def test_a_sparkline() -> None:
    assert sketch.sparkline([], 10) == ""
    assert sketch.sparkline([0.0, 0.0], 10) == "▁▁"
    assert sketch.sparkline([0.0, 0.25, 0.5], 10) == "▁▅█"
    assert len(sketch.sparkline([n / 100 for n in range(100)], 10)) == 10
    assert sketch.sparkline([0.0, 1.0], 10, plain=True) == "_@"
