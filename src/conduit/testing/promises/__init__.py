"""Every promise that a flow's channels make, each as a function that sees whether it is kept."""

from __future__ import annotations

from . import ending, facts, reading, writing
from .base import LISTED, NEED_HALF_CLOSE, Check

__all__ = ["CHECKS", "NEED_HALF_CLOSE"]

CHECKS: dict[str, Check] = {
    name: check
    for module in (reading, writing, ending, facts)
    for name, check in LISTED.items()
    if check.__module__ == module.__name__
}
"""The checks by their names, in the order in which they run: what rests on others comes later."""
