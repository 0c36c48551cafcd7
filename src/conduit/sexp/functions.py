"""`sexp_of_X` and `X_of_sexp` for every type X, as the reference's interface names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from . import converter as of
from .converter import Converter
from .value import Sexp

T = TypeVar("T")

Printing: TypeAlias = Callable[[T], Sexp]
Reading: TypeAlias = Callable[[Sexp], T]


def _pair(converter: Converter[T]) -> tuple[Printing[T], Reading[T]]:
    def sexp_of(value: T) -> Sexp:
        return converter.to_sexp(value)

    def of_sexp(sexp: Sexp) -> T:
        return converter.of_sexp(sexp)

    name = converter.name
    _call(sexp_of, f"sexp_of_{name}", f"The s-expression of a {name}.", converter.to_sexp)
    _call(of_sexp, f"{name}_of_sexp", f"The {name} of an s-expression.", converter.of_sexp)
    return sexp_of, of_sexp


def _matching(converter: Converter[T]) -> Reading[T]:
    def match_sexp(sexp: Sexp) -> T:
        return converter.match_sexp(sexp)

    name = converter.name
    title = f"The {name} of an s-expression, if its tag is that of one."
    _call(match_sexp, f"__{name}_of_sexp__", title, converter.match_sexp)
    return match_sexp


def _call(function: Callable[..., object], name: str, title: str, like: object) -> None:
    """Name a function, and explain it as the method that it calls, below a title of its own."""
    _, _, details = (like.__doc__ or "").partition("\n\n")
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{title}\n\n{details}"


sexp_of_client, client_of_sexp = _pair(of.CLIENT)
sexp_of_client_tls_config, client_tls_config_of_sexp = _pair(of.CLIENT_TLS_CONFIG)
sexp_of_server, server_of_sexp = _pair(of.SERVER)
sexp_of_server_tls_config, server_tls_config_of_sexp = _pair(of.SERVER_TLS_CONFIG)
sexp_of_tcp_config, tcp_config_of_sexp = _pair(of.TCP_CONFIG)
sexp_of_tls_own_key, tls_own_key_of_sexp = _pair(of.TLS_OWN_KEY)
sexp_of_tls_server_key, tls_server_key_of_sexp = _pair(of.TLS_SERVER_KEY)
sexp_of_flow, flow_of_sexp = _pair(of.FLOW)
sexp_of_tcp_flow, tcp_flow_of_sexp = _pair(of.TCP_FLOW)
sexp_of_domain_flow, domain_flow_of_sexp = _pair(of.DOMAIN_FLOW)
sexp_of_vchan_flow, vchan_flow_of_sexp = _pair(of.VCHAN_FLOW)
sexp_of_ctx, ctx_of_sexp = _pair(of.CTX)
sexp_of_ic, ic_of_sexp = _pair(of.IC)
sexp_of_oc, oc_of_sexp = _pair(of.OC)
sexp_of_endp, endp_of_sexp = _pair(of.ENDP)
sexp_of_conduit_endp, conduit_endp_of_sexp = _pair(of.CONDUIT_ENDP)
sexp_of_tls_lib, tls_lib_of_sexp = _pair(of.TLS_LIB)
sexp_of_service, service_of_sexp = _pair(of.SERVICE)

__client_of_sexp__ = _matching(of.CLIENT)
__server_of_sexp__ = _matching(of.SERVER)
__endp_of_sexp__ = _matching(of.ENDP)
__tcp_config_of_sexp__ = _matching(of.TCP_CONFIG)
__tls_own_key_of_sexp__ = _matching(of.TLS_OWN_KEY)
