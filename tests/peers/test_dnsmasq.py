"""Names of a real name server, whose addresses serve, refuse, are dead, or swallow all packets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.children import Child
from tests.peers.names_program import PROGRAM
from tests.peers.tls_server import on_both_loops

# They run one program on each loop, which measures time.
pytestmark = [pytest.mark.alone, on_both_loops]

_SAID: dict[str, dict[str, Any]] = {}


@pytest.fixture
async def said(own_network, anyio_backend) -> dict[str, Any]:
    """What the program says, by what it tried; it is run once on each loop, at the same time."""
    if not _SAID:
        loops = ["asyncio", "uvloop"]
        found = await asyncio.gather(*(all_it_says(own_network, loop) for loop in loops))
        _SAID.update(zip(loops, found, strict=True))
    return _SAID["uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"]


async def all_it_says(own_network: list[str], loop: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with Child(PROGRAM, loop=loop, command=own_network) as child:
        while line := await child.says():
            what, _, facts = line.partition(" ")
            found[what] = json.loads(facts)
        assert await child.status() == 0
    return found


def failures(facts: dict[str, Any]) -> dict[str, str]:
    return {address: kind for address, kind, _ in facts["attempts"]}


# One address of several that answers --------------------------------------------------------------


async def test_ipv6_is_taken_where_it_works(said):
    assert (said["both"]["ip"], said["both"]["said"]) == ("2001:db8::2", "hello")
    assert said["both"]["origin"] == "both.test"


async def test_ipv6_whose_packets_are_dropped_costs_less_than_half_a_second(said):
    assert (said["drops6"]["ip"], said["drops6"]["said"]) == ("192.0.2.2", "hello")
    assert said["v4"]["ip"] == "192.0.2.2"
    assert 0.2 < said["drops6"]["seconds"] - said["v4"]["seconds"] < 0.5


async def test_ipv6_that_is_refused_costs_next_to_nothing(said):
    assert said["refuses6"]["ip"] == "192.0.2.2"
    assert said["refuses6"]["seconds"] - said["v4"]["seconds"] < 0.2


# None that answers --------------------------------------------------------------------------------


async def test_all_that_fail_are_told_of_at_once(said):
    facts = said["failing"]
    assert facts["error"] == "ConnectError"
    assert facts["seconds"] < 0.25
    assert failures(facts) == {
        "2001:db8::3": "ConnectionRefusedError",
        "192.0.2.3": "ConnectionRefusedError",
        "2001:db8:dead::1": "OSError",
        "198.51.100.1": "OSError",
    }
    assert all(address in facts["text"] for address in failures(facts))
    assert facts["text"].count("No route to host") == 2


async def test_deadline_tells_of_all_that_gave_no_answer(said):
    facts = said["dead"]
    assert facts["error"] == "ConnectTimeout"
    assert 0.7 < facts["seconds"] < 1.6
    assert failures(facts) == {
        "2001:db8::66": "TimeoutError",
        "2001:db8:dead::1": "OSError",
        "192.0.2.66": "TimeoutError",
        "192.0.2.3": "ConnectionRefusedError",
        "198.51.100.1": "OSError",
    }
    assert facts["text"].count("no answer within ") == 2
    assert all(address in facts["text"] for address in failures(facts))


async def test_families_that_have_no_source_are_told_of_and_left_out(said):
    assert said["source"]["ip"] == "192.0.2.2"
    assert said["source"]["seconds"] - said["v4"]["seconds"] < 0.2
    kinds = failures(said["sourceless"])
    assert kinds["2001:db8::66"] == kinds["2001:db8:dead::1"] == "AddressError"
    assert kinds["192.0.2.66"] == "TimeoutError"
    assert kinds["192.0.2.3"] == "ConnectionRefusedError"


# Names without address ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "Name or service not known"),
        ("empty", "No address associated with hostname"),
        ("nobody", "Temporary failure in name resolution"),
        ("silent", "Temporary failure in name resolution"),
    ],
)
async def test_name_without_address_says_why(said, name, reason):
    facts = said[name]
    assert facts["error"] == "ResolutionError"
    assert facts["text"].endswith(reason)
    assert facts["seconds"] < 5


async def test_silent_name_server_does_not_outlive_the_deadline(said):
    facts = said["late"]
    assert facts["error"] == "ConnectTimeout"
    assert 0.15 < facts["seconds"] < 0.7
    [[name, kind, why]] = facts["attempts"]
    assert (name, kind) == ("b.silent.test", "TimeoutError")
    assert why.startswith("the name was not resolved within 0.")


async def test_capitals_a_last_dot_and_letters_beyond_ascii(said):
    assert said["dotted"]["ip"] == "192.0.2.2"
    assert said["letters"]["ip"] == "192.0.2.2"


# Nothing is left ----------------------------------------------------------------------------------


async def test_a_thousand_cancelled_races_leave_nothing(said):
    facts = said["thousand"]
    assert facts["cancelled"] == 1000
    assert facts["most"] > facts["before"][0] + 100, "hardly any race ran"
    assert facts["after"] == facts["before"]
