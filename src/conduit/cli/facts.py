"""What is known of a connection: for people in lines, for programs as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ..convert import endp_of_flow
from ..tls.certificate import Certificate, DerError
from ..tls.facts import Facts
from ..transports import Triple


def facts_of(triple: Triple) -> dict[str, Any]:
    """What is known of a connection, as JSON can say it."""
    tls: Facts | None = triple.oc.get_extra_info("tls")
    return {"peer": str(endp_of_flow(triple.flow)), "tls": None if tls is None else _tls(tls)}


def _tls(tls: Facts) -> dict[str, Any]:
    return {
        "library": tls.library,
        "version": tls.version,
        "cipher": tls.cipher,
        "alpn": tls.alpn,
        "sni": tls.sni,
        "resumed": tls.resumed,
        "chain": [certificate_facts(der) for der in tls.peer_chain],
    }


def certificate_facts(der: bytes) -> dict[str, Any]:
    """What a certificate says, as JSON can say it."""
    try:
        read = Certificate.read(der)
    except DerError as error:
        return {"error": f"it cannot be read: {error}"}
    return {
        "subject": read.subject,
        "issuer": read.issuer,
        "names": list(read.names),
        "not_before": read.not_before.isoformat(),
        "not_after": read.not_after.isoformat(),
        "days_left": round((read.not_after - datetime.now(UTC)).total_seconds() / 86400, 2),
        "key": str(read.key),
        "signature": read.signature,
        "serial": f"{read.serial:x}",
        "sha256": read.sha256,
        "is_authority": read.is_authority,
        "self_issued": read.is_self_issued,
    }


def lines_of(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people, in lines."""
    yield f"peer: {facts['peer']}"
    tls = facts["tls"]
    if tls is None:
        yield "TLS: none"
        return
    resumed = ", resumed" if tls["resumed"] else ""
    yield f"TLS: {tls['version']}, {tls['cipher']}, by {tls['library']}{resumed}"
    yield f"ALPN: {tls['alpn'] or 'none'}"
    for number, certificate in enumerate(tls["chain"]):
        yield f"certificate {number}:"
        yield from (f"  {line}" for line in certificate_lines(certificate))


def certificate_lines(certificate: dict[str, Any]) -> Iterator[str]:
    """What a certificate says, in lines."""
    if "error" in certificate:
        yield str(certificate["error"])
        return
    yield f"subject: {certificate['subject']}"
    yield f"issuer: {certificate['issuer']}"
    if certificate["names"]:
        yield f"names: {', '.join(certificate['names'])}"
    since, until = certificate["not_before"][:10], certificate["not_after"][:10]
    yield f"valid: {since} to {until} ({expiry(certificate['days_left'])})"
    yield f"key: {certificate['key']}, signed by {certificate['signature']}"
    yield f"sha256: {certificate['sha256']}"


def expiry(days: float) -> str:
    """When a certificate expires, in words."""
    if days < 0:
        return f"expired {_days(-days)} ago"
    return f"expires in {_days(days)}"


def _days(days: float) -> str:
    if days < 2:
        hours = int(days * 24)
        return f"{hours} hour{'' if hours == 1 else 's'}"
    return f"{int(days)} days"
