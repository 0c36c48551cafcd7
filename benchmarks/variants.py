"""Which peers and runtimes there are, and the variants that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import cast

from .peers.interface import Peer, Runtime

PEERS = {
    "conduit": "conduit_flows",
    "conduit-native": "conduit_native",
    "streams": "asyncio_streams",
    "protocol": "bare_protocol",
    "accept-loop": "accept_loop",
    "anyio": "anyio_streams",
    "trio": "trio_streams",
    "twisted": "twisted_endpoints",
    "system-calls": "system_calls",
}
"""Each peer's name and its file in peers/."""

RUNTIMES = {
    "asyncio": "asyncio_loops:standard_loop",
    "uvloop": "asyncio_loops:uvloop_loop",
    "trio": "trio_streams:trio_loop",
    "epoll-reactor": "twisted_endpoints:epoll_reactor",
    "none": "system_calls:no_loop",
}
"""Each runtime's name, and the function that makes it."""

NEEDED = {
    "conduit": ("conduit",),
    "conduit-native": ("conduit", "cryptography", "tlslite"),
    "anyio": ("anyio",),
    "trio": ("trio",),
    "twisted": ("twisted", "OpenSSL", "service_identity"),
    "uvloop": ("uvloop",),
}
"""What has to be installed for a peer or a runtime."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A server, a client and what they run on: one line of work to be timed."""

    server: str
    client: str
    runtime: str

    def __str__(self) -> str:
        if self.server == self.client:
            return f"{self.server}/{self.runtime}"
        return f"{self.server}+{self.client}/{self.runtime}"

    @classmethod
    def both(cls, peer: str, runtime: str) -> Variant:
        """The same peer at both ends."""
        return cls(peer, peer, runtime)

    def missing(self) -> list[str]:
        """The packages it needs that are not installed."""
        needed = {
            package
            for part in (self.server, self.client, self.runtime)
            for package in NEEDED.get(part, ())
        }
        return sorted(package for package in needed if find_spec(package) is None)


def load_runtime(name: str) -> Runtime:
    """Make a runtime; before the peer is loaded, because Twisted's must be first."""
    module, function = RUNTIMES[name].split(":")
    make = cast("Callable[[], Runtime]", getattr(_peer_module(module), function))
    return make()


def load_peer(name: str) -> Peer:
    peer: Peer = _peer_module(PEERS[name]).PEER
    return peer


def _peer_module(name: str) -> ModuleType:
    return import_module(f".peers.{name}", __package__)
