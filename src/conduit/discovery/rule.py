"""A rule for a resolver that asks sources: with a memory, an order, and bounds on what it takes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import cast, get_args

from .. import endp
from .._debug import logger, step
from ..errors import ConduitError, ResolutionError
from ..resolver import URI, Service
from .interface import Address, Discovers, Found
from .order import Pick, ordered
from .questions import Questions

_LONGEST_TTL = 24 * 3600.0
_MOST_ADDRESSES = 256
_SECONDS_BETWEEN_WARNINGS = 10.0

_PAUSE = 5.0
"""Seconds for which an old answer is used before a source that failed is asked again: its silence
must not hold up each connection."""


_PATIENCE = 1.0
"""Seconds for which an answer is waited for while an old one could be used."""


def srv_name(service: Service, uri: URI) -> str:
    """The name that DNS SRV has for a service: `_postgresql._tcp.db.example`.

    A host that begins with an underscore is such a name already.
    """
    return uri.host if uri.host.startswith("_") else f"_{service.name}._tcp.{uri.host}"


def host_name(service: Service, uri: URI) -> str:
    """The host alone, whatever the service: what servers register as in etcd."""
    return uri.host


@dataclass(slots=True)
class _Known:
    """What was found for a name. until, stale_until: by the clock; turn: how often it was used."""

    found: Found
    until: float
    stale_until: float
    turn: int = 0
    warned: float = -_SECONDS_BETWEEN_WARNINGS


class Rule:
    """A rewrite function for `Resolver(rewrites=[(host, rule)])` that asks sources.

    sources: asked in order, until one knows the name (`SRV`, `Etcd`, or your own). pick: which
    address is tried first: "weighted" (default), "first", "round-robin" or "random", among those
    of the lowest priority; the others follow when it fails, or has not answered for 250 ms. name:
    what a source is asked for, a function of the service and the URI (default: `srv_name`, which
    DNS needs; `host_name` for the host alone, as in etcd). most: names that are remembered
    (default 1024). stale: seconds for which an answer that has expired may still be used while no
    source can be asked, or none has answered within a second; which is logged as a warning (default
    86,400).

    An IP address in a URI is what it says. Only TCP is taken from a source, at most 256 addresses;
    if the service has TLS, it is checked for the host that was asked for.

    Raises ValueError for an unknown `pick`, TypeError for what is no source.
    """

    def __init__(
        self,
        *sources: Discovers,
        pick: Pick = "weighted",
        name: Callable[[Service, URI], str] = srv_name,
        most: int = 1024,
        stale: float = 86_400.0,
    ) -> None:
        for source in sources:
            if not isinstance(cast("object", source), Discovers):
                raise TypeError(f"a source of addresses has resolve(name), and {source!r} has not")
        if not sources:
            raise TypeError("a rule asks one source or more")
        if pick not in get_args(Pick):
            raise ValueError(f"pick is {pick!r}: it is one of {', '.join(get_args(Pick))}")
        self._sources = sources
        self._pick: Pick = pick
        self._name = name
        self._most = most
        self._stale = stale
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._random = SystemRandom()
        self._questions = Questions(self._ask_and_remember)

    async def __call__(self, service: Service, uri: URI) -> list[endp.TCP | endp.Host]:
        """Find the addresses of a host, in the order to try them.

        Raises ResolutionError for a name that has none, or about which no source can be asked.
        """
        if uri.ip is not None:
            return [endp.TCP(uri.ip, service.port)]
        name = self._name(service, uri)
        known = await self._look_up(name)
        if not known.found.addresses:
            raise ResolutionError(f"{name!r}: {known.found.why or 'there is no such service'}")
        turn, known.turn = known.turn, known.turn + 1
        return [one.endp for one in ordered(known.found.addresses, self._pick, turn, self._random)]

    async def _look_up(self, name: str) -> _Known:
        known = self._known.get(name)
        if known is not None and time.monotonic() < known.until:
            self._known.move_to_end(name)
            return known
        is_stale = known is not None and time.monotonic() < known.stale_until
        try:
            return await self._questions.answer(name, _PATIENCE if is_stale else None)
        except (OSError, ConduitError) as error:
            # Whoever asked at the same time may have had an answer.
            known = self._known.get(name)
            if known is None or time.monotonic() >= known.stale_until:
                raise
            self._warn(known, error)
            known.until = min(time.monotonic() + _PAUSE, known.stale_until)
            return known

    async def _ask_and_remember(self, name: str) -> _Known:
        return self._remember(name, await self._ask(name))

    async def _ask(self, name: str) -> Found:
        """The first that knows; else what the last said of there being none."""
        nothing: Found | None = None
        failures: list[str] = []
        for source in self._sources:
            try:
                found = await source.resolve(name)
            except (OSError, ConduitError) as error:
                failures.append(str(error) or type(error).__name__)
                continue
            step("discovered", name=name, by=source, to=[one.endp for one in found.addresses])
            addresses = _of_the_network(name, found.addresses)
            if addresses:
                return Found(addresses, found.ttl)
            nothing = Found((), found.ttl, found.why)
        if nothing is None or failures:
            # One that could not be asked may have known.
            raise ResolutionError(f"{name!r} cannot be looked up: {'; '.join(failures)}")
        return nothing

    def _remember(self, name: str, found: Found) -> _Known:
        now = time.monotonic()
        until = now + min(max(found.ttl, 0.0), _LONGEST_TTL)
        stale_until = until + (self._stale if found.addresses else 0.0)
        before = self._known.get(name)
        known = _Known(found, until, stale_until, 0 if before is None else before.turn)
        self._known[name] = known
        self._known.move_to_end(name)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return known

    def _warn(self, known: _Known, error: Exception) -> None:
        now = time.monotonic()
        if now - known.warned >= _SECONDS_BETWEEN_WARNINGS:
            known.warned = now
            logger.warning(
                "%s: going on with the %d addresses known before", error,
                len(known.found.addresses),
            )  # fmt: skip

    def __repr__(self) -> str:
        return f"Rule({', '.join(map(repr, self._sources))}, pick={self._pick!r})"


def _of_the_network(name: str, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """What a source may say: who writes into it must not reach files or descriptors of ours."""
    taken: list[Address] = []
    for one in addresses[:_MOST_ADDRESSES]:
        where = cast("object", one.endp)
        if not isinstance(where, endp.TCP | endp.Host) or type(where) not in (endp.TCP, endp.Host):
            logger.warning("%r: not taken from discovery, for it is no TCP: %s", name, where)
        elif where.port == 0:
            logger.warning("%r: not taken from discovery, for it has no port: %s", name, where)
        else:
            taken.append(one)
    return tuple(taken)
