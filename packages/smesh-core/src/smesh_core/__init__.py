"""Signals in a shared field: coordination without a controller.

Agents leave signals in a field; signals fade, and are strengthened by whoever agrees on evidence of its own; others
sense them and act. This package is the field, and networks of nodes in which signals spread, for simulation. It does
no I/O and reads no clock; what chance decides in a network is a function of its seed.

    >>> from smesh_core import Field, Signal, node_id
    >>> field, ada, bo = Field(), node_id("ada"), node_id("bo")
    >>> ref = field.emit(Signal(author=ada, seq=1, created_at_ns=0, confidence=0.8))
    >>> _ = field.reinforce(ref, by=bo, now_ns=0)
    >>> round(field.value(ref, now_ns=0), 4)
    0.9533

    >>> from smesh_core import Network, topologies
    >>> network = Network(topologies.small_world(1_000, degree=6, seed=7), seed=7)
    >>> _ = network.emit_batch([0, 500], confidence=0.8, evidence=0.3)
    >>> network.run(50)
    >>> [state.value for state in network.verdicts().states]
    ['reached', 'reached']
"""

from smesh_core import topologies
from smesh_core.batch import SignalBatch
from smesh_core.consensus import ConsensusPolicy, ConsensusState, Quorum, Verdict
from smesh_core.decay import intensities, intensity_at
from smesh_core.engine import default_engine, set_compile_notice, warmup
from smesh_core.errors import (
    DecodeError,
    EngineError,
    FieldFullError,
    GoneError,
    InvalidNetworkError,
    InvalidSignalError,
    InvalidTopologyError,
    SmeshError,
    WrongFieldError,
)
from smesh_core.field import Field
from smesh_core.network import Network
from smesh_core.reading import Position, Reading, Sensed
from smesh_core.refs import Ref, Refs
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
from smesh_core.topology import Topology
from smesh_core.topology_edges import from_edges, from_networkx, parse_edge_list, to_networkx
from smesh_core.weights import EVERYONE, Observer, Tally, Vote, tally

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_FIELD_ID",
    "EVERYONE",
    "ConsensusPolicy",
    "ConsensusState",
    "DecayCurve",
    "DecodeError",
    "EngineError",
    "Field",
    "FieldFullError",
    "GoneError",
    "InvalidNetworkError",
    "InvalidSignalError",
    "InvalidTopologyError",
    "Network",
    "Observer",
    "Position",
    "Quorum",
    "Reading",
    "Ref",
    "Refs",
    "Sensed",
    "Signal",
    "SignalBatch",
    "SignalType",
    "SmeshError",
    "Stance",
    "StanceKind",
    "Tally",
    "Topology",
    "Verdict",
    "Vote",
    "WrongFieldError",
    "__version__",
    "decode_signal",
    "decode_stance",
    "default_engine",
    "encode_signal",
    "encode_stance",
    "field_id",
    "from_edges",
    "from_networkx",
    "intensities",
    "intensity_at",
    "node_id",
    "parse_edge_list",
    "set_compile_notice",
    "statement_id",
    "subject",
    "tally",
    "to_networkx",
    "topologies",
    "warmup",
]
