"""Key files: where an identity's secret is kept between runs.

A key file is text that only its owner may read, about 330 bytes:

    smesh key file 1
    # Keep this file secret: whoever reads it can speak as this node.
    label: box in the cellar
    public: smesh1…
    secret: 64 hexadecimal digits
    check: SHA-256, in hexadecimal, of all lines above

Nothing but exactly these bytes is read: a file that was cut, altered, or edited by hand is refused, and so is one that
does not belong to the user, or that others can read or write. It is the file behind the path that is asked, once it is
open, so a symbolic link is followed (secrets are mounted that way) and nothing can be put in its place in between.

A new file appears whole or not at all, and never in the place of another: it is written and synced under a name of its
own, then linked to the path, which fails if that exists, even as a dangling link. Where a file system has no hard
links, it is created at the path itself; a crash may then leave a file that is refused when it is loaded.

Windows has no such modes and owners: a key file there has the access rights that its folder gives it, and none are
checked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smesh_core.errors import IdentityError
from smesh_core.identity import SECRET_BYTES, Identity, check_label

from smesh_runtime.errors import SmeshRuntimeError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["KEY_FILE_BYTES_MAX", "KeyFileError", "create_key_file", "load_key_file", "write_key_file"]

KEY_FILE_BYTES_MAX: Final = 1024
"""No more of a file is read. The longest that there is has under 600: a label takes at most 256."""

_MODE: Final = 0o600
_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FIRST: Final = "smesh key file 1\n"
_WARNING: Final = "# Keep this file secret: whoever reads it can speak as this node.\n"
_LINES: Final = 6
# Not every system has each; where one is missing, what it does is not needed or not there.
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
_NO_LINKS: Final = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


class KeyFileError(SmeshRuntimeError, OSError):
    """A key file cannot be read or written, or others could read it."""


def create_key_file(path: str | PathLike[str], *, label: str = "") -> Identity:
    """Make a new identity, and a key file that keeps it.

    Args:
        path: where the file goes; nothing may be there, and its folder must exist.
        label: what people call the identity; see `smesh_core.identity.check_label`.

    Raises:
        IdentityError: the label is not one.
        KeyFileError: something is at the path already, or the file cannot be written.
    """
    check_label(label)
    return write_key_file(path, Identity(secrets.token_bytes(SECRET_BYTES), label=label))


def write_key_file(path: str | PathLike[str], identity: Identity) -> Identity:
    """Keep an identity that there is already in a new key file; gives the identity back.

    The file is readable and writable by its owner alone (0600), whatever the umask says, and synced to the disk.

    Raises:
        KeyFileError: something is at the path already, or the file cannot be written.
    """
    try:
        target = Path(path)
        content = _content(identity)
        beside = target.with_name(f".{target.name[:32]}.{secrets.token_hex(8)}")
        _write_new(beside, content)
        try:
            os.link(beside, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _write_new(target, content)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except FileExistsError:
        raise KeyFileError(f"{_shown(path)} exists already, and a key file is never overwritten") from None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"cannot write the key file {_shown(path)}: {_reason(error)}") from None
    return identity


def load_key_file(path: str | PathLike[str]) -> Identity:
    """The identity that a key file keeps.

    Raises:
        KeyFileError: there is no file, it is not a regular one, it is another user's, or others can read or write it.
        IdentityError: the file is not a key file, or it was cut or altered. What it holds is not shown.
    """
    try:
        content = _read_private(path)
    except KeyFileError:
        raise
    except (OSError, ValueError) as error:
        raise KeyFileError(f"cannot read the key file {_shown(path)}: {_reason(error)}") from None
    identity = _parsed(content)
    if identity is None:
        raise IdentityError(
            f"{_shown(path)} is not a key file, or it was cut or altered: restore it, or make a new one"
        )
    return identity


def _content(identity: Identity) -> bytes:
    """The one text that keeps an identity."""
    kept = f"label: {identity.label}\npublic: {identity.text}\nsecret: {identity.secret_bytes().hex()}\n"
    above = (_FIRST + _WARNING + kept).encode()
    return above + f"check: {hashlib.sha256(above).hexdigest()}\n".encode()


def _parsed(content: bytes) -> Identity | None:
    """The identity in the content of a key file; None unless it is exactly what `_content` gives for it."""
    try:
        lines = content.decode().splitlines()
        label, secret = lines[2].removeprefix("label: "), lines[4].removeprefix("secret: ")
        identity = Identity(bytes.fromhex(secret), label=label)
    except (ValueError, IndexError):
        return None
    return identity if len(lines) == _LINES and secrets.compare_digest(_content(identity), content) else None


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there, whole and synced; leaves none behind if that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC | _BINARY, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, _MODE)  # a umask can have taken even the owner's rights
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file survive a loss of power, where folders can be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
    except OSError:  # Windows, or a folder that may be written and not read
        return
    try:
        os.fsync(descriptor)
    except OSError:  # a file system that does not do this
        pass
    finally:
        os.close(descriptor)


def _read_private(path: str | PathLike[str]) -> bytes:
    """The content, no further than needed, of a regular file that is the user's own and nobody else can use."""
    # Without waiting: a FIFO would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | _CLOEXEC | _BINARY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileError(f"{_shown(path)} is not a regular file, so no key file")
        if hasattr(os, "geteuid"):
            if found.st_uid != os.geteuid():
                raise KeyFileError(f"{_shown(path)} belongs to another user: a key file is the user's own")
            if found.st_mode & _FOR_OTHERS:
                raise KeyFileError(f"{_shown(path)} can be used by others: chmod 600 {shlex.quote(_shown(path))}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(KEY_FILE_BYTES_MAX)
    finally:
        os.close(descriptor)


def _shown(path: str | PathLike[str]) -> str:
    """A path on one line, whatever is in it."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def _reason(error: Exception) -> str:
    """What the system says, without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
