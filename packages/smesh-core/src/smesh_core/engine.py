"""Which code runs a network: compiled kernels where numba is installed, the NumPy reference where it is not.

Both do the same, bit for bit; the kernels are faster. numba is loaded when a network first ticks, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from smesh_core.errors import EngineError
from smesh_core.kernels.notice import set_compile_notice

if TYPE_CHECKING:
    from types import ModuleType

    from smesh_core.state import State

__all__ = [
    "Engine",
    "EngineName",
    "checked_engine",
    "compiled_kernels",
    "default_engine",
    "engine_for",
    "set_compile_notice",
    "warmup",
]

EngineName: TypeAlias = Literal["numba", "numpy"]


class Engine(Protocol):
    """What runs the signals of one network."""

    def run(self, until: int, threads: int) -> None:
        """Advance every signal to the tick `until`."""
        ...


def default_engine() -> EngineName:
    """The engine that networks use unless told otherwise; does not load it."""
    import importlib.util  # noqa: PLC0415 - a field has no use for it

    return "numba" if importlib.util.find_spec("numba") else "numpy"


def checked_engine(name: EngineName | None) -> EngineName:
    """The name of an engine that is there, not loaded yet; the default for None.

    Raises:
        EngineError: there is no such engine, or numba is missing.
    """
    if name not in {None, "numba", "numpy"}:
        raise EngineError(f"an engine is numba or numpy, not {name!r}")
    if name == "numba" and default_engine() != "numba":
        raise EngineError("numba cannot be loaded (it is not installed); install it, or ask for the numpy engine")
    return name or default_engine()


def engine_for(state: State, name: EngineName) -> Engine:
    """An engine over the state of a network.

    Raises:
        EngineError: numba cannot be loaded.
    """
    if name == "numpy":
        from smesh_core.kernels.reference import Reference  # noqa: PLC0415 - loaded when used

        return Reference(state)
    compiled: Engine = compiled_kernels().Compiled(state)
    return compiled


def warmup() -> EngineName:
    """Load the engine and compile what is not in its cache yet, so that the first tick need not wait for that.

    Returns:
        The engine that networks will use.

    Raises:
        EngineError: numba is installed, and cannot be loaded.
    """
    name = default_engine()
    if name == "numba":
        compiled_kernels().compile_all()
    return name


def compiled_kernels() -> ModuleType:
    """The compiled engine's module; loading numba takes most of a second.

    Raises:
        EngineError: numba cannot be loaded.
    """
    try:
        from smesh_core.kernels import compiled  # noqa: PLC0415 - see above
    except (ImportError, OSError, RuntimeError, SystemError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise EngineError(f"numba cannot be loaded ({said}); install it anew, or ask for the numpy engine") from error
    return compiled
