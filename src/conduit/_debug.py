"""`CONDUIT_DEBUG`: what the library does, step by step, on standard error."""

from __future__ import annotations

import logging

from . import events


def log_to_stderr() -> None:
    """Send all that the `conduit` logger says to standard error, and every event with it. Once."""
    logger = logging.getLogger("conduit")
    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    logger.addHandler(handler)
    events.subscribe(lambda event: logger.debug("%r", event))
