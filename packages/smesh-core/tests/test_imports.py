"""What `import smesh_core` costs and touches, asked of a fresh interpreter; and what it exports."""

from __future__ import annotations

import json
import subprocess
import sys
import typing

import msgspec
import pytest
import smesh_core

AMBIENT = ["socket", "ssl", "subprocess", "random", "secrets", "threading", "logging", "sqlite3", "multiprocessing"]


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh interpreter holds after `code`."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def after_import() -> set[str]:
    return loaded_by("import smesh_core")


@pytest.fixture(scope="module")
def added(after_import: set[str]) -> set[str]:
    """What smesh_core adds to what its two dependencies load."""
    return after_import - loaded_by("import numpy, msgspec, json")


def test_asyncio_is_not_loaded(after_import: set[str]) -> None:
    assert "smesh_core.field" in after_import
    assert "asyncio" not in after_import


def test_numba_is_not_loaded(after_import: set[str]) -> None:
    """It is there to be loaded in the workspace's environment: tests/test_workspace.py sees to that."""
    assert not {name for name in after_import if name.split(".")[0] in {"numba", "llvmlite"}}


@pytest.mark.parametrize("module", AMBIENT)
def test_core_adds_nothing_that_touches_the_world(added: set[str], module: str) -> None:
    assert module not in added


def test_core_adds_only_itself_and_hashing(added: set[str]) -> None:
    """A new dependency of the core is a decision; note it here."""
    others = {name for name in added if name.split(".")[0] != "smesh_core"}
    assert others <= {"hashlib", "_hashlib", "_blake2", "_sha2", "_md5", "_sha1", "_sha3", "heapq", "_heapq"}


def test_core_does_not_load_its_siblings(after_import: set[str]) -> None:
    assert not after_import & {"smesh_runtime", "smesh_agent", "smesh_cli"}


def test_using_a_field_loads_neither() -> None:
    code = (
        "import smesh_core as s\n"
        "field, ada = s.Field(), s.node_id('ada')\n"
        "ref = field.emit(s.Signal(author=ada, seq=1, created_at_ns=0))\n"
        "field.reinforce(ref, by=s.node_id('bo'), now_ns=0)\n"
        "field.sense(0, types=[s.SignalType.DATA]); field.verdict(ref, 0); field.expire(10**12)"
    )
    assert not {name.split(".")[0] for name in loaded_by(code)} & {"asyncio", "numba", "llvmlite", "random", "socket"}


# ---- what is exported


def test_everything_exported_exists_once_and_in_order() -> None:
    assert len(smesh_core.__all__) == len(set(smesh_core.__all__))
    assert all(hasattr(smesh_core, name) for name in smesh_core.__all__)
    errors = [getattr(smesh_core, name) for name in smesh_core.__all__ if name.endswith("Error")]
    assert all(issubclass(error, smesh_core.SmeshError) for error in errors)


STRUCTS = [
    value
    for name in smesh_core.__all__
    if isinstance(value := getattr(smesh_core, name), type) and issubclass(value, msgspec.Struct)
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_annotations_of_public_values_resolve(struct: type[msgspec.Struct]) -> None:
    """help(), inspect.signature() and msgspec itself read them."""
    assert set(typing.get_type_hints(struct)) >= set(struct.__struct_fields__)
    assert len(msgspec.structs.fields(struct)) == len(struct.__struct_fields__)


def test_module_docstring_example_holds() -> None:
    field, ada, bo = smesh_core.Field(), smesh_core.node_id("ada"), smesh_core.node_id("bo")
    ref = field.emit(smesh_core.Signal(author=ada, seq=1, created_at_ns=0, confidence=0.8))
    field.reinforce(ref, by=bo, now_ns=0)
    assert round(field.value(ref, now_ns=0), 4) == 0.9533
    assert ">>> round(field.value(ref, now_ns=0), 4)\n    0.9533" in (smesh_core.__doc__ or "")
