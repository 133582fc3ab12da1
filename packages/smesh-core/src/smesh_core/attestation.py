"""Attestation: an emission or a stance with its author's signature.

What is signed is the canonical encoding of the element behind a head that says what it is and where it counts:

    ``"smesh/attest/1" ‖ 0x00 ‖ WIRE_VERSION u8 ‖ kind u8 ‖ mesh id (32) ‖ element encoding``

Both encodings begin with the field's id and hold the author and the sequence number, so a signature covers mesh, field,
wire version, kind and all that is said. The mesh's id is not carried along: who verifies knows which mesh it is on.
Outside a mesh it is 32 zero bytes.

Verification answers, and never raises, whatever it is given: an element comes from a stranger. The whole layout, byte
by byte, and the golden vectors: `docs/reference/identity-and-attestation.md`.

`verify_many` uses no batch equation (Bernstein, Duif, Lange, Schwabe, Yang: High-speed high-security signatures, 2012):
the libraries at hand have none, one without randomness can be fooled, and for signatures made with ill will one may
answer otherwise than single verification does. It verifies each element by itself. What helps is a second core, since
OpenSSL works without the interpreter's lock, so the caller may bring a pool of threads. Keeping parsed keys does not
help: parsing one takes at most 3 parts in 100 of a verification (`benchmarks/signing`).
"""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from smesh_core.errors import DecodeError, IdentityError
from smesh_core.identity import SIGNATURE_BYTES, verify_signature
from smesh_core.limits import ID_BYTES, SIGNAL_BYTES_MAX
from smesh_core.signal import Signal, Stance, decode_signal, decode_stance, encode_signal, encode_stance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from smesh_core.identity import Identity

__all__ = [
    "ATTESTATION_DOMAIN",
    "ATTESTED_BYTES_MAX",
    "ATTESTED_HEAD_BYTES",
    "WIRE_VERSION",
    "Attested",
    "Share",
    "attest",
    "decode_attested",
    "encode_attested",
    "signed_message",
    "verify",
    "verify_bytes",
    "verify_many",
]

WIRE_VERSION: Final = 1
"""Of all that nodes say to each other; signed, so that what was said under one version is not read under another."""

ATTESTATION_DOMAIN: Final = b"smesh/attest/1"
ATTESTED_HEAD_BYTES: Final = 2 + SIGNATURE_BYTES
ATTESTED_BYTES_MAX: Final = ATTESTED_HEAD_BYTES + SIGNAL_BYTES_MAX

_MESSAGE_HEAD: Final = struct.Struct(">BB32s")
_EMISSION, _STANCE = 1, 2
_NO_MESH: Final = bytes(ID_BYTES)
_RUNS, _RUN_MAX = 8, 64
"""How a batch is shared out: in 8 runs, so that no thread waits long for another's last one, or more if they would be
longer than 64 elements, which take about 7 ms."""


class Attested(msgspec.Struct, frozen=True, gc=False):
    """An element and a signature, which may be good or not: `verify` says.

    Attributes:
        element: the emission or stance.
        signature: 64 bytes.

    Raises:
        IdentityError: the element is neither, or the signature is not 64 bytes.
    """

    element: Signal | Stance
    signature: bytes

    def __post_init__(self) -> None:
        # Exactly these types: a subclass could say other things than it encodes.
        if type(self.element) is not Signal and type(self.element) is not Stance:
            raise IdentityError(f"what is attested is a Signal or a Stance, not {type(self.element).__name__}")
        if type(self.signature) is not bytes or len(self.signature) != SIGNATURE_BYTES:
            raise IdentityError(f"a signature takes {SIGNATURE_BYTES} bytes")


class Share(Protocol):
    """How work is shared out: like the built-in `map`, in whatever order, answers in the order of the tasks."""

    def __call__(self, work: Callable[[Any], Any], tasks: Any, /) -> Iterable[Any]:
        """The answer of `work` for each task."""
        ...


def signed_message(element: Signal | Stance, *, mesh_id: bytes | None = None) -> bytes:
    """Exactly the bytes that Ed25519 signs for an element, from the domain tag on.

    Args:
        element: what is said.
        mesh_id: the mesh it is said on, 32 bytes that are not all zero; None outside a mesh.

    Raises:
        IdentityError: the element is neither emission nor stance, or the mesh id is not one.
    """
    return ATTESTATION_DOMAIN + b"\0" + _checked_message(element, mesh_id)


def attest(element: Signal | Stance, identity: Identity, *, mesh_id: bytes | None = None) -> Attested:
    """Sign an element with the key of its author.

    Args:
        element: what is said, with the identity's public id as its author.
        identity: who says it.
        mesh_id: the mesh it is said on, 32 bytes that are not all zero; None outside a mesh.

    Raises:
        IdentityError: the author is not this identity, or an argument is not what it should be.
    """
    message = _checked_message(element, mesh_id)
    if element.author != identity.public_id:
        raise IdentityError("an element is attested by its author, and this is by another")
    return Attested(element, identity.sign(ATTESTATION_DOMAIN, message))


