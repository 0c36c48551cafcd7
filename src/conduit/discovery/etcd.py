"""Sources in etcd v3, by the stubs of aetcd; and servers that make themselves known there.

A server writes its addresses below `PREFIX NAME /` under a lease, which it renews; whoever asks for
the name watches that prefix. When no member answers, what was known last stays, and is told of.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType

from .. import endp
from .._debug import logger
from .._fields import Password
from ..errors import AddressError, ResolutionError
from ..text import parse_endp
from ..tls.keys import OwnKey
from ..tls.trust import Trust
from .etcd_lease import Lease
from .etcd_members import Access, Members
from .etcd_watch import Watch
from .interface import Address, Found

_MOST_NAMES = 256


class Etcd:
    """A source that watches names in etcd; a context manager, which ends the watches.

        async with conduit.discovery.Etcd(["10.0.0.1:2379", "10.0.0.2:2379"]) as etcd:
            rule = conduit.discovery.Rule(etcd, name=conduit.discovery.host_name)

    members: of the cluster, each "HOST:PORT"; they are tried in turn. prefix: of all keys (default
    "/conduit/"). timeout: seconds for an answer of one member (default 3); who registers, or asks
    for a name for the first time, goes on trying for as long as that for each member, since they
    may be electing a leader.

    trust: who signs the certificates of the members: `conduit.trust.ca` or `.os`; each must be for
    the member's HOST (default: None, no TLS). own_key: an `OwnKey` to show them, for
    `--client-cert-auth`. user: a user of etcd's (default: None, no login). password: a function of
    one bool that returns the password, such as `conduit.text.PasswordFromFile`; it is called in a
    thread for each new token, and printed nowhere. Files are read anew for each connection.

    It belongs to the event loop in which it was entered. It needs the package aetcd: `pip install
    'conduit-net[etcd]'`; without it, entering raises UnsupportedTransport. Entering raises TLSError
    and OSError for files of `trust` and `own_key` that cannot be used.

    Raises AddressError for a member or a login that cannot be, and for a login without TLS at any
    member but of this host; TLSError for a `trust` that gRPC cannot follow (fingerprints), and for
    an `own_key` without `trust`.
    """

    def __init__(
        self,
        members: Sequence[str],
        *,
        prefix: str = "/conduit/",
        timeout: float = 3.0,
        trust: Trust | None = None,
        own_key: OwnKey | None = None,
        user: str | None = None,
        password: Password | None = None,
    ) -> None:
        self._members = Members(members, timeout, Access(trust, own_key, user, password))
        self._prefix = prefix
        self._watches: OrderedDict[str, Watch] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Etcd:
        await self._members.load()
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop = None
        watches = list(self._watches.values())
        self._watches.clear()
        for watch in watches:
            await watch.stop()

    async def resolve(self, name: str, /) -> Found:
        """The addresses that are registered for a name now, or were when etcd was last heard of.

        Raises ResolutionError if no member answers and nothing is known yet, RuntimeError outside
        of the block and in another event loop.
        """
        self._check()
        key = self._key(name)
        watch = self._watches.get(name)
        if watch is None:
            watch = self._watches[name] = Watch(self._members, key, partial(_addresses, key))
            while len(self._watches) > _MOST_NAMES:
                _, oldest = self._watches.popitem(last=False)
                await oldest.stop()
        self._watches.move_to_end(name)
        # It is told of each change, so nobody need remember it.
        return Found(await watch.addresses(), 0.0, "etcd has nobody of that name")

    @asynccontextmanager
    async def registered(
        self, name: str, *addresses: endp.Endp | str, ttl: int = 10
    ) -> AsyncGenerator[None]:
        """Make a server known while the block lasts.

            async with conduit.listen(…) as srv, etcd.registered("db.example", "tcp://10.0.0.7:80"):

        name: whom clients ask for. addresses: where they shall connect: TCP at an IP address or a
        name; of TLS over it, what is below, since clients say themselves whom they want. ttl:
        seconds after which a server that has died is forgotten (default 10, at least 2).

        The lease is renewed three times in that span, by whichever member answers, and made anew
        if it was lost. When the block ends it is revoked, so that clients go elsewhere at once.

        Raises ResolutionError if no member answers in time, AddressError for an address that nobody
        else could use, RuntimeError outside of the block.
        """
        self._check()
        if ttl < 2:
            raise ValueError(f"ttl is {ttl}: it is 2 seconds or more")
        values = [str(_of_network(one)) for one in addresses]
        lease = Lease(self._members, self._key(name), values, ttl)
        await lease.start()
        try:
            yield
        finally:
            await lease.stop()

    def _key(self, name: str) -> str:
        if not name or "/" in name or "\0" in name:
            raise ResolutionError(f"{name!r} is no name of a service in etcd")
        return f"{self._prefix}{name}/"

    def _check(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError(f"{self!r} is used by `async with`, in one event loop")

    def __repr__(self) -> str:
        return f"Etcd({', '.join(self._members.names)})"


def _of_network(given: endp.Endp | str) -> endp.TCP | endp.Host:
    where = parse_endp(given) if isinstance(given, str) else given
    while isinstance(where, endp.TLS):
        where = where.endp
    if not isinstance(where, endp.TCP | endp.Host):
        raise AddressError(f"{where}: only TCP can be registered, for clients on other hosts")
    if isinstance(where, endp.TCP) and where.ip.is_unspecified:
        raise AddressError(f"{where}: say at which address of this host clients find it")
    return where


def _addresses(key: str, values: list[bytes]) -> tuple[Address, ...]:
    """What servers have written below a key, without what none of ours would."""
    found: list[Address] = []
    for value in values:
        try:
            where = parse_endp(value.decode())
        except (AddressError, UnicodeDecodeError):
            continue
        if isinstance(where, endp.TCP | endp.Host):
            found.append(Address(where))
    if len(found) < len(values):
        wrong = len(values) - len(found)
        logger.warning("etcd has %d values below %s that are no addresses of TCP", wrong, key)
    return tuple(found)
