"""The media through which agents reach a shared field.

An agent sees a `Medium` and nothing more. This version has one: `LocalField`, a field in this process. Every medium
passes `smesh_runtime.conformance`. A journal, in `smesh_runtime.journal`, keeps what is said in a field.
"""

from smesh_runtime.clock import Clock, SystemClock, VirtualClock
from smesh_runtime.errors import (
    ConformanceError,
    IdentityInUseError,
    JournalClosedError,
    JournalDamagedError,
    JournalError,
    JournalFormatError,
    JournalFullError,
    JournalInUseError,
    LaggedError,
    MediumClosedError,
    SmeshRuntimeError,
)
from smesh_runtime.local import LocalField, LocalMedium
from smesh_runtime.medium import Element, Listener, Medium, Subscription

__version__ = "0.1.0"

__all__ = [
    "Clock",
    "ConformanceError",
    "Element",
    "IdentityInUseError",
    "JournalClosedError",
    "JournalDamagedError",
    "JournalError",
    "JournalFormatError",
    "JournalFullError",
    "JournalInUseError",
    "LaggedError",
    "Listener",
    "LocalField",
    "LocalMedium",
    "Medium",
    "MediumClosedError",
    "SmeshRuntimeError",
    "Subscription",
    "SystemClock",
    "VirtualClock",
    "__version__",
]
