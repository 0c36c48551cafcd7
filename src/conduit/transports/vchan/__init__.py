"""Xen's vchans: streams between two virtual machines of one host, through memory that they share.

By libxenvchan and libxenstore, which are looked for when the first of these addresses is used.

    paths             where the two sides meet in xenstore
    libraries host    what this host has of Xen
    libxenvchan libxenstore event_channels      the libraries
    worker watching   calls that wait for xenstored, off the loop; being told of changes
    rendezvous        making an end, and publishing it
    transport         an asyncio transport over an end
    departures        domains that are destroyed
    slot direct       clients of one domain, one after the other; connecting
    names name_listener     the same by name
"""

from __future__ import annotations

import asyncio

from ... import client, endp, events, server
from ...channels import Wire
from ...context import Context
from ..base import Attempts, Listener, ListenOptions, Triple
from . import host, paths, worker
from .direct import VchanListener, reach
from .libxenstore import Store
from .name_listener import NameListener
from .names import reach_by_name
from .slot import triple


async def connect(
    target: client.VchanDirect | client.VchanDomainSocket, ctx: Context, attempts: Attempts
) -> Triple:
    """Connect to a vchan; while there is no server, or it has another client, wait."""
    what = str(target)
    paths.check_port(target.port, what)
    loop = asyncio.get_running_loop()
    origin: endp.Endp
    if isinstance(target, client.VchanDirect):
        paths.check_direct(target.domid, target.port, what)
        origin = endp.VchanDirect(target.domid, target.port)
        _tell(origin)
        await worker.run(lambda: host.check(what, serving=False))
        domid = target.domid
        end = await reach(domid, target.port, what, attempts)
    else:
        paths.check_name(target.domain_name, what)
        origin = endp.VchanDomainSocket(target.domain_name, target.port)
        _tell(origin)
        await worker.run(lambda: host.check(what, serving=False))
        end, domid = await reach_by_name(target.domain_name, target.port, what, attempts)
    peer = endp.VchanDirect(domid, target.port)
    return triple(end, peer, Wire(loop, ctx.close_timeout), origin)


async def listen(
    mode: server.VchanDirect | server.VchanDomainSocket, ctx: Context, options: ListenOptions
) -> list[Listener]:
    """Publish a vchan for one domain, or the name by which others ask for one.

    The backlog of the options counts for nothing: clients wait on their own side.
    """
    what = str(mode)
    paths.check_port(mode.port, what)
    if isinstance(mode, server.VchanDomainSocket):
        paths.check_name(mode.domain, what)
        await worker.run(lambda: host.check(what, serving=True))
        named = NameListener(mode.domain, mode.port, what, ctx)
        await named.open()
        return [named]
    paths.check_direct(mode.domid, mode.port, what)
    own = await own_domid(what)
    listener = VchanListener(mode.domid, mode.port, what, ctx)
    await listener.open(own)
    return [listener]


async def own_domid(what: str = "vchan") -> int:
    """The number of this domain. what: the address, for the error.

    Raises UnsupportedTransport where there is no Xen.
    """

    def ask() -> int:
        host.check(what, serving=True)
        with Store() as store:
            return host.own_domid(store, what)

    return await worker.run(ask)


def _tell(where: endp.Endp) -> None:
    if events.observers:
        events.emit(events.Attempt(where))
