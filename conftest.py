"""For every test of the workspace: no connection leaves this machine."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to anything but this machine; a test that tries has a mistake in it."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = str(address[0])
            is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
            assert is_here, f"a test tried to connect to {host}"
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
