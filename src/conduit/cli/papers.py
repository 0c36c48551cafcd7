"""What the demo shows to its peers by TLS: certificates of an authority of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import conduit
from conduit import Context, OwnKey, testing, trust

NAME = "localhost"
"""Whom the certificate is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Certificates, in files, and who believes them.

    key: of the server. ctx: for clients, trusts the authority. mutual: for both sides where the
    client shows a certificate as well.
    """

    key: OwnKey
    ctx: Context
    mutual: Context


async def issue(directory: str) -> Papers:
    """Make an authority, and write server.crt, server.key, client.crt and client.key.

    directory: where. Raises ImportError, which says what to install, without the package
    cryptography.
    """
    authority = await asyncio.to_thread(testing.Authority, "conduit demo")
    server = await asyncio.to_thread(authority.issue(NAME).write, directory, "server")
    client = await asyncio.to_thread(authority.issue("demo client").write, directory, "client")
    trusts = trust.ca(authority.pem)
    return Papers(
        key=server,
        ctx=await conduit.init(tls_authenticator=trusts),
        mutual=await conduit.init(tls_authenticator=trusts, tls_own_key=client),
    )
