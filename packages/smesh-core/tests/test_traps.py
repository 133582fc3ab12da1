"""Traps: what loads numba and what does not, and what happens where there is none, or a broken one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from smesh_core.engine import default_engine, warmup
from smesh_core.errors import EngineError, SmeshError
from smesh_core.network import Network
from smesh_core.topologies import full_mesh

if TYPE_CHECKING:
    from pathlib import Path

LOADED = "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
WITHOUT = "import sys\nsys.modules['numba'] = None\n"
NETWORK = """
from smesh_core.network import Network
from smesh_core.topologies import full_mesh
network = Network(full_mesh(6), seed=5)
network.emit_batch([0, 1, 2], confidence=0.6, evidence=0.5, counter_evidence=0.3)
"""


def run(program: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120, env=environment
    )


def loaded_by(program: str) -> set[str]:
    done = run(program + LOADED)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


# ---- what loads numba


@pytest.mark.parametrize(
    "program",
    [
        "import smesh_core",
        "import smesh_core.network, smesh_core.simulation, smesh_core.engine, smesh_core.topologies",
        "from smesh_core.topologies import small_world, scale_free\nsmall_world(500)\nscale_free(500)",
        "from smesh_core import Field, Signal, node_id\nf = Field()\n"
        "r = f.emit(Signal(author=node_id('a'), seq=1, created_at_ns=0))\nf.value(r, 0)\nf.sense(0)",
        NETWORK.replace("seed=5", "engine='numpy'") + "network.run(30)\nnetwork.verdicts()\nnetwork.digest()",
        "from smesh_core.engine import default_engine\ndefault_engine()",
    ],
    ids=["package", "modules", "topologies", "field", "numpy engine", "its name"],
)
def test_numba_is_not_loaded_by(program: str) -> None:
    assert not loaded_by(program) & {"numba", "llvmlite"}


def test_the_first_tick_loads_numba_and_not_before() -> None:
    """As `smesh_core.engine` says: setting a network up costs nothing but its arrays."""
    assert "numba" in loaded_by(NETWORK + "network.run(1)")


def test_a_network_that_never_ticks_loads_no_numba() -> None:
    assert "numba" not in loaded_by(NETWORK)


# ---- no numba, or a broken one


def digest_here() -> str:
    network = Network(full_mesh(6), seed=5, engine="numpy")
    network.emit_batch([0, 1, 2], confidence=0.6, evidence=0.5, counter_evidence=0.3)
    network.run(30)
    return network.digest()


def test_without_numba_the_same_comes_out_slower() -> None:
    done = run(
        WITHOUT
        + NETWORK
        + "network.run(30, threads=3)\n"
        + "from smesh_core.engine import default_engine, warmup\n"
        + "print(network.engine, default_engine(), warmup(), network.digest())"
    )
    assert done.stdout == f"numpy numpy numpy {digest_here()}\n"
    assert done.stderr == ""


def test_without_numba_asking_for_it_is_an_error_of_one_line() -> None:
    done = run(
        WITHOUT
        + "from smesh_core.errors import EngineError\nfrom smesh_core.network import Network\n"
        + "from smesh_core.topologies import ring\n"
        + "try:\n    Network(ring(3), engine='numba').run(1)\nexcept EngineError as error:\n    print(error)"
    )
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert "numba cannot be loaded" in line
    assert "ask for the numpy engine" in line


@pytest.mark.parametrize(
    "error",
    [
        "ImportError('Numba needs NumPy 2.4 or less')",
        "OSError('could not load shared object file: libllvmlite.so')",
    ],
)
def test_a_numba_that_cannot_be_loaded_is_an_error_of_one_line(tmp_path: Path, error: str) -> None:
    """It is installed, so it is what is asked for; and it is broken, as a wheel of another platform is."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(f"raise {error}\n")
    done = run(
        "from smesh_core.errors import EngineError\n"
        + "try:\n"
        + "".join(f"    {line}\n" for line in (NETWORK + "network.run(1)").splitlines())
        + "except EngineError as error:\n    print(error)",
        tmp_path,
    )
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert line.startswith("numba cannot be loaded (")


def test_warming_up_a_numba_that_cannot_be_loaded_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('broken')\n")
    done = run(
        "from smesh_core.engine import warmup\nfrom smesh_core.errors import EngineError\n"
        "try:\n    warmup()\nexcept EngineError as error:\n    print(error)",
        tmp_path,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("numba cannot be loaded")


def test_warmup_without_numba_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert default_engine() == "numpy"
    assert warmup() == "numpy"
    assert Network(full_mesh(3)).engine == "numpy"


def test_an_engine_that_is_not_there_is_ours_to_refuse() -> None:
    unknown: Any = "jax"
    with pytest.raises(EngineError, match="jax") as raised:
        Network(full_mesh(3), engine=unknown)
    assert isinstance(raised.value, SmeshError)
    assert isinstance(raised.value, RuntimeError)
