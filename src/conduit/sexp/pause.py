"""Python's cyclic garbage collector, out of the way for a moment."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Generator[None, None, None]:
    """Do not look for circles of garbage meanwhile.

    Reading and laying out make many objects and no circle; the collector would walk through all of
    them again and again, and take more time than the work itself.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
