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
from smesh_core.attestation import (
    WIRE_VERSION,
    Attested,
    attest,
    decode_attested,
    encode_attested,
    verify,
    verify_bytes,
    verify_many,
)
from smesh_core.batch import SignalBatch
from smesh_core.conduct import Conduct
from smesh_core.consensus import (
    ConsensusPolicy,
    ConsensusState,
    LogOdds,
    Majority,
    Quorum,
    Verdict,
)
from smesh_core.decay import intensities, intensity_at
from smesh_core.decision import BestOfN, Decision
from smesh_core.engine import default_engine, set_compile_notice, warmup
from smesh_core.errors import (
    DecodeError,
    EngineError,
    FieldFullError,
    GoneError,
    IdentityError,
    InvalidNetworkError,
    InvalidSignalError,
    InvalidTopologyError,
    PayloadError,
    SmeshError,
    SnapshotError,
    TrustError,
    WrongFieldError,
)
from smesh_core.explanation import Explanation, explain
from smesh_core.field import Field
from smesh_core.identity import Identity, decode_public_id, encode_public_id
from smesh_core.judging import Judgement, Outcome, TrustBook, TrustRules, fold_judgements, judgements_of
from smesh_core.network import Network
from smesh_core.reading import Position, Reading, Sensed
from smesh_core.refs import Ref, Refs
from smesh_core.reputation import Evidence, Reputation, ReputationBook, fold_evidence
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
from smesh_core.snapshot import SNAPSHOT_VERSION, dump_field, dump_network, load_field, load_network
from smesh_core.topology import Topology
from smesh_core.topology_edges import from_edges, from_networkx, parse_edge_list, to_networkx
from smesh_core.weights import EVERYONE, Observer, Tally, Vote, tally

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_FIELD_ID",
    "EVERYONE",
    "SNAPSHOT_VERSION",
    "WIRE_VERSION",
    "Attested",
    "BestOfN",
    "Conduct",
    "ConsensusPolicy",
    "ConsensusState",
    "DecayCurve",
    "Decision",
    "DecodeError",
    "EngineError",
    "Evidence",
    "Explanation",
    "Field",
    "FieldFullError",
    "GoneError",
    "Identity",
    "IdentityError",
    "InvalidNetworkError",
    "InvalidSignalError",
    "InvalidTopologyError",
    "Judgement",
    "LogOdds",
    "Majority",
    "Network",
    "Observer",
    "Outcome",
    "PayloadError",
    "Position",
    "Quorum",
    "Reading",
    "Ref",
    "Refs",
    "Reputation",
    "ReputationBook",
    "Sensed",
    "Signal",
    "SignalBatch",
    "SignalType",
    "SmeshError",
    "SnapshotError",
    "Stance",
    "StanceKind",
    "Tally",
    "Topology",
    "TrustBook",
    "TrustError",
    "TrustRules",
    "Verdict",
    "Vote",
    "WrongFieldError",
    "__version__",
    "attest",
    "decode_attested",
    "decode_public_id",
    "decode_signal",
    "decode_stance",
    "default_engine",
    "dump_field",
    "dump_network",
    "encode_attested",
    "encode_public_id",
    "encode_signal",
    "encode_stance",
    "explain",
    "field_id",
    "fold_evidence",
    "fold_judgements",
    "from_edges",
    "from_networkx",
    "intensities",
    "intensity_at",
    "judgements_of",
    "load_field",
    "load_network",
    "node_id",
    "parse_edge_list",
    "set_compile_notice",
    "statement_id",
    "subject",
    "tally",
    "to_networkx",
    "topologies",
    "verify",
    "verify_bytes",
    "verify_many",
    "warmup",
]
