"""Compiling kernels: the only place that calls numba.

A kernel is a plain loop over numbers and arrays. Only what Python calls is cached; what that calls is inlined into it
(numba would count references to every array that is passed on, at each call). numba keys a cached kernel by the
source of its own file, and so notices neither an edited callee nor a changed constant in another. Here the key is
`source_stamp`: all sources that a kernel can draw on, and the options.

A kernel has one signature, declared, and is compiled for it when first called. Calls go to the compiled entry point
past numba's dispatch, which would look at the type of every argument each time.

A cache that cannot be written or read costs a compilation, and nothing else. While anything compiles, a line says
so: on stderr, unless a program set another place by `set_compile_notice`.
"""

from __future__ import annotations

import hashlib
import pickle
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import event

from smesh_core.kernels.notice import notify

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Kernel", "entry", "inner", "source_stamp"]

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""No interpreter lock; x / 0 is not an exception; and no counting of references to arrays, of which kernels make none.
Never `fastmath` as a whole: it takes NaN, infinities and the order of sums for granted."""
_UNREADABLE = (OSError, EOFError, pickle.PickleError, ValueError, AttributeError, ImportError, IndexError, TypeError)
_SOURCES = (
    "conduct.py",
    "limits.py",
    "rng.py",
    "signal.py",
    "state.py",
    "kernels/_jit.py",
    "kernels/decay.py",
    "kernels/tick.py",
)


@cache
def source_stamp() -> str:
    """Digest of the sources and options that decide what a compiled kernel does."""
    package = files("smesh_core")
    said = b"".join(package.joinpath(source).read_bytes() for source in _SOURCES)
    return hashlib.sha256(said + repr(_OPTIONS).encode()).hexdigest()[:16]


def inner(function: Callable[..., Any]) -> Any:
    """Mark a kernel that other kernels of its file call."""
    return numba.njit(inline="always", **_OPTIONS)(function)


def entry(*signature: type[int] | np.dtype[Any], may_contract: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Mark a kernel that Python calls.

    Args:
        signature: of each argument, `int` for a whole number, or the dtype of a contiguous array of one dimension.
        may_contract: whether ``a * b + c`` may be rounded once instead of twice. It is faster, and differs in the last
            place between processors: only for kernels that promise no more than that.
    """

    def mark(function: Callable[..., Any]) -> Kernel:
        return Kernel(function, signature, _OPTIONS | ({"fastmath": {"contract"}} if may_contract else {}))

    return mark


class Kernel:
    """A function and its one compiled form."""

    def __init__(
        self, function: Callable[..., Any], signature: tuple[type[int] | np.dtype[Any], ...], options: dict[str, Any]
    ) -> None:
        self.function = function
        self.signature = signature
        self.options = options
        self.is_cached = False
        self._compiled: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, *arguments: object) -> Any:
        """Run it, compiling it first where that is still to be done."""
        return (self._compiled or self.compile())(*arguments)

    def compile(self) -> Callable[..., Any]:
        """Its compiled form: from the cache where there is one, else compiled now."""
        if self._compiled is None:
            with event.install_listener("numba:compile", _Announcer(self.name)):
                self._compiled = self._cached() or self._uncached()
        return self._compiled

    def _cached(self) -> Callable[..., Any] | None:
        # The name is part of the name of the cache's files.
        self.function.__qualname__ = f"{self.function.__qualname__}.{source_stamp()}"
        try:
            dispatcher = numba.njit(cache=True, **self.options)(self.function)
            compiled = self._specialised(dispatcher)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            notify("smesh: no writable directory for compiled kernels; compiling for this process alone")
            return None
        except _UNREADABLE as error:
            notify(f"smesh: the cache of compiled kernels failed ({_said(error)}); compiling for this process alone")
            return None
        self.is_cached = True
        return compiled

    def _uncached(self) -> Callable[..., Any]:
        return self._specialised(numba.njit(**self.options)(self.function))

    def _specialised(self, dispatcher: Any) -> Callable[..., Any]:
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            return self._interpreted
        types = tuple(
            numba.int64 if kind is int else numba.typeof(np.empty(0, kind))  # type: ignore[no-untyped-call]
            for kind in self.signature
        )
        dispatcher.compile(types)
        compiled: Callable[..., Any] = dispatcher.get_overload(types)
        return compiled

    def _interpreted(self, *arguments: object) -> Any:
        """Run it as plain Python, which traces and counts as covered; words of 64 bits wrap around as they should."""
        seen = (
            argument.view(np.recarray) if isinstance(argument, np.ndarray) and argument.dtype.names else argument
            for argument in arguments
        )
        with np.errstate(over="ignore"):
            return self.function(*seen)


class _Announcer(event.Listener):
    """Says once that something compiles, when it begins to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_said = False

    def on_start(self, event: object) -> None:  # noqa: ARG002 - numba's interface
        """Called by numba as a compilation begins; not when one comes from the cache."""
        if not self._is_said:
            self._is_said = True
            notify(f"smesh: compiling {self._name} (a few seconds; kept for next time)")

    def on_end(self, event: object) -> None:
        """Called by numba as a compilation ends."""


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
