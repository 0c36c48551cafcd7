"""`CONDUIT_DEBUG`: the DEBUG log of the library on standard error."""

from __future__ import annotations

import logging


def log_to_stderr() -> None:
    """Send all that the `conduit` logger says to standard error, once."""
    logger = logging.getLogger("conduit")
    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    logger.addHandler(handler)
