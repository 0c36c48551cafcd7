"""Records by the native stack: their keys wear out, and are changed in time."""

from __future__ import annotations

import pytest

from conduit.tls.native import protected
from tests.tls.attacker import NATIVE, inside
from tests.tls.engines import STACKS
from tests.tls.session import load

DATA = bytes(range(256)) * 300


@pytest.mark.parametrize("other", STACKS, ids=lambda stack: stack.name)
@pytest.mark.parametrize("role", ["client", "server"])
def test_a_key_that_is_worn_out_is_changed(other, role, identities, monkeypatch):
    monkeypatch.setattr(protected, "MOST_RECORDS", 3)
    stacks = (NATIVE, other) if role == "client" else (other, NATIVE)
    session = load(stacks, "TLSv1.3", identities.server(), identities.trust).session().run()
    ours, theirs = session.client, session.server
    if role == "server":
        ours, theirs = theirs, ours
    first = inside(ours)._writing
    for _ in range(5):
        ours.say(DATA)
        session.run()
        assert theirs.read() == DATA
        theirs.say(DATA)
        session.run()
        assert ours.read() == DATA
    assert inside(ours)._writing is not first
    assert inside(ours)._writing.number <= 3 + 1


def test_keys_of_tls_1_2_stay(identities, monkeypatch):
    """There is no way to change them; the numbers of records never come again."""
    monkeypatch.setattr(protected, "MOST_RECORDS", 3)
    session = load((NATIVE, NATIVE), "TLSv1.2", identities.server(), identities.trust).session()
    session.run()
    for _ in range(5):
        session.client.say(DATA)
        session.run()
        assert session.server.read() == DATA
    assert inside(session.client)._writing.number > 20
