"""What a run was made on: the facts that go with its figures."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTIONS = ("conduit-net", "uvloop", "anyio", "trio", "Twisted", "pyOpenSSL", "cryptography")


def facts(cpu: int | None) -> dict[str, object]:
    """The machine, the interpreter and the versions of the peers."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "pinned to": cpu,
        "load": [round(load, 2) for load in os.getloadavg()],
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        "commit": _commit(),
        "versions": {name: _version(name) for name in DISTRIBUTIONS},
    }


def last_cpu() -> int | None:
    """The last CPU this process may run on; None where one cannot ask."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def pin(cpu: int | None) -> None:
    """Keep this process, and those it will start, on one CPU."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _commit() -> str | None:
    """Which state of the repository this is; `-dirty` if files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
