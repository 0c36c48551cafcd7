"""A machine in QEMU that runs Xen, domain 0, and what that starts."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .packages import Packages

# Emulated in software: a machine without it could not run Xen in a virtual machine of its own.
# qemu64 and "eager-fpu": Xen of this age crashes on newer emulated processors, and with lazy
# switching two domains get at each other's registers.
_XEN = (
    "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning "
    "dom0_mem={dom0},max:{dom0} spec-ctrl=no,eager-fpu xpti=0"
)
_LINUX = "console=hvc0 mitigations=off quiet"
_MEMORY = 2048
# Seconds; a test that hangs is ended in there before.
_LONGEST_SILENCE = 180

_DOM0_MEMORY = "1400M"


@contextmanager
def running(cache: Path, packages: Packages) -> Iterator[Iterator[str]]:
    """Boot what `image.build` has made: gives the lines of the reports as they come.

    They end when the machine does, or is silent for too long. What is written to its console is in
    `console.log`, the lines are in `reports.jsonl`.
    """
    qemu = subprocess.Popen(
        _command(cache, packages),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"LD_LIBRARY_PATH": _libraries(packages.host)},
    )
    assert qemu.stdout is not None
    try:
        with (cache / "reports.jsonl").open("w", encoding="utf-8") as kept:
            yield _lines(qemu, kept)
    finally:
        qemu.kill()
        qemu.wait()
        qemu.stdout.close()


def _lines(qemu: subprocess.Popen[str], kept: TextIO) -> Iterator[str]:
    assert qemu.stdout is not None
    while True:
        watchdog = threading.Timer(_LONGEST_SILENCE, qemu.kill)
        watchdog.start()
        try:
            line = qemu.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            return
        kept.write(line)
        kept.flush()
        yield line


def _command(cache: Path, packages: Packages) -> list[str]:
    share = packages.host / "usr/share"
    return [
        *("nice", str(packages.host / "usr/bin/qemu-system-x86_64")),
        *("-L", str(share / "seabios"), "-L", str(share / "qemu")),
        *("-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", str(_MEMORY)),
        *("-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none", "-nic", "none"),
        *("-serial", f"file:{cache / 'console.log'}", "-serial", "stdio"),
        *("-kernel", str(cache / "xen"), "-append", _XEN.format(dom0=_DOM0_MEMORY)),
        *("-initrd", f"{cache / 'vmlinux'} {_LINUX},{cache / 'dom0.img'}"),
    ]


def _libraries(host: Path) -> str:
    return ":".join(str(host / d / "x86_64-linux-gnu") for d in ("usr/lib", "lib"))
