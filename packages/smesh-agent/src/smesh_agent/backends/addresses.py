"""Addresses of providers: whether one can be asked, whose it is, and how it may be shown."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import httpx

from smesh_agent.errors import BackendSettingsError

__all__ = ["checked_address", "is_loopback", "is_private", "without_secrets"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_NAME_CHARACTERS_MAX: Final = 253
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORT_MAX: Final = 0xFFFF
_PRIVATE_NAMES: Final = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


def checked_address(backend: str, text: str, source: str) -> httpx.URL:
    """An address that can be asked, below which all paths of a provider are.

    Args:
        backend: the backend's name, for the error.
        text: the address.
        source: what sets it, for the error.

    Raises:
        BackendSettingsError: it is none of http or https, or has more than a host, a port, a path and a user.
    """
    try:
        address = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        is_whole = False
    else:
        # What DNS and TCP do not have is found out here, and not by a ValueError from somewhere on the way.
        is_whole = (
            address.scheme in {"http", "https"}
            and _is_host(address.raw_host.decode("ascii"))
            and not (address.query or address.fragment)
            and (address.port is None or 0 < address.port <= _PORT_MAX)
        )
    if not is_whole:
        shown = without_secrets(text)
        raise BackendSettingsError(backend, f"{source} is {shown!r}: give an address such as http://127.0.0.1:8000")
    return address


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _NAME.fullmatch(host) is not None and len(host) <= _NAME_CHARACTERS_MAX
    return True


def without_secrets(address: str) -> str:
    """An address as it may be shown: in printable text, without a user, a password, or what follows a question mark."""
    text = address.encode("utf-8", "backslashreplace").decode()
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() if scheme else 0 :].rpartition("@")[2]
    shown = (scheme[0] if scheme else "") + re.split(r"[?#]", rest, maxsplit=1)[0]
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether a host is in its user's own network: an address that is not public, or a name that only such have."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_NAMES)
