"""The members of an etcd cluster: a channel to one after the other, until one answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from ..errors import AddressError, UnsupportedTransport

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 4 << 20),
    # Each channel of ours is to find out itself whether the member is there.
    ("grpc.use_local_subchannel_pool", 1),
)

METADATA = (("hasleader", "true"),)
"""Tells a member to answer only as long as it belongs to the majority."""


class Members:
    """The members of a cluster.

    names: each "HOST:PORT". timeout: seconds for an answer.

    Raises AddressError for a name that cannot be.
    """

    def __init__(self, names: Sequence[str], timeout: float) -> None:
        self.names = tuple(names)
        self.timeout = timeout
        if isinstance(names, str) or not self.names:
            raise AddressError("Etcd: members is a list, such as ['127.0.0.1:2379']")
        for name in self.names:
            host, _, port = name.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise AddressError(f"Etcd: {name!r} is no member: it is written HOST:PORT")
        self._at = 0
        self._rpc: Any = None

    @property
    def rpc(self) -> Any:
        """The messages and stubs of aetcd."""
        return self._rpc

    async def load(self) -> None:
        """Import aetcd, in a thread. Raises UnsupportedTransport where there is none."""
        try:
            self._rpc = await asyncio.to_thread(import_module, "aetcd.rpc")
        except ImportError:
            raise UnsupportedTransport(
                "etcd needs the package aetcd: pip install 'conduit-net[etcd]'"
            ) from None

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[Any]:
        """A channel to one member; when the block fails, the next time it is another."""
        name = self.names[self._at % len(self.names)]
        at = self._at
        channel = self._rpc.insecure_channel(name, options=_OPTIONS)
        try:
            yield channel
        except BaseException:
            if self._at == at:
                self._at += 1
            raise
        finally:
            await channel.close()

    def words(self, error: BaseException) -> str:
        """What an error of gRPC or of ours says, in short."""
        details = getattr(error, "details", None)
        said = details() if callable(details) else str(error)
        return str(said or type(error).__name__)[:200]

    def failures(self) -> tuple[type[BaseException], ...]:
        """What is raised when a member fails."""
        return (self._rpc.RpcError, OSError, EOFError)
