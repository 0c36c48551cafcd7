"""Whether an event channel of this domain is in use, by libxenctrl: the life sign of a server."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_uint, c_uint16, c_uint32, c_void_p

from . import libraries

_DOMID_SELF = 0x7FF0
_UNBOUND, _INTERDOMAIN = 1, 2


class _Status(ctypes.Structure):
    """struct evtchn_status of Xen's public headers; both kinds of use begin with the domain."""

    _fields_ = [
        ("dom", c_uint16),
        ("port", c_uint32),
        ("status", c_uint32),
        ("vcpu", c_uint32),
        ("remote_dom", c_uint16),
        ("remote_port", c_uint32),
    ]


def is_used(port: int, client: int) -> bool | None:
    """Whether a port of this domain waits for a client's domain, or is connected with it.

    None where that cannot be found out: libxenctrl or the right to ask Xen is missing.
    """
    library = libraries.find("xenctrl")
    if library is None:
        return None
    library.xc_interface_open.restype = c_void_p
    library.xc_interface_open.argtypes = [c_void_p, c_void_p, c_uint]
    library.xc_evtchn_status.restype = c_int
    library.xc_evtchn_status.argtypes = [c_void_p, c_void_p]
    library.xc_interface_close.argtypes = [c_void_p]
    xen = library.xc_interface_open(None, None, 0)
    if not xen:
        return None
    try:
        status = _Status(dom=_DOMID_SELF, port=port)
        if library.xc_evtchn_status(xen, ctypes.byref(status)):
            return None
    finally:
        library.xc_interface_close(xen)
    return status.status in (_UNBOUND, _INTERDOMAIN) and status.remote_dom == client
