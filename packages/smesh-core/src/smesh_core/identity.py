"""Identities: an Ed25519 key, its public id in bytes and as text, and labels, which are never identity.

A node on a mesh is its key (Josefsson, Liusvaara: Edwards-Curve Digital Signature Algorithm, RFC 8032, 2017): its
**public id** is the 32 raw bytes of the public key, and is what elements carry as `author`. The secret is 32 bytes that
the caller brings; there is no randomness here, and no file (`smesh_runtime.keys` has both).

What is signed is always ``domain ‖ 0x00 ‖ message``, so that bytes signed for one purpose never count for another.

A signature is good when all of these hold, and the answer is the same wherever these rules are followed:

* the public id is the one spelling of a point on the curve, ``y < p``, that is not of small order;
* the signature is 64 bytes ``R ‖ S`` with ``S < L``, so that nobody else can turn it into a second one;
* ``[S]B - [k]A`` encodes to exactly the bytes of R (the equation without cofactor).

OpenSSL sees to the third and to the point's being on the curve. It takes keys of small order and keys that are spelt
in a second way, so the first is ours: under a key of order 1, one signature is good for every message.

The library `cryptography` is loaded by the first function here that needs it. What is done in one process signs
nothing and does not pay for it. Texts and their exact bytes: `docs/reference/identity-and-attestation.md`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from smesh_core.errors import IdentityError
from smesh_core.limits import ID_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "DOMAIN_BYTES_MAX",
    "LABEL_CHARACTERS_MAX",
    "PUBLIC_ID_CHARACTERS",
    "SECRET_BYTES",
    "SIGNATURE_BYTES",
    "Identity",
    "check_label",
    "check_public_id",
    "decode_public_id",
    "encode_public_id",
    "is_public_id",
    "shorten_public_id",
    "verify_signature",
]

SECRET_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
DOMAIN_BYTES_MAX: Final = 64
LABEL_CHARACTERS_MAX: Final = 64

# The curve of RFC 8032, section 5.1.
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_Y_MASK: Final = 2**255 - 1
_Y_OF_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})
"""The y of the eight points whose order divides 8: order 4, 1, 2, and 8 twice. Their x is free, so the sign is too."""

_TEXT_PREFIX: Final = "smesh1"
_TEXT_TAG: Final = b"smesh/public-id/1"
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_CHECK_BYTES: Final = 3
_LETTERS: Final = (ID_BYTES + _CHECK_BYTES) * 8 // 5
_SHORT_LETTERS: Final = 8
PUBLIC_ID_CHARACTERS: Final = len(_TEXT_PREFIX) + _LETTERS
"""62: the prefix and 56 letters."""

# Printable to Python, and yet invisible, or a mark on how the character before it is drawn.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))

if (ID_BYTES + _CHECK_BYTES) * 8 % 5:
    raise AssertionError("a public id and its check must fill whole letters, or its text would have several spellings")


@final
class Identity:
    """An Ed25519 secret and what is known of it in public.

    Identities are equal when their public ids are, whatever their labels. One is shown without its secret, and is
    neither copied nor pickled: `secret_bytes` is the one way to take the secret out.

    Args:
        secret: 32 bytes that nobody else can guess; from `secrets.token_bytes` or a key file.
        label: what people call it; see `check_label`. Never identity: anybody may use the same.

    Raises:
        IdentityError: the secret is not 32 bytes, or the label is not one.
    """

    __slots__ = ("_key", "_label", "_public_id")

    def __init__(self, secret: bytes, *, label: str = "") -> None:
        if type(secret) is not bytes or len(secret) != SECRET_BYTES:
            raise IdentityError(f"a secret takes {SECRET_BYTES} bytes")  # and is not shown, whatever it is
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        self._label = check_label(label)
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self._public_id = self._key.public_key().public_bytes_raw()

    @property
    def public_id(self) -> bytes:
        """The 32 bytes of the public key; the `author` of what it says."""
        return self._public_id

    @property
    def label(self) -> str:
        """What people call it; empty if nothing."""
        return self._label

    @property
    def text(self) -> str:
        """Its public id as text, for people and configuration; see `encode_public_id`."""
        return encode_public_id(self._public_id)

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """The signature (64 bytes) of `message` for one purpose; the same each time, as Ed25519 is.

        Args:
            domain: what it is for: ASCII that begins with ``smesh/``, at most 64 bytes, none of them zero.
            message: any bytes.

        Raises:
            IdentityError: the domain is not one, or the message is not bytes.
        """
        framed = _framed(domain, message)
        if framed is None:
            raise IdentityError(f"{domain!r} is not a domain to sign for, or the message is not bytes")
        return self._key.sign(framed)

    def secret_bytes(self) -> bytes:
        """The secret (32 bytes), for a key file."""
        return self._key.private_bytes_raw()

    def private_key(self) -> Ed25519PrivateKey:
        """The key as `cryptography` holds it, for the certificate of a TLS session.

        TLS 1.3 signs bytes that begin with 64 spaces, X.509 with an ASN.1 sequence: neither is ever what `sign` signs.
        """
        return self._key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity):
            return NotImplemented
        return self._public_id == other._public_id

    def __hash__(self) -> int:
        return hash(self._public_id)

    def __repr__(self) -> str:
        named = f"{self._label!r}, " if self._label else ""
        return f"Identity({named}{shorten_public_id(self._public_id)})"

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("an Identity holds a secret: it is neither copied nor pickled")

    __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = __getstate__ = _refuse


def verify_signature(public_id: object, domain: object, message: object, signature: object) -> bool:
    """Whether `signature` is that of `public_id` on `message`, made for `domain`; False for whatever is not bytes.

    Never raises.
    """
    framed = _framed(domain, message)
    if framed is None or type(public_id) is not bytes or type(signature) is not bytes:
        return False
    if len(signature) != SIGNATURE_BYTES or int.from_bytes(signature[32:], "little") >= _L:
        return False
    if not _is_strong_spelling(public_id):
        return False
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public_id).verify(signature, framed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _framed(domain: object, message: object) -> bytes | None:
    """What is signed; None unless the domain is one and the message bytes."""
    if type(domain) is not bytes or type(message) is not bytes:
        return None
    if not domain.startswith(b"smesh/") or len(domain) > DOMAIN_BYTES_MAX or not domain.isascii() or b"\0" in domain:
        return None
    return domain + b"\0" + message


def _is_strong_spelling(public_id: bytes) -> bool:
    """Whether these are 32 bytes with ``y < p`` that is no y of small order; the point itself is not looked at."""
    if len(public_id) != ID_BYTES:
        return False
    y = int.from_bytes(public_id, "little") & _Y_MASK
    return y < _P and y not in _SMALL_ORDER_Y


def is_public_id(value: object) -> bool:
    """Whether this is the one spelling of a point on the curve that is not of small order. Never raises.

    ``x² = (y² - 1) / (d y² + 1)`` has a solution exactly when the right side is a square (Euler's criterion); y of 1
    and -1, where x is 0 and has no sign, are of small order.
    """
    if type(value) is not bytes or not _is_strong_spelling(value):
        return False
    y = int.from_bytes(value, "little") & _Y_MASK
    # u/v is a square exactly when u v is.
    return pow((y * y - 1) * (_D * y * y + 1) % _P, (_P - 1) // 2, _P) == 1


def check_public_id(value: object) -> bytes:
    """The public id that is given, if it is one.

    Raises:
        IdentityError: it is not 32 bytes, not a point, of small order, or not the spelling that the key itself has.
    """
    if not isinstance(value, bytes) or not is_public_id(value):
        raise IdentityError("not a public id: it takes the 32 bytes of an Ed25519 public key that is not weak")
    return value


def encode_public_id(public_id: bytes) -> str:
    """A public id as text: ``smesh1`` and 56 letters of base32 in lower case, check included.

    Raises:
        IdentityError: it is not a public id.
    """
    checked = check_public_id(public_id)
    return _TEXT_PREFIX + _letters(checked + _check_of(checked))


def decode_public_id(text: str) -> bytes:
    """The public id (32 bytes) that a text spells; each has one spelling, and no other is taken.

    Raises:
        IdentityError: the text is not exactly what `encode_public_id` gives. It is not shown, for it may be a secret
            in the wrong place.
    """
    if not isinstance(text, str) or not text.startswith(_TEXT_PREFIX):
        raise IdentityError(f"not a public id: its text begins with {_TEXT_PREFIX}, in lower case")
    if len(text) != PUBLIC_ID_CHARACTERS:
        raise IdentityError(f"not a public id: its text has {PUBLIC_ID_CHARACTERS} characters, not {len(text)}")
    number = 0
    for place, letter in enumerate(text[len(_TEXT_PREFIX) :], len(_TEXT_PREFIX) + 1):
        if letter not in _VALUES:
            raise IdentityError(f"not a public id: character {place} is not one of a-z and 2-7")
        number = number << 5 | _VALUES[letter]
    raw = number.to_bytes(ID_BYTES + _CHECK_BYTES)
    public_id, check = raw[:ID_BYTES], raw[ID_BYTES:]
    if check != _check_of(public_id):
        raise IdentityError("not a public id: its check does not fit, so a character is wrong")
    return check_public_id(public_id)


def shorten_public_id(public_id: bytes) -> str:
    """The beginning of a public id's text, for display only: ``smesh1``, 8 letters and an ellipsis.

    Whoever tries 2^40 keys has one that begins the same: never decide anything by it. It is not checked to be a key,
    so that whatever an element carries as author can be shown.

    Raises:
        IdentityError: it is not 32 bytes.
    """
    if not isinstance(public_id, bytes) or len(public_id) != ID_BYTES:
        raise IdentityError(f"a public id takes {ID_BYTES} bytes")
    return f"{_TEXT_PREFIX}{_letters(public_id[:5])}…"


def _letters(raw: bytes) -> str:
    """Base32 (RFC 4648, in lower case) of a whole number of letters, highest bits first."""
    number, count = int.from_bytes(raw), len(raw) * 8 // 5
    return "".join([_ALPHABET[number >> 5 * place & 31] for place in reversed(range(count))])


def _check_of(public_id: bytes) -> bytes:
    """3 bytes that a wrong character spoils, but for one time in 2^24."""
    return hashlib.sha256(_TEXT_TAG + public_id).digest()[:_CHECK_BYTES]


def check_label(label: str) -> str:
    """The label that is given, if it is one; the empty one is no label.

    A label is at most 64 characters that all show: no controls, line ends, direction marks, zero-width or private
    characters, lone surrogates, or marks that only change how others are drawn; and no space at either end.

    Raises:
        IdentityError: it is not; the message says where.
    """
    if not isinstance(label, str):
        raise IdentityError(f"a label is text, not {type(label).__name__}")
    if len(label) > LABEL_CHARACTERS_MAX:
        raise IdentityError(f"a label has at most {LABEL_CHARACTERS_MAX} characters, this one {len(label)}")
    if label != label.strip():
        raise IdentityError("a label has no space at its ends")
    for place, character in enumerate(label, 1):
        hidden = character in _INVISIBLE or any(ord(character) in selectors for selectors in _SELECTORS)
        if hidden or not character.isprintable():
            raise IdentityError(f"a label has only characters that show; character {place} is U+{ord(character):04X}")
    return label
