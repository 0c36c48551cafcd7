"""TLS by an `ssl.SSLContext` that a library was given: its settings count, and nothing else."""

from __future__ import annotations

import dataclasses
import ssl

from ..context import Context, Verify


class TheirTLS:
    """Contexts of ours that stand for an `ssl.SSLContext`; the last one is remembered.

    With it go the sessions that can be resumed. More are not remembered, since a library may make
    one for each connection.
    """

    def __init__(self) -> None:
        self._last: Context | None = None

    def context(self, ctx: Context, ssl_context: ssl.SSLContext) -> Context:
        """The context for TLS by `ssl_context`; of `ctx` it has what is not of TLS."""
        if self._last is None or self._last.ssl_ctx is not ssl_context:
            self._last = dataclasses.replace(
                ctx,
                ssl_ctx=ssl_context,
                tls_authenticator=None,
                tls_own_key=None,
                alpn=(),
                ssl_client_verify=Verify(hostname=False, ip=False),
            )
        return self._last
