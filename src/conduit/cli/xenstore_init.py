"""`conduit xenstore-init`: the directory in which Xen's domains find each other by name."""

from __future__ import annotations

from ..transports.vchan import names, paths


def run() -> int:
    """Make it. Returns the exit status; raises what goes wrong."""
    names.make_directory()
    print(f"{paths.NAMES} is there, and every domain may write in it")
    return 0
