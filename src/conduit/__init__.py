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
    from . import (
        client,
        discovery,
        endp,
        events,
        flow,
        proxies,
        resolver,
        server,
        sexp,
        testing,
        text,
        transports,
    )
    from ._connect import connect
    from ._forward import forward
    from ._places import set_max_active
    from ._relay import relay
    from ._run import run
    from ._serve import listen, serve
    from ._server import Server
    from ._start_tls import start_tls
    from ._workers import run_workers
    from .channels import Input, Output
    from .context import Context, Verify, default_ctx, init
    from .convert import endp_of_flow, endp_to_client, endp_to_server
    from .errors import (
        AddressError,
        CertificateError,
        ConduitError,
        ConnectError,
        ConnectTimeout,
        NoVariantMatch,
        ResolutionError,
        SexpError,
        TLSError,
        TruncatedError,
        UnsupportedTransport,
    )
    from .sexp.functions import (
        __client_of_sexp__,
        __endp_of_sexp__,
        __server_of_sexp__,
        __tcp_config_of_sexp__,
        __tls_own_key_of_sexp__,
        client_of_sexp,
        client_tls_config_of_sexp,
        conduit_endp_of_sexp,
        ctx_of_sexp,
        domain_flow_of_sexp,
        endp_of_sexp,
        flow_of_sexp,
        ic_of_sexp,
        oc_of_sexp,
        server_of_sexp,
        server_tls_config_of_sexp,
        service_of_sexp,
        sexp_of_client,
        sexp_of_client_tls_config,
        sexp_of_conduit_endp,
        sexp_of_ctx,
        sexp_of_domain_flow,
        sexp_of_endp,
        sexp_of_flow,
        sexp_of_ic,
        sexp_of_oc,
        sexp_of_server,
        sexp_of_server_tls_config,
        sexp_of_service,
        sexp_of_tcp_config,
        sexp_of_tcp_flow,
        sexp_of_tls_lib,
        sexp_of_tls_own_key,
        sexp_of_tls_server_key,
        sexp_of_vchan_flow,
        tcp_config_of_sexp,
        tcp_flow_of_sexp,
        tls_lib_of_sexp,
        tls_own_key_of_sexp,
        tls_server_key_of_sexp,
        vchan_flow_of_sexp,
    )
    from .tls import trust
    from .tls.keys import OwnKey
    from .tls.library import TLSLibrary, set_tls_library, tls_library

# Where each public name is; what is nothing, or ends in a dot, is the package of a module.
_HOME = {
    **dict.fromkeys(("client", "discovery", "endp", "events", "flow", "proxies"), ""),
    **dict.fromkeys(("resolver", "server"), ""),
    **dict.fromkeys(("sexp", "testing", "text", "transports"), ""),
    "connect": "_connect",
    "forward": "_forward",
    "set_max_active": "_places",
    "relay": "_relay",
    "run": "_run",
    "listen": "_serve",
    "serve": "_serve",
    "Server": "_server",
    "start_tls": "_start_tls",
    "run_workers": "_workers",
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
            "NoVariantMatch",
            "ResolutionError",
            "SexpError",
            "TLSError",
            "TruncatedError",
            "UnsupportedTransport",
        ),
        "errors",
    ),
    **dict.fromkeys(
        (
            "__client_of_sexp__",
            "__endp_of_sexp__",
            "__server_of_sexp__",
            "__tcp_config_of_sexp__",
            "__tls_own_key_of_sexp__",
            "client_of_sexp",
            "client_tls_config_of_sexp",
            "conduit_endp_of_sexp",
            "ctx_of_sexp",
            "domain_flow_of_sexp",
            "endp_of_sexp",
            "flow_of_sexp",
            "ic_of_sexp",
            "oc_of_sexp",
            "server_of_sexp",
            "server_tls_config_of_sexp",
            "service_of_sexp",
            "sexp_of_client",
            "sexp_of_client_tls_config",
            "sexp_of_conduit_endp",
            "sexp_of_ctx",
            "sexp_of_domain_flow",
            "sexp_of_endp",
            "sexp_of_flow",
            "sexp_of_ic",
            "sexp_of_oc",
            "sexp_of_server",
            "sexp_of_server_tls_config",
            "sexp_of_service",
            "sexp_of_tcp_config",
            "sexp_of_tcp_flow",
            "sexp_of_tls_lib",
            "sexp_of_tls_own_key",
            "sexp_of_tls_server_key",
            "sexp_of_vchan_flow",
            "tcp_config_of_sexp",
            "tcp_flow_of_sexp",
            "tls_lib_of_sexp",
            "tls_own_key_of_sexp",
            "tls_server_key_of_sexp",
            "vchan_flow_of_sexp",
        ),
        "sexp.functions",
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
    "NoVariantMatch",
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
    "__client_of_sexp__",
    "__endp_of_sexp__",
    "__server_of_sexp__",
    "__tcp_config_of_sexp__",
    "__tls_own_key_of_sexp__",
    "__version__",
    "client",
    "client_of_sexp",
    "client_tls_config_of_sexp",
    "conduit_endp_of_sexp",
    "connect",
    "ctx_of_sexp",
    "default_ctx",
    "discovery",
    "domain_flow_of_sexp",
    "endp",
    "endp_of_flow",
    "endp_of_sexp",
    "endp_to_client",
    "endp_to_server",
    "events",
    "flow",
    "flow_of_sexp",
    "forward",
    "ic_of_sexp",
    "init",
    "listen",
    "oc_of_sexp",
    "proxies",
    "relay",
    "resolver",
    "run",
    "run_workers",
    "serve",
    "server",
    "server_of_sexp",
    "server_tls_config_of_sexp",
    "service_of_sexp",
    "set_max_active",
    "set_tls_library",
    "sexp",
    "sexp_of_client",
    "sexp_of_client_tls_config",
    "sexp_of_conduit_endp",
    "sexp_of_ctx",
    "sexp_of_domain_flow",
    "sexp_of_endp",
    "sexp_of_flow",
    "sexp_of_ic",
    "sexp_of_oc",
    "sexp_of_server",
    "sexp_of_server_tls_config",
    "sexp_of_service",
    "sexp_of_tcp_config",
    "sexp_of_tcp_flow",
    "sexp_of_tls_lib",
    "sexp_of_tls_own_key",
    "sexp_of_tls_server_key",
    "sexp_of_vchan_flow",
    "start_tls",
    "tcp_config_of_sexp",
    "tcp_flow_of_sexp",
    "testing",
    "text",
    "tls_lib_of_sexp",
    "tls_library",
    "tls_own_key_of_sexp",
    "tls_server_key_of_sexp",
    "transports",
    "trust",
    "vchan_flow_of_sexp",
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
