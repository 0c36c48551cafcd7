"""`Context`: what connections have in common; `init` makes one, `default_ctx` is the usual one."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, cast

from . import _lookup
from .errors import AddressError, TLSError
from .tls.keys import OwnKey

if TYPE_CHECKING:
    import ssl

    from .resolver import Resolves

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# What Linux takes for TCP_KEEPIDLE, in seconds.
_LONGEST_KEEPALIVE = 32767


class _Process:
    """The number of this process; to ask the kernel costs each connection more than it may."""

    def __init__(self) -> None:
        self.look()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.look)

    def look(self) -> None:
        """Ask, in a forked child."""
        self.pid = os.getpid()


_here = _Process()


@dataclass(frozen=True, slots=True)
class Verify:
    """What of a TLS server's certificate is compared with the address that was asked for.

    hostname: its names, when the address names a host (default: yes). ip: its IP addresses, when
    the address is an IP literal (default: yes). The chain is always checked.
    """

    hostname: bool = True
    ip: bool = True


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class Context:
    """The settings that connections and servers share. Made by `init`; read-only.

    src: local addresses to connect from and listen on; at most one of each family, none for any.
    The others are as `init` describes them. A context belongs to the process that made it: in a
    forked child it is refused with a RuntimeError.
    """

    src: tuple[IPAddress, ...] = ()
    tls_own_key: OwnKey | None = None
    tls_authenticator: object | None = None
    ssl_ctx: ssl.SSLContext | None = None
    ssl_client_verify: Verify = Verify()
    alpn: tuple[str, ...] = ()
    resolver: Resolves | None = None
    allow_truncation: bool = False
    close_timeout: float = 5.0
    keepalive: float | None = None
    key_log: str | None = None
    pid: int = field(default_factory=lambda: _here.pid, repr=False)
    tls_loaded: dict[object, object] = field(
        default_factory=dict[object, object], init=False, compare=False, repr=False
    )
    """What TLS stacks have loaded for it."""

    def __post_init__(self) -> None:
        # Here, so that dataclasses.replace checks it as well. A NaN compares as false, too.
        if self.keepalive is not None and not 0 < self.keepalive <= _LONGEST_KEEPALIVE:
            raise ValueError(
                f"keepalive is {self.keepalive}: it must be above 0 s and at most "
                f"{_LONGEST_KEEPALIVE} s, or None"
            )
        for protocol in cast("tuple[object, ...]", self.alpn):
            # As TLS can say it (RFC 7301), and Python's ssl takes it.
            known = isinstance(protocol, str) and protocol.isascii()
            if not known or not 0 < len(cast("str", protocol)) < 256:
                raise ValueError(
                    f"alpn has {protocol!r}: a protocol is a str of 1 to 255 ASCII characters"
                )

    def check_process(self) -> None:
        """Raise RuntimeError in a process that was forked from the one that made this context."""
        if self.pid != _here.pid:
            raise RuntimeError(
                f"this Context was made in process {self.pid} and cannot be used in its forked "
                f"child {_here.pid}: call conduit.init there"
            )

    def src_for(self, address: IPAddress) -> IPAddress | None:
        """The local address from which to connect to `address`; None for any.

        Raises AddressError when there are source addresses, but none of the family of `address`.
        """
        if not self.src:
            return None
        for source in self.src:
            if source.version == address.version:
                return source
        raise AddressError(
            f"src={', '.join(map(str, self.src))} cannot reach {address}: "
            f"give an IPv{address.version} source too, or leave src out"
        )


async def init(
    *,
    src: str | IPAddress | Iterable[str | IPAddress] | None = None,
    tls_own_key: OwnKey | None = None,
    tls_authenticator: object | None = None,
    ssl_ctx: ssl.SSLContext | None = None,
    ssl_client_verify: Verify = Verify(hostname=True, ip=True),
    alpn: str | Iterable[str] = (),
    resolver: Resolves | None = None,
    allow_truncation: bool = False,
    close_timeout: float = 5.0,
    keepalive: float | None = None,
    key_log: str | os.PathLike[str] | None = None,
) -> Context:
    """Make a `Context`.

    src: the local address to connect from and to listen on: an IP address, or a name that is
    resolved now, or several of them, at most one of each family (default: any).
    tls_own_key: the certificate and key to show to peers. tls_authenticator: who is trusted, for
    both stacks and both roles (default: the operating system's anchors, for servers only).
    ssl_ctx: a ready `ssl.SSLContext` for connecting instead; not together with `tls_authenticator`.
    ssl_client_verify: what of the server's certificate must match. alpn: protocols to offer, the
    preferred one first. resolver: what turns names and URIs into endpoints (default: the system).
    allow_truncation: take an end without close_notify for a proper end (default: no).
    close_timeout: seconds that unsent bytes get when a flow is closed (default 5).
    keepalive: seconds of silence after which TCP asks whether the peer is still there, on both
    sides, rounded up to whole ones; a peer that has vanished is noticed after about twice as many,
    as a connection that fails (default None: never).
    key_log: a file to which the secrets of TLS sessions are written, so that a captured connection
    can be read (default: the one that the environment variable SSLKEYLOGFILE names, if any).

    Raises AddressError for a `src` that is none, TLSError for settings that exclude each other and
    for an own key that does not fit into the `ssl_ctx`, OSError when its files cannot be read,
    ValueError for a `close_timeout` below zero, for a `keepalive` that is not above 0 or longer
    than 32,767 s, and for a protocol that cannot be.
    """
    if tls_authenticator is not None and ssl_ctx is not None:
        raise TLSError(
            "tls_authenticator and ssl_ctx exclude each other: an ssl_ctx brings its own trust"
        )
    if not isinstance(cast("object", ssl_client_verify), Verify):
        raise TypeError(f"ssl_client_verify must be a conduit.Verify, not {ssl_client_verify!r}")
    if close_timeout < 0:
        raise ValueError(f"close_timeout is {close_timeout}: it cannot be negative")
    if ssl_ctx is not None and tls_own_key is not None:
        from .tls.openssl_contexts import load_key

        await asyncio.to_thread(load_key, ssl_ctx, tls_own_key)
    return Context(
        src=await _sources(src),
        tls_own_key=tls_own_key,
        tls_authenticator=tls_authenticator,
        ssl_ctx=ssl_ctx,
        ssl_client_verify=ssl_client_verify,
        alpn=(alpn,) if isinstance(alpn, str) else tuple(alpn),
        resolver=resolver,
        allow_truncation=allow_truncation,
        close_timeout=close_timeout,
        keepalive=keepalive,
        key_log=None if key_log is None else os.fspath(key_log),
    )


_default: Context | None = None


def default_ctx() -> Context:
    """The context used where none is given: any source address, no own key, the usual trust.

    Made on first use, and anew in a forked child.
    """
    global _default
    if _default is None or _default.pid != _here.pid:
        _default = Context()
    return _default


async def _sources(
    src: str | IPAddress | Iterable[str | IPAddress] | None,
) -> tuple[IPAddress, ...]:
    if src is None:
        return ()
    given = [src] if isinstance(src, str | ipaddress.IPv4Address | ipaddress.IPv6Address) else src
    found: dict[int, IPAddress] = {}
    for one in given:
        known = found.keys()
        # A name may have addresses of both families; the first of each is taken.
        fresh = {address.version: address for address in reversed(await _addresses_of(one))}
        if fresh.keys() <= known:
            raise AddressError(f"src={one}: there is a source address of this family already")
        found |= {version: ip for version, ip in fresh.items() if version not in known}
    return tuple(found.values())


async def _addresses_of(one: str | IPAddress) -> list[IPAddress]:
    try:
        # By its text: ipaddress would take a bare number for an address.
        return [ipaddress.ip_address(str(one))]
    except ValueError:
        pass
    try:
        infos = await _lookup.getaddrinfo(str(one), 0, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise AddressError(f"src={one!r} is no IP address and no known name: {error}") from error
    return [ipaddress.ip_address(info[4][0]) for info in infos]
