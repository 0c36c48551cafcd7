"""TCP by way of a proxy: SOCKS5 (RFC 1928) or the CONNECT of HTTP (RFC 9110, section 9.3.6).

The messages are those of python-socks, which does no I/O there; this file carries them over any
flow, bounds what the proxy may answer, and says what it refused.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from asyncio import IncompleteReadError, LimitOverrunError
from collections.abc import Awaitable, Callable
from importlib import import_module
from ipaddress import ip_address
from typing import TypeAlias

from .. import client, endp
from .._debug import step
from .._hostnames import ascii_host, is_ip
from ..channels import Input, Output, wire_of
from ..context import Context
from ..errors import AddressError, ConduitError, ConnectError, UnsupportedTransport
from . import connect as connect_below
from .base import Attempts, Listener, ListenOptions, Triple
from .login import Login, login_of
from .race import no_answer

Proxied: TypeAlias = client.SOCKS5 | client.HTTPConnect

_LONGEST_ANSWER = 16 << 10
"""Bytes that the head of an answer of HTTP may have."""

_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}[ \r\n]")
"""A status that is none yet (RFC 9110, section 15.2)."""

_SHOWN = 200
"""Characters of a proxy's own words in an error."""

# What RFC 1928 calls the failures of the proxy's own connection.
_SOCKS_ERRNO = {
    2: errno.EACCES,
    3: errno.ENETUNREACH,
    4: errno.EHOSTUNREACH,
    5: errno.ECONNREFUSED,
    6: errno.ETIMEDOUT,
}


class _RefusedError(Exception):
    """The proxy does not do it, and why; number: an errno that says the same, if there is one."""

    def __init__(self, why: str, number: int | None = None) -> None:
        super().__init__(why)
        self.number = number


async def connect(target: Proxied, ctx: Context, attempts: Attempts) -> Triple:
    """Connect to the proxy, and have it connect to the host."""
    host = ascii_host(target.host, keep_dot=True)
    if target.port == 0:
        # Such as a name of DNS SRV without a port, which no proxy looks up.
        raise AddressError(f"{target}: a proxy must be told a port, and 0 is none")
    ask = await _protocol(target)
    login = None if target.login is None else await login_of(target)
    below = await _to_proxy(target, ctx, attempts)
    loop = asyncio.get_running_loop()
    started = loop.time()
    step("proxy", proxy=target.proxy, to=f"{host}:{target.port}")
    try:
        await ask(host, target.port, login, below.ic, below.oc)
    except asyncio.CancelledError:
        attempts.append((f"the proxy {target.proxy}", no_answer(loop.time() - started)))
        wire_of(below.oc).abort()
        raise
    except BaseException as error:
        wire_of(below.oc).abort()
        failure = _failure(target, error)
        if failure is None:
            raise
        raise failure from None
    # Nobody has seen the flow yet; whom it is with is not the proxy.
    object.__setattr__(below.flow, "origin", _origin(target))
    return below


