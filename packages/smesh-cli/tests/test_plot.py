"""`smesh sim --plot`: figures that are whole and always the same, and clear words before anything is run where not."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
import zlib

import pytest
from smesh_cli import figure, plot
from smesh_core.simulation import Scenario, network_of, report_of

QUICK = ("--engine", "numpy", "--ticks", "40")


def pixels(path) -> tuple[int, int, bytes]:
    """Width, height and the filtered rows of a PNG of ours: every chunk's checksum holds, and the data unpacks."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, width, height = 8, b"", 0, 0
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    return width, height, zlib.decompress(packed)


@pytest.fixture
def draw(tmp_path):
    """Draw a scenario in this process."""

    def run(name: str, **attributes):
        scenario = Scenario(**({"ticks": 40} | attributes))
        network = network_of(scenario, engine="numpy")
        network.run(scenario.ticks)
        figure.check(tmp_path / name)
        plot.draw(report_of(scenario, network), network, tmp_path / name)
        return tmp_path / name

    return run


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_run_draws_the_same_bytes(smesh, draw, tmp_path, kind) -> None:
    """In another process, too."""
    path = tmp_path / f"told.{kind}"
    ran = smesh("sim", *QUICK, "--json", "--plot", path)
    assert (ran.code, ran.json["schema"]) == (0, "smesh.sim/1")
    assert ran.err.endswith(f"\nsmesh: drew {path}\n")
    assert draw(f"one.{kind}").read_bytes() == path.read_bytes()
    assert draw(f"two.{kind}", seed=1).read_bytes() != path.read_bytes()


def test_a_png_is_whole_and_has_colours(draw) -> None:
    width, height, rows = pixels(draw("figure.PNG", failing=0.3))
    assert (width, height) == (1430, 936)
    assert len(rows) == height * (1 + 4 * width)
    assert len(set(rows)) > 100


def test_an_svg_is_whole_and_spells_what_it_shows(draw) -> None:
    """Letters are drawn as paths, with what they spell beside them as comments."""
    path = draw("figure.svg", partitioned=0.3, failing=0.1, seed=7)
    assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own
    text = path.read_text(encoding="utf-8")
    for words in (
        "Small world of 50 nodes, 300 hyphae, 1 component",
        "seed 7",
        "tick [ticks of 1 s]",
        "reached, of all (signal, node) pairs [%]",
        "arrivals",
        "nodes down and partition",
        "origin",
        "2 hops",
        "rejected",
        "came again",
        "copies",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    "attributes",
    [
        {"nodes": 1},
        {"radius": 0},
        {"ticks": 1, "signals": 1},
        {"signals": 300, "radius": 40},
        {"evidence": 0.0, "false_share": 1.0, "failing": 1.0},
    ],
    ids=str,
)
def test_odd_runs_can_be_drawn(draw, attributes) -> None:
    assert pixels(draw("figure.png", **attributes))[0] == 1430


# What cannot be drawn is said before anything is run


@pytest.fixture
def refused(smesh, tmp_path):
    def run(path, word: str, env=None) -> None:
        ran = smesh("sim", "--plot", path, "--nodes", "100000000", cwd=tmp_path, env=env)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran.err
        assert ran.err.startswith("smesh: --plot")
        assert word in ran.err

    return run


@pytest.mark.parametrize("name", ["figure.gif", "figure", ".png", "figure.png.txt", ""])
def test_another_suffix(refused, name) -> None:
    refused(name, "draws .png and .svg")


def test_a_directory_that_is_not_there(refused) -> None:
    refused("nowhere/figure.png", "there is no directory nowhere")


def test_a_path_that_is_a_directory(refused, tmp_path) -> None:
    (tmp_path / "figure.png").mkdir()
    refused("figure.png", "is a directory")


def test_a_missing_matplotlib(refused, injected) -> None:
    env = injected("import sys\nsys.modules['matplotlib'] = None\n")
    refused("figure.png", "install smesh-cli[plot]", env)


def test_matplotlib_is_not_loaded_otherwise(smesh, injected) -> None:
    env = injected("import sys\nsys.modules['matplotlib'] = None\n")
    assert smesh("sim", *QUICK, env=env).code == 0


def test_a_full_disk(smesh, tmp_path) -> None:
    (tmp_path / "full.png").symlink_to("/dev/full")
    ran = smesh("sim", *QUICK, "--plot", tmp_path / "full.png")
    assert ran.code == 2
    assert "digest" in ran.out
    assert ran.err.splitlines()[-1].endswith("full.png: No space left on device")
