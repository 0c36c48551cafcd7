"""aiormq over any flow: AMQP 0-9-1 over Unix sockets, proxies, names that are discovered.

    factory = ConduitTransportFactory("tls+unix:/run/amqp.sock?hostname=mq.example")
    connection = await aiormq.connect("amqp://guest:guest@/", transport_factory=factory)

Needs aiormq: `pip install "conduit-net[aiormq]"`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from .. import client
from .._connect import connect
from .._left_out import left_out
from .._target import to_client
from ..context import Context, default_ctx
from ..errors import AddressError
from ._needed import needs
from ._routes import Target

with needs("aiormq"):
    from aiormq import AMQPConnectionError, TransportFactory

if TYPE_CHECKING:
    from yarl import URL


_TIMEOUT: float | None = left_out(30.0)

# What aiormq reads out of the query of a URL for its TLS.
_OF_TLS = {"cafile", "capath", "cadata", "certfile", "keyfile", "no_verify_ssl"}

_PORTS = {"amqp": 5672, "amqps": 5671}


class ConduitTransportFactory(TransportFactory):
    """The `transport_factory` of an `aiormq.Connection`, which goes by addresses of ours.

    target: where the broker is, as `conduit.connect` takes it (default: the host and the port of
    the URL, by TLS if it is "amqps"). Else the URL says only who logs in, and to which vhost. ctx:
    settings of the connections, and whom TLS trusts (default: `default_ctx()`). timeout: seconds
    for connecting (default: what the text of the target says, else 30).

    Raises AddressError for a target that cannot be. Connecting raises
    `aiormq.AMQPConnectionError`, with our reason in it; also when the URL (`cafile=` and the like)
    or `context=` says whom aiormq's own TLS is to trust, which would not be followed here.
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        ctx: Context | None = None,
        timeout: float | None = _TIMEOUT,
    ) -> None:
        self._target = target
        self._ctx = ctx or default_ctx()
        self._timeout = timeout
        if target is not None:
            to_client(target, self._ctx, timeout)

    async def create(
        self, url: URL, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. url: the broker's. kwargs: of aiormq's own transports.

        Returns our two channels, which stand where the two streams of asyncio stand.
        """
        try:
            _refuse_other_trust(url, kwargs.get("ssl_context_provider"))
            where = _of_url(url) if self._target is None else self._target
            _, ic, oc = await connect(where, ctx=self._ctx, timeout=self._timeout)
        except (OSError, AddressError) as error:
            raise AMQPConnectionError(str(error)) from error
        return cast("asyncio.StreamReader", ic), cast("asyncio.StreamWriter", oc)


def _of_url(url: URL) -> client.Client:
    if not url.host:
        raise AddressError(
            "the URL of the broker has no host: name one, or give the factory a target"
        )
    host = client.Host(url.host, url.port or _PORTS.get(url.scheme, 5672))
    return client.TLSOver(url.host, host) if url.scheme == "amqps" else host


def _refuse_other_trust(url: URL, provider: object) -> None:
    said = sorted(_OF_TLS & set(url.query))
    if getattr(provider, "_ssl_context", None) is not None:
        said.append("context=")
    if said:
        raise AddressError(
            f"{', '.join(said)}: that is for aiormq's own TLS; give ConduitTransportFactory a ctx= "
            "that says whom to trust (conduit.init)"
        )
