"""Where an HTTP client connects to: by the host of a URL, unless an address says it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TypeAlias

from .. import client, endp
from .._target import to_client
from ..context import Context, default_ctx

Target: TypeAlias = client.Client | endp.Endp | str


class Routes:
    """Finds the address for a host and a port.

    target: that of all hosts (default: their own). routes: those of some hosts, by "HOST" or
    "HOST:PORT". ctx: the context by which they are checked now.

    Raises AddressError for a target that cannot be.
    """

    def __init__(
        self, target: Target | None, routes: Mapping[str, Target] | None, ctx: Context | None
    ) -> None:
        self._target = target
        self._routes = dict(routes or {})
        for one in (target, *self._routes.values()):
            if one is not None:
                to_client(one, ctx or default_ctx(), None)

    def target(self, host: str, port: int) -> Target:
        """Where to connect. host: as in a URL, an IPv6 address without brackets."""
        name = f"[{host}]" if ":" in host else host
        target = self._routes.get(f"{name}:{port}") or self._routes.get(host) or self._target
        if target is not None:
            return target
        try:
            return client.TCP(ipaddress.ip_address(host), port)
        except ValueError:
            return client.Host(host, port)
