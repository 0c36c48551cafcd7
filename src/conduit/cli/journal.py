"""What a server tells while it runs: lines for people, or JSON for programs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from ..channels import wire_of
from ..convert import endp_of_flow
from ..endp import Endp
from ..errors import ConduitError
from ..transports import Triple
from .terminal import amount, complain, duration, say, say_json


@dataclass(slots=True, eq=False)
class Visit:
    """One connection while it is open.

    number: counts from 1. triple: the client's. target: where it is passed on to, once it is known.
    """

    number: int
    triple: Triple
    target: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def peer(self) -> str:
        """Whom it is with."""
        return str(endp_of_flow(self.triple.flow))

    @property
    def received(self) -> int:
        """Bytes that came from the client."""
        return wire_of(self.triple.oc).bytes_in

    @property
    def sent(self) -> int:
        """Bytes that were written to the client."""
        return wire_of(self.triple.oc).bytes_out


class Journal:
    """Tells what happens.

    name: of the command. as_json: whether all is told on standard output as JSON lines. verbose:
    whether also connections that go well are told, on standard error; failures always are. quiet:
    no failure is told; somebody shows them in another way.
    """

    def __init__(self, name: str, *, as_json: bool, verbose: bool) -> None:
        self._name = name
        self._as_json = as_json
        self._verbose = verbose
        self.quiet = False
        self.broken = asyncio.Event()
        """Set when nobody reads standard output any more."""
        self.open: dict[int, Visit] = {}
        self.accepted = 0
        self.failures = 0
        self.last_failure = ""
        self.received = 0
        self.sent = 0

    def listening(self, where: Endp) -> None:
        """A listener is ready."""
        if self._as_json:
            self._say_json({"event": "listening", "address": str(where)})
        else:
            say(f"listening on {where}")

    def begin(self, triple: Triple) -> Visit:
        """A client has come."""
        self.accepted += 1
        visit = Visit(self.accepted, triple)
        self.open[visit.number] = visit
        self._tell("accepted", visit, f"{visit.number}: accepted {visit.peer}")
        return visit

    def reached(self, visit: Visit, target: str) -> None:
        """It is passed on. target: where to."""
        visit.target = target
        self._tell("connected", visit, f"{visit.number}: connected to {target}", target=target)

    def failed(self, error: BaseException, visit: Visit | None = None) -> None:
        """A connection went wrong. visit: which one; None for one that never was."""
        self.failures += 1
        known = isinstance(error, ConduitError | OSError) and str(error)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        self.last_failure = reason
        if self._as_json:
            self._say_json({"event": "failed", "error": reason} | _whose(visit))
        elif not self.quiet:
            who = "" if visit is None else f"{visit.number}: {visit.peer}: "
            complain(f"{self._name}: {who}{reason}")

    def end(self, visit: Visit) -> None:
        """A connection is over."""
        del self.open[visit.number]
        received, sent = visit.received, visit.sent
        self.received += received
        self.sent += sent
        seconds = time.monotonic() - visit.began
        line = f"{visit.number}: closed after {duration(seconds)}, {amount(received)} in, "
        self._tell(
            "closed",
            visit,
            line + f"{amount(sent)} out",
            received=received,
            sent=sent,
            seconds=round(seconds, 6),
        )

    def _tell(self, event: str, visit: Visit, line: str, **facts: Any) -> None:
        if self._as_json:
            self._say_json({"event": event} | _whose(visit) | facts)
        elif self._verbose and not self.quiet:
            complain(line)

    def _say_json(self, value: dict[str, Any]) -> None:
        try:
            say_json(value)
        except BrokenPipeError:
            self.broken.set()


def _whose(visit: Visit | None) -> dict[str, Any]:
    return {} if visit is None else {"id": visit.number, "peer": visit.peer}
