"""A peer of either role that has the keys of its session, and says what no honest one would.

It is the native stack, whose inside can be reached from Python: an honest end until it is told to
be another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit.tls.native.engine import NativeEngine
from tests.tls.engines import STACKS, Stack, Version
from tests.tls.identities import Identities
from tests.tls.session import End, Session, load

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23

NATIVE = next(stack for stack in STACKS if stack.name == "native")


def against(victim: Stack, role: str, version: Version, identities: Identities, **more) -> Session:
    """A session that has not begun, of a victim in a role with an attacker in the other one."""
    stacks = (victim, NATIVE) if role == "client" else (NATIVE, victim)
    return load(stacks, version, identities.server(), identities.trust, **more).session()


def ends(session: Session, role: str) -> tuple[End, End]:
    """The victim, and the attacker."""
    both = session.client, session.server
    return both if role == "client" else both[::-1]


def inside(attacker: End) -> Any:
    """The attacker's connection after the handshake."""
    assert isinstance(attacker.engine, NativeEngine)
    return attacker.engine._established


def seal(attacker: End, kind: int, content: bytes) -> bytes:
    """A record by the keys of the session, whatever it says."""
    sealed: bytes = inside(attacker)._writing.seal(kind, content)
    return sealed


def records(data: bytes) -> Iterator[bytes]:
    """The records in what was sent."""
    while data:
        size = 5 + int.from_bytes(data[3:5])
        yield data[:size]
        data = data[size:]


def record(kind: int, content: bytes) -> bytes:
    """A record in the clear."""
    return bytes((kind, 3, 3)) + len(content).to_bytes(2) + content
