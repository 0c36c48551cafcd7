"""The listening sockets of a program of several processes: its parent opens and keeps them."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

from . import server
from .transports import ListenOptions, tcp, unix, vsock
from .transports.lent import Wanted

_Key: TypeAlias = tuple[Wanted, int]


class Lending:
    """What was lent, and to which of the workers, which have numbers.

    A worker that dies loses nothing: the sockets stay open, with whoever waits in their queues, and
    the worker that takes its place gets the same ones.
    """

    def __init__(self) -> None:
        self._lent: dict[_Key, _OfEach | _OfAll] = {}

    def lend(self, worker: int, asked: dict[str, Any]) -> list[socket.socket]:
        """The sockets that a worker asks for. Raises what binding them raises."""
        key = _key(asked)
        wanted = key[0]
        options = ListenOptions(
            backlog=asked["backlog"],
            reuse_port=asked["reuse_port"],
            unix_mode=asked["unix_mode"],
        )
        known = self._lent.get(key)
        if known is not None:
            return known.of(worker, options)
        made: _OfEach | _OfAll
        if wanted.kind == "tcp":
            made = _OfEach(wanted, options)
        else:
            made = _of_all(wanted, options, asked["directory"])
        sockets = made.of(worker, options)
        self._lent[key] = made
        return sockets

    def release(self, worker: int, told: dict[str, Any]) -> None:
        """A worker serves them no more; when nobody does, they are closed."""
        self._release(worker, _key(told))

    def release_all(self, worker: int) -> None:
        """A worker has ended, and no other takes its place."""
        for key in list(self._lent):
            self._release(worker, key)

    def close(self) -> None:
        """Close all that is here, and remove the names; what workers have of it, they have."""
        for one in self._lent.values():
            one.close()
        self._lent.clear()

    def _release(self, worker: int, key: _Key) -> None:
        known = self._lent.get(key)
        if known is not None and not known.without(worker):
            known.close()
            del self._lent[key]


class _OfEach:
    """Sockets of TCP, which the kernel lets share a port: each worker has its own.

    The kernel gives each of them the same share of the clients, and wakes nobody in vain.
    """

    def __init__(self, wanted: Wanted, options: ListenOptions) -> None:
        assert isinstance(wanted.where, int)
        self._addresses = tuple(map(ipaddress.ip_address, wanted.addresses))
        self._port = wanted.where
        self._sockets: dict[int, list[socket.socket]] = {}

    def of(self, worker: int, options: ListenOptions) -> list[socket.socket]:
        sockets = self._sockets.get(worker)
        if sockets is None:
            sockets = self._sockets[worker] = self._bind(options)
            self._port = sockets[0].getsockname()[1]
        return sockets

    def _bind(self, options: ListenOptions) -> list[socket.socket]:
        if self._sockets:
            return tcp.bind(self._addresses, self._port, _shared(options))
        # The first does not share with others: of two programs on a port the second is to fail.
        sockets = tcp.bind(self._addresses, self._port, options)
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return sockets

    def without(self, worker: int) -> bool:
        """Take them from a worker. Whether another still has some."""
        for sock in self._sockets.pop(worker, ()):
            sock.close()
        return bool(self._sockets)

    def close(self) -> None:
        for worker in list(self._sockets):
            self.without(worker)


class _OfAll:
    """A socket that all workers have, where the kernel lets only one have the name.

    remove: takes the name away.
    """

    def __init__(self, sock: socket.socket, remove: Callable[[], None]) -> None:
        self._sock = sock
        self._remove = remove
        self._workers: set[int] = set()

    def of(self, worker: int, options: ListenOptions) -> list[socket.socket]:
        self._workers.add(worker)
        return [self._sock]

    def without(self, worker: int) -> bool:
        """A worker has it no more. Whether another has."""
        self._workers.discard(worker)
        return bool(self._workers)

    def close(self) -> None:
        self._remove()
        self._sock.close()


def _of_all(wanted: Wanted, options: ListenOptions, directory: str) -> _OfAll:
    if isinstance(wanted.where, str):
        file = wanted.where
        if not file.startswith("@") and directory != os.getcwd():
            file = os.path.join(directory, file)
        bound = unix.bind_now(file, options)
        return _OfAll(bound.sock, bound.remove)
    assert isinstance(wanted.where, tuple)
    return _OfAll(vsock.bind(server.Vsock(*wanted.where), options), lambda: None)


def _shared(options: ListenOptions) -> ListenOptions:
    return ListenOptions(backlog=options.backlog, reuse_port=True)


def _key(message: dict[str, Any]) -> _Key:
    kind, where, addresses = message.get("want") or message["release"]
    if kind == "vsock":
        cid, port = where
        where = int(cid), int(port)
    return Wanted(kind, where, tuple(addresses)), message["number"]
