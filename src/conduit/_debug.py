"""`CONDUIT_DEBUG`: what the library does, step by step, on standard error."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import fields

from . import events

logger = logging.getLogger("conduit")

# What can stand after "=" as it is, so that a line is taken apart at its blanks.
_PLAIN = re.compile(r"[!#-&(-~]+")


def log_to_stderr() -> None:
    """Send all that the `conduit` logger says to standard error, and every event with it. Once."""
    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    logger.addHandler(handler)
    events.subscribe(_log_event)


def step(what: str, /, **facts: object) -> None:
    """Log one step at DEBUG: `what key=value key=value`.

    what: what is done, in a word. facts: about what; None and what is empty is left out, a list or
    a tuple is shown with commas between. The record has both as its
    attributes `step` and `facts`. It costs next to nothing when nobody listens.
    """
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s%s", what, _written(facts), extra={"step": what, "facts": facts})


def _log_event(event: events.Event) -> None:
    facts = {field.name: getattr(event, field.name) for field in fields(event)}
    step(type(event).__name__, **facts)


def _written(facts: Mapping[str, object]) -> str:
    return "".join(f" {name}={_shown(value)}" for name, value in facts.items() if _says(value))


def _says(value: object) -> bool:
    return value is not None and not (isinstance(value, str | list | tuple) and not value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    # By the very class: a named tuple has a text of its own.
    if type(value) in (list, tuple):
        text = ",".join(map(str, value))  # type: ignore[call-overload]
    else:
        text = str(value)
    return text if _PLAIN.fullmatch(text) else repr(text)
