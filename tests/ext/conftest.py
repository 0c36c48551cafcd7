"""Servers that the tests of adapters share."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import conduit
from conduit import trust
from tests.certificates import Certificates
from tests.peers.kept import (
    SSHD,
    Broker,
    Redis,
    broker_running,
    redis_running,
    sshd_running,
)


@pytest.fixture
async def trusting(certificates: Certificates) -> conduit.Context:
    """A context that trusts the authority of the tests."""
    return await conduit.init(tls_authenticator=trust.ca(certificates.trusted))


@pytest.fixture(scope="session")
def redis_server(program, certificates: Certificates) -> Iterator[Redis]:
    with redis_running(program, certificates) as where:
        yield where


@pytest.fixture(scope="session")
def broker(program) -> Iterator[Broker]:
    with broker_running(program) as where:
        yield where


@pytest.fixture(scope="session")
def sshd(program) -> Iterator[SSHD]:
    with sshd_running(program) as where:
        yield where


@pytest.fixture
def silent(socket_path: str) -> Iterator[str]:
    """The path of a Unix socket that lets clients in and says nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(socket_path)
        listening.listen()
        yield socket_path
