"""Both ends of a vchan, and its keys in xenstore. All of this blocks: it is for the worker."""

from __future__ import annotations

import errno
import os

from . import event_channels, host, libxenvchan, paths
from .libxenstore import Store
from .libxenvchan import End


def serve(client: int, port: str, what: str) -> tuple[End, str]:
    """Make a vchan for one client, and publish it.

    client: its domain. port: the vchan's name. what: the address, for errors.

    Returns the end and its path, which `withdraw` takes back. Raises OSError, EADDRINUSE when
    there is a server already; the keys of one that has died are replaced.
    """
    host.check(what, serving=True)
    with Store() as store:
        own = host.own_domid(store, what)
        path = paths.direct(own, client, port, what)
        if client != own and not store.has_domain(client):
            raise OSError(errno.ESRCH, f"cannot listen on {what}: there is no domain {client}")
        _remove_dead(store, path, client, what)
        try:
            # By now all is seen to on which libxenvchan would fail, and it fails badly.
            store.write(path, "")
            store.allow_one(path, own, client)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {what}: {error.strerror}") from error
        try:
            return libxenvchan.serve(client, path), path
        except OSError as error:
            withdraw(path, store)
            raise OSError(error.errno, f"cannot listen on {what}: {_why(error, client)}") from error


def withdraw(path: str, store: Store | None = None) -> None:
    """Remove the keys of a server, and the directories that are empty then."""
    if store is None:
        with Store() as store:
            withdraw(path, store)
        return
    for key in paths.KEYS:
        store.remove(f"{path}/{key}")
    # The port's, the client's, and "vchan".
    for _ in range(3):
        if not store.remove_empty(path):
            break
        path = path.rpartition("/")[0]


def join(store: Store, server: int, port: str, what: str) -> End | str:
    """Connect to a vchan, if there is one: its end, or why there is none, in words."""
    own = host.own_domid(store, what)
    path = paths.direct(server, own, port, what)
    if not all(store.read(f"{path}/{key}") for key in paths.KEYS):
        return f"domain {server} serves no {port!r} for domain {own} ({path} in xenstore)"
    try:
        end = libxenvchan.join(server, path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT, 0):
            raise
        return (
            f"nobody answers: the server has another client, or was killed and has left its keys "
            f"({path} in xenstore)"
        )
    if end.is_dead:
        # It has ended while its keys were read.
        end.close()
        return "the server ended"
    return end


def watched_by_client(store: Store, server: int, port: str, what: str) -> str:
    """What to watch until `join` may work: the key that servers write last."""
    own = host.own_domid(store, what)
    return f"{paths.direct(server, own, port, what)}/{paths.KEYS[-1]}"


def _remove_dead(store: Store, path: str, client: int, what: str) -> None:
    """Remove the keys of a server that was killed. Raises OSError(EADDRINUSE) if it lives."""
    channel = store.read(f"{path}/event-channel")
    if channel is None:
        return
    used = event_channels.is_used(int(channel), client) if channel.isdecimal() else False
    if used:
        raise OSError(
            errno.EADDRINUSE,
            f"cannot listen on {what}: another server of this domain is there ({path} in xenstore)",
        )
    if used is None:
        raise OSError(
            errno.EADDRINUSE,
            f"cannot listen on {what}: {path} is taken in xenstore, and without libxenctrl nobody "
            f"can tell whether its server lives. If it was killed: xenstore-rm {path}",
        )
    withdraw(path, store)


def _why(error: OSError, client: int) -> str:
    if error.errno in (errno.ENOSPC, errno.ENOMEM):
        pages = 2 * libxenvchan.RING // os.sysconf("SC_PAGE_SIZE") + 1
        return (
            f"no memory to share: a vchan takes {pages} pages, and {host.shared_pages()} for all "
            "servers together (modprobe xen-gntalloc limit=N)"
        )
    if error.errno == errno.ESRCH:
        return f"there is no domain {client}"
    return error.strerror or "libxenvchan does not say why"
