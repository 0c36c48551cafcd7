"""`conduit check`: what happens when one connects, and whether all is well."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import click

import conduit
from conduit import client, events

from .._target import to_client
from .facts import certificate_facts, expiry, facts_of
from .parameters import TARGET, Number, Settings, connecting, json_option, subcommand
from .terminal import say_json
from .tls_offers import taken_by

_OK, _WARNING, _CRITICAL = 0, 1, 2
_WORDS = ("ok", "warning", "critical")

_OLD = ("TLSv1", "TLSv1.1")


@dataclass(slots=True)
class Phase:
    """A part of the time. start, seconds: in seconds, from the beginning."""

    name: str
    start: float
    seconds: float
    failed: str | None = None


@dataclass(slots=True)
class Finding:
    """Something that is not well. level: 1 for a warning, 2 for critical. what: with advice."""

    level: int
    what: str


@dataclass(slots=True)
class Report:
    """What was found."""

    address: str
    phases: list[Phase] = field(default_factory=list[Phase])
    peer: str | None = None
    tls: dict[str, Any] | None = None
    chain: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    versions: list[str] = field(default_factory=list[str])
    protocols: list[str] = field(default_factory=list[str])
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def status(self) -> int:
        """The exit status: the worst of what was found."""
        return max((finding.level for finding in self.findings), default=_OK)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON can say it."""
        return {
            "address": self.address,
            "verdict": _WORDS[self.status],
            "findings": [
                {"level": _WORDS[finding.level], "what": finding.what} for finding in self.findings
            ],
            "peer": self.peer,
            "phases": [
                {"name": p.name, "start": round(p.start, 6), "seconds": round(p.seconds, 6)}
                | ({} if p.failed is None else {"failed": p.failed})
                for p in self.phases
            ],
            "tls": self.tls,
            "chain": self.chain,
            "versions": self.versions,
            "alpn": self.protocols,
        }


@subcommand(
    "check",
    example="conduit check https://example.com\n"
    "conduit check --json --warn-days 14 tls://db.example:5432",
    statuses="0  all is well\n"
    "1  warning: it works, but not for long or not as it should\n"
    "2  critical: it does not work; or the arguments make no sense\n"
    "These are what monitoring plugins return.",
)
@click.argument("address", type=TARGET)
@json_option("all that was found")
@click.option(
    "--warn-days",
    type=Number(),
    default=21.0,
    metavar="DAYS",
    help="Warn when a certificate expires within so many days (default: 21).",
)
@click.option(
    "--critical-days",
    type=Number(),
    default=3.0,
    metavar="DAYS",
    help="... and from when on that is critical (default: 3).",
)
@click.option("--offers/--no-offers", default=True, help="Try each TLS version and ALPN protocol.")
@connecting(10.0)
def command(
    address: str,
    timeout: float,
    as_json: bool,
    warn_days: float,
    critical_days: float,
    offers: bool,
    settings: Settings,
) -> int:
    """Connect to ADDRESS, show how that went, and say whether all is well.

    It shows when each thing happened (looking up the name, each address tried, the TLS handshake),
    the certificates with what is wrong and when they expire, and the TLS versions and ALPN
    protocols that the server takes.
    """

    async def run() -> Report:
        report = Report(str(to_client(address, conduit.Context(), None)))
        await _connect(report, address, timeout, settings)
        _judge_certificates(report, warn_days, critical_days)
        if offers and report.chain:
            await _look_at_offers(report, address, timeout)
        return report

    report = conduit.run(run)
    if as_json:
        say_json(report.as_json())
    else:
        from .check_view import show

        show(report)
    return report.status


class _Watch:
    """Makes phases of the library's events. first: the name of what comes before them."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._began = time.perf_counter()
        self._attempts: list[tuple[str, float]] = []
        self._handshake: tuple[float, float] | None = None

    def __call__(self, event: events.Event) -> None:
        now = time.perf_counter() - self._began
        if isinstance(event, events.Attempt):
            self._attempts.append((str(event.address), now))
        elif isinstance(event, events.Handshake):
            self._handshake = now - event.seconds, event.seconds

    def phases(self, error: BaseException | None) -> list[Phase]:
        """What happened until now. error: how it ended, if not well."""
        end = time.perf_counter() - self._began
        if not self._attempts:
            return [Phase("connect", 0.0, end, None if error is None else "failed")]
        failures = {str(where): str(why) for where, why in getattr(error, "attempts", ())}
        phases = [Phase(self._first, 0.0, self._attempts[0][1])]
        connected = end if self._handshake is None else self._handshake[0]
        for number, (address, start) in enumerate(self._attempts):
            later = self._attempts[number + 1 :]
            until = later[0][1] if later else connected
            failed = failures.get(address, "not taken" if later else None)
            phases.append(Phase(f"try {address}", start, max(until - start, 0.0), failed))
        if self._handshake is not None:
            phases.append(Phase("TLS handshake", *self._handshake))
        return phases


async def _connect(report: Report, address: str, timeout: float, settings: Settings) -> None:
    ctx = await settings.context()
    where = to_client(address, ctx, None).where
    named = isinstance(where, str | client.Host) or (
        isinstance(where, client.TLSOver) and isinstance(where.client, client.Host)
    )
    watch = _Watch("look up" if named else "prepare")
    failure: BaseException | None = None
    with events.subscribe(watch):
        try:
            async with conduit.connect(address, ctx=ctx, timeout=timeout) as triple:
                report.phases = watch.phases(None)
                facts = facts_of(triple)
                report.peer, report.tls = facts["peer"], facts["tls"]
                if report.tls is not None:
                    report.chain = report.tls.pop("chain")
            return
        except (OSError, conduit.ConduitError) as error:
            failure = error
            report.phases = watch.phases(error)
    report.findings.append(Finding(_CRITICAL, str(failure)))
    for reason in (failure, *(why for _, why in getattr(failure, "attempts", ()))):
        if isinstance(reason, conduit.CertificateError):
            report.chain = [certificate_facts(der) for der in reason.chain]


def _judge_certificates(report: Report, warn_days: float, critical_days: float) -> None:
    for certificate in report.chain:
        days = certificate.get("days_left")
        if days is None or days >= warn_days or certificate["self_issued"]:
            continue
        level = _CRITICAL if days < critical_days else _WARNING
        report.findings.append(
            Finding(level, f"{certificate['subject']} {expiry(days)}: renew this certificate")
        )


async def _look_at_offers(report: Report, address: str, timeout: float) -> None:
    where = to_client(address, conduit.default_ctx(), None).where
    report.versions, report.protocols = await taken_by(where, timeout)
    old = [version for version in report.versions if version in _OLD]
    if old:
        report.findings.append(
            Finding(_WARNING, f"{' and '.join(old)} should not be offered any more (RFC 8996)")
        )
    if report.versions and "TLSv1.3" not in report.versions:
        report.findings.append(Finding(_WARNING, "TLSv1.3 is not offered: update the server"))
