"""Connection establishment as one idea: an address says where, `connect` and `serve` do the rest.

    f, ic, oc = await conduit.connect(conduit.client.TCP("127.0.0.1", 8080))
    await conduit.serve(conduit.server.UnixDomainSocket("/run/app.sock"), handler)

Names are imported when they are first used, so that `import conduit` costs next to nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import client, endp, events, flow, resolver, server, testing, text, transports
    from ._connect import connect
    from ._places import set_max_active
    from ._run import run
    from ._serve import listen, serve
    from ._server import Server
    from ._start_tls import start_tls
    from .channels import Input, Output
    from .context import Context, Verify, default_ctx, init
    from .convert import endp_of_flow, endp_to_client, endp_to_server
    from .errors import (
        AddressError,
        CertificateError,
        ConduitError,
        ConnectError,
        ConnectTimeout,
        ResolutionError,
        SexpError,
        TLSError,
        TruncatedError,
        UnsupportedTransport,
    )
    from .tls import trust
    from .tls.keys import OwnKey
    from .tls.library import TLSLibrary, set_tls_library, tls_library

# Where each public name is; what is nothing, or ends in a dot, is the package of a module.
_HOME = {
    **dict.fromkeys(("client", "endp", "events", "flow", "resolver", "server"), ""),
    **dict.fromkeys(("testing", "text", "transports"), ""),
    "connect": "_connect",
    "set_max_active": "_places",
    "run": "_run",
    "listen": "_serve",
    "serve": "_serve",
    "Server": "_server",
    "start_tls": "_start_tls",
    "Input": "channels",
    "Output": "channels",
    **dict.fromkeys(("Context", "Verify", "default_ctx", "init"), "context"),
    **dict.fromkeys(("endp_of_flow", "endp_to_client", "endp_to_server"), "convert"),
    **dict.fromkeys(
        (
            "AddressError",
            "CertificateError",
            "ConduitError",
            "ConnectError",
            "ConnectTimeout",
            "ResolutionError",
            "SexpError",
            "TLSError",
            "TruncatedError",
            "UnsupportedTransport",
        ),
        "errors",
    ),
    "OwnKey": "tls.keys",
    **dict.fromkeys(("TLSLibrary", "set_tls_library", "tls_library"), "tls.library"),
    "trust": "tls.",
}

__all__ = [
    "AddressError",
    "CertificateError",
    "ConduitError",
    "ConnectError",
    "ConnectTimeout",
    "Context",
    "Input",
    "Output",
    "OwnKey",
    "ResolutionError",
    "Server",
    "SexpError",
    "TLSError",
    "TLSLibrary",
    "TruncatedError",
    "UnsupportedTransport",
    "Verify",
    "__version__",
    "client",
    "connect",
    "default_ctx",
    "endp",
    "endp_of_flow",
    "endp_to_client",
    "endp_to_server",
    "events",
    "flow",
    "init",
    "listen",
    "resolver",
    "run",
    "serve",
    "server",
    "set_max_active",
    "set_tls_library",
    "start_tls",
    "testing",
    "text",
    "tls_library",
    "transports",
    "trust",
]


if not TYPE_CHECKING:  # A type checker is to find a misspelt name.

    def __getattr__(name: str) -> Any:
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module 'conduit' has no attribute {name!r}")
        if home and not home.endswith("."):
            value = getattr(import_module(f"conduit.{home}"), name)
        else:
            value = import_module(f"conduit.{home}{name}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


if os.environ.get("CONDUIT_DEBUG"):
    from ._debug import log_to_stderr

    log_to_stderr()
