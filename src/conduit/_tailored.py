"""A context as the options of a text tailor it to one call: `?src=…&alpn=…&ca=…`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from .context import Context, IPAddress
from .errors import AddressError


def tailored(
    ctx: Context,
    *,
    src: tuple[IPAddress, ...] | None = None,
    alpn: tuple[str, ...] | None = None,
    keepalive: float | None = None,
    ca: tuple[str, ...] | None = None,
    fingerprint: tuple[str, ...] | None = None,
) -> Context:
    """The context with what a text says in place of its own; None where the text says nothing.

    The text is about one peer and the context about all, so the text has its way. It may not
    loosen what the context demands: `fingerprint` is added to the context's authenticator.

    The same arguments give the same context, by which TLS sessions and files that were read are
    remembered.

    Raises AddressError for `ca` beside an authenticator of the context, which it would replace, and
    for either beside an `ssl_ctx`, which has a trust of its own.
    """
    told = (src, alpn, keepalive, ca, fingerprint)
    if told == _NOTHING:
        return ctx
    known = _known.setdefault(ctx, {})
    found = known.get(told)
    if found is None:
        if len(known) >= _MOST:
            known.clear()
        found = known[told] = _made(ctx, *told)
    return found


_NOTHING = (None,) * 5

_MOST = 64
"""How many contexts are remembered for each; more texts than that are not from a configuration."""

_known: WeakKeyDictionary[Context, dict[object, Context]] = WeakKeyDictionary()


def _made(
    ctx: Context,
    src: tuple[IPAddress, ...] | None,
    alpn: tuple[str, ...] | None,
    keepalive: float | None,
    ca: tuple[str, ...] | None,
    fingerprint: tuple[str, ...] | None,
) -> Context:
    told = {"src": src, "alpn": alpn, "keepalive": keepalive}
    changes: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    if ca is not None or fingerprint is not None:
        changes["tls_authenticator"] = _trust(ctx, ca, fingerprint)
    return replace(ctx, **changes)


def _trust(ctx: Context, ca: Sequence[str] | None, fingerprint: Sequence[str] | None) -> object:
    option = "ca=" if ca is not None else "fingerprint="
    if ctx.ssl_ctx is not None:
        raise AddressError(
            f"{option} in the text of an address: the context has an ssl_ctx, which brings a trust "
            "of its own; leave out one of the two"
        )
    from .tls import trust  # for these options alone

    known: Any = ctx.tls_authenticator
    if ca is not None:
        if known is not None:
            raise AddressError(
                "ca= in the text of an address: it would replace the tls_authenticator of the "
                "context; leave out one of the two"
            )
        known = trust.ca(ca)
    if fingerprint is not None:
        pin = trust.fingerprint(*fingerprint)
        known = pin if known is None else known & pin
    return known
