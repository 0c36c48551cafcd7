"""Rewrite rules: which function says where a host is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from .._hostnames import ascii_host
from ..endp import Endp
from .service import Service
from .uri import URI

Found: TypeAlias = Endp | Sequence[Endp]
"""What a rewrite function finds: an endpoint, or several of one peer, the preferred one first."""

RewriteFn: TypeAlias = Callable[[Service, URI], Found | Awaitable[Found]]
"""A rewrite function: from a service and the URI to where it is; plain or async."""

Rewrites: TypeAlias = Iterable[tuple[str, RewriteFn]]
"""Rules: each a host and the function for it and all below it."""


class Rule(NamedTuple):
    """A rule that matched. host: the host it was made for, empty for the rule for all."""

    host: str
    rewrite: RewriteFn


class Rules:
    """Rules by their hosts. It is never changed, so that it can be used from several threads."""

    __slots__ = ("_rules",)

    def __init__(self, rules: dict[str, RewriteFn] | None = None) -> None:
        self._rules = rules or {}

    def __len__(self) -> int:
        return len(self._rules)

    def adding(self, rewrites: Rewrites) -> Rules:
        """These and more; one for the same host replaces.

        Raises AddressError for a host that is none, TypeError for what is no function.
        """
        added: dict[str, RewriteFn] = {}
        for host, rewrite in rewrites:
            if not callable(rewrite):
                raise TypeError(f"the rewrite of {host!r} must be a function, not {rewrite!r}")
            added["" if host in ("", ".") else ascii_host(host.removeprefix("."))] = rewrite
        return Rules(self._rules | added)

    def find(self, uri: URI) -> Rule | None:
        """The rule for the longest part of a host, by whole labels: `xen` is for `db.xen`, too.

        An IP address has no labels: there is its own rule, and the one for all.
        """
        host = uri.host
        while host:
            rewrite = self._rules.get(host)
            if rewrite is not None:
                return Rule(host, rewrite)
            host = "" if uri.ip is not None else host.partition(".")[2]
        rewrite = self._rules.get("")
        return None if rewrite is None else Rule("", rewrite)
