"""Finding Xen's libraries when they are needed; nothing here is linked or imported before."""

from __future__ import annotations

import ctypes
from functools import lru_cache

# The version of a library is Xen's own for some, and one that stays for others. Development
# packages have a name without version.
_VERSIONS = {
    "xenvchan": [f"4.{minor}" for minor in range(30, 1, -1)],
    "xenctrl": [f"4.{minor}" for minor in range(30, 1, -1)],
    "xenstore": ["4", "3.0"],
}


@lru_cache
def find(name: str) -> ctypes.CDLL | None:
    """Load a library of Xen's; None if this host has none of the versions known.

    name: without "lib". Reads files: not for the loop.
    """
    for version in ("", *(f".{version}" for version in _VERSIONS[name])):
        try:
            return ctypes.CDLL(f"lib{name}.so{version}", use_errno=True)
        except OSError:
            pass  # not this one
    return None


@lru_cache
def libc() -> ctypes.CDLL:
    """The C library that Xen's libraries allocate from."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.restype = None
    library.free.argtypes = [ctypes.c_void_p]
    return library
