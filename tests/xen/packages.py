"""Debian's packages of Xen, a kernel, QEMU and what a small system needs: fetched, and unpacked.

Nothing is installed: `apt-get` only downloads, and `dpkg-deb` unpacks into the cache.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_QEMU = ["qemu-system-x86"]
_APT = [
    "-q",
    "-o",
    "Acquire::Retries=3",
    "-o",
    "Debug::NoLocking=1",
    "-o",
    "APT::Sandbox::User=root",
]


@dataclass(frozen=True)
class Packages:
    """What was unpacked.

    host: the root of QEMU, guest: that of the small system, kernel: that of Linux and Xen.
    python: "3.11". xen: "4.17".
    """

    host: Path
    guest: Path
    kernel: Path
    python: str
    xen: str


def packages(cache: Path) -> Packages:
    """Fetch and unpack what is not in the cache yet.

    Raises RuntimeError that says what is missing: this host must have Debian's apt-get, and its
    lists.
    """
    for program in ("apt-get", "apt-cache", "dpkg-deb", "readelf"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is missing: this needs Debian's packages, and binutils")
    xen = _dependency("xen-system-amd64", r"xen-hypervisor-([\d.]+)-amd64")
    python = _dependency("python3", r"python(3\.\d+)")
    kernel = _dependency("linux-image-amd64", r"(linux-image-\S+-amd64)")
    guest = [
        *(f"xen-utils-{xen}", f"libxenmisc{xen}", "xenstore-utils"),
        *("busybox-static", f"python{python}"),
    ]
    return Packages(
        host=_unpacked(cache / "host", _QEMU, on_top_of_host=True),
        guest=_unpacked(cache / "guest", guest),
        kernel=_unpacked(cache / "kernel", [kernel, f"xen-hypervisor-{xen}-amd64"], alone=True),
        python=python,
        xen=xen,
    )


def _dependency(package: str, pattern: str) -> str:
    listing = _run(["apt-cache", "depends", package])
    found = re.search(rf"Depends: {pattern}\n", listing)
    if found is None:
        raise RuntimeError(f"apt knows no {package}: run apt-get update")
    return found[1]


def _unpacked(
    place: Path, names: list[str], *, on_top_of_host: bool = False, alone: bool = False
) -> Path:
    """The root of the named packages and of what they need.

    on_top_of_host: without what this host has installed. alone: without anything else.
    """
    root, archives, stamp = place / "root", place / "archives", place / "unpacked"
    if stamp.exists() and stamp.read_text() == " ".join(names):
        return root
    shutil.rmtree(place, ignore_errors=True)
    (archives / "partial").mkdir(parents=True)
    root.mkdir()
    print(f"Fetching {', '.join(names)} ...", flush=True)
    if alone:
        _run(["apt-get", *_APT, "download", *names], cwd=archives)
    else:
        options = ["-o", f"Dir::Cache::archives={archives}/"]
        if not on_top_of_host:
            (place / "nothing-installed").touch()
            options += ["-o", f"Dir::State::status={place / 'nothing-installed'}"]
        what = ["install", "--no-install-recommends", "--download-only", "--yes", *names]
        _run(["apt-get", *_APT, *options, *what])
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(root)])
    shutil.rmtree(archives)
    stamp.write_text(" ".join(names))
    return root


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout
