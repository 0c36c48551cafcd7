"""Conduit with its native TLS stack."""

from __future__ import annotations

import conduit

from .conduit_flows import Conduit, Stack

PEER = Conduit(Stack(conduit.client.TLSNative, conduit.server.TLSNative))