def verify(attested: object, *, mesh_id: object = None) -> bool:
    """Whether this is an `Attested` that its element's author signed, on this mesh and in this wire version.

    Never raises: what is no `Attested`, and a mesh id that is none, give False.
    """
    if type(attested) is not Attested:
        return False
    if not _is_mesh(mesh_id):
        return False
    element = attested.element
    try:
        message = _message(element, mesh_id)
    except (struct.error, AttributeError, TypeError, ValueError):  # an element that was forced after its checks
        return False
    return verify_signature(element.author, ATTESTATION_DOMAIN, message, attested.signature)


def verify_bytes(encoded: object, *, mesh_id: object = None) -> Signal | Stance | None:
    """The element in these bytes, if they are an attested one with a good signature; else None. Never raises."""
    try:
        attested = decode_attested(encoded)
    except DecodeError:
        return None
    return attested.element if verify(attested, mesh_id=mesh_id) else None


def verify_many(attested: Sequence[object], *, mesh_id: object = None, share: Share = map) -> list[bool]:
    """`verify` of each, in order; no element touches the answer for another.

    Args:
        attested: what is to be verified; whatever is no `Attested` gives False.
        mesh_id: the mesh it was said on; None outside a mesh.
        share: how runs of up to 64 elements are shared out. The built-in `map` does one after the other; the `map` of a
            `concurrent.futures.ThreadPoolExecutor` uses as many cores as it has threads.

    Never raises by itself; what `share` raises comes through.
    """

    def verified(run: Sequence[object]) -> list[bool]:
        return [verify(one, mesh_id=mesh_id) for one in run]

    size = max(1, min(_RUN_MAX, len(attested) // _RUNS))
    runs = [attested[start : start + size] for start in range(0, len(attested), size)]
    return list(chain.from_iterable(share(verified, runs)))


def encode_attested(attested: Attested) -> bytes:
    """The canonical bytes: wire version u8, kind u8 (1 emission, 2 stance), signature (64), the element's encoding."""
    kind, encoding = _encoded(attested.element)
    return bytes((WIRE_VERSION, kind)) + attested.signature + encoding


def decode_attested(encoded: object) -> Attested:
    """Read an attested element from its canonical bytes; the signature is not verified.

    Raises:
        DecodeError: they are not bytes, or not the canonical bytes of any attested element of this wire version.
    """
    if type(encoded) is not bytes:
        raise DecodeError(f"not an attested element: it comes as bytes, not {type(encoded).__name__}")
    if not ATTESTED_HEAD_BYTES < len(encoded) <= ATTESTED_BYTES_MAX:
        raise DecodeError(f"not an attested element: {len(encoded)} bytes")
    version, kind, encoding = encoded[0], encoded[1], encoded[ATTESTED_HEAD_BYTES:]
    if version != WIRE_VERSION:
        raise DecodeError(f"an attested element of wire version {version}; this is {WIRE_VERSION}")
    if kind not in {_EMISSION, _STANCE}:
        raise DecodeError(f"not an attested element: kind {kind} is neither 1, an emission, nor 2, a stance")
    element = decode_signal(encoding) if kind == _EMISSION else decode_stance(encoding)
    return Attested(element, encoded[2:ATTESTED_HEAD_BYTES])


def _encoded(element: Signal | Stance) -> tuple[int, bytes]:
    """The kind of an element, and its canonical bytes."""
    if isinstance(element, Signal):
        return _EMISSION, encode_signal(element)
    return _STANCE, encode_stance(element)


def _checked_message(element: Signal | Stance, mesh_id: bytes | None) -> bytes:
    """What is signed behind the domain, after a look at both."""
    if not _is_mesh(mesh_id):
        raise IdentityError(f"a mesh id takes {ID_BYTES} bytes that are not all zero, or None")
    if type(element) is not Signal and type(element) is not Stance:
        raise IdentityError(f"what is attested is a Signal or a Stance, not {type(element).__name__}")
    return _message(element, mesh_id)


def _message(element: Signal | Stance, mesh_id: object) -> bytes:
    """What is signed behind the domain for an element on a mesh, whose id has been checked."""
    kind, encoding = _encoded(element)
    return _MESSAGE_HEAD.pack(WIRE_VERSION, kind, mesh_id or _NO_MESH) + encoding


def _is_mesh(mesh_id: object) -> bool:
    """Whether this is a mesh id, or None for no mesh; all zeros would be a mesh that signs as if it were none."""
    return mesh_id is None or (type(mesh_id) is bytes and len(mesh_id) == ID_BYTES and mesh_id != _NO_MESH)
