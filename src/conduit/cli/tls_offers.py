"""Which TLS versions and ALPN protocols a server takes: each is tried."""

from __future__ import annotations

import ssl
import warnings

import conduit
from conduit import client

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}

_PROTOCOLS = ("h2", "http/1.1")


async def taken_by(where: client.Client | str, timeout: float) -> tuple[list[str], list[str]]:
    """Try each version, and each protocol. Nothing is sent, and nobody is trusted.

    where: what to connect to. timeout: seconds for each try.

    Returns the versions and the protocols that the server took.
    """
    versions = [
        name for name, version in _VERSIONS.items()
        if await _takes(where, timeout, _only(version))
    ]  # fmt: skip
    protocols: list[str] = []
    for protocol in _PROTOCOLS:
        context = _anybody()
        context.set_alpn_protocols([protocol])
        if await _takes(where, timeout, context, protocol):
            protocols.append(protocol)
    return versions, protocols


def _anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = _anybody()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # OpenSSL itself would not speak the old ones at its usual level of security.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


async def _takes(
    where: client.Client | str, timeout: float, context: ssl.SSLContext, protocol: str | None = None
) -> bool:
    anything = conduit.Verify(hostname=False, ip=False)
    ctx = await conduit.init(ssl_ctx=context, ssl_client_verify=anything)
    try:
        async with conduit.connect(where, ctx=ctx, timeout=timeout) as (_, _, oc):
            tls = oc.get_extra_info("tls")
            return tls is not None and (protocol is None or tls.alpn == protocol)
    except (OSError, conduit.ConduitError):
        return False
