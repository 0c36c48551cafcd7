"""`Resolver`: from a URI to endpoints, by a service and a rule."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from inspect import isawaitable
from typing import cast, get_args

from .. import endp
from .._debug import step
from .._hostnames import certified_name
from ..errors import ConduitError
from ..text import is_service, parse_endp
from .chain import Chained
from .rules import RewriteFn, Rewrites, Rule, Rules
from .service import Service, ServiceFn, Services
from .system import system_service
from .uri import URI, parse_uri, uri_of, uri_of_host
from .well_known import static_service

_ENDPS: tuple[type, ...] = get_args(endp.Endp)

_DEEPEST = 16
"""How many resolutions may wait for each other, as they do when a rule asks a resolver itself."""

_depth: ContextVar[int] = ContextVar("conduit.resolver.depth", default=0)


class Resolver(Chained):
    """From a URI to endpoints.

    service: a service function, which says what a scheme stands for (default: the table of
    well-known services, then /etc/services). rewrites: rules, each a host and a rewrite function
    (default: none, so that nothing is found).

    A rule is for its host and all below it; of several the longest counts, by whole labels. The
    host "" or "." stands for all. A rewrite function takes the `Service`, whose port is that of
    the URI if it has one, and the `URI`; it returns an endpoint, or several of one peer. If the
    service has TLS, `endp.TLS` with the name that was asked for is put over them, but not over
    `endp.TLS` itself. It runs on the event loop, so it must not block; it may be async.

    A function that raises OSError (such as ResolutionError) or another ConduitError has failed to
    find the host, and its message is the reason. Any other exception is a mistake of the program,
    and is passed on.

    A resolver belongs to no event loop and no thread; rules may be added from any.

    Raises AddressError for a rule whose host is none.
    """

    __slots__ = ("_rules", "_service")

    def __init__(self, *, service: ServiceFn | None = None, rewrites: Rewrites = ()) -> None:
        self._service = (
            static_service | system_service if service is None else _services_of(service)
        )
        self._rules = Rules().adding(rewrites)

    @property
    def service(self) -> Services:
        """The service function; it can be replaced: `r.service = mine | r.service`."""
        return self._service

    @service.setter
    def service(self, function: ServiceFn) -> None:
        self._service = _services_of(function)

    def add_rewrite(self, host: str, fn: RewriteFn) -> None:
        """Add a rule; one for the same host is replaced.

        host: as for the class. fn: the rewrite function. Raises AddressError for what is no host.
        """
        self._rules = self._rules.adding([(host, fn)])

    async def resolve_uri(self, uri: str, rewrites: Rewrites | None = None) -> endp.Endp:
        """Find the preferred endpoint of a URI. Arguments and errors are those of `resolve_all`."""
        return (await self.resolve_all(uri, rewrites))[0]

    async def resolve_all(self, uri: str, rewrites: Rewrites | None = None) -> list[endp.Endp]:
        """Find all endpoints of a URI, the preferred one first.

        uri: of a service (`https://example.com:8443/x`; what follows the host and port is left to
        the rewrite functions), or the text of an endpoint (`tls://db.example:5432`), whose name is
        looked up by the rules as well. rewrites: rules for this call alone, which replace those for
        the same hosts.

        What cannot be found is one `endp.Unknown` with the reason. Raises AddressError for what is
        no URI, and for one with a user or a password.
        """
        rules = self._rules if rewrites is None else self._rules.adding(rewrites)
        depth = _depth.get()
        token = _depth.set(depth + 1)
        try:
            if depth >= _DEEPEST:
                return [endp.Unknown("the rules of resolvers go round in a circle")]
            if is_service(uri):
                return await self._of_service(parse_uri(uri), rules)
            return await self._of_endp(parse_endp(uri), rules)
        finally:
            _depth.reset(token)

    async def _of_service(self, uri: URI, rules: Rules) -> list[endp.Endp]:
        try:
            service = await self._service(uri.scheme)
        except (OSError, ConduitError) as error:
            return _unknown(f"the service {uri.scheme!r} cannot be looked up: {_words(error)}", uri)
        if service is None:
            return _unknown(f"there is no service {uri.scheme!r}", uri)
        return await _look_up(service, uri, rules)

    async def _of_endp(self, where: endp.Endp, rules: Rules) -> list[endp.Endp]:
        """Look up the name in an endpoint; TLS over it stays, and the names it is for."""
        names: list[str] = []
        below = where
        while isinstance(below, endp.TLS):
            names.append(below.host)
            below = below.endp
        if isinstance(below, endp.Host):
            uri = uri_of_host(below)
        elif isinstance(below, endp.TCP):
            uri = uri_of(str(below), "tcp", str(below.ip), below.port)
        else:
            return [where]
        found = await _look_up(Service("tcp", below.port), uri, rules)
        for layer, name in enumerate(reversed(names)):
            found = [_tls_over(name, one, again=layer > 0) for one in found]
        return found

    def __repr__(self) -> str:
        return f"<resolver with {len(self._rules)} rules, {self._service!r}>"


def _services_of(function: ServiceFn) -> Services:
    return function if isinstance(function, Services) else Services(function)


async def _look_up(service: Service, uri: URI, rules: Rules) -> list[endp.Endp]:
    rule = rules.find(uri)
    if rule is None:
        return _unknown(f"there is no rule for {uri.host!r}", uri)
    if uri.port is not None:
        service = replace(service, port=uri.port)
    step(
        "resolve", uri=uri.shown, service=service.name, port=service.port, tls=service.tls,
        rule=rule.host or ".",
    )  # fmt: skip
    started = time.perf_counter()
    try:
        found = await _rewritten(rule, service, uri)
    except (OSError, ConduitError) as error:
        return _unknown(_words(error), uri)
    if not found:
        return _unknown(f"{uri.host!r} has no address", uri)
    if service.tls:
        found = [_tls_over(certified_name(uri.host), one) for one in found]
    step("resolved", uri=uri.shown, to=found, seconds=time.perf_counter() - started)
    return found


async def _rewritten(rule: Rule, service: Service, uri: URI) -> list[endp.Endp]:
    answer = rule.rewrite(service, uri)
    found: object = await answer if isawaitable(answer) else answer
    several = list(cast("Sequence[object]", found)) if isinstance(found, list | tuple) else [found]
    for one in several:
        if not isinstance(one, _ENDPS):
            raise TypeError(
                f"the rewrite of {rule.host or '.'!r} must return values of conduit.endp, "
                f"not {one!r}"
            )
    # Without doubles, in order.
    endps = list(dict.fromkeys(cast("list[endp.Endp]", several)))
    known: list[endp.Endp] = [one for one in endps if not isinstance(one, endp.Unknown)]
    return known or endps[:1]


def _tls_over(name: str, below: endp.Endp, again: bool = False) -> endp.Endp:
    """TLS over what was found, unless a rule has put it there. again: over that, too."""
    if isinstance(below, endp.Unknown) or (
        isinstance(below, endp.TLS | endp.TLSTunnel) and not again
    ):
        return below
    return endp.TLS(name, below)


def _unknown(reason: str, uri: URI) -> list[endp.Endp]:
    step("unknown", uri=uri.shown, reason=reason)
    return [endp.Unknown(reason)]


def _words(error: Exception) -> str:
    return str(error).replace("\0", "") or type(error).__name__
