"""The TLS stacks that the tests of this directory are run on: a second one is a line here."""

from __future__ import annotations

from dataclasses import dataclass

from conduit import client, server


@dataclass(frozen=True)
class Stack:
    """The addresses by which a stack is asked for by name, whatever `TLS` means."""

    name: str
    client: type[client.OpenSSL] | type[client.TLSNative]
    server: type[server.OpenSSL] | type[server.TLSNative]


STACKS = [Stack("openssl", client.OpenSSL, server.OpenSSL)]
