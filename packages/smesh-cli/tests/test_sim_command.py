"""`smesh sim`: the same run says the same, every option reaches the scenario, and what is wrong is said in one line."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest
from smesh_cli.commands.sim import sim
from smesh_core.simulation import Report, Scenario
from smesh_core.topologies import TOPOLOGIES

KEYS = ["schema", "interrupted", *Report.__struct_fields__]


@pytest.fixture
def run(capsys):
    """Run the command in this process, and give its JSON; the quick way to try many options."""

    def with_options(*options: object) -> dict:
        arguments = ["--engine", "numpy", "--json", "--no-live", *map(str, options)]
        assert sim.main(arguments, standalone_mode=False) == 0
        return json.loads(capsys.readouterr().out)

    return with_options


# The same run


@pytest.fixture(scope="module")
def told(smesh):
    """What a run says, by engine and threads."""
    said = {}

    def tell(engine: str, threads: int, *options: str):
        named = engine, threads, options
        if named not in said:
            scenario = [
                "--nodes",
                "200",
                "--signals",
                "40",
                "--radius",
                "9",
                "--failing",
                "0.2",
                "--partitioned",
                "0.3",
            ]
            said[named] = smesh("sim", *scenario, "--engine", engine, "--threads", str(threads), *options)
        return said[named]

    return tell


@pytest.mark.parametrize(("engine", "threads"), [("numba", 1), ("numba", 2), ("numba", 4), ("numpy", 1)])
def test_a_seed_says_the_same_on_any_engine_and_number_of_threads(told, engine, threads) -> None:
    first, ran = told("numba", 2), told(engine, threads)
    assert (ran.code, first.code) == (0, 0)
    assert ran.out == first.out
    assert ran.out.count("\n") > 10
    assert "numba" not in ran.out
    assert "thread" not in ran.out
    last = ran.err.splitlines()[-1]
    assert f", {engine}, {threads} thread" in last
    assert "ticks/s" in last


def test_json_is_the_same_too_and_another_seed_is_not(told) -> None:
    assert told("numba", 2, "--json").out == told("numpy", 1, "--json").out
    assert told("numpy", 1, "--json", "--seed", "1").json["digest"] != told("numpy", 1, "--json").json["digest"]


def test_nothing_but_the_time_is_on_stderr(told) -> None:
    ran = told("numpy", 1)
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("smesh: 100 ticks in ")


# What it says


def test_json_has_the_documented_shape(run) -> None:
    report = run("--ticks", 40)
    assert list(report) == KEYS
    assert (report["schema"], report["interrupted"]) == ("smesh.sim/1", False)
    assert report["scenario"].keys() == set(Scenario.__struct_fields__)
    assert report["tick"] == len(report["coverage_by_tick"]) == 40
    assert report["coverage_by_tick"][-1] == pytest.approx(report["coverage"])
    assert sum(report["statements"].values()) == report["emitted"] == 20
    assert report["arrival_ticks"].keys() == {"p50", "p90", "p99", "last"}


def test_every_key_and_option_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "sim.md").read_text(encoding="utf-8")
    for key in KEYS:
        assert f"`{key}`" in page, key
    for parameter in sim.params:
        assert f"`{parameter.opts[0]}`" in page, parameter.opts[0]


def test_the_summary_holds_the_figures_of_the_report(smesh) -> None:
    options = ["--nodes", "80", "--ticks", "60", "--seed", "3", "--engine", "numpy", "--failing", "0.25"]
    text, report = smesh("sim", *options).out, smesh("sim", *options, "--json").json
    lines = text.splitlines()
    assert lines[0] == f"Small world of 80 nodes, {report['hyphae']} hyphae, {report['components']} component"
    assert lines[2] == "60 ticks of 1 s, seed 3; 25.0% of the nodes down from tick 15 to 45"
    rows = {line[:15].strip(): line[15:] for line in lines[4:]}
    assert rows["coverage"].startswith(f"{report['coverage']:.1%} of the nodes on average")
    assert set(rows["over time"].split()[0]) <= set("▁▂▃▄▅▆▇█")
    assert rows["arrivals"] == f"{report['arrivals']:,} arrivals of 20 emitted signals"
    assert rows["after"].startswith(f"half within {report['arrival_ticks']['p50']:g} s")
    assert rows["after"].endswith(f"and {report['arrival_ticks']['last']} ticks)")
    assert rows["copies"].endswith(f"an arrival; {report['lost']:,} lost")
    assert rows["reinforced"] == f"{report['reinforced']:,}"
    assert rows["inhibited"] == f"{report['inhibited']:,}"
    assert rows["statements"].startswith(f"{report['statements']['reached']} reached")
    assert rows["digest"] == report["digest"]


def test_a_terminal_that_knows_only_ascii(smesh) -> None:
    ran = smesh("sim", "--engine", "numpy", env={"PYTHONIOENCODING": "ascii"})
    assert ran.code == 0
    assert ran.out.isascii()
    assert "\\u" not in ran.out


# Every option


def test_every_option_reaches_the_scenario(run) -> None:
    asked = {
        "nodes": 30, "ticks": 12, "topology": "grid", "degree": 4, "signals": 7, "tick_s": 0.5, "decay": "linear",
        "rate_per_s": 0.2, "ttl_s": 9.0, "radius": 3, "confidence": 0.7, "evidence": 0.4, "false_share": 0.1,
        "trust": 0.6, "threshold": 0.2, "capacity": 3, "failing": 0.1, "partitioned": 0.15, "seed": -5,
    }  # fmt: skip
    assert asked.keys() == set(Scenario.__struct_fields__)
    by_name = {parameter.name: parameter.opts[0] for parameter in sim.params}
    options = [part for name, value in asked.items() for part in (by_name[name], value)]
    assert run(*options)["scenario"] == asked


def test_defaults_are_those_of_the_scenario(run) -> None:
    given = {parameter.name: parameter.default for parameter in sim.params}
    for name in Scenario.__struct_fields__:
        if name != "capacity":
            assert given[name] == getattr(Scenario(), name), name
    assert run("--ticks", 1)["scenario"]["capacity"] is None


@pytest.mark.parametrize(
    ("options", "key", "sign"),
    [
        (["--degree", 12], "coverage", 1),
        (["--tick", 5], "arrivals", -1),
        (["--decay", "step"], "coverage", 1),
        (["--rate", 1], "coverage", -1),
        (["--ttl", 3], "coverage", -1),
        (["--radius", 2], "hops_max", -1),
        (["--confidence", 0.2], "coverage", -1),
        (["--evidence", 1], "reinforced", 1),
        (["--false", 1], "inhibited", 1),
        (["--trust", 0.95], "coverage", 1),
        (["--threshold", 0.9], "sensed", -1),
        (["--failing", 0.5], "lost", 1),
        (["--partitioned", 0.5], "coverage", -1),
        (["--signals", 3], "emitted", -1),
    ],
    ids=str,
)
def test_an_option_changes_the_report_in_the_right_direction(run, options, key, sign) -> None:
    assert (run(*options)[key] - run()[key]) * sign > 0


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (["--radius", 0], "arrivals", 0),
        (["--capacity", 0], "sensed", 0),
        (["--evidence", 0], "reinforced", 0),
        (["--failing", 1, "--ticks", 400], "components", 1),
        (["--nodes", 1], "coverage", 1.0),
        (["--false", 1], "reinforced", 0),
    ],
    ids=str,
)
def test_the_ends_of_an_option(run, options, key, value) -> None:
    assert run(*options)[key] == value


def test_choices_are_those_of_the_core() -> None:
    choices = {parameter.name: parameter.type.choices for parameter in sim.params if hasattr(parameter.type, "choices")}
    assert set(choices["topology"]) == set(TOPOLOGIES)
    for decay in choices["decay"]:
        Scenario(decay=decay)


# A large network


def test_a_million_nodes_fit_into_a_gigabyte(smesh) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))

    ran = smesh("sim", "--nodes", "1000000", "--json", "--threads", "2", preexec_fn=limit)
    assert ran.code == 0, ran.err
    report = ran.json
    assert (report["scenario"]["nodes"], report["hyphae"]) == (1_000_000, 6_000_000)
    assert report["arrivals"] > 1000


def test_too_little_memory_is_one_line(smesh) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28))

    ran = smesh("sim", "--nodes", "3000000", "--engine", "numpy", preexec_fn=limit)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("smesh: there is not enough memory")
    assert ran.err.count("\n") == 1


# What is wrong


@pytest.mark.parametrize(
    "options",
    [
        ["--nodes", "0"], ["--nodes", "many"], ["--ticks", "0"], ["--ticks", "1000001"], ["--signals", "0"],
        ["--topology", "torus"], ["--decay", "slow"], ["--degree", "0"], ["--rate", "-1"], ["--rate", "nan"],
        ["--rate", "inf"], ["--ttl", "0"], ["--tick", "-1"], ["--radius", "-1"], ["--radius", "65536"],
        ["--confidence", "1.1"], ["--evidence", "nan"], ["--false", "-0.1"], ["--trust", "0"], ["--trust", "1"],
        ["--threshold", "2"], ["--capacity", "-1"], ["--failing", "2"], ["--partitioned", "nan"], ["--seed", "x"],
        ["--threads", "0"], ["--threads", "1025"], ["--engine", "cuda"], ["--speed", "-1"], ["--speed", "nan"],
        ["--nonsense"], ["extra"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_value_out_of_bounds(options, capsys) -> None:
    from smesh_cli.main import cli  # noqa: PLC0415

    with pytest.raises(SystemExit) as ended:
        cli.main(["sim", *options], prog_name="smesh")
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--topology", "full-mesh", "--nodes", "100000"], "full-mesh of 100,000 nodes would take"),
        (["--nodes", "99999999999"], "nodes"),
        (["--rate", "0", "--ttl", "2592000", "--tick", "0.0001"], "take a longer tick"),
        (["--live"], "--live needs a terminal"),
    ],
    ids=str,
)
def test_what_cannot_be_simulated_is_one_line(smesh, options, word) -> None:
    ran = smesh("sim", "--engine", "numpy", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("smesh: ")
    assert ran.err.count("\n") == 1
    assert word in ran.err


def test_numba_that_is_asked_for_and_missing(smesh, injected) -> None:
    env = injected("import sys\nsys.modules['numba'] = None\n")
    ran = smesh("sim", "--engine", "numba", env=env)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "numba cannot be loaded" in ran.err
    ran = smesh("sim", env=env)
    assert ran.code == 0
    assert ", numpy, " in ran.err


@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
def test_output_that_cannot_be_written(smesh, options) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = smesh("sim", "--engine", "numpy", *options, stdout=full)
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == "smesh: cannot write the result: No space left on device"


def test_a_reader_that_goes_away(start) -> None:
    read, write = os.pipe()
    process = start("sim", "--engine", "numpy", stdout=write)
    os.close(write)
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.count(b"\n") == 1


# Stopping


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_prints_what_was_run(start, until, number, code, tmp_path) -> None:
    """Ticks that take long: a large network on the slow engine."""
    options = ["--nodes", "20000", "--signals", "400", "--ticks", "5000", "--engine", "numpy", "--json"]
    process = start("sim", *options, "--ttl", "5000", "--rate", "0", "--radius", "3", env={"PYTHONFAULTHANDLER": ""})
    until(lambda: cpu_seconds(process.pid) > 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    report = json.loads(out)
    assert report["interrupted"] is True
    assert 0 < report["tick"] < 5000
    assert err.startswith(b"smesh: stopped; the report holds the ticks that were run by then\n")


def cpu_seconds(pid: int) -> float:
    """What a process has used of processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
