"""The members of an etcd cluster: a channel to one after the other, until one answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar, cast

from .._fields import Password
from ..errors import AddressError, ResolutionError, UnsupportedTransport
from ..tls.keys import OwnKey
from ..tls.trust import Trust
from .etcd_tls import check_trust, read_papers

T = TypeVar("T")

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 4 << 20),
    # Each channel of ours is to find out itself whether the member is there.
    ("grpc.use_local_subchannel_pool", 1),
)

_METADATA = (("hasleader", "true"),)
"""Tells a member to answer only as long as it belongs to the majority."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 0.5
"""Seconds between two rounds: an election takes a few of them."""

_FINAL = ("FAILED_PRECONDITION", "INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED")
"""What no other member would say otherwise: that we may not."""

_OLD_TOKEN = (
    "invalid auth token",
    # Somebody has changed a user or a role since, in the words of etcd 3.5 and of 3.4.
    "revision of auth store is old",
    "revision in header is old",
)


class Member(NamedTuple):
    """A member that is being asked.

    channel: of gRPC. metadata: goes along with each call.
    """

    channel: Any
    metadata: tuple[tuple[str, str], ...]


class OldTokenError(EOFError):
    """The token that stands for our login is over; the next channel has a new one."""


class Access(NamedTuple):
    """How a member is let know who asks, and how it shows who it is.

    trust: who signs the members' certificates; None: no TLS. own_key: what is shown to them. user,
    password: of a login of etcd's own.
    """

    trust: Trust | None = None
    own_key: OwnKey | None = None
    user: str | None = None
    password: Password | None = None

    def check(self) -> None:
        """Raises TLSError, TypeError or AddressError for what cannot be."""
        check_trust(self.trust, self.own_key)
        if (self.user is None) != (self.password is None):
            raise AddressError("Etcd: a login is both, user= and password=")
        if self.password is not None and not callable(cast("object", self.password)):
            # Not shown: it may be the password itself.
            raise AddressError(
                "Etcd: password must be a function that returns it, such as "
                "conduit.text.PasswordFromFile(PATH)"
            )


