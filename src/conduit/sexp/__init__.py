"""S-expressions: every type prints and reads exactly as it does in OCaml.

    conduit.sexp.to_string(conduit.sexp_of_client(conduit.client.TCP("127.0.0.1", 80)))
    # "(TCP((IP 127.0.0.1)(Port 80)))"
    conduit.client_of_sexp(conduit.sexp.of_string("(TCP((IP 127.0.0.1)(Port 80)))"))

So configuration files and logs can be shared with programs in OCaml. An atom is a str, a list is a
`List`; reading and printing them follows sexplib, byte for byte, and takes linear time. Nothing
here does I/O.
"""

from __future__ import annotations

from .converter import Converter, converters
from .layout import to_string_hum
from .printer import to_string
from .reader import of_bytes, of_bytes_many, of_string, of_string_many
from .targets import (
    client_of_text,
    endp_of_text,
    is_sexp,
    mode_of_text,
    server_of_text,
    target_of_text,
)
from .value import Atom, List, Sexp

__all__ = [
    "Atom",
    "Converter",
    "List",
    "Sexp",
    "client_of_text",
    "converters",
    "endp_of_text",
    "is_sexp",
    "mode_of_text",
    "of_bytes",
    "of_bytes_many",
    "of_string",
    "of_string_many",
    "server_of_text",
    "target_of_text",
    "to_string",
    "to_string_hum",
]
