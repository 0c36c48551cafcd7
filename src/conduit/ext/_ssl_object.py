"""What libraries ask an `ssl.SSLObject`, for flows of a TLS stack that has none."""

from __future__ import annotations

from typing import Any

from ..channels import Output
from ..tls.facts import Facts


def ssl_object(oc: Output) -> Any:
    """The `ssl.SSLObject` of a flow, or what stands for it; None without TLS."""
    facts: Facts | None = oc.get_extra_info("tls")
    if facts is None:
        return None
    return oc.get_extra_info("ssl_object") or _Agreed(facts)


class _Agreed:
    """What was agreed on."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def selected_alpn_protocol(self) -> str | None:
        """The protocol above TLS."""
        return self._facts.alpn

    def version(self) -> str:
        """The version of TLS, as Python's ssl calls it."""
        return self._facts.version