class Members:
    """The members of a cluster.

    names: each "HOST:PORT". timeout: seconds for an answer. access: TLS and a login.

    Raises AddressError for a name that cannot be, and for a login that would leave this host
    without TLS; and what `Access.check` raises.
    """

    def __init__(self, names: Sequence[str], timeout: float, access: Access) -> None:
        self.names = tuple(names)
        self.timeout = timeout
        if isinstance(names, str) or not self.names:
            raise AddressError("Etcd: members is a list, such as ['127.0.0.1:2379']")
        for name in self.names:
            host, _, port = name.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise AddressError(f"Etcd: {name!r} is no member: it is written HOST:PORT")
        access.check()
        if access.user is not None and access.trust is None:
            _refuse_to_tell_all(self.names)
        self._access = access
        self._at = 0
        self._rpc: Any = None
        self._token: str | None = None
        self._logging_in = asyncio.Lock()

    @property
    def rpc(self) -> Any:
        """The messages and stubs of aetcd."""
        return self._rpc

    @property
    def next(self) -> str:
        """The name of the member to which the next channel goes."""
        return self.names[self._at % len(self.names)]

    async def load(self) -> None:
        """Import aetcd, in a thread, and look at the files that are needed.

        Raises UnsupportedTransport where there is none, and what `read_papers` raises.
        """
        try:
            self._rpc = await asyncio.to_thread(import_module, "aetcd.rpc")
        except ImportError:
            raise UnsupportedTransport(
                "etcd needs the package aetcd: pip install 'conduit-net[etcd]'"
            ) from None
        self._logging_in = asyncio.Lock()
        await self._credentials()

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[Member]:
        """A channel to one member; when the block fails, the next time it is another.

        Raises OldTokenError if that was because of our token, and then it is the same once more.
        """
        name = self.next
        at = self._at
        credentials = await self._credentials()
        if credentials is None:
            channel = self._rpc.insecure_channel(name, options=_OPTIONS)
        else:
            channel = self._rpc.secure_channel(name, credentials, options=_OPTIONS)
        token = self._token
        try:
            own = () if self._access.user is None else (("token", await self._logged_in(channel)),)
            yield Member(channel, (*_METADATA, *own))
        except BaseException as error:
            if token is not None and _is_old_token(error):
                if self._token == token:
                    self._token = None
                raise OldTokenError("the token of the login is over") from None
            if self._at == at:
                self._at += 1
            raise
        finally:
            await channel.close()

    async def ask(self, what: str, ask: Callable[[Member], Awaitable[T]]) -> T:
        """Ask one after the other, round after round, until one answers.

        what: is tried, for the error. ask: asks one.

        Raises ResolutionError with the last reason of each: after `timeout` for each member
        together, though not before each was asked; at once if we may not.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.timeout * len(self.names)
        reasons: dict[str, str] = {}
        pause = _FIRST_PAUSE
        while True:
            for _ in self.names:
                name = self.next
                try:
                    async with self.channel() as member:
                        return await ask(member)
                except OldTokenError:
                    reasons.setdefault(name, "the token of the login is over")
                except self.failures() as error:
                    reasons[name] = self.words(error)
                    if is_final(error):
                        raise ResolutionError(f"{what}: {name}: {reasons[name]}") from None
            if loop.time() + pause >= until:
                raise ResolutionError(f"{what}: {self.told(reasons)}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def told(self, reasons: Mapping[str, str]) -> str:
        """What each member said, in words."""
        return "; ".join(f"{name}: {reasons.get(name, 'not asked')}" for name in self.names)

    def words(self, error: BaseException) -> str:
        """What an error of gRPC or of ours says, in short."""
        details = getattr(error, "details", None)
        said = str((details() if callable(details) else None) or error or type(error).__name__)
        return said.removeprefix("failed to connect to all addresses; last error: ")[:300]

    def failures(self) -> tuple[type[BaseException], ...]:
        """What is raised when a member fails."""
        return (self._rpc.RpcError, OSError, EOFError)

    async def _credentials(self) -> Any:
        """What gRPC calls so, of files as they are now; None without TLS."""
        trust, own_key = self._access.trust, self._access.own_key
        if trust is None:
            return None
        papers = await asyncio.to_thread(read_papers, trust, own_key)
        return import_module("grpc").ssl_channel_credentials(*papers)

    async def _logged_in(self, channel: Any) -> str:
        """The token that stands for our login; members know each other's."""
        password = self._access.password
        assert password is not None
        async with self._logging_in:
            if self._token is None:
                given = cast("object", await asyncio.to_thread(password, False))
                if not isinstance(given, str):
                    kind = type(given).__name__
                    raise AddressError(f"Etcd: the password function returned a {kind}, not a str")
                request = self._rpc.AuthenticateRequest(name=self._access.user, password=given)
                answer = await self._rpc.AuthStub(channel).Authenticate(
                    request, timeout=self.timeout
                )
                self._token = str(answer.token)
            return self._token


def _refuse_to_tell_all(names: Sequence[str]) -> None:
    """Raise AddressError for members to which a password would go in the clear."""
    for name in names:
        host = name.rpartition(":")[0].strip("[]")
        try:
            here = ip_address(host).is_loopback
        except ValueError:
            here = host == "localhost"
        if not here:
            raise AddressError(
                f"Etcd: without TLS the password would go to {name} for all to read: give "
                "trust=conduit.trust.ca(...)"
            )


def is_final(error: BaseException) -> bool:
    """Whether no other member would say otherwise: we may not do that."""
    code = getattr(error, "code", None)
    return callable(code) and getattr(code(), "name", "") in _FINAL


def _is_old_token(error: BaseException) -> bool:
    details = getattr(error, "details", None)
    said = str(details() if callable(details) else error)
    return any(words in said for words in _OLD_TOKEN)
