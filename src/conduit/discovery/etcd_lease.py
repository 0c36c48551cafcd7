"""A lease in etcd, under which a server's addresses stand: renewed, made anew, and revoked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from .._debug import logger, step
from .etcd_members import Member, Members, OldTokenError

_STOP_SECONDS = 2.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


class Lease:
    """Values below a prefix that are there as long as this lives.

    members: who is told. prefix: of the keys. values: what is written, each under a key of its own.
    ttl: seconds for which it outlives its program.
    """

    def __init__(self, members: Members, prefix: str, values: Sequence[str], ttl: int) -> None:
        self._members = members
        own = secrets.token_hex(8)
        self._pairs = [
            (f"{prefix}{own}-{at}".encode(), value.encode()) for at, value in enumerate(values)
        ]
        self._prefix = prefix
        self._ttl = ttl
        self._id = 0
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the values, by whichever member takes them; an election is waited for.

        Raises ResolutionError if none does in time, or if we may not.
        """
        await self._members.ask(f"cannot register {self._prefix} with etcd", self._write)
        self._task = asyncio.get_running_loop().create_task(self._renew())

    async def stop(self) -> None:
        """Take the values away; if no member answers soon, they go when their time is over."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        rpc = self._members.rpc
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                # Once more than there are members: a token may be over.
                for left in reversed(range(len(self._members.names) + 1)):
                    try:
                        async with self._members.channel() as (channel, metadata):
                            await rpc.LeaseStub(channel).LeaseRevoke(
                                rpc.LeaseRevokeRequest(ID=self._id),
                                timeout=_STOP_SECONDS / len(self._members.names),
                                metadata=metadata,
                            )
                        return
                    except self._members.failures():
                        if not left:
                            raise
        except self._members.failures() as error:
            logger.warning(
                "%s stays in etcd for up to %d s: it cannot be revoked (%s)",
                self._prefix, self._ttl, self._members.words(error),
            )  # fmt: skip

    async def _write(self, member: Member) -> None:
        rpc = self._members.rpc
        channel, metadata = member
        options: dict[str, Any] = {"timeout": self._members.timeout, "metadata": metadata}
        granted = await rpc.LeaseStub(channel).LeaseGrant(
            rpc.LeaseGrantRequest(TTL=self._ttl, ID=0), **options
        )
        self._id = granted.ID
        for key, value in self._pairs:
            await rpc.KVStub(channel).Put(
                rpc.PutRequest(key=key, value=value, lease=self._id), **options
            )
        step("registered", prefix=self._prefix, lease=self._id)

    async def _renew(self) -> None:
        pause = self._ttl / 3
        while True:
            await asyncio.sleep(pause)
            try:
                async with self._members.channel() as member:
                    while True:
                        if not await self._is_renewed(member):
                            logger.warning("%s was lost in etcd: made anew", self._prefix)
                            await self._write(member)
                        self._failed = False
                        await asyncio.sleep(self._ttl / 3)
            except OldTokenError:
                pause = 0.0
            except Exception as error:
                # With the next member soon, for the lease does not wait.
                pause = self._next_pause(pause, self._members.words(error))

    async def _is_renewed(self, member: Member) -> bool:
        rpc = self._members.rpc
        call = rpc.LeaseStub(member.channel).LeaseKeepAlive(
            timeout=self._members.timeout, metadata=member.metadata
        )
        try:
            await call.write(rpc.LeaseKeepAliveRequest(ID=self._id))
            answer = await call.read()
            if not hasattr(answer, "TTL"):
                raise EOFError("the member does not answer")
            return bool(answer.TTL > 0)
        finally:
            call.cancel()

    def _next_pause(self, pause: float, why: str) -> float:
        if self._failed:
            return min(pause * 2, _LONGEST_PAUSE)
        logger.warning("%s cannot be renewed in etcd (%s): trying on", self._prefix, why)
        self._failed = True
        return _FIRST_PAUSE
