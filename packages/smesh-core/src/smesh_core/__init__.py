"""Signals in a shared field: coordination without a controller.

Agents leave signals in a field; signals fade, and are strengthened by whoever agrees on evidence of its own; others
sense them and act. This package is the field itself: it does no I/O, reads no clock and draws no random numbers.

    >>> from smesh_core import Field, Signal, node_id
    >>> field, ada, bo = Field(), node_id("ada"), node_id("bo")
    >>> ref = field.emit(Signal(author=ada, seq=1, created_at_ns=0, confidence=0.8))
    >>> _ = field.reinforce(ref, by=bo, now_ns=0)
    >>> round(field.value(ref, now_ns=0), 4)
    0.9533
"""

from smesh_core.consensus import ConsensusPolicy, ConsensusState, Quorum, Verdict
from smesh_core.decay import intensities, intensity_at
from smesh_core.errors import (
    DecodeError,
    FieldFullError,
    GoneError,
    InvalidSignalError,
    SmeshError,
    WrongFieldError,
)
from smesh_core.field import Field, Position, Reading, Ref, Sensed
from smesh_core.signal import (
    DEFAULT_FIELD_ID,
    DecayCurve,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    decode_signal,
    decode_stance,
    encode_signal,
    encode_stance,
    field_id,
    node_id,
    statement_id,
    subject,
)
from smesh_core.weights import EVERYONE, Observer, Tally, Vote, tally

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_FIELD_ID",
    "EVERYONE",
    "ConsensusPolicy",
    "ConsensusState",
    "DecayCurve",
    "DecodeError",
    "Field",
    "FieldFullError",
    "GoneError",
    "InvalidSignalError",
    "Observer",
    "Position",
    "Quorum",
    "Reading",
    "Ref",
    "Sensed",
    "Signal",
    "SignalType",
    "SmeshError",
    "Stance",
    "StanceKind",
    "Tally",
    "Verdict",
    "Vote",
    "WrongFieldError",
    "__version__",
    "decode_signal",
    "decode_stance",
    "encode_signal",
    "encode_stance",
    "field_id",
    "intensities",
    "intensity_at",
    "node_id",
    "statement_id",
    "subject",
    "tally",
]
