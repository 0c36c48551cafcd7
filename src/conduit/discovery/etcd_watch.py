"""A watch over a prefix in etcd, which goes on whatever becomes of the members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .._debug import logger, step
from ..errors import ResolutionError
from .etcd_members import Member, Members, OldTokenError, is_final
from .interface import Address

_LONGEST_PAUSE = 2.0
_LONGEST_FIRST_PAUSE = 0.5

_SILENCE = 5.0
"""Seconds without news after which a member is asked whether it is there. It may hang, or be cut
off from us without a word; gRPC's own keepalive did not tell of that within a minute."""

_MOST_VALUES = 1024
_LONGEST_VALUE = 4096


class Watch:
    """The values below a prefix, as they are now, or were when etcd was last heard of.

    members: who is asked. prefix: of the keys. read: what is made of the values, by the order of
    their keys, each time that they are others. It has a task of its own until `stop`.
    """

    def __init__(
        self, members: Members, prefix: str, read: Callable[[list[bytes]], tuple[Address, ...]]
    ) -> None:
        self._members = members
        self._read_values = read
        self._addresses: tuple[Address, ...] = ()
        self._prefix = prefix.encode()
        self._values: dict[bytes, bytes] | None = None
        self._news = asyncio.Event()
        self._failure = ""
        self._reasons: dict[str, str] = {}
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def addresses(self) -> tuple[Address, ...]:
        """All that is known; waits for the first answer.

        Raises ResolutionError if none of the members has answered in time, or if we may not ask.
        """
        if self._values is None:
            # A little more, so that the last of them can still fail.
            limit = self._members.timeout * len(self._members.names) + 0.2
            try:
                async with asyncio.timeout(limit):
                    await self._news.wait()
            except TimeoutError:
                pass
        if self._values is None:
            raise ResolutionError(f"etcd cannot be asked: {self._members.told(self._reasons)}")
        return self._addresses

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        pause = 0.05
        while True:
            heard = self._values
            name = self._members.next
            try:
                async with self._members.channel() as member:
                    await self._follow(member)
            except OldTokenError:
                continue
            except self._members.failures() as error:
                self._lost(name, self._members.words(error), is_final(error))
            except Exception as error:
                self._lost(name, repr(error), True)
            await asyncio.sleep(pause := self._next_pause(pause, self._values is not heard))

    def _next_pause(self, pause: float, heard: bool) -> float:
        if heard:
            return 0.05
        if self._values is None and len(self._reasons) < len(set(self._members.names)):
            return 0.0  # somebody waits, and not all have been asked
        return min(max(pause, 0.05) * 2, _LONGEST_PAUSE if self._values else _LONGEST_FIRST_PAUSE)

    async def _follow(self, member: Member) -> None:
        """Read all that is there, then each change; until the member fails."""
        rpc = self._members.rpc
        end = self._prefix[:-1] + bytes([self._prefix[-1] + 1])  # it ends with "/"
        revision = await self._read(member, end)
        if self._failure:
            self._failure = ""
            logger.warning("etcd answers again for %s", self._prefix.decode())
        create = rpc.WatchCreateRequest(
            key=self._prefix, range_end=end, start_revision=revision + 1
        )
        call = rpc.WatchStub(member.channel).Watch(metadata=member.metadata)
        try:
            await call.write(rpc.WatchRequest(create_request=create))
            while True:
                reading = asyncio.ensure_future(call.read())
                reading.add_done_callback(_heard)
                try:
                    while not (await asyncio.wait([reading], timeout=_SILENCE))[0]:
                        await self._read(member, end)
                    news = reading.result()
                finally:
                    reading.cancel()
                if not hasattr(news, "events"):
                    raise EOFError("the member has ended the watch")
                if news.canceled:
                    raise EOFError(news.cancel_reason or "the watch was cancelled")
                if news.events:
                    self._change(news.events)
        finally:
            call.cancel()

    async def _read(self, member: Member, end: bytes) -> int:
        """Read all that is there: the revision of it."""
        rpc = self._members.rpc
        answer = await rpc.KVStub(member.channel).Range(
            rpc.RangeRequest(key=self._prefix, range_end=end, limit=_MOST_VALUES),
            timeout=self._members.timeout,
            metadata=member.metadata,
        )
        self._set({kv.key: kv.value[:_LONGEST_VALUE] for kv in answer.kvs})
        return int(answer.header.revision)

    def _change(self, events: Any) -> None:
        values = dict(self._values or {})
        for event in events:
            if event.type:  # DELETE, also by a lease that has expired
                values.pop(event.kv.key, None)
            elif len(values) < _MOST_VALUES or event.kv.key in values:
                values[event.kv.key] = event.kv.value[:_LONGEST_VALUE]
        self._set(values)

    def _set(self, values: dict[bytes, bytes]) -> None:
        if values != self._values:
            self._addresses = self._read_values([value for _, value in sorted(values.items())])
            step("etcd", prefix=self._prefix.decode(), values=len(values))
        # Also if they are the same: etcd was heard of.
        self._values = values
        self._news.set()

    def _lost(self, name: str, why: str, final: bool) -> None:
        self._reasons[name] = why
        if final and self._values is None:
            # Whoever waits for the first answer is told, and who comes later is to wait anew.
            self._news.set()
            self._news = asyncio.Event()
        if not self._failure:
            known = 0 if self._values is None else len(self._values)
            logger.warning(
                "etcd does not answer for %s (%s): going on with the %d addresses known before",
                self._prefix.decode(), why, known,
            )  # fmt: skip
        self._failure = why


def _heard(reading: asyncio.Future[Any]) -> None:
    """Let asyncio know that its failure is no secret, whoever has stopped waiting for it."""
    if not reading.cancelled():
        reading.exception()
