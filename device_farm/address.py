"""Addresses that users type: `host`, `host:port`, `[IPv6]:port`."""

from __future__ import annotations

import re
from typing import NamedTuple

_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\](?::([0-9]{1,5}))?", re.ASCII)
_PLAIN = re.compile(r"([\w.-]+)(?::([0-9]{1,5}))?", re.ASCII)


class Address(NamedTuple):
    """A machine and a TCP port in [1, 65535]; an IPv6 address stands without its brackets."""

    host: str
    port: int


def parse_address(text: str, default_port: int) -> Address:
    """Read `host`, `host:port` or `[IPv6]:port`.

    Raises:
        ValueError: It is none of these, or the port is not in [1, 65535].
    """
    found = _BRACKETED.fullmatch(text) or _PLAIN.fullmatch(text)
    port = int(found[2] or default_port) if found else 0
    if found is None or not 0 < port < 1 << 16:
        raise ValueError(
            f"{text!r} is no address: write host:port, with an IPv6 address in brackets"
        )
    return Address(found[1], port)


def is_host_and_port(text: str) -> bool:
    """Whether a text names a machine together with a port, as no serial number does."""
    if re.search(r":[0-9]{1,5}\Z", text, re.ASCII) is None:
        return False
    try:
        parse_address(text, 1)
    except ValueError:
        return False
    return True
