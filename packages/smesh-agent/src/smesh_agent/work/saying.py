"""Saying a payload of the work protocol, for everybody who takes part in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smesh_core.limits import TTL_DEFAULT_NS
from smesh_core.payload import (
    Claim,
    Heartbeat,
    encode_payload,
    payload_decay,
    payload_signal_type,
    payload_subject,
)

if TYPE_CHECKING:
    from smesh_core import Signal
    from smesh_core.payload import Payload
    from smesh_runtime import Medium

    from smesh_agent.work.lookout import Lookout

__all__ = ["say"]

_NS_PER_S: Final = 10**9


async def say(medium: Medium, payload: Payload, lookout: Lookout, *, deadline_ns: int) -> Signal:
    """Say a payload; a claim lives for its lease, a heartbeat for 60 s, all else to the run's deadline.

    Args:
        medium: who says it, and where.
        payload: what is said.
        lookout: what this process knows; it is spared reading what is written here.
        deadline_ns: when the run ends, by the medium's clock; nothing outlives that.

    Raises:
        PayloadError: it is no payload.
        InvalidSignalError: the deadline is too far away.
    """
    encoded = encode_payload(payload)
    left_ns = max(1, deadline_ns - medium.clock.now_ns())
    if isinstance(payload, Claim):
        left_ns = min(left_ns, payload.lease_s * _NS_PER_S)
    elif isinstance(payload, Heartbeat):
        left_ns = min(left_ns, TTL_DEFAULT_NS)
    lookout.written[encoded] = payload
    try:
        return await medium.emit(
            encoded,
            type=payload_signal_type(payload),
            subject=payload_subject(payload, encoded),
            ttl_ns=left_ns,
            decay=payload_decay(payload),
        )
    finally:
        lookout.written.pop(encoded, None)
