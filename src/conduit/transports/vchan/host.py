"""What this host has of Xen: the devices, the libraries, the number of this domain."""

from __future__ import annotations

import os

from ...errors import UnsupportedTransport
from . import libraries
from .libxenstore import Store

_SOCKETS = ("/run/xenstored/socket", "/var/run/xenstored/socket")
_STORE_DEVICES = ("/dev/xen/xenbus", "/proc/xen/xenbus")

# Each end opens the first; a server the second, since the memory is its own, a client the third.
_EVENTS = "/dev/xen/evtchn", "xen-evtchn"
_SHARING = "/dev/xen/gntalloc", "xen-gntalloc"
_MAPPING = "/dev/xen/gntdev", "xen-gntdev"

_latest_domid: int | None = None

_LIMIT = "/sys/module/xen_gntalloc/parameters/limit"


def check(what: str, *, serving: bool) -> None:
    """Raise UnsupportedTransport that names all that is missing here, or may not be used.

    what: the address, for the error. serving: whether a server is to be.
    """
    lacks: list[str] = []
    if not os.path.exists("/proc/xen") and _hypervisor() != "xen":
        lacks.append("this machine does not run on Xen")
    for name, package in (("xenvchan", "libxenmisc"), ("xenstore", "libxenstore")):
        if libraries.find(name) is None:
            lacks.append(f"lib{name} is not installed (Debian: {package}*)")
    for device, module in (_EVENTS, _SHARING if serving else _MAPPING):
        if not os.path.exists(device):
            lacks.append(f"there is no {device} (kernel module {module})")
        elif not os.access(device, os.R_OK | os.W_OK):
            lacks.append(f"no right to use {device}")
    if not any(map(os.path.exists, (*_SOCKETS, *_STORE_DEVICES))):
        lacks.append(f"there is neither {_SOCKETS[0]} (xenstored) nor {_STORE_DEVICES[0]}")
    if lacks:
        raise UnsupportedTransport(f"{what}: no vchan here: {'; '.join(lacks)}")


def own_domid(store: Store, what: str) -> int:
    """The number of this domain. Raises UnsupportedTransport where xenstore does not say."""
    domid = store.read("domid")
    if domid is None or not domid.isdecimal():
        raise UnsupportedTransport(
            f"{what}: xenstore does not say which domain this is, so libxenvchan cannot serve: its "
            "node 'domid' is missing, which in domain 0 xen-init-dom0 writes"
        )
    global _latest_domid
    _latest_domid = int(domid)
    return _latest_domid


def latest_domid() -> int | None:
    """What `own_domid` has found the last time: the number may change when a machine is moved."""
    return _latest_domid


def shared_pages() -> str:
    """How many pages this host lets all of its vchan servers have, for an error."""
    try:
        with open(_LIMIT, encoding="ascii") as file:
            return f"{_LIMIT} is {file.read().strip()} pages"
    except OSError:
        return f"{_LIMIT} says how many pages there are"


def _hypervisor() -> str:
    try:
        with open("/sys/hypervisor/type", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
