"""Addresses as text: `tcp://db.example:5432`, `unix:/run/app.sock`, `tls+unix:@name?hostname=db`.

    conduit.text.parse_client("tcp://db.example:5432")    # client.Host("db.example", 5432)
    conduit.text.to_text(conduit.server.TCP(8080))        # "tcp://*:8080"

Text is lossless: for every address that has a text, `parse_...(to_text(address)) == address`. What
holds channels, sockets or functions has none. Nothing here does I/O, and nothing that a text can
say loosens the checks of TLS. Each mistake is an `AddressError` that names its column.

`read_client` and `read_server` also take options of the call (`?timeout=5`), as `conduit.connect`
and `conduit.serve` do, and return them beside the address.
"""

from __future__ import annotations

from .options import ClientOptions, ServerOptions
from .passwords import PasswordFromEnv, PasswordFromFile
from .printer import to_text
from .reader import (
    ClientText,
    ServerText,
    is_service,
    parse_client,
    parse_endp,
    parse_server,
    read_client,
    read_server,
)

__all__ = [
    "ClientOptions",
    "ClientText",
    "PasswordFromEnv",
    "PasswordFromFile",
    "ServerOptions",
    "ServerText",
    "is_service",
    "parse_client",
    "parse_endp",
    "parse_server",
    "read_client",
    "read_server",
    "to_text",
]