async def listen(mode: object, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Refused: it is where to connect."""
    raise AddressError(f"{mode!r} is where to connect, not a way to serve")


def _origin(target: Proxied) -> endp.TCP | endp.Host:
    if is_ip(target.host):
        return endp.TCP(ip_address(target.host), target.port)
    return endp.Host(target.host, target.port)


async def _to_proxy(target: Proxied, ctx: Context, attempts: Attempts) -> Triple:
    told: Attempts = []
    try:
        return await connect_below(target.proxy, ctx, told)
    except OSError as error:
        # Else nobody could tell that it was not the host that failed.
        if not told and not isinstance(error, ConduitError):
            told.append((f"the proxy {target.proxy}", error.with_traceback(None)))
        raise
    finally:
        attempts += told


def _failure(target: Proxied, error: BaseException) -> ConnectError | None:
    """The error for what went wrong between us and the proxy; None for what is another's."""
    number: int | None = None
    match error:
        case _RefusedError():
            why, number = f"the proxy refused: {error}", error.number
        case IncompleteReadError():
            why = "the proxy closed the connection before it had answered"
        case LimitOverrunError():
            why = f"the proxy's answer is longer than {_LONGEST_ANSWER} bytes"
        case OSError():
            why, number = f"the proxy failed: {error.strerror or error}", error.errno
        case _:
            return None
    failure = ConnectError(f"cannot connect to {target}: {why}")
    if number is not None:
        failure.errno, failure.strerror = number, os.strerror(number)
    return failure


# The two protocols --------------------------------------------------------------------------------

_Ask: TypeAlias = Callable[[str, int, Login | None, Input, Output], Awaitable[None]]


async def _protocol(target: Proxied) -> _Ask:
    socks5 = isinstance(target, client.SOCKS5)
    name = f"python_socks._protocols.{'socks5' if socks5 else 'http'}"
    try:
        if name not in sys.modules:
            await asyncio.to_thread(import_module, name)
    except ImportError:
        raise UnsupportedTransport(
            f"{target}: proxies need the package python-socks: pip install 'conduit-net[proxy]'"
        ) from None
    return _ask_socks5 if socks5 else _ask_http


async def _ask_socks5(host: str, port: int, login: Login | None, ic: Input, oc: Output) -> None:
    from python_socks._protocols import socks5
    from python_socks._protocols.errors import ReplyError

    user, password = (None, None) if login is None else login.for_socks5()
    talk = socks5.Connection()
    try:
        await oc.write(talk.send(socks5.AuthMethodsRequest(user, password)))
        method = talk.receive(await ic.readexactly(socks5.AuthMethodReply.SIZE))
        if (
            user is not None
            and password is not None
            and isinstance(method, socks5.AuthMethodReply)
            and method.method == socks5.AuthMethod.USERNAME_PASSWORD
        ):
            await oc.write(talk.send(socks5.AuthRequest(user, password)))
            talk.receive(await ic.readexactly(socks5.AuthReply.SIZE))
        await oc.write(talk.send(socks5.ConnectRequest(host, port)))
        talk.receive(await _socks5_reply(ic))
    except (ReplyError, ValueError) as error:
        code = getattr(error, "error_code", None)
        number = _SOCKS_ERRNO.get(code) if isinstance(code, int) else None
        raise _RefusedError(_words(error, login), number) from None


async def _socks5_reply(ic: Input) -> bytes:
    """The answer to a request to connect: no byte more than belongs to it."""
    head = await ic.readexactly(2)
    if head[0] != 5 or head[1] != 0:
        return head  # it says all: there may be no more
    head += await ic.readexactly(2)
    match head[3]:
        case 1:
            return head + await ic.readexactly(6)
        case 4:
            return head + await ic.readexactly(18)
        case 3:
            size = await ic.readexactly(1)
            return head + size + await ic.readexactly(size[0] + 2)
        case _:
            return head


async def _ask_http(host: str, port: int, login: Login | None, ic: Input, oc: Output) -> None:
    from python_socks._protocols import http
    from python_socks._protocols.errors import ReplyError

    user, password = (None, None) if login is None else login.for_http()
    talk = http.Connection()
    await oc.write(talk.send(http.ConnectRequest(host, port, user, password)))
    head = await _http_head(ic)
    if not head.startswith(b"HTTP/1."):
        raise _RefusedError("it does not speak HTTP/1.1")
    try:
        talk.receive(head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    except ReplyError as error:
        code = error.error_code
        if code is not None and 200 <= code < 300:
            return  # any of these means that the tunnel stands
        number = errno.EACCES if code in (403, 407) else None
        raise _RefusedError(_words(error, login, code), number) from None


async def _http_head(ic: Input) -> bytes:
    """The head of the answer; those that only say that one will come are passed over."""
    usual, left = ic.limit, _LONGEST_ANSWER
    try:
        while left > 0:
            ic.limit = left
            head = await ic.readuntil((b"\r\n\r\n", b"\n\n"))
            if not _INTERIM.match(head):
                return head
            left -= len(head)
        raise _RefusedError(f"its answer is longer than {_LONGEST_ANSWER} bytes")
    finally:
        ic.limit = usual


def _words(error: Exception, login: Login | None, code: int | None = None) -> str:
    """What the proxy said, without what cannot be seen, in short; and what to do."""
    said = "".join(char if char.isprintable() else "?" for char in str(error))
    if len(said) > _SHOWN:
        said = f"{said[:_SHOWN]}..."
    wants_login = code == 407 or "No acceptable authentication" in said
    if wants_login and login is None:
        said += "; it wants a login: give login= (in text login_env= or login_file=)"
    return said
